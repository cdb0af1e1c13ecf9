//! Round trips and pacing.

use std::time::Duration;

use ecps_core::clock::Steady;

/// Round trip before the first was measured.
const FIRST: Duration = Duration::from_millis(100);
/// Least and most time after which silence means loss.
const LEAST: Duration = Duration::from_millis(10);
const MOST: Duration = Duration::from_secs(1);
/// What may leave at once before pacing holds it back.
const BURST: Duration = Duration::from_millis(5);

/// The round trip and its variation, as in RFC 6298.
#[derive(Debug, Default)]
pub(super) struct RoundTrip {
    smooth: Option<(f64, f64)>,
}

impl RoundTrip {
    pub(super) fn record(&mut self, sample: Duration) {
        let sample = sample.as_secs_f64();
        self.smooth = Some(match self.smooth {
            None => (sample, sample / 2.0),
            Some((mean, deviation)) => {
                (mean + (sample - mean) / 8.0, deviation + ((sample - mean).abs() - deviation) / 4.0)
            }
        });
    }

    /// A packet named missing is lost only if it was sent longer ago.
    pub(super) fn grace(&self) -> Duration {
        let Some((mean, deviation)) = self.smooth else { return FIRST };
        Duration::from_secs_f64((mean + 4.0 * deviation).clamp(LEAST.as_secs_f64(), MOST.as_secs_f64()))
    }

    /// Silence after which something is sent again unasked.
    pub(super) fn timeout(&self) -> Duration {
        (self.grace() * 3 / 2).min(MOST)
    }
}

/// Spreads bytes over time.
#[derive(Debug)]
pub(super) struct Pacer {
    bytes_per_second: Option<f64>,
    free: Steady,
}

impl Pacer {
    pub(super) fn new(bytes_per_second: Option<f64>) -> Pacer {
        Pacer { bytes_per_second, free: Steady::default() }
    }

    /// When the next packet may go.
    pub(super) fn ready(&self) -> Steady {
        Steady(self.free.0.saturating_sub(BURST))
    }

    pub(super) fn spend(&mut self, bytes: usize, now: Steady) {
        if let Some(rate) = self.bytes_per_second {
            self.free = Steady(self.free.0.max(now.0) + Duration::from_secs_f64(bytes as f64 / rate));
        }
    }
}
