//! An answer on its way from a thread of the memory.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::error::Unavailable;

/// An answer on its way. Await it on any executor, or [`wait`](Reply::wait) for it in plain code. The request was handed
/// over when the reply was made: dropping the reply does not take it back.
#[derive(Debug)]
#[must_use = "a reply nobody awaits may hold a refusal"]
pub struct Reply<T, E>(oneshot::Receiver<Result<T, E>>);

/// The end that answers.
pub(crate) type Answering<T, E> = oneshot::Sender<Result<T, E>>;

impl<T, E: From<Unavailable>> Reply<T, E> {
    pub(crate) fn new() -> (Answering<T, E>, Self) {
        let (answering, reply) = oneshot::channel();
        (answering, Reply(reply))
    }

    pub(crate) fn refused(error: E) -> Self {
        let (answering, reply) = Self::new();
        // The receiver is right here, so this cannot fail.
        let _ = answering.send(Err(error));
        reply
    }

    /// Blocks until the answer is there. Not for async code: tokio panics where this is called inside its runtime.
    pub fn wait(self) -> Result<T, E> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(Unavailable::Closed.into()))
    }
}

impl<T, E: From<Unavailable>> Future for Reply<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|got| got.unwrap_or_else(|_| Err(Unavailable::Closed.into())))
    }
}
