//! Picking, placing, pushing and pulling: what arm and fingers do one after the other.
//!
//! The tip goes to a place before the target first, `approach_distance` back along the target's x axis, and from there in a
//! straight line; fingers do their part where it ends.

use ecps_core::clock::Steady;
use nalgebra::{Isometry3, Translation3};

use super::chain::Chain;
use super::grip::{Grip, GripConfig, GripOrder};
use super::limits::JointLimits;
use super::trajectory::{Trajectory, TrajectoryPoint};

/// Points of a straight line.
const PIECES: u32 = 8;
/// Share of the joints' velocities that is used.
const SHARE: f64 = 0.4;
/// rad or m from where a joint was sent that count as there.
const THERE: f64 = 0.02;

/// What to do at the target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Handling {
    /// Grip it and come back with it.
    Pick,
    /// Let go there and come back.
    Place,
    /// Pick it there, then place it at the target.
    PickAndPlace {
        /// Where it is, in the frame of the arm's base.
        from: Isometry3<f64>,
    },
    /// Go there with closed fingers and come back.
    Push,
    /// Grip it, draw it back and let go.
    Pull,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// What to do at the target.
    pub handling: Handling,
    /// Where, in the frame of the arm's base.
    pub target: Isometry3<f64>,
    /// Metres before the target where the straight line begins.
    pub approach: f64,
    /// Force at the tip that ends it on the line, N; none: it is not looked at.
    pub force: Option<f64>,
}

/// One step of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Phase {
    Fingers(GripOrder),
    /// Wherever the joints lead through.
    Reach(Isometry3<f64>),
    /// In a straight line; whether a force is to be looked at.
    Line(Isometry3<f64>),
}

impl Task {
    /// Where the straight line to a place begins.
    fn before(&self, place: Isometry3<f64>) -> Isometry3<f64> {
        place * Translation3::new(-self.approach, 0.0, 0.0)
    }

    /// Where the tip has to get, and what each place is called.
    pub(crate) fn places(&self) -> Vec<(&'static str, Isometry3<f64>)> {
        let from = match self.handling {
            Handling::PickAndPlace { from } => Some(("place to pick at", from)),
            Handling::Pick | Handling::Place | Handling::Push | Handling::Pull => None,
        };
        let places = from.into_iter().chain([("target", self.target)]);
        places.flat_map(|(what, at)| [(what, at), ("begin of the straight line to it", self.before(at))]).collect()
    }

    /// In their order.
    pub(crate) fn phases(&self) -> Vec<Phase> {
        let (open, grip, close) = (GripOrder::Open, GripOrder::Grip(0.0), GripOrder::Close);
        let around = |place, first: Option<GripOrder>, there: Option<GripOrder>, last: Option<GripOrder>| {
            let before = self.before(place);
            let there = there.map(Phase::Fingers);
            let first = first.map(Phase::Fingers).into_iter().chain([Phase::Reach(before), Phase::Line(place)]);
            first.chain(there).chain([Phase::Line(before)]).chain(last.map(Phase::Fingers)).collect::<Vec<_>>()
        };
        let pick = |place| around(place, Some(open), Some(grip), None);
        let place = around(self.target, None, Some(open), None);
        match self.handling {
            Handling::Pick => pick(self.target),
            Handling::Place => place,
            Handling::PickAndPlace { from } => [pick(from), place].concat(),
            Handling::Push => around(self.target, Some(close), None, None),
            Handling::Pull => around(self.target, Some(open), Some(grip), Some(open)),
        }
    }
}

/// What an arm needs for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reach {
    /// Which group the arm is.
    pub group: usize,
    /// From its base to its tip.
    pub chain: Chain,
}

impl Reach {
    /// The way of the joints from where they are; none where the arm does not reach, or a line would take another posture.
    pub(crate) fn way(&self, phase: &Phase, joints: &[JointLimits], from: &[f64]) -> Option<Trajectory> {
        let stops = match phase {
            Phase::Fingers(_) => return None,
            Phase::Reach(target) => vec![self.chain.solve(target, from)?],
            Phase::Line(target) => {
                let start = self.chain.forward(from);
                let mut stops: Vec<Vec<f64>> = Vec::new();
                for piece in 1..=PIECES {
                    let share = f64::from(piece) / f64::from(PIECES);
                    let at = start.translation.vector.lerp(&target.translation.vector, share);
                    let rotation = start.rotation.try_slerp(&target.rotation, share, 1e-9).unwrap_or(target.rotation);
                    let near = stops.last().map_or(from, Vec::as_slice);
                    let next = self.chain.solve(&Isometry3::from_parts(at.into(), rotation), near)?;
                    // A line of a few centimetres turns no joint far; what does is another posture.
                    if next.iter().zip(near).any(|(to, from)| (to - from).abs() > 0.8) {
                        return None;
                    }
                    stops.push(next);
                }
                stops
            }
        };
        Some(timed(joints, from, &stops))
    }
}

/// Points at rest at the end, as fast as a share of the joints' velocities and accelerations allows.
fn timed(joints: &[JointLimits], from: &[f64], stops: &[Vec<f64>]) -> Trajectory {
    let mut seconds: f64 = 0.05;
    let mut before = from;
    for stop in stops {
        for ((joint, to), from) in joints.iter().zip(stop).zip(before) {
            let way = (to - from).abs();
            seconds = seconds.max(1.5 * way / (SHARE * joint.velocity));
            seconds = seconds.max((6.0 * way / (SHARE * joint.braking())).sqrt());
        }
        before = stop;
    }
    let at_rest = stops.len() == 1;
    let point = |(nth, positions): (usize, &Vec<f64>)| TrajectoryPoint {
        positions: positions.clone(),
        velocities: if at_rest { vec![0.0; positions.len()] } else { Vec::new() },
        time_ns: (seconds * 1e9) as i64 * (nth as i64 + 1),
        ..TrajectoryPoint::default()
    };
    let names = joints.iter().map(|joint| joint.name.clone()).collect();
    Trajectory { joints: names, points: stops.iter().enumerate().map(point).collect() }
}

/// A task being carried out.
#[derive(Debug, Clone)]
pub(crate) struct Manipulation {
    pub(crate) task: Task,
    /// Those to come, the next last.
    phases: Vec<Phase>,
    pub(crate) under_way: Option<UnderWay>,
}

/// The phase that is under way.
#[derive(Debug, Clone)]
pub(crate) enum UnderWay {
    Fingers(Grip),
    Arm { to: Vec<f64>, line: bool, ends: Steady },
}

impl Manipulation {
    pub(crate) fn new(task: Task) -> Manipulation {
        let mut phases = task.phases();
        phases.reverse();
        Manipulation { task, phases, under_way: None }
    }

    /// The next phase, which is taken off.
    pub(crate) fn next(&mut self) -> Option<Phase> {
        self.phases.pop()
    }

    pub(crate) fn fingers(&mut self, order: GripOrder, config: &GripConfig) {
        self.under_way = Some(UnderWay::Fingers(Grip::new(order, None, config)));
    }

    /// What the farthest joint still has to go.
    pub(crate) fn left(to: &[f64], at: &[f64]) -> f64 {
        to.iter().zip(at).map(|(to, at)| (to - at).abs()).fold(0.0, f64::max)
    }

    /// Whether that counts as there.
    pub(crate) fn is_there(left: f64) -> bool {
        left <= THERE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_handling_comes_back_to_where_its_line_began() {
        let target = Isometry3::translation(0.4, 0.0, 0.3);
        let task = |handling| Task { handling, target, approach: 0.1, force: None };
        let before = task(Handling::Pick).before(target);
        assert!((before.translation.vector.x - 0.3).abs() < 1e-9, "along the target's x axis");
        let (reach, there, back) = (Phase::Reach(before), Phase::Line(target), Phase::Line(before));
        let fingers = Phase::Fingers;
        let (open, grip) = (fingers(GripOrder::Open), fingers(GripOrder::Grip(0.0)));
        let phases = |handling| task(handling).phases();
        assert_eq!(phases(Handling::Pick), [open.clone(), reach.clone(), there.clone(), grip.clone(), back.clone()]);
        assert_eq!(phases(Handling::Place), [reach.clone(), there.clone(), open.clone(), back.clone()]);
        assert_eq!(phases(Handling::Push), [fingers(GripOrder::Close), reach.clone(), there.clone(), back.clone()]);
        let (picks, places) = (phases(Handling::Pick), phases(Handling::Place));
        assert_eq!(phases(Handling::Pull), [open.clone(), reach, there, grip, back, open]);
        let elsewhere = Isometry3::translation(0.4, 0.2, 0.3);
        let both = task(Handling::PickAndPlace { from: target });
        assert_eq!(Task { target: elsewhere, ..both.clone() }.phases().split_at(picks.len()).0, picks);
        assert_eq!(Task { target, ..both }.phases().split_at(picks.len()).1, places);
    }
}
