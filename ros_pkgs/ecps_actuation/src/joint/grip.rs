//! Opening, closing and gripping: where the fingers are to go, and when they are there or at something.

use std::time::Duration;

use ecps_core::check::{self, CheckError};
use ecps_core::clock::Steady;

use super::limits::JointLimits;
use super::measured::JointReading;
use super::trajectory::{Trajectory, TrajectoryPoint};

/// Share of the way between closed and open that counts as arrived.
const ARRIVED: f64 = 0.02;
/// Share of that way that counts as a movement.
const MOVED: f64 = 0.005;
/// Time without a movement after which the fingers are at something.
pub const STALLED: Duration = Duration::from_millis(500);
/// Share of the joints' limits that is used, so that the gate has nothing to lower.
const SHARE: f64 = 0.9;

/// The fingers of a gripper, in the order of its group's joints.
#[derive(Debug, Clone, PartialEq)]
pub struct GripConfig {
    /// Which group they are.
    pub group: usize,
    /// Positions that are closed, 0 of the protocol.
    pub closed: Vec<f64>,
    /// Positions that are open, 1 of the protocol.
    pub open: Vec<f64>,
}

impl GripConfig {
    /// Refuses positions that are not the joints', or that are the same.
    pub fn check(&self, joints: &[JointLimits]) -> Result<(), CheckError> {
        for (what, positions) in [("closed", &self.closed), ("open", &self.open)] {
            let count = joints.len() as f64;
            check::in_range(&format!("the number of {what} positions"), positions.len() as f64, count, count)?;
            for (joint, position) in joints.iter().zip(positions) {
                let field = format!("the {what} position of joint '{}'", joint.name);
                check::in_range(&field, *position, joint.lower, joint.upper)?;
            }
        }
        let apart = self.closed.iter().zip(&self.open).map(|(closed, open)| (open - closed).abs());
        let apart = apart.fold(f64::INFINITY, f64::min);
        check::in_range("the way of a finger from closed to open", apart, 1e-4, f64::MAX)?;
        Ok(())
    }

    /// Positions that are `share` open, 0 to 1.
    pub fn at(&self, share: f64) -> Vec<f64> {
        self.closed.iter().zip(&self.open).map(|(closed, open)| closed + (open - closed) * share).collect()
    }

    /// How far open fingers at `positions` are, 0 to 1, on average.
    pub fn share(&self, positions: &[f64]) -> f64 {
        let ways = self.closed.iter().zip(&self.open);
        let shares = ways.zip(positions).map(|((closed, open), position)| (position - closed) / (open - closed));
        shares.sum::<f64>() / positions.len().max(1) as f64
    }
}

/// What to do with the fingers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GripOrder {
    /// All the way apart.
    Open,
    /// All the way together.
    Close,
    /// Towards this share of open, 0 to 1, until there or at something.
    Grip(f64),
}

impl GripOrder {
    /// The share of open that it leads to.
    pub fn share(self) -> f64 {
        match self {
            GripOrder::Open => 1.0,
            GripOrder::Close => 0.0,
            GripOrder::Grip(share) => share,
        }
    }
}

/// How it goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GripStep {
    /// Under way, with this much left of the farthest finger, rad or m.
    Going {
        /// What is left.
        left: f64,
    },
    /// There.
    Done,
    /// Something is between the fingers, and the force is what it may be: hold them where they are.
    Held,
    /// At something where nothing was to be.
    Blocked {
        /// What is left.
        left: f64,
    },
}

/// One order being carried out.
#[derive(Debug, Clone)]
pub struct Grip {
    order: GripOrder,
    /// N or N m; none: the joints' own limits are all there is.
    force: Option<f64>,
    target: Vec<f64>,
    strokes: Vec<f64>,
    /// Where the fingers last were when they moved, and when that was.
    moved: Option<(Vec<f64>, Steady)>,
}

impl Grip {
    /// An order that has not begun.
    pub fn new(order: GripOrder, force: Option<f64>, config: &GripConfig) -> Grip {
        let strokes = config.closed.iter().zip(&config.open).map(|(closed, open)| (open - closed).abs()).collect();
        Grip { order, force, target: config.at(order.share()), strokes, moved: None }
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.moved.is_some()
    }

    /// The way there, as fast as the joints allow. Fingers that move brake first: a curve that turns them back in one would
    /// swing beyond where they are, and that may be their limit.
    pub fn way(&self, joints: &[JointLimits], from: &[JointReading]) -> Trajectory {
        let moving = joints.iter().zip(from).map(|(joint, reading)| reading.velocity.abs() / joint.braking());
        let braked = moving.fold(0.0, f64::max);
        let mut at_rest = Vec::with_capacity(from.len());
        let mut longest: f64 = 0.05;
        for ((joint, target), reading) in joints.iter().zip(&self.target).zip(from) {
            let rest = (reading.position + reading.velocity * braked / 2.0)
                .clamp(joint.lower.min(reading.position), joint.upper.max(reading.position));
            // A cubic from rest to rest peaks at 1.5 of its mean speed, and at 6 d / t².
            let way = (target - rest).abs();
            longest = longest.max(1.5 * way / (SHARE * joint.velocity));
            longest = longest.max((6.0 * way / (SHARE * joint.acceleration)).sqrt());
            at_rest.push(rest);
        }
        let nanos = |seconds: f64| (seconds * 1e9).ceil() as i64;
        let names = joints.iter().map(|joint| joint.name.clone()).collect();
        let mut way = Trajectory::to_rest(names, self.target.clone(), nanos(braked + longest));
        if braked > 0.0 {
            let velocities = vec![0.0; at_rest.len()];
            // Not before 1 ms: points must not fall together.
            let time_ns = nanos(braked).max(1_000_000);
            way.points
                .insert(0, TrajectoryPoint { positions: at_rest, velocities, time_ns, ..TrajectoryPoint::default() });
        }
        way
    }

    /// What the joints' readings mean for it.
    pub fn step(&mut self, joints: &[JointLimits], readings: &[JointReading], now: Steady) -> GripStep {
        let left = |(reading, target): (&JointReading, &f64)| (reading.position - target).abs();
        let farthest = readings.iter().zip(&self.target).map(left).fold(0.0, f64::max);
        let force = readings.iter().filter_map(|reading| reading.effort).map(f64::abs).fold(0.0, f64::max);
        let contact = match self.order {
            GripOrder::Grip(_) => GripStep::Held,
            GripOrder::Open | GripOrder::Close => GripStep::Blocked { left: farthest },
        };
        if self.force.is_some_and(|limit| force >= limit) {
            return contact;
        }
        let each = |near: f64, others: &[f64]| {
            let apart = readings.iter().zip(others).zip(&self.strokes);
            apart.into_iter().all(|((reading, other), stroke)| (reading.position - other).abs() <= near * stroke)
        };
        let arrived = each(ARRIVED, &self.target);
        // Fingers that it moves still would swing beyond where they are when the next order turns them back.
        let still = joints.iter().zip(readings).all(|(joint, reading)| joint.is_still(reading.velocity));
        if arrived && (still || !self.has_begun()) {
            return GripStep::Done;
        }
        match &self.moved {
            Some((places, at)) if each(MOVED, places) => {
                if now.since(*at) > STALLED {
                    return if arrived { GripStep::Done } else { contact };
                }
            }
            _ => self.moved = Some((readings.iter().map(|reading| reading.position).collect(), now)),
        }
        GripStep::Going { left: farthest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecps_core::clock::Stamp;

    fn config() -> GripConfig {
        GripConfig { group: 0, closed: vec![0.0, 0.0], open: vec![0.04, -0.04] }
    }

    fn at(ms: u64) -> Steady {
        Steady(Duration::from_millis(ms))
    }

    fn fingers(position: f64, effort: Option<f64>) -> Vec<JointReading> {
        let reading =
            |position| JointReading { position, velocity: 0.0, effort, stamp: Stamp(0), at: Steady::default() };
        vec![reading(position), reading(-position)]
    }

    fn limits() -> Vec<JointLimits> {
        let joint = |lower, upper| JointLimits { lower, upper, velocity: 0.1, ..JointLimits::unlimited("finger") };
        vec![joint(0.0, 0.04), joint(-0.04, 0.0)]
    }

    #[test]
    fn it_ends_where_it_was_sent_or_at_what_it_grips() {
        let mut grip = Grip::new(GripOrder::Grip(0.0), Some(5.0), &config());
        assert!(
            matches!(grip.step(&limits(), &fingers(0.04, Some(0.0)), at(0)), GripStep::Going { left } if left == 0.04)
        );
        assert!(matches!(grip.step(&limits(), &fingers(0.02, Some(4.9)), at(100)), GripStep::Going { .. }));
        assert_eq!(grip.step(&limits(), &fingers(0.02, Some(-5.0)), at(120)), GripStep::Held, "the force is reached");
        assert_eq!(grip.clone().step(&limits(), &fingers(0.0005, Some(0.0)), at(200)), GripStep::Done);
        let still = |grip: &mut Grip, ms| grip.step(&limits(), &fingers(0.02, None), at(ms));
        assert!(matches!(still(&mut grip, 600), GripStep::Going { .. }));
        assert_eq!(still(&mut grip, 601), GripStep::Held, "it stands for more than half a second");

        let mut close = Grip::new(GripOrder::Close, None, &config());
        still(&mut close, 0);
        assert_eq!(still(&mut close, 501), GripStep::Blocked { left: 0.02 }, "nothing was to be there");
        let mut open = Grip::new(GripOrder::Open, None, &config());
        assert_eq!(open.step(&limits(), &fingers(0.0395, None), at(0)), GripStep::Done);
        let moving = |speed: f64| fingers(0.0395, None).into_iter().map(move |r| JointReading { velocity: speed, ..r });
        let moving = |speed| moving(speed).collect::<Vec<_>>();
        assert_eq!(open.step(&limits(), &moving(0.001), at(0)), GripStep::Done, "as encoders tell");
        let mut open = Grip::new(GripOrder::Open, None, &config());
        assert!(matches!(open.step(&limits(), &fingers(0.02, None), at(0)), GripStep::Going { .. }));
        assert!(matches!(open.step(&limits(), &moving(0.03), at(0)), GripStep::Going { .. }), "it would swing on");
        assert_eq!(open.step(&limits(), &moving(0.03), at(501)), GripStep::Done, "a speed that leads nowhere");
    }

    #[test]
    fn fingers_that_move_brake_before_they_turn_back() {
        let close = Grip::new(GripOrder::Close, None, &config());
        let way = |readings: &[JointReading]| close.way(&limits(), readings);
        assert_eq!(way(&fingers(0.039, None)).points.len(), 1, "from rest in one");
        let mut readings = fingers(0.0385, None);
        readings[0].velocity = 0.02;
        let way = way(&readings);
        let [brake, end] = &way.points[..] else { panic!("{way:?}") };
        // 0.02 m/s, braked at 0.1 m/s / 0.25 s: 0.05 s and 0.5 mm.
        assert!((brake.positions[0] - 0.039).abs() < 1e-9 && brake.positions[1] == -0.0385, "{brake:?}");
        assert_eq!((brake.time_ns, &end.positions[..]), (50_000_000, &[0.0, 0.0][..]));
        readings[0].position = 0.04;
        assert_eq!(close.way(&limits(), &readings).points[0].positions[0], 0.04, "never beyond its limit");
    }

    #[test]
    fn positions_that_are_no_fingers_are_refused() {
        let joints = limits();
        assert!(config().check(&joints).is_ok());
        let refused = |config: GripConfig| config.check(&joints).unwrap_err().to_string();
        assert!(refused(GripConfig { closed: vec![0.0], ..config() }).contains("number of closed"));
        assert!(
            refused(GripConfig { open: vec![0.05, -0.04], ..config() }).contains("open position of joint 'finger'")
        );
        assert!(refused(GripConfig { open: vec![0.0, 0.0], ..config() }).contains("from closed to open"));
    }
}
