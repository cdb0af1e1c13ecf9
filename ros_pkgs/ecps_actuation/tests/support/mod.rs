//! A journal and an actuator in memory that share one log, so that tests see what came first.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ecps_actuation::drive::DriveConfig;
use ecps_actuation::errand::Errands;
use ecps_actuation::{
    Actuator, ActuatorError, Config, Executive, GateConfig, Journaled, Limits, MeasuredState, Now, PlanarPose, Record,
    Request, SafeState, Velocity, VelocityCommand,
};
use ecps_core::clock::{Stamp, Steady};
use ecps_core::wire::proto;
use ecps_journal::record::{Entry, Payload};
use ecps_journal::{AppendError, Durable, Moment};

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Recorded(u64, Entry),
    Driven(u64, Velocity),
    Halted,
}

#[derive(Debug, Default)]
pub struct World {
    pub log: Vec<Event>,
    pub sequence: u64,
    pub journal_full: bool,
    pub journal_fault: Option<String>,
    pub disk_stalls: bool,
    pub drive_fails: bool,
    pub halt_fails: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Shared(pub Rc<RefCell<World>>);

impl Record for Shared {
    fn append<P: Payload>(&mut self, _: &Moment, payload: &P) -> Result<u64, AppendError> {
        let mut world = self.0.borrow_mut();
        let sequence = world.sequence + 1;
        if world.journal_full {
            let source = std::io::Error::other("the disk is full");
            return Err(AppendError::Write { sequence, segment: 1, source });
        }
        world.sequence = sequence;
        let entry = Entry::decode(P::KIND, &payload.encode_to_vec()).unwrap();
        world.log.push(Event::Recorded(sequence, entry));
        Ok(sequence)
    }

    fn durable(&self, _: u64) -> Durable {
        if self.0.borrow().disk_stalls { Durable::InKernel } else { Durable::OnDisk }
    }

    fn fault(&self) -> Option<String> {
        self.0.borrow().journal_fault.clone()
    }

    fn sequence(&self) -> u64 {
        self.0.borrow().sequence
    }
}

impl Actuator for Shared {
    fn safe_state(&self) -> SafeState {
        SafeState::ZeroVelocity
    }

    fn drive(&mut self, velocity: Journaled<Velocity>) -> Result<(), ActuatorError> {
        let mut world = self.0.borrow_mut();
        if world.drive_fails {
            return Err(ActuatorError("the motor driver is gone".into()));
        }
        world.log.push(Event::Driven(velocity.sequence(), *velocity.value()));
        Ok(())
    }

    fn halt(&mut self) -> Result<(), ActuatorError> {
        let mut world = self.0.borrow_mut();
        world.log.push(Event::Halted);
        if world.halt_fails { Err(ActuatorError("the motor driver is gone".into())) } else { Ok(()) }
    }
}

impl Shared {
    /// Takes the log.
    pub fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.borrow_mut().log)
    }
}

pub const CEILING: Limits = Limits {
    max_linear_speed: 1.0,
    max_linear_acceleration: 1.0,
    max_linear_jerk: 1000.0,
    max_angular_speed: 2.0,
    max_angular_acceleration: 4.0,
    max_angular_jerk: 4000.0,
};

pub const PLANNER: Request<'static> = Request { caller: "/planner", trace: [7; 16] };

pub fn config(gate: GateConfig) -> Config {
    Config {
        gate,
        drive: DriveConfig::default(),
        frame: "odom".into(),
        state_lifetime: Duration::from_secs(5),
        // As long as it may be, since few of the tests tick every 20 ms.
        heartbeat_timeout: Duration::from_secs(1),
        queue_capacity: 4,
        errands: Errands::default(),
    }
}

/// A moment, with ROS time 1,000 s ahead of steady time.
pub fn at(ms: u64) -> Now {
    let stamp = Stamp((1_000_000 + ms as i64) * 1_000_000);
    Now { steady: Steady(Duration::from_millis(ms)), ros: stamp, wall: stamp }
}

pub fn twist(x: f64, yaw: f64) -> VelocityCommand<'static> {
    VelocityCommand { source: "cmd_vel_in", linear: [x, 0.0, 0.0], angular: [0.0, 0.0, yaw], stamp: None }
}

pub fn pose(x: f64, y: f64, yaw: f64) -> MeasuredState {
    MeasuredState { pose: PlanarPose { x, y, yaw }, ..MeasuredState::default() }
}

/// An executive that is armed and has a fresh state at the origin, at 0 ms.
pub fn executive(gate: GateConfig) -> (Executive<Shared, Shared>, Shared) {
    let shared = Shared::default();
    let mut executive = Executive::new(config(gate), shared.clone(), shared.clone(), at(0)).unwrap();
    executive.enable(PLANNER, at(0)).unwrap();
    executive.on_state("odom", pose(0.0, 0.0, 0.0), at(0)).unwrap();
    shared.events();
    shared.0.borrow_mut().sequence = 0;
    (executive, shared)
}

pub fn navigate(id: &str, x: f64, y: f64) -> proto::Eap {
    let target = proto::RobotPose { x, y, qw: 1.0, frame_id: "odom".into(), ..proto::RobotPose::default() };
    let navigate =
        proto::NavigateOp { target_pose: Some(target), max_velocity: 0.5, tolerance: 0.1, planner_id: String::new() };
    proto::Eap {
        spec: "eap/0.1".into(),
        id: id.into(),
        action: Some(proto::eap::Action::Navigate(navigate)),
        ..proto::Eap::default()
    }
}
