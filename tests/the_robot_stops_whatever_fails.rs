//! Every way in which the executor or its supervisor can fail, injected into real processes while the robot is commanded
//! to drive: each ends with zero on the robot's command topic, which stays.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ecps_actuation::heartbeat::{PERIOD, Role, Status};
use ecps_actuation::link::Place;
use ecps_core::campaign::rounds;
use ecps_core::clock::{Steady, SteadyClock as _, SystemSteady};
use ecps_testing::{Dice, Process, Ros, SOON, root};
use rustix::process::Signal;

/// Within which the robot moves once both are up.
const UNDER_WAY: Duration = Duration::from_secs(8);
/// Attempts at a trial on a machine that is too busy for a heartbeat every 100 ms.
const ATTEMPTS: usize = 5;

/// A process can be stopped within the very call that hands a command to the middleware, and then finishes that call when it
/// goes on. No check before the call can help; the zero that follows at once does.
const IN_FLIGHT: usize = 1;

/// How late this machine wakes a thread that only sleeps, as this process sees it.
struct Machine {
    /// Pauses of over [`Machine::NOTED`]: when they ended, and how long they were.
    pauses: Arc<Mutex<Vec<(Steady, Duration)>>>,
}

impl Machine {
    const PERIOD: Duration = Duration::from_millis(5);
    const NOTED: Duration = Duration::from_millis(20);

    fn watch() -> Machine {
        let pauses = Arc::<Mutex<Vec<_>>>::default();
        let noted = Arc::downgrade(&pauses);
        std::thread::spawn(move || {
            let mut last = SystemSteady.now();
            while let Some(noted) = noted.upgrade() {
                std::thread::sleep(Machine::PERIOD);
                let now = SystemSteady.now();
                let pause = now.since(last);
                if pause > Machine::NOTED {
                    noted.lock().unwrap().push((now, pause));
                }
                last = now;
            }
        });
        Machine { pauses }
    }

    /// Whether it paused between two times.
    fn paused(&self, from: Steady, to: Steady) -> bool {
        let within = |(end, pause): &(Steady, Duration)| end.0 > from.0 && end.0.saturating_sub(*pause) < to.0;
        self.pauses.lock().unwrap().iter().any(within)
    }
}

/// From a fault to zero.
#[derive(Clone, Copy)]
struct Stop {
    took: Duration,
    /// Whether this machine stood still meanwhile, for longer than a period of heartbeats.
    paused: bool,
}

struct Campaign {
    ros: Ros,
    machine: Machine,
    onlooker: Process,
    dice: Dice,
    /// Lines of each kind that the onlooker has written.
    seen: [usize; 3],
}

const LINES: [&str; 3] = ["moving at ", "zero at ", "still"];

impl Campaign {
    fn new(seed: u64) -> Campaign {
        let ros = Ros::new();
        let onlooker = ros.start_example("onlooker", &[]);
        Campaign { ros, machine: Machine::watch(), onlooker, dice: Dice::new(seed), seen: [0; 3] }
    }

    /// Waits for one more line of a kind; the time in it.
    fn next(&mut self, kind: usize) -> Steady {
        let lines = self.onlooker.wait_for_lines(LINES[kind], self.seen[kind] + 1, SOON);
        self.seen[kind] += 1;
        let nanos = lines[self.seen[kind] - 1].strip_prefix(LINES[kind]).unwrap().parse().unwrap_or(0);
        Steady(Duration::from_nanos(nanos))
    }

    /// From here on, only new lines count.
    fn catch_up(&mut self) {
        let written = self.onlooker.stderr();
        for (seen, kind) in self.seen.iter_mut().zip(LINES) {
            *seen = written.iter().filter(|line| line.starts_with(kind)).count();
        }
    }

    /// How often the robot was commanded to move after it had been stopped.
    fn moved_again(&self) -> usize {
        self.onlooker.stderr().iter().filter(|line| line.starts_with(LINES[0])).count() - self.seen[0]
    }

    fn supervisor(&self) -> Process {
        self.ros.node("eap_supervisor", &[])
    }

    fn executor(&self) -> Process {
        let parameters =
            ["--ros-args", "-p", "eap_executor:require_supervisor:=true", "-p", "eap_executor:require_scan:=false"];
        let executor = self.ros.example("sabotaged_executor", &parameters);
        executor.wait_for_line("eap_executor is up", SOON);
        executor
    }

    /// Twenty zeros in a row, and before them no more commands to move than those `on_their_way`.
    fn stays_at_rest(&mut self, what: &str, on_their_way: usize) {
        self.next(2);
        let moved = self.moved_again();
        assert!(moved <= on_their_way, "{what}: the robot was commanded to move again, {moved} times");
    }

    fn stop(&self, failed: Steady, stopped: Steady) -> Stop {
        Stop { took: stopped.since(failed), paused: self.machine.paused(failed, stopped) }
    }

    /// Times from a fault to zero. `fail` injects it, and `after` looks at what is left.
    fn run(
        &mut self,
        name: &str,
        on_their_way: usize,
        mut fail: impl FnMut(&mut Campaign, &mut Option<Process>, &mut Option<Process>) -> Steady,
        mut after: impl FnMut(&mut Campaign, Option<Process>, Option<Process>),
    ) {
        let trials = rounds(5, 100) as usize;
        let (mut took, mut attempts) = (Vec::new(), 0);
        while took.len() < trials {
            attempts += 1;
            assert!(attempts <= trials * ATTEMPTS, "{name}: this machine is too busy");
            self.catch_up();
            let (mut supervisor, mut executor) = (Some(self.supervisor()), Some(self.executor()));
            // On a busy machine one of the two may miss the other's beat before anything moves, and rightly stay stopped.
            if !self.onlooker.prints(LINES[0], self.seen[0] + 1, UNDER_WAY) {
                end(self, executor, supervisor);
                continue;
            }
            self.next(0);
            self.dice.wait_up_to(Duration::from_millis(60));
            let failed = fail(self, &mut executor, &mut supervisor);
            let stopped = self.next(1);
            self.stays_at_rest(name, on_their_way);
            after(self, executor, supervisor);
            // A zero from before the fault was an alarm of its own, for a pause that this machine made.
            if stopped > failed {
                took.push(self.stop(failed, stopped));
            }
        }
        report(name, &mut took);
    }
}

/// Appends to what `make soak` keeps.
fn report(name: &str, stops: &mut [Stop]) {
    stops.sort_unstable_by_key(|stop| stop.took);
    let ms = |stop: &Stop| stop.took.as_secs_f64() * 1e3;
    let mut line = String::new();
    let (count, middle, last) = (stops.len(), ms(&stops[stops.len() / 2]), ms(&stops[stops.len() - 1]));
    write!(
        line,
        "{name}: {count} of {count} ended at rest; zero after {middle:.1} ms (median), {last:.1} ms (longest)"
    )
    .unwrap();
    let paused = stops.iter().filter(|stop| stop.paused).count();
    if paused > 0 {
        let own = stops.iter().rfind(|stop| !stop.paused).map_or(0.0, ms);
        write!(
            line,
            "; {own:.1} ms without the {paused} in which this machine woke nobody for over {:?}",
            Machine::NOTED
        )
        .unwrap();
    }
    line.push('\n');
    print!("{line}");
    let path = root().join("target/faults.txt");
    File::options().create(true).append(true).open(path).unwrap().write_all(line.as_bytes()).unwrap();
}

fn signal(process: Option<&Process>, signal: Signal) -> Steady {
    let before = SystemSteady.now();
    process.unwrap().signal(signal);
    before
}

fn end(_: &mut Campaign, executor: Option<Process>, supervisor: Option<Process>) {
    if let Some(executor) = executor {
        executor.signal(Signal::CONT);
        executor.signal(Signal::KILL);
    }
    drop(supervisor);
}

#[test]
fn an_executor_that_is_killed_or_aborts() {
    let mut campaign = Campaign::new(1);
    for (name, with) in [("SIGKILL", Signal::KILL), ("abort", Signal::ABORT)] {
        campaign.run(name, 0, |_, executor, _| signal(executor.as_ref(), with), end);
    }
}

#[test]
fn an_executor_that_panics() {
    let panic = |campaign: &mut Campaign, _: &mut Option<Process>, _: &mut Option<Process>| {
        let before = SystemSteady.now();
        campaign.onlooker.tell("panic");
        before
    };
    Campaign::new(2).run("panic", 0, panic, end);
}

#[test]
fn an_executor_that_is_deadlocked() {
    let deadlock = |campaign: &mut Campaign, _: &mut Option<Process>, _: &mut Option<Process>| {
        let before = SystemSteady.now();
        campaign.onlooker.tell("deadlock");
        before
    };
    Campaign::new(3).run("deadlock", 0, deadlock, end);
}

/// It wakes up in another time: it must put out nothing but zero, and say why.
#[test]
fn an_executor_that_is_stopped_and_goes_on() {
    Campaign::new(4).run(
        "SIGSTOP, then SIGCONT",
        IN_FLIGHT,
        |_, executor, _| signal(executor.as_ref(), Signal::STOP),
        |campaign, executor, supervisor| {
            signal(executor.as_ref(), Signal::CONT);
            campaign.stays_at_rest("after SIGCONT", IN_FLIGHT);
            campaign.stays_at_rest("after SIGCONT", IN_FLIGHT);
            end(campaign, executor, supervisor);
        },
    );
}

/// It runs for 5 ms of every 135: too little for its heartbeat, and enough to do harm.
#[test]
fn an_executor_that_is_starved() {
    Campaign::new(5).run(
        "starved",
        IN_FLIGHT,
        |_, executor, _| {
            let before = signal(executor.as_ref(), Signal::STOP);
            for _ in 0..4 {
                std::thread::sleep(Duration::from_millis(130));
                signal(executor.as_ref(), Signal::CONT);
                std::thread::sleep(Duration::from_millis(5));
                signal(executor.as_ref(), Signal::STOP);
            }
            before
        },
        end,
    );
}

#[test]
fn a_supervisor_that_is_killed() {
    Campaign::new(6).run(
        "supervisor killed",
        0,
        |_, _, supervisor| {
            let before = signal(supervisor.as_ref(), Signal::KILL);
            supervisor.take().unwrap().finish(SOON);
            before
        },
        end,
    );
}

/// Something that beats like an executor, on a clock that steps forward or back by an hour.
#[test]
fn an_executor_that_lies_about_time() {
    let trials = rounds(5, 100) as usize;
    let (mut took, mut attempts) = (Vec::new(), 0);
    while took.len() < trials {
        attempts += 1;
        assert!(attempts <= trials * ATTEMPTS, "this machine is too busy to beat in time");
        let mut campaign = Campaign::new(7);
        let supervisor = campaign.supervisor();
        let mut liar = Place::of_robot(campaign.ros.domain(), "/").unwrap().connect().unwrap();
        // In good order, until the supervisor watches and the robot hears it.
        let deadline = SystemSteady.now().0 + SOON;
        let mut watching = false;
        while !watching {
            assert!(SystemSteady.now().0 < deadline, "the supervisor does not watch");
            liar.send(Role::Executor, Status::Running, SystemSteady.now(), Duration::ZERO).unwrap();
            std::thread::sleep(PERIOD);
            liar.receive(|beat| watching |= beat.unwrap().status == Status::Running).unwrap();
        }
        let hour = Duration::from_secs(3600);
        let now = SystemSteady.now();
        let lie = Steady(if took.len().is_multiple_of(2) { now.0 + hour } else { now.0.saturating_sub(hour) });
        liar.send(Role::Executor, Status::Running, lie, Duration::ZERO).unwrap();
        let stopped = campaign.next(1);
        // An alarm that this machine's own pause raised before the lie is another story.
        let why = supervisor.wait_for_line("the robot is stopped: ", SOON);
        campaign.stays_at_rest("clock step", 0);
        if why.contains("the executor's clock is wrong") {
            took.push(campaign.stop(now, stopped));
        }
    }
    report("clock step", &mut took);
}

#[test]
fn a_second_executor_on_the_robot_does_not_start() {
    let ros = Ros::new();
    let other = ros.home().join("other").display().to_string();
    let _first = ros.node("eap_executor", &[]);
    let second = ros.program("eap_executor", &["--ros-args", "-p", &format!("journal:={other}")]).finish(SOON);
    assert_eq!(second.status.code(), Some(1));
    let said = second.stderr.join("\n");
    assert!(said.contains("another executor runs for robot"), "{said}");
}
