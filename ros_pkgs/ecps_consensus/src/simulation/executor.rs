//! The simulation's executor: one queue, one clock, one seeded generator, on the thread of the test alone.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng as _;

/// Whose task it is: a member, or 0 for clients and the schedule.
pub(crate) type Owner = u64;

pub(crate) const START: u64 = 1_000_000_000_000;
/// Longest run, simulated nanoseconds.
const LONGEST: u64 = 400_000_000_000;

struct Task {
    owner: Owner,
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    waker: Arc<TaskWaker>,
}

struct TaskWaker {
    id: u64,
    queued: AtomicBool,
    ready: Arc<Mutex<Vec<u64>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().unwrap().push(self.id);
        }
    }
}

/// Wakes at a time; of several at the same time, the first made first.
struct Timer {
    at: u64,
    number: u64,
    waker: Waker,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Timer) -> bool {
        self.number == other.number
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Timer) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Timer) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// All there is of a simulated world.
pub(crate) struct World {
    /// Nanoseconds.
    pub(crate) now: u64,
    pub(crate) dice: Pcg64,
    /// Counts tasks and timers.
    number: u64,
    /// Whose task runs.
    pub(crate) owner: Owner,
    /// Clock rates in thousandths.
    rates: BTreeMap<Owner, u64>,
    tasks: BTreeMap<u64, Task>,
    timers: BinaryHeap<Reverse<Timer>>,
    ready: Arc<Mutex<Vec<u64>>>,
    slow_disks: bool,
}

impl World {
    /// Thousandths of the true speed at which the clock of whoever runs goes.
    pub(crate) fn rate(&self) -> u64 {
        self.rates.get(&self.owner).copied().unwrap_or(1000)
    }

    pub(crate) fn wake_at(&mut self, at: u64, waker: Waker) {
        self.number += 1;
        self.timers.push(Reverse(Timer { at, number: self.number, waker }));
    }
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// Works on the world of this thread.
pub(crate) fn world<T>(work: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with(|world| work(world.borrow_mut().as_mut().expect("outside the simulation")))
}

/// Number below `limit`, from the seed.
pub(crate) fn below(limit: u64) -> u64 {
    world(|w| w.dice.next_u64() % limit.max(1))
}

/// Whether something of `percent` chance happens.
pub(crate) fn chance(percent: u64) -> bool {
    below(100) < percent
}

/// Time since the beginning, as nobody's clock has it.
pub(crate) fn elapsed() -> Duration {
    world(|w| Duration::from_nanos(w.now - START))
}

/// Lets a member's clock run at `rate` thousandths of the true speed.
pub(crate) fn set_rate(owner: Owner, rate: u64) {
    world(|w| w.rates.insert(owner, rate));
}

/// Ends all that a member does, at once.
pub(crate) fn kill(owner: Owner) {
    let dead: Vec<Task> = world(|w| {
        let ids: Vec<u64> = w.tasks.iter().filter(|(_, task)| task.owner == owner).map(|(id, _)| *id).collect();
        ids.iter().filter_map(|id| w.tasks.remove(id)).collect()
    });
    drop(dead);
}

pub(crate) fn spawn_as<T: Send + 'static>(
    owner: Owner,
    future: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let slot = Arc::new(Mutex::new(Slot { value: None, dead: false, waker: None }));
    let end = End(Arc::clone(&slot));
    let wrapped = async move {
        let value = future.await;
        end.0.lock().unwrap().value = Some(value);
        drop(end);
    };
    world(|w| {
        w.number += 1;
        let waker = Arc::new(TaskWaker { id: w.number, queued: AtomicBool::new(false), ready: Arc::clone(&w.ready) });
        Arc::clone(&waker).wake();
        w.tasks.insert(w.number, Task { owner, future: Box::pin(wrapped), waker });
    });
    JoinHandle(slot)
}

/// Runs `main` in a world of its own, made from `seed`, until it is done. Everything else ends with it.
pub(crate) fn run<T: Send + 'static>(seed: u64, main: impl Future<Output = T> + Send + 'static) -> T {
    let dice = Pcg64::new(seed.into(), 7);
    WORLD.with(|world| {
        *world.borrow_mut() = Some(World {
            now: START,
            dice,
            number: 0,
            owner: 0,
            rates: BTreeMap::new(),
            tasks: BTreeMap::new(),
            timers: BinaryHeap::new(),
            ready: Arc::default(),
            slow_disks: false,
        });
    });
    // Also after a panic, so that the next world begins empty.
    struct Clear;
    impl Drop for Clear {
        fn drop(&mut self) {
            let tasks = WORLD.with(|w| w.borrow_mut().as_mut().map(|w| std::mem::take(&mut w.tasks)));
            drop(tasks);
            WORLD.with(|w| w.borrow_mut().take());
        }
    }
    let _clear = Clear;
    let handle = spawn_as(0, main);
    loop {
        if let Some(value) = handle.0.lock().unwrap().value.take() {
            return value;
        }
        step();
    }
}

/// Polls one task that is ready, of all those any; or lets time pass until one is.
fn step() {
    let taken = world(|w| {
        let mut ready = w.ready.lock().unwrap();
        if ready.is_empty() {
            return None;
        }
        let place = (w.dice.next_u64() % ready.len() as u64) as usize;
        let id = ready.remove(place);
        drop(ready);
        let task = w.tasks.remove(&id);
        w.owner = task.as_ref().map_or(0, |task| task.owner);
        Some(task)
    });
    match taken {
        Some(Some(mut task)) => {
            task.waker.queued.store(false, Ordering::Relaxed);
            let waker = Waker::from(Arc::clone(&task.waker));
            let done = task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            let (id, rest) = (task.waker.id, (!done).then_some(task));
            world(|w| {
                w.owner = 0;
                rest.map(|task| w.tasks.insert(id, task))
            });
        }
        Some(None) => {}
        None => {
            let waker = world(|w| {
                let Reverse(timer) = w.timers.pop().expect("everything waits for nothing");
                w.now = w.now.max(timer.at);
                assert!(w.now - START < LONGEST, "the schedule does not come to an end");
                timer.waker
            });
            waker.wake();
        }
    }
}

struct Slot<T> {
    value: Option<T>,
    dead: bool,
    waker: Option<Waker>,
}

/// Tells whoever waits that the task ended, or was ended.
struct End<T>(Arc<Mutex<Slot<T>>>);

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        let mut slot = self.0.lock().unwrap();
        slot.dead = true;
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }
}

/// Waits for a task.
pub(crate) struct JoinHandle<T>(Arc<Mutex<Slot<T>>>);

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, &'static str>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.0.lock().unwrap();
        if let Some(value) = slot.value.take() {
            return Poll::Ready(Ok(value));
        }
        if slot.dead {
            return Poll::Ready(Err("the task was killed"));
        }
        slot.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Makes all disks slow, or quick again.
pub(crate) fn set_slow_disks(slow: bool) {
    world(|w| w.slow_disks = slow);
}

pub(crate) fn disks_are_slow() -> bool {
    world(|w| w.slow_disks)
}
