//! A way of joints, and how far and how fast it really goes between its points.
//!
//! A joint trajectory controller interpolates between points as ros2_control documents it: by straight lines where points
//! have positions alone, by cubic polynomials with velocities, by quintic ones with accelerations too. Such a polynomial
//! may leave a limit that both of its ends keep. Here it is a Bézier curve, whose control points bound it; halving it
//! tightens the bound (de Casteljau), so that extremes are known to a billionth without sampling.

use ecps_journal::record;

/// A point of a way: each list as long as the joints; all but `positions` may be empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrajectoryPoint {
    /// rad or m.
    pub positions: Vec<f64>,
    /// Per second.
    pub velocities: Vec<f64>,
    /// Per second².
    pub accelerations: Vec<f64>,
    /// N m or N.
    pub effort: Vec<f64>,
    /// After the start, nanoseconds.
    pub time_ns: i64,
}

/// A way of joints.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trajectory {
    /// Names, in the order of the points' lists.
    pub joints: Vec<String>,
    /// In time's order.
    pub points: Vec<TrajectoryPoint>,
}

impl TrajectoryPoint {
    /// Numbers in it.
    pub fn numbers(&self) -> usize {
        self.positions.len() + self.velocities.len() + self.accelerations.len() + self.effort.len()
    }
}

impl Trajectory {
    /// From start to end, nanoseconds.
    pub fn duration_ns(&self) -> i64 {
        self.points.last().map_or(0, |point| point.time_ns)
    }

    /// Numbers in it.
    pub fn numbers(&self) -> usize {
        self.points.iter().map(TrajectoryPoint::numbers).sum()
    }

    /// The same way, `factor` times as long.
    pub fn slower(&self, factor: f64) -> Trajectory {
        let points = self.points.iter().map(|point| TrajectoryPoint {
            positions: point.positions.clone(),
            velocities: point.velocities.iter().map(|v| v / factor).collect(),
            accelerations: point.accelerations.iter().map(|a| a / (factor * factor)).collect(),
            effort: point.effort.clone(),
            time_ns: (point.time_ns as f64 * factor).ceil() as i64,
        });
        Trajectory { joints: self.joints.clone(), points: points.collect() }
    }

    /// A way to one point at rest.
    pub fn to_rest(joints: Vec<String>, positions: Vec<f64>, time_ns: i64) -> Trajectory {
        let velocities = vec![0.0; positions.len()];
        Trajectory { joints, points: vec![TrajectoryPoint { positions, velocities, time_ns, ..Default::default() }] }
    }

    /// Where joint `index` is at `time_ns`, if it began at `start`.
    pub fn sample(&self, index: usize, start: Knot, time_ns: i64) -> Option<f64> {
        let mut before = (0, start);
        for point in &self.points {
            let knot = Knot::of(point, index)?;
            if time_ns < point.time_ns {
                let length = point.time_ns - before.0;
                let share = if length > 0 { (time_ns - before.0) as f64 / length as f64 } else { 1.0 };
                return Some(Curve::between(before.1, knot, seconds(length)).at(share.clamp(0.0, 1.0)));
            }
            before = (point.time_ns, knot);
        }
        Some(before.1.position)
    }

    pub(crate) fn to_record(&self) -> record::JointTrajectory {
        let points = self.points.iter().map(|point| record::JointPoint {
            positions: point.positions.clone(),
            velocities: point.velocities.clone(),
            accelerations: point.accelerations.clone(),
            effort: point.effort.clone(),
            time_from_start_ns: point.time_ns,
        });
        record::JointTrajectory { joints: self.joints.clone(), points: points.collect() }
    }
}

/// Nanoseconds in seconds.
pub(crate) fn seconds(ns: i64) -> f64 {
    ns as f64 * 1e-9
}

/// One joint at one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Knot {
    /// rad or m.
    pub position: f64,
    /// Per second, where it is given.
    pub velocity: Option<f64>,
    /// Per second², where it is given.
    pub acceleration: Option<f64>,
}

impl Knot {
    /// Joint `index` at `point`; none where it has no position.
    pub fn of(point: &TrajectoryPoint, index: usize) -> Option<Knot> {
        let position = *point.positions.get(index)?;
        let (velocity, acceleration) = (point.velocities.get(index), point.accelerations.get(index));
        Some(Knot { position, velocity: velocity.copied(), acceleration: acceleration.copied() })
    }

    /// A joint as it was measured.
    pub fn measured(position: f64, velocity: f64) -> Knot {
        Knot { position, velocity: Some(velocity), acceleration: Some(0.0) }
    }
}

/// Halvings after which a bound is taken as it is.
const HALVINGS: u8 = 40;

/// A polynomial of degree 1, 3 or 5 over one stretch of a way, as the control points of a Bézier curve.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Curve {
    control: [f64; 6],
    degree: usize,
    seconds: f64,
}

impl Curve {
    /// What the controller makes of two points that are `seconds` apart, more than 0.
    pub(crate) fn between(from: Knot, to: Knot, seconds: f64) -> Curve {
        let (p, q, t) = (from.position, to.position, seconds);
        let (control, degree) = match (from.velocity, to.velocity, from.acceleration, to.acceleration) {
            (Some(v), Some(w), Some(a), Some(b)) => {
                let (in2, out2) = (p + 0.4 * v * t + a * t * t / 20.0, q - 0.4 * w * t + b * t * t / 20.0);
                ([p, p + v * t / 5.0, in2, out2, q - w * t / 5.0, q], 5)
            }
            (Some(v), Some(w), ..) => ([p, p + v * t / 3.0, q - w * t / 3.0, q, 0.0, 0.0], 3),
            _ => ([p, q, 0.0, 0.0, 0.0, 0.0], 1),
        };
        Curve { control, degree, seconds }
    }

    /// Its derivative in time; of a constant zero.
    pub(crate) fn derivative(&self) -> Curve {
        let mut control = [0.0; 6];
        let factor = self.degree as f64 / self.seconds;
        for (slot, pair) in control.iter_mut().zip(self.control.windows(2)).take(self.degree) {
            if let [a, b] = pair {
                *slot = (b - a) * factor;
            }
        }
        Curve { control, degree: self.degree.saturating_sub(1), seconds: self.seconds }
    }

    fn points(&self) -> &[f64] {
        self.control.get(..=self.degree).unwrap_or_default()
    }

    fn halves(&self) -> (Curve, Curve) {
        let (mut left, mut right, mut row) = (*self, *self, self.control);
        for level in 0..=self.degree {
            let last = self.degree - level;
            if let (Some(l), Some(first)) = (left.control.get_mut(level), row.first()) {
                *l = *first;
            }
            if let (Some(r), Some(end)) = (right.control.get_mut(last), row.get(last)) {
                *r = *end;
            }
            for index in 0..last {
                if let Some([a, b]) = row.get_mut(index..index + 2) {
                    *a = (*a + *b) / 2.0;
                }
            }
        }
        (left, right)
    }

    /// Its value at `share` of its time, 0 to 1.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let mut row = self.control;
        for last in (0..self.degree).rev() {
            for index in 0..=last {
                if let Some([a, b]) = row.get_mut(index..index + 2) {
                    *a += (*b - *a) * share;
                }
            }
        }
        row.first().copied().unwrap_or_default()
    }

    /// A bound of its greatest value, which is never below it and at most a billionth above; any number up to `enough`
    /// where it does not exceed that.
    pub(crate) fn greatest(&self, enough: f64) -> f64 {
        let mut seen = enough;
        self.bound(&mut seen, HALVINGS)
    }

    fn bound(&self, seen: &mut f64, halvings: u8) -> f64 {
        let points = self.points();
        let ends = points.first().into_iter().chain(points.last()).copied();
        *seen = ends.fold(*seen, f64::max);
        let hull = points.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if hull <= *seen + 1e-9 * seen.abs().max(1e-3) || halvings == 0 {
            return hull;
        }
        let (left, right) = self.halves();
        let left = left.bound(seen, halvings - 1);
        left.max(right.bound(seen, halvings - 1))
    }

    /// As [`Curve::greatest`], of the least value.
    pub(crate) fn least(&self, enough: f64) -> f64 {
        -self.negated().greatest(-enough)
    }

    /// As [`Curve::greatest`], of the amount.
    pub(crate) fn greatest_amount(&self, enough: f64) -> f64 {
        self.greatest(enough).max(self.negated().greatest(enough))
    }

    fn negated(&self) -> Curve {
        Curve { control: self.control.map(|value| -value), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn knot(position: f64, velocity: f64, acceleration: f64) -> Knot {
        Knot { position, velocity: Some(velocity), acceleration: Some(acceleration) }
    }

    #[test]
    fn a_cubic_overshoots_between_points_that_keep_the_limit() {
        let still = |position, velocity| Knot { acceleration: None, ..knot(position, velocity, 0.0) };
        let curve = Curve::between(still(0.0, 1.0), still(0.0, -1.0), 1.0);
        assert!((curve.greatest(f64::NEG_INFINITY) - 0.25).abs() < 1e-6, "x(t) = t − t²");
        let rest = Curve::between(still(0.0, 0.0), still(1.0, 0.0), 2.0);
        assert!((rest.derivative().greatest_amount(0.0) - 0.75).abs() < 1e-6, "1.5 of the mean speed");
        assert!((rest.derivative().derivative().greatest_amount(0.0) - 1.5).abs() < 1e-6, "6 d / t²");
        assert_eq!(Curve::between(Knot { velocity: None, ..still(0.0, 0.0) }, still(1.0, 0.0), 2.0).at(0.5), 0.5);
    }

    proptest! {
        #[test]
        fn bounds_hold_and_are_tight(
            p in -3.0..3.0, v in -3.0..3.0, a in -9.0..9.0, q in -3.0..3.0, w in -3.0..3.0, b in -9.0..9.0, t in 0.01..9.0,
        ) {
            for curve in [
                Curve::between(knot(p, v, a), knot(q, w, b), t),
                Curve::between(Knot { acceleration: None, ..knot(p, v, a) }, knot(q, w, b), t),
            ] {
                // Up to the quintic's second derivative.
                for curve in [curve, curve.derivative(), curve.derivative().derivative()] {
                    let sampled = (0..=2000).map(|i| curve.at(f64::from(i) / 2000.0));
                    let (least, most) = sampled.fold((f64::MAX, f64::MIN), |(l, m), x| (l.min(x), m.max(x)));
                    let (low, high) = (curve.least(f64::INFINITY), curve.greatest(f64::NEG_INFINITY));
                    let slack = 1e-3 * (1.0 + most.abs().max(least.abs())) + 1e-2 * (most - least);
                    prop_assert!(high >= most - 1e-9 && high <= most + slack, "{high} {most}");
                    prop_assert!(low <= least + 1e-9 && low >= least - slack, "{low} {least}");
                    prop_assert!((curve.at(0.0) - curve.points()[0]).abs() < 1e-12);
                }
            }
        }
    }
}
