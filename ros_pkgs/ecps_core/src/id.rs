//! Who asks, and which request it is: the plain form of `ecps_msgs/Caller`, and the memory that keeps a resent
//! request from acting twice.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use thiserror::Error;

use crate::check::{self, CheckError};
use crate::clock::{Stamp, Steady};
use crate::limits;

/// Identity of a request: the same key means the same request, sent again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// Who asks.
    pub caller: String,
    /// Which of the caller's requests.
    pub sequence: u64,
    /// The end of its token, where the signature is: who has none neither learns another's answer nor gives it one.
    pub token: String,
}

/// Who asks, when, for how long, and under which trace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// The asking node's fully qualified name, or a device id.
    pub id: String,
    /// Number of the request; 0 asks for no deduplication.
    pub sequence: u64,
    /// When the request was first made.
    pub stamp: Stamp,
    /// How long after `stamp` it may be acted upon; zero: the receiver's default.
    pub lifetime: Duration,
    /// W3C trace context, or empty.
    pub traceparent: String,
    /// Access token, or empty. Never logged.
    pub token: String,
}

/// Why a request is not acted upon.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum CallerError {
    /// A field that is malformed or too long.
    #[error(transparent)]
    Invalid(#[from] CheckError),
    /// Trace context that is not W3C's.
    #[error("caller.traceparent is '{0}', and must have the form 00-<32 hex>-<16 hex>-<2 hex>")]
    Traceparent(String),
    /// Older than its lifetime.
    #[error("the request is {age_ms} ms old, and its lifetime is {lifetime_ms} ms")]
    Expired {
        /// Age on arrival, milliseconds.
        age_ms: i64,
        /// Lifetime, milliseconds.
        lifetime_ms: u128,
    },
    /// Stamped in the future by more than clocks differ.
    #[error("the request is stamped {ahead_ms} ms in the future, and {tolerance_ms} ms are tolerated")]
    FromTheFuture {
        /// How far ahead, milliseconds.
        ahead_ms: i64,
        /// Tolerance, milliseconds.
        tolerance_ms: u128,
    },
}

/// Bytes of a token's end that tell it from others: more than a signature of 64 bytes in base64.
const TOKEN_END: usize = 96;

/// How far ahead of ours another robot's clock may be.
pub const CLOCK_TOLERANCE: Duration = Duration::from_millis(500);

impl Caller {
    /// Checks form and age. `default_lifetime` holds where the caller sets none.
    pub fn check(&self, now: Stamp, default_lifetime: Duration) -> Result<(), CallerError> {
        check::name("caller.id", &self.id, limits::NAME_BYTES)?;
        check::at_most("caller.token", self.token.len(), limits::TOKEN_BYTES, "bytes")?;
        if !self.traceparent.is_empty() && !is_traceparent(&self.traceparent) {
            return Err(CallerError::Traceparent(self.traceparent.chars().take(64).collect()));
        }
        if self.stamp.is_zero() {
            // Not set: the age cannot be told, and a command line user need not type a time.
            return Ok(());
        }
        let lifetime = if self.lifetime.is_zero() { default_lifetime } else { self.lifetime };
        let age_ns = now.nanos_since(self.stamp);
        if age_ns > i64::try_from(lifetime.as_nanos()).unwrap_or(i64::MAX) {
            return Err(CallerError::Expired { age_ms: age_ns / 1_000_000, lifetime_ms: lifetime.as_millis() });
        }
        if age_ns < -(CLOCK_TOLERANCE.as_nanos() as i64) {
            return Err(CallerError::FromTheFuture {
                ahead_ms: -age_ns / 1_000_000,
                tolerance_ms: CLOCK_TOLERANCE.as_millis(),
            });
        }
        Ok(())
    }

    /// The request's key, or none when the caller wants no deduplication.
    pub fn key(&self) -> Option<RequestKey> {
        let end = self.token.get(self.token.len().saturating_sub(TOKEN_END)..).unwrap_or_default().to_owned();
        (self.sequence != 0).then(|| RequestKey { caller: self.id.clone(), sequence: self.sequence, token: end })
    }
}

fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &&str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    match parts.as_slice() {
        [version, trace, span, flags] => {
            hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2) && trace.bytes().any(|b| b != b'0')
        }
        _ => false,
    }
}

/// What a server knows of a request's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<A> {
    /// Never seen: act on it.
    New,
    /// Being worked on: the answer will come.
    Pending,
    /// Answered before, like this.
    Answered(A),
}

/// Remembers first answers, so that a repeated request gets the same answer and acts once.
///
/// Bounded: beyond `capacity`, and past `retention`, the oldest answered requests are forgotten. Pending ones stay.
#[derive(Debug)]
pub struct AnswerCache<A> {
    capacity: usize,
    retention: Duration,
    entries: HashMap<RequestKey, Option<A>>,
    answered: VecDeque<(Steady, RequestKey)>,
}

impl<A: Clone> AnswerCache<A> {
    /// Remembers up to `capacity` answers for `retention`.
    pub fn new(capacity: usize, retention: Duration) -> AnswerCache<A> {
        AnswerCache { capacity, retention, entries: HashMap::new(), answered: VecDeque::new() }
    }

    /// Looks a request up and, when it is new, marks it as pending.
    pub fn begin(&mut self, key: &RequestKey, now: Steady) -> Seen<A> {
        self.forget(now);
        match self.entries.get(key) {
            Some(Some(answer)) => Seen::Answered(answer.clone()),
            Some(None) => Seen::Pending,
            None => {
                self.entries.insert(key.clone(), None);
                Seen::New
            }
        }
    }

    /// Records the answer of a pending request.
    pub fn finish(&mut self, key: &RequestKey, answer: A, now: Steady) {
        if let Some(slot @ None) = self.entries.get_mut(key) {
            *slot = Some(answer);
            self.answered.push_back((now, key.clone()));
        }
        self.forget(now);
    }

    /// Withdraws a pending request, so that a repetition is acted upon.
    pub fn abandon(&mut self, key: &RequestKey) {
        if matches!(self.entries.get(key), Some(None)) {
            self.entries.remove(key);
        }
    }

    fn forget(&mut self, now: Steady) {
        while let Some((when, _)) = self.answered.front() {
            if self.answered.len() <= self.capacity && now.since(*when) <= self.retention {
                break;
            }
            if let Some((_, key)) = self.answered.pop_front() {
                self.entries.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> Caller {
        Caller { id: "/planner".into(), sequence: 7, stamp: Stamp(10_000_000_000), ..Caller::default() }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_request_expires_after_its_own_or_the_default_lifetime() {
        let mut caller = caller();
        assert_eq!(caller.check(Stamp(11_000_000_000), SECOND), Ok(()));
        let late = caller.check(Stamp(11_500_000_000), SECOND).unwrap_err();
        assert_eq!(late.to_string(), "the request is 1500 ms old, and its lifetime is 1000 ms");
        caller.lifetime = Duration::from_secs(2);
        assert_eq!(caller.check(Stamp(11_500_000_000), SECOND), Ok(()));
        assert!(matches!(caller.check(Stamp(9_000_000_000), SECOND), Err(CallerError::FromTheFuture { .. })));
    }

    #[test]
    fn a_malformed_caller_is_refused() {
        assert!(Caller::default().check(Stamp(0), SECOND).is_err(), "no id");
        for traceparent in ["x", "00-0-0-0", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            let caller = Caller { traceparent: traceparent.into(), ..caller() };
            assert!(matches!(caller.check(caller.stamp, SECOND), Err(CallerError::Traceparent(_))), "{traceparent}");
        }
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(Caller { traceparent: good.into(), ..caller() }.check(caller().stamp, SECOND), Ok(()));
    }

    #[test]
    fn only_the_same_token_makes_it_the_same_request() {
        let with = |token: &str| Caller { token: token.into(), ..caller() }.key();
        let long = format!("{}.{}", "a".repeat(200), "b".repeat(86));
        assert_eq!(with(&long), with(&long));
        assert_ne!(with(&long), with(""), "the answer is not for who has no token");
        assert_ne!(with(&long), with(&format!("{}.{}", "a".repeat(200), "c".repeat(86))));
    }

    #[test]
    fn a_repeated_request_gets_the_first_answer_until_it_is_forgotten() {
        let mut cache = AnswerCache::new(2, SECOND);
        let now = Steady(SECOND);
        let key = |sequence| RequestKey { caller: "a".into(), sequence, token: String::new() };
        assert_eq!(cache.begin(&key(1), now), Seen::New);
        assert_eq!(cache.begin(&key(1), now), Seen::Pending);
        cache.finish(&key(1), "first", now);
        cache.finish(&key(1), "second", now);
        assert_eq!(cache.begin(&key(1), now), Seen::Answered("first"));
        assert_eq!(cache.begin(&key(1), Steady(SECOND * 3)), Seen::New, "past its retention");
        cache.abandon(&key(1));
        for sequence in 2..=4 {
            cache.begin(&key(sequence), now);
            cache.finish(&key(sequence), "x", now);
        }
        assert_eq!(cache.begin(&key(2), now), Seen::New, "over capacity, the oldest goes");
        assert_eq!(cache.begin(&key(4), now), Seen::Answered("x"));
    }
}
