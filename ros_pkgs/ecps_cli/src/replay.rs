//! Actions carried out by the executor's own logic in the simulator, in simulated time: the same actions from the same
//! scenario give the same `state_sha` after each, whatever the wall time, the process and the number of threads.
//!
//! `state_sha` is [`MeasuredState::sha`]: position and heading as odometry says, velocity, gripper and simulated time, quantised.

mod arm;

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use ecps_actuation::drive::DriveConfig;
use ecps_actuation::errand::Errands;
use ecps_actuation::motion::LIMIT_RANGE;
use ecps_actuation::{
    Actuator, ActuatorError, ArmError, Config, ConfigError, ErrorCode, Executive, Finished, GateConfig, GoalId,
    Journaled, Limits, MeasuredState, Now, PlanarPose, Record, Request, SafeState, StateError, Velocity,
};
use ecps_core::budget::SAFETY_TIMEOUT;
use ecps_core::clock::{Stamp, Steady};
use ecps_core::wire::proto::Eap;
use ecps_journal::record::{self, Payload, Simulation};
use ecps_journal::{AppendError, Durable, Journal, Moment, SyncError};
use ecps_sim::arm::Arm;
use ecps_sim::floor_plan::FloorPlan;
use ecps_sim::robot::RobotSpec;
use ecps_sim::world::{StepError, World, WorldError};
use nalgebra::{Isometry2, Vector2};
use thiserror::Error;

pub use arm::LimbError;
use arm::Ways;

/// Who asks for the actions.
const CALLER: &str = "replay";
/// Frame of the targets.
const FRAME: &str = "odom";
/// Name of the one floor plan.
const OFFICE: &str = "office";
/// Longest an action may take, simulated; then it is canceled.
const LONGEST_ACTION: Duration = Duration::from_secs(600);
/// Control periods that make sense.
const PERIODS: std::ops::RangeInclusive<u64> = 1_000_000..=1_000_000_000;
/// A disk slower than this has failed.
const LONGEST_SYNC: Duration = Duration::from_secs(60);

/// Why there is nothing to replay.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// A floor plan that is not built in.
    #[error("the simulation is in the floor plan '{0}', and only '{OFFICE}' is built in")]
    Plan(String),
    /// A control period outside its range.
    #[error("the control period is {0} ns, and must be 1 ms to 1 s")]
    Period(u64),
    /// The world cannot be.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The executor cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Simulated time ended.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The robot is where it cannot be.
    #[error(transparent)]
    State(#[from] StateError),
    /// The gate could not be armed.
    #[error(transparent)]
    Arm(#[from] ArmError),
    /// The arm cannot be, or does not move.
    #[error(transparent)]
    Limbs(#[from] LimbError),
    /// The record of the scenario could not be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// It did not reach the disk.
    #[error(transparent)]
    Sync(#[from] SyncError),
}

/// Where a simulated run begins. Default: a robot with an arm in the office's lab, seed 0, 20 Hz.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario(Simulation);

impl Default for Scenario {
    fn default() -> Scenario {
        Scenario::with_seed(0)
    }
}

impl Scenario {
    /// The default with another seed.
    pub fn with_seed(seed: u64) -> Scenario {
        let tour = ecps_sim::tour::Tour::office();
        let start = tour.place("lab").map_or_else(Isometry2::identity, |place| place.pose);
        Scenario(Simulation {
            plan: OFFICE.into(),
            seed,
            start_x: start.translation.x,
            start_y: start.translation.y,
            start_yaw: start.rotation.angle(),
            period_ns: 50_000_000,
            limits: Some(record::Limits {
                max_linear_speed: 0.5,
                max_linear_acceleration: 1.0,
                max_linear_jerk: 30.0,
                max_angular_speed: 1.5,
                max_angular_acceleration: 3.0,
                max_angular_jerk: 80.0,
            }),
            arm: true,
            gripper_object: 0.0,
        })
    }

    /// As a journal tells it.
    pub fn from_record(record: Simulation) -> Scenario {
        Scenario(record)
    }

    /// As a journal keeps it.
    pub fn record(&self) -> &Simulation {
        &self.0
    }
}

/// How an action ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Place of the action, from 0.
    pub index: usize,
    /// Its id.
    pub id: String,
    /// [`ErrorCode::None`] on success.
    pub code: ErrorCode,
    /// Digest of the state then.
    pub state_sha: [u8; 32],
}

/// Records of a run that keeps none.
#[derive(Debug, Default)]
pub struct NoJournal(u64);

impl Record for NoJournal {
    fn append<P: Payload>(&mut self, _: &Moment, _: &P) -> Result<u64, AppendError> {
        self.0 += 1;
        Ok(self.0)
    }

    fn durable(&self, _: u64) -> Durable {
        Durable::OnDisk
    }

    fn fault(&self) -> Option<String> {
        None
    }

    fn sequence(&self) -> u64 {
        self.0
    }
}

/// A journal on disk, waited for, so that the speed of the disk does not show in simulated time.
#[derive(Debug)]
pub struct Awaited(pub Journal);

impl Record for Awaited {
    fn append<P: Payload>(&mut self, moment: &Moment, payload: &P) -> Result<u64, AppendError> {
        self.0.append(moment, payload)
    }

    fn durable(&self, sequence: u64) -> Durable {
        // Fails as it does for the executor: by what `of` then says.
        let _ = self.0.durability().wait(sequence, LONGEST_SYNC);
        self.0.durability().of(sequence)
    }

    fn fault(&self) -> Option<String> {
        self.0.durability().fault()
    }

    fn sequence(&self) -> u64 {
        self.0.sequence()
    }
}

/// The simulated base.
struct Base(Rc<RefCell<World>>);

impl Base {
    fn command(&self, velocity: Velocity) -> Result<(), ActuatorError> {
        let velocity = ecps_sim::robot::Velocity { linear: velocity.x, angular: velocity.yaw };
        self.0.borrow_mut().command(0, velocity).map_err(|error| ActuatorError(error.to_string()))
    }
}

impl Actuator for Base {
    fn safe_state(&self) -> SafeState {
        SafeState::ZeroVelocity
    }

    fn drive(&mut self, velocity: Journaled<Velocity>) -> Result<(), ActuatorError> {
        self.command(*velocity.value())
    }

    fn halt(&mut self) -> Result<(), ActuatorError> {
        self.command(Velocity::ZERO)
    }
}

/// A run under way.
pub struct Replay<R: Record> {
    world: Rc<RefCell<World>>,
    executive: Executive<R, Base>,
    /// To the arm, where there is one.
    ways: Option<Ways>,
    period: Duration,
    state: MeasuredState,
    index: usize,
    /// Ids that were carried out.
    ids: HashSet<String>,
}

impl<R: Record> Replay<R> {
    /// At the scenario's beginning, which is recorded first.
    pub fn begin(scenario: &Scenario, mut journal: R) -> Result<Replay<R>, ReplayError> {
        let simulation = scenario.record();
        if simulation.plan != OFFICE {
            return Err(ReplayError::Plan(simulation.plan.chars().take(64).collect()));
        }
        if !PERIODS.contains(&simulation.period_ns) {
            return Err(ReplayError::Period(simulation.period_ns));
        }
        let start = Isometry2::new(Vector2::new(simulation.start_x, simulation.start_y), simulation.start_yaw);
        let arm = simulation.arm.then(|| Arm::new(simulation.gripper_object));
        let robot = RobotSpec { arm, ..RobotSpec::new("robot", start) };
        let world = World::new(FloorPlan::office(), simulation.seed, vec![robot])?;
        let world = Rc::new(RefCell::new(world));
        let limits = simulation.limits.unwrap_or_default();
        // Zero is what a writer left that knew no jerk.
        let jerk = |recorded: f64| if recorded == 0.0 { LIMIT_RANGE.1 } else { recorded };
        let limits = Limits {
            max_linear_speed: limits.max_linear_speed,
            max_linear_acceleration: limits.max_linear_acceleration,
            max_linear_jerk: jerk(limits.max_linear_jerk),
            max_angular_speed: limits.max_angular_speed,
            max_angular_acceleration: limits.max_angular_acceleration,
            max_angular_jerk: jerk(limits.max_angular_jerk),
        };
        let config = Config {
            gate: GateConfig::new(limits),
            drive: DriveConfig::default(),
            frame: FRAME.into(),
            state_lifetime: Duration::from_secs(5),
            heartbeat_timeout: SAFETY_TIMEOUT,
            queue_capacity: 1,
            errands: Errands::default(),
        };
        journal.append(&Moment::default(), simulation)?;
        let at = now(&world.borrow());
        let mut executive = Executive::new(config, journal, Base(Rc::clone(&world)), at)?;
        let ways = simulation.arm.then(|| arm::attach(&mut executive)).transpose()?;
        executive.enable(Request { caller: CALLER, trace: [0; 16] }, at)?;
        let period = Duration::from_nanos(simulation.period_ns);
        let mut replay =
            Replay { world, executive, ways, period, state: MeasuredState::default(), index: 0, ids: HashSet::new() };
        replay.measure()?;
        Ok(replay)
    }

    /// Carries out the next action to its end.
    pub fn carry_out(&mut self, action: &Eap) -> Result<Ended, ReplayError> {
        let index = self.index;
        self.index += 1;
        // Where several callers were recorded, one id may stand for several actions.
        let again = format!("{CALLER}/{index}");
        let caller = if self.ids.insert(action.id.clone()) { CALLER } else { &again };
        let at = self.now();
        let (code, state) = match self.executive.submit(Request { caller, trace: [0; 16] }, action, at) {
            Err(rejection) => (rejection.code, self.state),
            Ok(submitted) => {
                let finished = self.drive(submitted.goal)?;
                (finished.code, finished.state.unwrap_or(self.state))
            }
        };
        Ok(Ended { index, id: action.id.clone(), code, state_sha: state.sha() })
    }

    fn drive(&mut self, goal: GoalId) -> Result<Finished, ReplayError> {
        let deadline = Steady(self.now().steady.0 + LONGEST_ACTION);
        loop {
            while let Some(finished) = self.executive.take_finished() {
                if finished.goal == goal {
                    return Ok(finished);
                }
            }
            let at = self.now();
            if at.steady >= deadline && self.executive.cancel(goal, at) {
                continue;
            }
            self.executive.tick(at);
            self.step()?;
        }
    }

    fn now(&self) -> Now {
        now(&self.world.borrow())
    }

    /// One period of the world.
    fn step(&mut self) -> Result<(), ReplayError> {
        {
            let mut world = self.world.borrow_mut();
            if let Some(ways) = &self.ways {
                ways.begin(&mut world)?;
            }
            world.step(self.period)?;
        }
        self.measure()
    }

    /// Tells the executor where the robot is, and its joints.
    fn measure(&mut self) -> Result<(), ReplayError> {
        let at = self.now();
        if let Ok(robot) = self.world.borrow().robot(0) {
            if let Some(arm) = robot.arm() {
                arm::measure(&mut self.executive, arm, at)?;
            }
            let (pose, velocity) = (robot.odometry(), robot.velocity());
            self.state = MeasuredState {
                pose: PlanarPose { x: pose.translation.x, y: pose.translation.y, yaw: pose.rotation.angle() },
                velocity: Velocity { x: velocity.linear, y: 0.0, yaw: velocity.angular },
                gripper: None,
                stamp: at.ros,
            };
        }
        self.state = self.executive.on_state(FRAME, self.state, at)?;
        Ok(())
    }
}

/// All clocks show simulated time.
fn now(world: &World) -> Now {
    let stamp = Stamp(i64::try_from(world.time_ns()).unwrap_or(i64::MAX));
    Now { steady: Steady(Duration::from_nanos(world.time_ns())), ros: stamp, wall: stamp }
}
