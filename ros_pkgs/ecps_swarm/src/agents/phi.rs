//! Phi-accrual failure detection: N. Hayashibara, X. Défago, R. Yared, T. Katayama, "The φ accrual failure detector",
//! SRDS 2004.

use std::collections::VecDeque;
use std::time::Duration;

/// Intervals that are remembered.
const WINDOW: usize = 64;
/// Least standard deviation, as a part of the expected interval: a network that was punctual for a while may still be late.
const LEAST_DEVIATION: f64 = 0.08;
/// An interval that is shorter tells of news, not of punctuality.
const EARLY: f64 = 0.5;

/// How late messages of one agent usually are.
///
/// Agents send at two rates and say which. So what is remembered is not the interval but its ratio to the expected one.
#[derive(Debug, Clone)]
pub struct PhiAccrual {
    ratios: VecDeque<f64>,
}

impl Default for PhiAccrual {
    /// Before anything is known: one expected interval, give or take a quarter.
    fn default() -> PhiAccrual {
        PhiAccrual { ratios: VecDeque::from([0.75, 1.25]) }
    }
}

impl PhiAccrual {
    /// A message came `interval` after the one before, which had promised it after `expected`.
    pub fn record(&mut self, interval: Duration, expected: Duration) {
        let ratio = interval.as_secs_f64() / expected.as_secs_f64().max(1e-3);
        if ratio < EARLY {
            return;
        }
        if self.ratios.len() == WINDOW {
            self.ratios.pop_front();
        }
        self.ratios.push_back(ratio);
    }

    /// Suspicion after `silence`: -log10 of the chance that the next message is merely late.
    pub fn phi(&self, silence: Duration, expected: Duration) -> f64 {
        let count = self.ratios.len() as f64;
        let mean = self.ratios.iter().sum::<f64>() / count;
        let variance = self.ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum::<f64>() / count;
        let late = silence.as_secs_f64() / expected.as_secs_f64().max(1e-3) - mean;
        let y = late / variance.sqrt().max(LEAST_DEVIATION);
        // Logistic approximation of the normal distribution's tail (Bowling et al. 2009), kept in logarithms so that a long
        // silence gives a large number and not infinity.
        let x = y * (1.5976 + 0.070566 * y * y);
        let ln = if x > 30.0 { x } else { x.exp().ln_1p() };
        ln / std::f64::consts::LN_10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_millis(500);

    fn punctual(jitter_ms: u64) -> PhiAccrual {
        let mut detector = PhiAccrual::default();
        for beat in 0..100 {
            detector.record(
                BEAT - Duration::from_millis(jitter_ms) + Duration::from_millis(2 * jitter_ms * (beat % 2)),
                BEAT,
            );
        }
        detector
    }

    #[test]
    fn suspicion_grows_with_silence_and_never_falls() {
        let detector = punctual(10);
        let phis: Vec<f64> = (0..10_000).map(|ms| detector.phi(Duration::from_millis(ms), BEAT)).collect();
        assert!(phis.windows(2).all(|pair| pair[0] <= pair[1] && pair[1].is_finite()));
        assert!(phis[500] < 1.0, "one beat is nothing: {}", phis[500]);
        assert!(phis[750] > 6.0, "one and a half beats of a punctual agent: {}", phis[750]);
    }

    #[test]
    fn an_agent_that_is_often_late_is_given_more_time() {
        let late = Duration::from_millis(750);
        assert!(punctual(150).phi(late, BEAT) < 2.0);
        assert!(punctual(150).phi(3 * BEAT, BEAT) > 6.0);
    }

    #[test]
    fn news_between_two_beats_does_not_make_the_next_beat_late() {
        let mut detector = punctual(10);
        (0..64).for_each(|_| detector.record(BEAT / 10, BEAT));
        let (news, without) = (detector.phi(BEAT + BEAT / 10, BEAT), punctual(10).phi(BEAT + BEAT / 10, BEAT));
        assert!(without < 2.0 && news == without, "{news}, and {without} without");
    }

    #[test]
    fn the_slow_rate_is_judged_by_its_own_interval() {
        let detector = punctual(10);
        assert!(detector.phi(Duration::from_secs(9), Duration::from_secs(10)) < 0.5);
        assert!(detector.phi(Duration::from_secs(16), Duration::from_secs(10)) > 6.0);
    }
}
