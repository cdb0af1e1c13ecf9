//! What others carry out for an action: a server on the network, a planner, a simulator. The executor hands an errand out
//! when the action's turn has come, and takes the answer; it never waits for one.

use crate::action::ErrorCode;
use crate::goal::GoalId;
use crate::state::PlanarPose;

/// Largest answer that is kept, bytes.
pub const ANSWER_BYTES: usize = 16 << 10;

/// A call of a cloud service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudCall {
    /// Which API.
    pub api: String,
    /// Which of its methods.
    pub method: String,
    /// JSON.
    pub payload: Vec<u8>,
    /// Whether the bearer token goes with it.
    pub authorized: bool,
}

/// Steps of a simulated world.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorldSteps {
    /// Seconds of simulated time.
    pub duration: f64,
    /// How many steps; 0: as the world has it.
    pub steps: u32,
    /// Whether sensors look at the end.
    pub render: bool,
}

/// What is to be carried out.
#[derive(Debug, Clone, PartialEq)]
pub enum Errand {
    /// Call a cloud service.
    Cloud(CloudCall),
    /// Step the simulated world.
    Sim(WorldSteps),
    /// Plan and drive to a pose; what it commands passes the gate as a source.
    Navigate {
        /// Where to.
        target: PlanarPose,
    },
}

/// An errand did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrandFailure {
    /// Its code.
    pub code: ErrorCode,
    /// A sentence.
    pub message: String,
}

/// What the executor has for whoever carries out errands.
#[derive(Debug, Clone, PartialEq)]
pub enum ErrandEvent {
    /// Begin.
    Begin(GoalId, Errand),
    /// The action has ended: nobody waits for an answer, and nothing is to go on.
    Recall(GoalId),
}

/// Which errands somebody is there for. What nobody is there for is refused as unsupported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Errands {
    /// A cloud endpoint is configured.
    pub cloud: bool,
    /// The robot is simulated, by a world that can be stepped.
    pub sim: bool,
    /// A planner drives in place of the executor's own driver: the source that its velocities come from.
    pub navigate: Option<String>,
}
