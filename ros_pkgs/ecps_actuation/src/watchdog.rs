//! Command silence, on the steady clock: simulated time may stand still while the wheels turn.

use std::time::Duration;

use ecps_core::budget::SAFETY_TIMEOUT;
use ecps_core::clock::Steady;
use thiserror::Error;

/// A timeout that is no protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{field} is {value:?}, and must be more than 0 and at most {limit:?}; it cannot be turned off")]
pub struct TimeoutError {
    field: &'static str,
    value: Duration,
    limit: Duration,
}

/// Refuses a timeout of zero and one above [`SAFETY_TIMEOUT`].
pub(crate) fn check_timeout(field: &'static str, value: Duration) -> Result<Duration, TimeoutError> {
    if value.is_zero() || value > SAFETY_TIMEOUT {
        return Err(TimeoutError { field, value, limit: SAFETY_TIMEOUT });
    }
    Ok(value)
}

/// Runs out when it is not fed.
#[derive(Debug, Clone, Copy)]
pub struct Watchdog {
    timeout: Duration,
    fed: Option<Steady>,
}

impl Watchdog {
    /// Runs out `timeout` after the last feeding; more than zero and at most [`SAFETY_TIMEOUT`].
    /// `field` names it in the error.
    pub fn new(field: &'static str, timeout: Duration) -> Result<Watchdog, TimeoutError> {
        Ok(Watchdog { timeout: check_timeout(field, timeout)?, fed: None })
    }

    /// A command was carried out.
    pub fn feed(&mut self, now: Steady) {
        self.fed = Some(now);
    }

    /// As if it was never fed.
    pub fn starve(&mut self) {
        self.fed = None;
    }

    /// Whether it has run out; it has when it was never fed.
    pub fn expired(&self, now: Steady) -> bool {
        self.fed.is_none_or(|fed| now.since(fed) > self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_out_past_its_timeout_and_cannot_be_turned_off() {
        let at = |ms| Steady(Duration::from_millis(ms));
        let mut dog = Watchdog::new("command_timeout", Duration::from_millis(500)).unwrap();
        assert!(dog.expired(at(0)), "never fed");
        dog.feed(at(1000));
        assert!(!dog.expired(at(1500)));
        assert!(dog.expired(at(1501)));
        assert!(Watchdog::new("command_timeout", Duration::from_secs(1)).is_ok());
        for bad in [Duration::ZERO, Duration::from_millis(1001)] {
            assert!(Watchdog::new("command_timeout", bad).unwrap_err().to_string().contains("cannot be turned off"));
        }
    }
}
