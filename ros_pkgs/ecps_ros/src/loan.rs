//! Messages of fixed size in memory that the middleware lends: written where they are sent from, and read where they came.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use r2r::{NativeMsg, WrappedTypesupport};

use crate::interface::Message;

/// Publishes messages of one type in memory that the middleware lends.
#[derive(Debug, Clone)]
pub struct LoanPublisher<T: Message> {
    inner: r2r::Publisher<T>,
    lends: bool,
}

impl<T: Message> LoanPublisher<T> {
    pub(crate) fn new(inner: r2r::Publisher<T>) -> LoanPublisher<T> {
        // Only asking for it tells.
        let lends = inner.borrow_loaned_message().is_ok_and(|loan| loan.is_loaned);
        LoanPublisher { inner, lends }
    }

    /// Whether the middleware lends memory for this type at all.
    pub fn lends(&self) -> bool {
        self.lends
    }

    /// Publishes what `write` makes of a message that holds whatever its memory held before.
    ///
    /// # Errors
    /// In words: where nothing is lent at the moment, or nothing can be sent. `write` may not have been called.
    pub fn try_publish(&self, write: impl FnOnce(&mut <T as WrappedTypesupport>::CStruct)) -> Result<(), String> {
        let mut loan = self.inner.borrow_loaned_message().map_err(|error| error.to_string())?;
        write(&mut loan);
        self.inner.publish_native(&mut loan).map_err(|error| error.to_string())
    }

    /// Subscribers matched in other processes and in this one.
    pub fn subscribers(&self) -> usize {
        self.inner.get_inter_process_subscription_count().unwrap_or(0)
    }
}

/// Messages as they come, in memory of the middleware where it lends that to subscribers.
pub(crate) struct Loans<T: Message>(Box<dyn Stream<Item = NativeMsg<T>> + Unpin>);

impl<T: Message> Loans<T> {
    pub(crate) fn new(inner: impl Stream<Item = NativeMsg<T>> + Unpin + 'static) -> Loans<T> {
        Loans(Box::new(inner))
    }
}

impl<T: Message> Stream for Loans<T> {
    type Item = NativeMsg<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<NativeMsg<T>>> {
        self.0.poll_next_unpin(context)
    }
}

// SAFETY: `inner` is the receiving end of r2r's channel, whose messages alone keep it from being Send. Each is a pointer to
// memory that is its own until it is dropped, and dropping it is a call to rcl with the subscription's handle. The node that
// owns the subscription moves between threads together with this, and is used by one of them at a time.
#[allow(unsafe_code, reason = "r2r does not say of a native message that it may move between threads")]
unsafe impl<T: Message> Send for Loans<T> {}
