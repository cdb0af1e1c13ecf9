//! Supervisor and executor's guardian over a real socket, each on its own thread, with the clock of this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ecps_actuation::guardian::{Guarded, Guardian};
use ecps_actuation::heartbeat::{PERIOD, Status};
use ecps_actuation::link::Place;
use ecps_actuation::supervise::{Hands, HardwareWatchdog, Shared, run};
use ecps_actuation::supervision::{StaysLatched, Watch};
use ecps_core::clock::{SteadyClock as _, SystemSteady};

const TIMEOUT: Duration = Duration::from_millis(100);
const SOON: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq)]
enum Done {
    Halted,
    Changed(Watch),
}

struct Telling(Sender<Done>, Arc<AtomicBool>, Arc<AtomicU64>);

impl Hands for Telling {
    fn reach(&mut self) -> bool {
        self.2.fetch_add(1, Ordering::SeqCst);
        self.1.load(Ordering::SeqCst)
    }

    fn halt(&mut self) {
        let _ = self.0.send(Done::Halted);
    }

    fn changed(&mut self, watch: &Watch) {
        let _ = self.0.send(Done::Changed(watch.clone()));
    }
}

struct Robot {
    place: Place,
    shared: Arc<Shared>,
    /// Whether the robot hears the supervisor.
    reach: Arc<AtomicBool>,
    /// How often it was looked whether it does.
    looks: Arc<AtomicU64>,
    done: Receiver<Done>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Robot {
    fn new(folder: &Path, watchdog: Option<&Path>) -> Robot {
        let place = Place::in_folder(&folder.join("run"), "r").unwrap();
        let listener = place.listen().unwrap();
        let shared = Arc::new(Shared::new(TIMEOUT));
        let (tell, done) = channel();
        let reach = Arc::new(AtomicBool::new(true));
        let watchdog = watchdog.map(|path| HardwareWatchdog::open(path).unwrap());
        let looks = Arc::<AtomicU64>::default();
        let mut hands = Telling(tell, Arc::clone(&reach), Arc::clone(&looks));
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || run(&listener, &shared, &SystemSteady, &mut hands, watchdog)
        });
        Robot { place, shared, reach, looks, done, thread: Some(thread) }
    }

    fn end(&mut self) {
        self.shared.end();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// The next new state; everything before it must not be a halt.
    fn change(&self) -> Watch {
        match self.done.recv_timeout(SOON).unwrap() {
            Done::Changed(watch) => watch,
            Done::Halted => panic!("halted before"),
        }
    }

    /// The reason of an alarm, of which the first sign is a halt.
    fn alarm(&self) -> String {
        assert_eq!(self.done.recv_timeout(SOON).unwrap(), Done::Halted, "the robot is stopped before anybody is told");
        match self.done.recv_timeout(SOON).unwrap() {
            Done::Changed(Watch::Latched(alarm)) => alarm.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn halts_again(&self) {
        assert_eq!(self.done.recv_timeout(SOON).unwrap(), Done::Halted);
    }
}

impl Drop for Robot {
    fn drop(&mut self) {
        self.end();
    }
}

/// Beats until `enough`.
fn beat(guardian: &mut Guardian, status: Status, enough: impl Fn(&Guarded) -> bool) {
    let deadline = Instant::now() + SOON;
    while !enough(&guardian.tick(status, SystemSteady.now())) {
        assert!(Instant::now() < deadline, "not within {SOON:?}");
        std::thread::sleep(PERIOD / 4);
    }
}

fn watched(robot: &Robot) -> Guardian {
    let mut guardian = Guardian::new(robot.place.clone(), TIMEOUT);
    beat(&mut guardian, Status::Running, |guarded| *guarded == Guarded::Yes);
    guardian
}

#[test]
fn an_executor_that_falls_silent_or_dies_is_stopped_again_and_again_until_somebody_resets() {
    let folder = tempfile::tempdir().unwrap();
    let robot = Robot::new(folder.path(), None);
    assert_eq!(robot.change(), Watch::Alone);
    let silent = watched(&robot);
    assert_eq!(robot.change(), Watch::Watching);
    let why = robot.alarm();
    assert!(why.contains("and may be 100ms"), "{why}");
    for _ in 0..3 {
        robot.halts_again();
    }
    drop(silent);
    assert_eq!(robot.shared.reset(SystemSteady.now()), Err(StaysLatched::NoExecutor));

    let mut next = Guardian::new(robot.place.clone(), TIMEOUT);
    beat(
        &mut next,
        Status::Stopped,
        |guarded| matches!(guarded, Guarded::No(why) if why.contains("stopped the robot")),
    );
    beat(&mut next, Status::Stopped, |_| robot.shared.reset(SystemSteady.now()).is_ok());
    beat(&mut next, Status::Stopped, |guarded| *guarded == Guarded::Yes);
    while robot.done.recv_timeout(SOON).unwrap() != Done::Changed(Watch::Watching) {}
    drop(next);
    assert_eq!(robot.alarm(), "the executor is gone");
}

#[test]
fn an_executor_that_leaves_in_good_order_raises_no_alarm_and_a_second_one_is_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let robot = Robot::new(folder.path(), None);
    assert_eq!(robot.change(), Watch::Alone);
    let mut first = watched(&robot);
    let mut second = Guardian::new(robot.place.clone(), TIMEOUT);
    let mut turned_away = false;
    beat(&mut first, Status::Running, |guarded| {
        assert_eq!(*guarded, Guarded::Yes);
        true
    });
    let deadline = Instant::now() + SOON;
    while !turned_away {
        assert!(Instant::now() < deadline);
        assert_eq!(first.tick(Status::Running, SystemSteady.now()), Guarded::Yes);
        turned_away = second.tick(Status::Running, SystemSteady.now()) == Guarded::No("the supervisor is gone".into());
        std::thread::sleep(PERIOD / 4);
    }
    first.leave(SystemSteady.now());
    assert_eq!([robot.change(), robot.change()], [Watch::Watching, Watch::Alone]);
}

#[test]
fn the_executor_notices_a_supervisor_that_dies_ends_or_never_was() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = Place::in_folder(&folder.path().join("run"), "other").unwrap();
    assert_eq!(
        Guardian::new(nobody, TIMEOUT).tick(Status::Running, SystemSteady.now()),
        Guarded::No("no supervisor is there".into())
    );
    let mut robot = Robot::new(folder.path(), None);
    let mut guardian = watched(&robot);
    robot.end();
    beat(
        &mut guardian,
        Status::Running,
        |guarded| matches!(guarded, Guarded::No(why) if why.contains("supervisor is")),
    );
}

#[test]
fn the_hardware_watchdog_is_fed_only_while_all_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let device = folder.path().join("watchdog");
    std::fs::write(&device, "").unwrap();
    let fed = || std::fs::read_to_string(&device).unwrap();
    let mut robot = Robot::new(folder.path(), Some(&device));
    let guardian = watched(&robot);
    let before = fed().len();
    assert!(before > 0);
    drop(guardian);
    while !matches!(robot.done.recv_timeout(SOON).unwrap(), Done::Changed(Watch::Latched(_))) {}
    let at_alarm = fed().len();
    (0..5).for_each(|_| robot.halts_again());
    robot.end();
    assert_eq!(fed(), ".".repeat(at_alarm), "not fed after the alarm, and not disarmed");

    let mut well = Robot::new(folder.path(), Some(&device));
    watched(&well).leave(SystemSteady.now());
    well.end();
    assert!(fed().ends_with('V'), "disarmed at a good end");
}

#[test]
fn a_supervisor_that_the_robot_does_not_hear_does_not_pretend_to_watch() {
    let folder = tempfile::tempdir().unwrap();
    let robot = Robot::new(folder.path(), None);
    let mut guardian = watched(&robot);
    robot.reach.store(false, Ordering::SeqCst);
    beat(
        &mut guardian,
        Status::Running,
        |guarded| matches!(guarded, Guarded::No(why) if why.contains("does not watch")),
    );
}

/// Whether somebody listens is known from when on only if it is looked all the time, and not just while an executor runs.
#[test]
fn who_listens_is_looked_for_before_there_is_an_executor_and_after_an_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let robot = Robot::new(folder.path(), None);
    let looks_on = || {
        let (before, deadline) = (robot.looks.load(Ordering::SeqCst), Instant::now() + SOON);
        while robot.looks.load(Ordering::SeqCst) < before + 3 {
            assert!(Instant::now() < deadline, "nobody looks");
            std::thread::yield_now();
        }
    };
    assert_eq!(robot.change(), Watch::Alone);
    looks_on();
    let guardian = watched(&robot);
    assert_eq!(robot.change(), Watch::Watching);
    drop(guardian);
    robot.alarm();
    looks_on();
}
