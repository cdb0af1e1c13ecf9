//! The simulation's executor: one queue, one clock, one seeded generator, on the thread of the test alone.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::io;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use openraft::AsyncRuntime;
use openraft::async_runtime::AsyncOneshotSendExt;
use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng as _;
use tokio::sync::{mpsc, oneshot};

use crate::runtime::{Job, Runtime, Worker};

/// Whose task it is: a member, or 0 for clients and the schedule.
pub(crate) type Owner = u64;

const START: u64 = 1_000_000_000_000;
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

struct World {
    now: u64,
    dice: Pcg64,
    number: u64,
    owner: Owner,
    /// Clock rates in thousandths.
    rates: BTreeMap<Owner, u64>,
    tasks: BTreeMap<u64, Task>,
    timers: BinaryHeap<Reverse<Timer>>,
    ready: Arc<Mutex<Vec<u64>>>,
    slow_disks: bool,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

fn world<T>(work: impl FnOnce(&mut World) -> T) -> T {
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

/// A moment on the clock of whoever looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SimInstant(u64);

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

impl Add<Duration> for SimInstant {
    type Output = SimInstant;
    fn add(self, other: Duration) -> SimInstant {
        SimInstant(self.0.saturating_add(nanos(other)))
    }
}

impl AddAssign<Duration> for SimInstant {
    fn add_assign(&mut self, other: Duration) {
        *self = *self + other;
    }
}

impl Sub<Duration> for SimInstant {
    type Output = SimInstant;
    fn sub(self, other: Duration) -> SimInstant {
        SimInstant(self.0.saturating_sub(nanos(other)))
    }
}

impl SubAssign<Duration> for SimInstant {
    fn sub_assign(&mut self, other: Duration) {
        *self = *self - other;
    }
}

impl Sub<SimInstant> for SimInstant {
    type Output = Duration;
    fn sub(self, other: SimInstant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(other.0))
    }
}

impl openraft::Instant for SimInstant {
    fn now() -> SimInstant {
        world(|w| {
            let rate = w.rates.get(&w.owner).copied().unwrap_or(1000);
            SimInstant(START + scaled(w.now - START, rate, 1000))
        })
    }
}

fn scaled(value: u64, by: u64, of: u64) -> u64 {
    u64::try_from(u128::from(value) * u128::from(by) / u128::from(of)).unwrap_or(u64::MAX)
}

/// Time to pass.
pub(crate) struct Sleep {
    at: u64,
    waker: Option<Waker>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        let known = self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        let waiting = world(|w| {
            if w.now >= at {
                return false;
            }
            if !known {
                w.number += 1;
                w.timers.push(Reverse(Timer { at, number: w.number, waker: context.waker().clone() }));
            }
            true
        });
        if waiting && !known {
            self.waker = Some(context.waker().clone());
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    }
}

pub(crate) struct Timeout<F> {
    future: Pin<Box<F>>,
    sleep: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, &'static str>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(value) = self.future.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        Pin::new(&mut self.sleep).poll(context).map(|()| Err("the time is over"))
    }
}

/// The generator of the world, as openraft wants it.
pub(crate) struct Dice;

impl rand08::RngCore for Dice {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        world(|w| w.dice.next_u64())
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = self.next_u64() as u8);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand08::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

pub(crate) struct Sender<T>(oneshot::Sender<T>);

impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

impl<T: Send> AsyncOneshotSendExt<T> for Sender<T> {
    fn send(self, value: T) -> Result<(), T> {
        self.0.send(value)
    }
}

/// Runs members in a simulated world.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SimRuntime;

impl AsyncRuntime for SimRuntime {
    type JoinError = &'static str;
    type JoinHandle<T: Send + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = SimInstant;
    type TimeoutError = &'static str;
    type Timeout<R, T: Future<Output = R> + Send> = Timeout<T>;
    type ThreadLocalRng = Dice;
    type OneshotSender<T: Send> = Sender<T>;
    type OneshotReceiver<T: Send> = oneshot::Receiver<T>;
    type OneshotReceiverError = oneshot::error::RecvError;

    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        let owner = world(|w| w.owner);
        spawn_as(owner, future)
    }

    fn sleep(duration: Duration) -> Sleep {
        world(|w| {
            let rate = w.rates.get(&w.owner).copied().unwrap_or(1000);
            Sleep { at: w.now.saturating_add(scaled(nanos(duration), 1000, rate)), waker: None }
        })
    }

    fn sleep_until(deadline: SimInstant) -> Sleep {
        world(|w| {
            let rate = w.rates.get(&w.owner).copied().unwrap_or(1000);
            Sleep { at: START + scaled(deadline.0.saturating_sub(START), 1000, rate) + 1, waker: None }
        })
    }

    fn timeout<R, F: Future<Output = R> + Send>(duration: Duration, future: F) -> Timeout<F> {
        Timeout { future: Box::pin(future), sleep: Self::sleep(duration) }
    }

    fn timeout_at<R, F: Future<Output = R> + Send>(deadline: SimInstant, future: F) -> Timeout<F> {
        Timeout { future: Box::pin(future), sleep: Self::sleep_until(deadline) }
    }

    fn is_panic(_: &&'static str) -> bool {
        false
    }

    fn thread_rng() -> Dice {
        Dice
    }

    fn oneshot<T: Send>() -> (Sender<T>, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Sender(sender), receiver)
    }
}

impl Runtime for SimRuntime {
    /// A task of the member's, which a crash ends between any two jobs.
    fn worker(_: &str) -> io::Result<Worker> {
        let (sender, mut jobs) = mpsc::unbounded_channel::<Job>();
        drop(SimRuntime::spawn(async move {
            while let Some(job) = jobs.recv().await {
                let most = if world(|w| w.slow_disks) { 20_000 } else { 1_500 };
                SimRuntime::sleep(Duration::from_micros(10 + below(most))).await;
                job();
            }
        }));
        Ok(Worker(Arc::new(move |job| drop(sender.send(job)))))
    }
}

/// Makes all disks slow, or quick again.
pub(crate) fn set_slow_disks(slow: bool) {
    world(|w| w.slow_disks = slow);
}
