//! Service clients that resend until answered or expired.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::interface::Service;

/// Requests of one client under way at a time; more overrun the server's queue of 10.
const IN_FLIGHT: usize = 8;
/// How long an answer may take before the request is sent again.
const RESEND: Duration = Duration::from_millis(500);

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// The time given has passed. Whether the request was carried out is unknown.
    #[error("{service}: no answer within {waited:?}; sent {sent} times")]
    Expired {
        /// The service.
        service: String,
        /// The time given.
        waited: Duration,
        /// How often it was sent.
        sent: u32,
    },
    /// The node is gone, or ROS refused to send.
    #[error("{service}: {reason}")]
    Ros {
        /// The service.
        service: String,
        /// What ROS says.
        reason: String,
    },
}

/// Calls one service from any thread but the spin thread. Clones share the limit of requests under way.
pub struct Client<T: Service> {
    inner: Arc<Mutex<r2r::Client<T>>>,
    service: Arc<str>,
    under_way: Arc<(Mutex<usize>, Condvar)>,
}

impl<T: Service> Clone for Client<T> {
    fn clone(&self) -> Self {
        Client {
            inner: Arc::clone(&self.inner),
            service: Arc::clone(&self.service),
            under_way: Arc::clone(&self.under_way),
        }
    }
}

impl<T: Service> Client<T> {
    pub(crate) fn new(inner: r2r::Client<T>, service: &str) -> Client<T> {
        Client { inner: Arc::new(Mutex::new(inner)), service: service.into(), under_way: Arc::default() }
    }

    /// Sends `request`, again and again while unanswered, for at most `lifetime`.
    ///
    /// Give the request a caller with a sequence where acting twice would matter.
    pub fn call(&self, request: &T::Request, lifetime: Duration) -> Result<T::Response, CallError> {
        let deadline = Instant::now() + lifetime;
        let expired = |sent| CallError::Expired { service: self.service.to_string(), waited: lifetime, sent };
        let _slot = self.slot(deadline).ok_or_else(|| expired(0))?;
        let mut waiting = Vec::new();
        let mut sent = 0;
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Err(expired(sent));
            }
            let future = {
                let client = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                client.request(request)
            };
            let ros = |e: r2r::Error| CallError::Ros { service: self.service.to_string(), reason: e.to_string() };
            waiting.push(Box::pin(future.map_err(ros)?));
            sent += 1;
            // Any of the requests sent so far may be the one that is answered.
            match wait_for(futures::future::select_all(waiting), RESEND.min(deadline - now)) {
                Ok((answer, ..)) => return answer.map_err(ros),
                Err(unanswered) => waiting = unanswered.into_inner(),
            }
        }
    }

    fn slot(&self, deadline: Instant) -> Option<Slot<'_>> {
        let (count, signal) = &*self.under_way;
        let mut under_way = count.lock().unwrap_or_else(PoisonError::into_inner);
        while *under_way >= IN_FLIGHT {
            let left = deadline.checked_duration_since(Instant::now())?;
            under_way = signal.wait_timeout(under_way, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *under_way += 1;
        Some(Slot(&self.under_way))
    }
}

struct Slot<'a>(&'a (Mutex<usize>, Condvar));

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.1.notify_one();
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread; gives it back when the time has passed.
fn wait_for<F: Future + Unpin>(mut future: F, limit: Duration) -> Result<F::Output, F> {
    let deadline = Instant::now() + limit;
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = pin!(&mut future).poll(&mut context) {
            return Ok(output);
        }
        match deadline.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => std::thread::park_timeout(left),
            _ => return Err(future),
        }
    }
}
