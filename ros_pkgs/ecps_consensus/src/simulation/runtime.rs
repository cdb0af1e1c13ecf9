//! The simulated world as openraft and the members know it: clocks, waiting, randomness, tasks and workers.

use std::future::Future;
use std::io;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use openraft::AsyncRuntime;
use openraft::async_runtime::AsyncOneshotSendExt;
use rand_pcg::rand_core::Rng as _;
use tokio::sync::{mpsc, oneshot};

use super::executor::{JoinHandle, below, disks_are_slow, spawn_as, world};
use crate::runtime::{Job, Runtime, Worker};

/// A moment, as nobody's clock has it. How far two are apart is by the clock of whoever looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SimInstant(u64);

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

impl Add<Duration> for SimInstant {
    type Output = SimInstant;
    fn add(self, other: Duration) -> SimInstant {
        SimInstant(self.0.saturating_add(truly(other)))
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
        SimInstant(self.0.saturating_sub(truly(other)))
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
        let apart = self.0.saturating_sub(other.0);
        Duration::from_nanos(world(|w| scaled(apart, w.rate(), 1000)))
    }
}

impl openraft::Instant for SimInstant {
    fn now() -> SimInstant {
        world(|w| SimInstant(w.now))
    }
}

/// What a time by the clock of whoever runs takes, nanoseconds.
fn truly(duration: Duration) -> u64 {
    world(|w| scaled(nanos(duration), 1000, w.rate()))
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
                w.wake_at(at, context.waker().clone());
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
        // Never shorter than it was asked for, or time could stand still.
        let takes = truly(duration) + 1;
        world(|w| Sleep { at: w.now.saturating_add(takes), waker: None })
    }

    fn sleep_until(deadline: SimInstant) -> Sleep {
        Sleep { at: deadline.0, waker: None }
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
                let most = if disks_are_slow() { 20_000 } else { 1_500 };
                SimRuntime::sleep(Duration::from_micros(10 + below(most))).await;
                job();
            }
        }));
        Ok(Worker(Arc::new(move |job| drop(sender.send(job)))))
    }
}
