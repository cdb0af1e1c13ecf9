//! Services whose requests are answered from any thread, and act once however often they are sent.
//!
//! ROS services drop requests and answers in silence, so clients resend. A request with a caller's id and sequence that
//! was answered before gets the same answer again; one that is still being worked on waits for the answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ecps_core::clock::{SteadyClock, SystemSteady};
use ecps_core::id::{AnswerCache, RequestKey, Seen};
use r2r::ServiceRequest;

use crate::interface::Service;

/// Answers remembered per service, and for how long: longer than any client resends.
const REMEMBERED: usize = 4096;
const RETENTION: Duration = Duration::from_secs(60);

struct Ledger<T: Service> {
    answers: AnswerCache<T::Response>,
    repeated: HashMap<RequestKey, Vec<ServiceRequest<T>>>,
}

/// The memory of one service.
pub(crate) struct Once<T: Service>(Arc<Mutex<Ledger<T>>>);

impl<T: Service> Once<T> {
    pub(crate) fn new() -> Once<T> {
        let ledger = Ledger { answers: AnswerCache::new(REMEMBERED, RETENTION), repeated: HashMap::new() };
        Once(Arc::new(Mutex::new(ledger)))
    }

    /// A reply to act upon, or none when the request is a repetition.
    pub(crate) fn admit(&self, request: ServiceRequest<T>, key: Option<RequestKey>) -> Option<Reply<T>> {
        let Some(key) = key else { return Some(Reply::plain(request)) };
        let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match ledger.answers.begin(&key, SystemSteady.now()) {
            Seen::New => Some(Reply { request: Some(request), once: Some((Arc::clone(&self.0), key)) }),
            Seen::Pending => {
                ledger.repeated.entry(key).or_default().push(request);
                None
            }
            Seen::Answered(answer) => {
                drop(ledger);
                respond(request, answer);
                None
            }
        }
    }
}

/// The answer that a request waits for. May be given from any thread; dropping it unanswered lets a repetition act.
pub struct Reply<T: Service> {
    request: Option<ServiceRequest<T>>,
    once: Option<(Arc<Mutex<Ledger<T>>>, RequestKey)>,
}

impl<T: Service> Reply<T> {
    fn plain(request: ServiceRequest<T>) -> Reply<T> {
        Reply { request: Some(request), once: None }
    }

    /// Answers the request and all its repetitions.
    pub fn send(mut self, response: T::Response) {
        if let Some((ledger, key)) = self.once.take() {
            let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.answers.finish(&key, response.clone(), SystemSteady.now());
            for repeated in ledger.repeated.remove(&key).unwrap_or_default() {
                respond(repeated, response.clone());
            }
        }
        if let Some(request) = self.request.take() {
            respond(request, response);
        }
    }
}

impl<T: Service> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some((ledger, key)) = self.once.take() {
            let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.answers.abandon(&key);
            ledger.repeated.remove(&key);
        }
    }
}

pub(crate) fn respond<T: Service>(request: ServiceRequest<T>, response: T::Response) {
    if let Err(error) = request.respond(response) {
        tracing::warn!("a service's answer could not be sent: {error}");
    }
}
