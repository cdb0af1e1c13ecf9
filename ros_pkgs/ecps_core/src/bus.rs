//! Two lanes inside a process. Telemetry may be lost, and is counted when it is. Commands are bounded, acknowledged
//! and never lost in silence: a full lane pushes back. A stop overtakes everything.
//!
//! ```
//! use ecps_core::bus::{Next, command_lane};
//!
//! let (sender, receiver) = command_lane::<&str, &str, &str>(8);
//! let ticket = sender.send("move").unwrap();
//! sender.stop("somebody pressed the button");
//! assert!(matches!(receiver.next(None), Some(Next::Stop("somebody pressed the button"))));
//! let Some(Next::Command(command)) = receiver.next(None) else { panic!() };
//! assert_eq!(command.command, "move");
//! command.answer("refused: stopped");
//! assert_eq!(ticket.wait(None), Ok("refused: stopped"));
//! ```

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;

/// Locks, also after a panic elsewhere: what these locks guard is whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a signal until `deadline`; false once that has passed.
fn wait_until<'a, T>(
    signal: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> (MutexGuard<'a, T>, bool) {
    match deadline {
        None => (signal.wait(guard).unwrap_or_else(PoisonError::into_inner), true),
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return (guard, false);
            }
            (signal.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0, true)
        }
    }
}

/// What a telemetry queue does when it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// Makes room by losing the oldest.
    DropOldest,
    /// Keeps what it has and loses the newest.
    DropNewest,
}

/// Counters of a telemetry queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TelemetryCounters {
    /// Items offered.
    pub offered: u64,
    /// Items lost.
    pub dropped: u64,
}

#[derive(Debug)]
struct TelemetryQueue<T> {
    items: VecDeque<T>,
    counters: TelemetryCounters,
    closed: bool,
}

/// A bounded queue that loses rather than waits, and counts what it lost. Clones share the queue.
#[derive(Debug)]
pub struct TelemetryLane<T> {
    capacity: usize,
    overflow: Overflow,
    shared: Arc<(Mutex<TelemetryQueue<T>>, Condvar)>,
}

impl<T> Clone for TelemetryLane<T> {
    fn clone(&self) -> Self {
        TelemetryLane { capacity: self.capacity, overflow: self.overflow, shared: Arc::clone(&self.shared) }
    }
}

impl<T> TelemetryLane<T> {
    /// A lane of at most `capacity` items (at least 1).
    pub fn new(capacity: usize, overflow: Overflow) -> TelemetryLane<T> {
        let capacity = capacity.max(1);
        let queue = TelemetryQueue {
            items: VecDeque::with_capacity(capacity.min(1024)),
            counters: TelemetryCounters::default(),
            closed: false,
        };
        TelemetryLane { capacity, overflow, shared: Arc::new((Mutex::new(queue), Condvar::new())) }
    }

    /// Offers an item. Never waits.
    pub fn offer(&self, item: T) {
        let mut queue = lock(&self.shared.0);
        queue.counters.offered += 1;
        if queue.items.len() >= self.capacity {
            queue.counters.dropped += 1;
            match self.overflow {
                Overflow::DropNewest => return,
                Overflow::DropOldest => {
                    queue.items.pop_front();
                }
            }
        }
        queue.items.push_back(item);
        self.shared.1.notify_one();
    }

    /// Takes the oldest item, waiting at most `limit` (for ever when none). None: time passed, or closed and empty.
    pub fn take(&self, limit: Option<Duration>) -> Option<T> {
        let deadline = limit.map(|l| Instant::now() + l);
        let mut queue = lock(&self.shared.0);
        loop {
            if let Some(item) = queue.items.pop_front() {
                return Some(item);
            }
            if queue.closed {
                return None;
            }
            let (guard, in_time) = wait_until(&self.shared.1, queue, deadline);
            queue = guard;
            if !in_time {
                return queue.items.pop_front();
            }
        }
    }

    /// Ends waiting for good; what is queued can still be taken.
    pub fn close(&self) {
        lock(&self.shared.0).closed = true;
        self.shared.1.notify_all();
    }

    /// The counters so far.
    pub fn counters(&self) -> TelemetryCounters {
        lock(&self.shared.0).counters
    }

    /// Items waiting.
    pub fn depth(&self) -> usize {
        lock(&self.shared.0).items.len()
    }
}

/// Why a command was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError {
    /// The lane is full; the command was not accepted.
    #[error("{depth} commands are waiting, and the lane holds {capacity}")]
    Full {
        /// Commands waiting.
        depth: usize,
        /// Most that may wait.
        capacity: usize,
    },
    /// Nobody takes commands any more.
    #[error("the receiver of commands is gone")]
    Closed,
}

/// Why an answer did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// The time given has passed; the command may still be carried out.
    #[error("no answer within the time given; whether the command was carried out is unknown")]
    Timeout,
    /// The receiver dropped the command without an answer.
    #[error("the receiver is gone, and did not answer")]
    Abandoned,
}

#[derive(Debug)]
enum Answer<A> {
    Waiting,
    Given(A),
    Abandoned,
}

type AnswerSlot<A> = Arc<(Mutex<Answer<A>>, Condvar)>;

/// The sender's side of one command.
#[derive(Debug)]
#[must_use = "a command's answer says whether it was carried out"]
pub struct Ticket<A>(AnswerSlot<A>);

impl<A> Ticket<A> {
    /// Waits for the answer, at most `limit` (for ever when none).
    pub fn wait(self, limit: Option<Duration>) -> Result<A, AnswerError> {
        let deadline = limit.map(|l| Instant::now() + l);
        let mut answer = lock(&self.0.0);
        loop {
            match std::mem::replace(&mut *answer, Answer::Waiting) {
                Answer::Given(given) => return Ok(given),
                Answer::Abandoned => return Err(AnswerError::Abandoned),
                Answer::Waiting => {
                    let (guard, in_time) = wait_until(&self.0.1, answer, deadline);
                    answer = guard;
                    if !in_time {
                        return Err(AnswerError::Timeout);
                    }
                }
            }
        }
    }
}

/// A command on the receiver's side; dropping it unanswered tells the sender so.
#[derive(Debug)]
pub struct Pending<C, A> {
    /// What is asked.
    pub command: C,
    slot: Option<AnswerSlot<A>>,
}

impl<C, A> Pending<C, A> {
    /// Answers the sender.
    pub fn answer(mut self, answer: A) {
        self.settle(Answer::Given(answer));
    }

    fn settle(&mut self, answer: Answer<A>) {
        if let Some(slot) = self.slot.take() {
            *lock(&slot.0) = answer;
            slot.1.notify_all();
        }
    }
}

impl<C, A> Drop for Pending<C, A> {
    fn drop(&mut self) {
        self.settle(Answer::Abandoned);
    }
}

/// What comes out of a command lane next.
#[derive(Debug)]
pub enum Next<C, A, S> {
    /// A stop. Comes before every command, whatever the order of sending.
    Stop(S),
    /// A command, in the order of sending.
    Command(Pending<C, A>),
}

#[derive(Debug)]
struct CommandQueue<C, A, S> {
    stop: Option<S>,
    commands: VecDeque<Pending<C, A>>,
    closed: bool,
}

#[derive(Debug)]
struct CommandShared<C, A, S> {
    capacity: usize,
    queue: Mutex<CommandQueue<C, A, S>>,
    signal: Condvar,
}

/// Puts commands into a lane. Clones send into the same lane.
#[derive(Debug)]
pub struct CommandSender<C, A, S>(Arc<CommandShared<C, A, S>>);

impl<C, A, S> Clone for CommandSender<C, A, S> {
    fn clone(&self) -> Self {
        CommandSender(Arc::clone(&self.0))
    }
}

/// Takes commands out of a lane. Dropping it abandons what is waiting.
#[derive(Debug)]
pub struct CommandReceiver<C, A, S>(Arc<CommandShared<C, A, S>>);

/// A lane for at most `capacity` commands of type `C`, answered by `A`, and for stops of type `S`.
pub fn command_lane<C, A, S>(capacity: usize) -> (CommandSender<C, A, S>, CommandReceiver<C, A, S>) {
    let queue = CommandQueue { stop: None, commands: VecDeque::new(), closed: false };
    let shared =
        Arc::new(CommandShared { capacity: capacity.max(1), queue: Mutex::new(queue), signal: Condvar::new() });
    (CommandSender(Arc::clone(&shared)), CommandReceiver(shared))
}

impl<C, A, S> CommandSender<C, A, S> {
    /// Sends a command. A full lane pushes back at once; nothing accepted is ever dropped.
    pub fn send(&self, command: C) -> Result<Ticket<A>, SendError> {
        let mut queue = lock(&self.0.queue);
        if queue.closed {
            return Err(SendError::Closed);
        }
        if queue.commands.len() >= self.0.capacity {
            return Err(SendError::Full { depth: queue.commands.len(), capacity: self.0.capacity });
        }
        let slot: AnswerSlot<A> = Arc::new((Mutex::new(Answer::Waiting), Condvar::new()));
        queue.commands.push_back(Pending { command, slot: Some(Arc::clone(&slot)) });
        self.0.signal.notify_one();
        Ok(Ticket(slot))
    }

    /// Sends a stop: needs no room, waits for nobody. The first cause stays until it is taken.
    pub fn stop(&self, cause: S) {
        lock(&self.0.queue).stop.get_or_insert(cause);
        self.0.signal.notify_all();
    }

    /// Commands waiting.
    pub fn depth(&self) -> usize {
        lock(&self.0.queue).commands.len()
    }
}

impl<C, A, S> CommandReceiver<C, A, S> {
    /// Takes what comes next, waiting at most `limit` (for ever when none).
    pub fn next(&self, limit: Option<Duration>) -> Option<Next<C, A, S>> {
        let deadline = limit.map(|l| Instant::now() + l);
        let mut queue = lock(&self.0.queue);
        loop {
            if let Some(cause) = queue.stop.take() {
                return Some(Next::Stop(cause));
            }
            if let Some(command) = queue.commands.pop_front() {
                return Some(Next::Command(command));
            }
            let (guard, in_time) = wait_until(&self.0.signal, queue, deadline);
            queue = guard;
            if !in_time {
                return None;
            }
        }
    }
}

impl<C, A, S> Drop for CommandReceiver<C, A, S> {
    fn drop(&mut self) {
        let abandoned = {
            let mut queue = lock(&self.0.queue);
            queue.closed = true;
            std::mem::take(&mut queue.commands)
        };
        drop(abandoned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Option<Duration> = Some(Duration::from_secs(10));

    #[test]
    fn telemetry_loses_the_oldest_and_counts_it() {
        let lane = TelemetryLane::new(2, Overflow::DropOldest);
        for i in 0..5 {
            lane.offer(i);
        }
        assert_eq!((lane.take(LIMIT), lane.take(LIMIT)), (Some(3), Some(4)));
        assert_eq!(lane.counters(), TelemetryCounters { offered: 5, dropped: 3 });
    }

    #[test]
    fn telemetry_that_keeps_the_oldest_counts_too() {
        let lane = TelemetryLane::new(2, Overflow::DropNewest);
        for i in 0..5 {
            lane.offer(i);
        }
        assert_eq!((lane.take(LIMIT), lane.take(LIMIT)), (Some(0), Some(1)));
        assert_eq!(lane.counters().dropped, 3);
        lane.close();
        assert_eq!(lane.take(None), None);
    }

    #[test]
    fn a_stop_overtakes_every_command_and_needs_no_room() {
        let (sender, receiver) = command_lane::<u32, u32, &str>(3);
        let tickets: Vec<_> = (0..3).map(|i| sender.send(i).unwrap()).collect();
        assert_eq!(sender.send(3).unwrap_err(), SendError::Full { depth: 3, capacity: 3 });
        sender.stop("first");
        sender.stop("second");
        assert!(matches!(receiver.next(LIMIT), Some(Next::Stop("first"))));
        for expected in 0..3 {
            let Some(Next::Command(pending)) = receiver.next(LIMIT) else { panic!("a command is missing") };
            assert_eq!(pending.command, expected);
            pending.answer(expected * 10);
        }
        let answers: Vec<_> = tickets.into_iter().map(|t| t.wait(LIMIT)).collect();
        assert_eq!(answers, [Ok(0), Ok(10), Ok(20)]);
    }

    #[test]
    fn an_unanswered_command_is_never_lost_in_silence() {
        let (sender, receiver) = command_lane::<u32, u32, ()>(4);
        let dropped = sender.send(1).unwrap();
        let waiting = sender.send(2).unwrap();
        let Some(Next::Command(pending)) = receiver.next(LIMIT) else { panic!("a command is missing") };
        drop(pending);
        drop(receiver);
        assert_eq!(dropped.wait(LIMIT), Err(AnswerError::Abandoned));
        assert_eq!(waiting.wait(LIMIT), Err(AnswerError::Abandoned));
        assert_eq!(sender.send(3).unwrap_err(), SendError::Closed);
    }

    #[test]
    fn every_command_of_many_senders_is_answered_once() {
        let (sender, receiver) = command_lane::<u64, u64, ()>(16);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..8u64)
                .map(|worker| {
                    let sender = sender.clone();
                    scope.spawn(move || {
                        (0..500u64).map(|i| worker * 1000 + i).fold(0u64, |refused, n| match sender.send(n) {
                            Ok(ticket) => {
                                assert_eq!(ticket.wait(LIMIT), Ok(n + 1));
                                refused
                            }
                            Err(_) => refused + 1,
                        })
                    })
                })
                .collect();
            let mut answered = 0u64;
            while answered < 8 * 500 {
                let Some(Next::Command(pending)) = receiver.next(Some(Duration::from_secs(1))) else { break };
                let n = pending.command;
                pending.answer(n + 1);
                answered += 1;
            }
            let refused: u64 = workers.into_iter().map(|w| w.join().unwrap()).sum();
            assert_eq!(answered + refused, 8 * 500);
        });
    }
}
