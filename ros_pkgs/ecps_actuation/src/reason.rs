//! Why a command is limited, refused or ended: stable names for counters, sentences for people.

use thiserror::Error;

use crate::zone::Rule;

/// Lists the reasons with their stable names, so that none is left out of [`Reason::ALL`].
macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident $name:literal,)*) => {
        /// Why a command did not pass as it came.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $reason,)*
        }

        impl Reason {
            /// Each reason, in the order of its discriminant.
            pub const ALL: &[Reason] = &[$(Reason::$reason),*];
            /// How many there are.
            pub const COUNT: usize = Reason::ALL.len();

            /// The stable name, in snake_case.
            pub fn name(self) -> &'static str {
                match self { $(Reason::$reason => $name,)* }
            }
        }
    };
}

reasons! {
    /// Refused: NaN or infinity.
    NotFinite "not_finite",
    /// Refused: asks for a movement that the base cannot make.
    UnsupportedAxis "unsupported_axis",
    /// Refused: so far above the limit that its sender cannot be trusted.
    Unreasonable "unreasonable",
    /// Refused: older than its lifetime.
    Stale "stale",
    /// Refused: stamped in the future.
    FromFuture "from_future",
    /// Refused: a stop is latched.
    Stopped "stopped",
    /// Refused: nobody has enabled.
    NotArmed "not_armed",
    /// Refused: from nobody that may command.
    UnknownSource "unknown_source",
    /// Refused: a source of higher priority commands.
    Outranked "outranked",
    /// Refused or halted: the robot's state is not known.
    StateStale "state_stale",
    /// Limited: over the greatest linear speed.
    LinearSpeed "linear_speed",
    /// Limited: over the greatest angular speed.
    AngularSpeed "angular_speed",
    /// Limited: speeds up too fast.
    LinearAcceleration "linear_acceleration",
    /// Limited: turns up too fast.
    AngularAcceleration "angular_acceleration",
    /// Limited: speeding up would set in too hard.
    LinearJerk "linear_jerk",
    /// Limited: turning up would set in too hard.
    AngularJerk "angular_jerk",
    /// Limited, refused or halted: could not stop within the workspace.
    Workspace "workspace",
    /// Limited, refused or halted: could not stop before a keep-out zone.
    KeepOut "keep_out",
    /// Limited, refused or halted: could not stop before an obstacle.
    Obstacle "obstacle",
    /// Limited or refused: towards where the scanner does not look.
    Blind "blind",
    /// Refused or halted: obstacles are not known.
    ScanStale "scan_stale",
    /// Refused: an action has the robot.
    GoalActive "goal_active",
    /// Halted: no command for too long.
    CommandSilence "command_silence",
    /// Refused: its record could not be written.
    Journal "journal",
    /// Refused: the actuator did not take it.
    Actuator "actuator",
    /// Refused: this process did not run for too long before it came to it.
    Overslept "overslept",
    /// Refused: a joint that is in no group.
    JointUnknown "joint_unknown",
    /// Refused: a trajectory whose sizes or times do not go together.
    JointMalformed "joint_malformed",
    /// Refused: begins far from where the joint is.
    JointStart "joint_start",
    /// Refused: leaves a joint's positions.
    JointPosition "joint_position",
    /// Slowed down or refused: over a joint's greatest velocity.
    JointVelocity "joint_velocity",
    /// Slowed down or refused: over a joint's greatest acceleration.
    JointAcceleration "joint_acceleration",
    /// Refused: over a joint's greatest effort.
    JointEffort "joint_effort",
    /// Refused or halted: where a joint is, is not known.
    JointStateStale "joint_state_stale",
    /// Refused: it carries no token, and one is asked for.
    NoToken "no_token",
}

impl Reason {
    /// The reason to lower or refuse what could not stop before the border of a zone.
    pub fn of_zone(rule: Rule) -> Reason {
        match rule {
            Rule::StayInside => Reason::Workspace,
            Rule::KeepOut => Reason::KeepOut,
        }
    }
}

/// A command that did not pass, in words.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Refusal {
    /// See [`Reason::NotFinite`].
    #[error("{field} is {value}, and must be finite")]
    NotFinite {
        /// Field of the Twist.
        field: &'static str,
        /// What it held.
        value: f64,
    },
    /// See [`Reason::UnsupportedAxis`].
    #[error("{field} is {value}, and this base can only have 0 there")]
    UnsupportedAxis {
        /// Field of the Twist.
        field: &'static str,
        /// What it held.
        value: f64,
    },
    /// See [`Reason::Unreasonable`].
    #[error("the {field} is {value} {unit}; up to {limit} {unit} would have been lowered, more is refused")]
    Unreasonable {
        /// "linear speed" or "angular speed".
        field: &'static str,
        /// What was asked for.
        value: f64,
        /// Least that is refused.
        limit: f64,
        /// "m/s" or "rad/s".
        unit: &'static str,
    },
    /// See [`Reason::Stale`].
    #[error("the command is {age_ms} ms old, and its lifetime is {limit_ms} ms")]
    Stale {
        /// Age in ROS time.
        age_ms: i64,
        /// Lifetime.
        limit_ms: u128,
    },
    /// See [`Reason::FromFuture`].
    #[error("the command is stamped {ahead_ms} ms in the future, and {limit_ms} ms are tolerated")]
    FromFuture {
        /// How far ahead.
        ahead_ms: i64,
        /// Tolerance.
        limit_ms: u128,
    },
    /// See [`Reason::Stopped`].
    #[error("a protective stop is latched ({cause})")]
    Stopped {
        /// Why.
        cause: String,
    },
    /// See [`Reason::StateStale`].
    #[error("the robot's state has been silent for more than {limit_ms} ms, or was never received")]
    StateStale {
        /// How long it may be silent.
        limit_ms: u128,
    },
    /// See [`Reason::NotArmed`].
    #[error("the gate is disarmed; call ~/enable first")]
    NotArmed,
    /// See [`Reason::UnknownSource`].
    #[error("'{source_name}' is none of the sources that may command")]
    UnknownSource {
        /// Who commanded.
        source_name: String,
    },
    /// See [`Reason::Outranked`].
    #[error("'{by}' has a higher priority and commands at present")]
    Outranked {
        /// The other source.
        by: String,
    },
    /// See [`Reason::Workspace`] and [`Reason::KeepOut`].
    #[error("{free:.3} m are left to the border of zone '{zone}', too little to stop from the least speed")]
    Zone {
        /// Name of the zone.
        zone: String,
        /// Which side of it is the robot's.
        rule: Rule,
        /// Metres along the commanded path.
        free: f64,
    },
    /// See [`Reason::Obstacle`].
    #[error("{free:.3} m are left to an obstacle, too little to stop from the least speed")]
    Obstacle {
        /// Metres along the commanded path.
        free: f64,
    },
    /// See [`Reason::Blind`].
    #[error("the scanner does not look in that direction")]
    Blind,
    /// See [`Reason::ScanStale`].
    #[error("the scanner has been silent for more than {limit_ms} ms, or was never received")]
    ScanStale {
        /// How long it may be silent.
        limit_ms: u128,
    },
    /// See [`Reason::GoalActive`].
    #[error("action '{id}' has the robot; cancel it first")]
    GoalActive {
        /// Id of the action.
        id: String,
    },
    /// See [`Reason::Journal`].
    #[error("the command could not be recorded, so it was not carried out: {cause}")]
    Journal {
        /// What failed.
        cause: String,
    },
    /// See [`Reason::Overslept`].
    #[error("this process did not run for {slept_ms} ms, and {limit_ms} ms are tolerated")]
    Overslept {
        /// Time that passed.
        slept_ms: u128,
        /// Time that may pass.
        limit_ms: u128,
    },
    /// See [`Reason::NotFinite`].
    #[error("{list} of point {point} hold {value}, and must be finite")]
    JointNotFinite {
        /// Which point, from 0.
        point: usize,
        /// Which list of it.
        list: &'static str,
        /// What it held.
        value: f64,
    },
    /// See [`Reason::JointUnknown`].
    #[error("joint '{joint}' is none that this executor moves")]
    JointUnknown {
        /// Its name.
        joint: String,
    },
    /// See [`Reason::JointMalformed`].
    #[error("the trajectory is malformed: {what}")]
    JointMalformed {
        /// In a sentence.
        what: String,
    },
    /// See [`Reason::JointStart`].
    #[error("the trajectory begins {apart:.4} (rad or m) from where joint '{joint}' is, and may begin {limit} from it")]
    JointStart {
        /// Which joint.
        joint: String,
        /// How far.
        apart: f64,
        /// How far it may be.
        limit: f64,
    },
    /// See [`Reason::JointPosition`].
    #[error("joint '{joint}' would come to {value:.4}, and its positions are {lower} to {upper} (rad or m)")]
    JointPosition {
        /// Which joint.
        joint: String,
        /// Where it would be.
        value: f64,
        /// Least position.
        lower: f64,
        /// Greatest position.
        upper: f64,
    },
    /// See [`Reason::JointVelocity`] and [`Reason::JointAcceleration`].
    #[error("for joint '{joint}' ({}) it would take {by:.2} times as long; up to {limit} it would have been slowed down", reason.name())]
    JointTooFast {
        /// Which joint.
        joint: String,
        /// By how much too fast.
        by: f64,
        /// How much would have been lowered.
        limit: f64,
        /// Velocity or acceleration.
        reason: Reason,
    },
    /// See [`Reason::JointEffort`].
    #[error("joint '{joint}' is to give {value} (N m or N), and may give {limit}")]
    JointEffort {
        /// Which joint.
        joint: String,
        /// What was asked for.
        value: f64,
        /// The most.
        limit: f64,
    },
    /// See [`Reason::JointStateStale`].
    #[error("the state of joint '{joint}' has been silent for more than {limit_ms} ms, or was never received")]
    JointStateStale {
        /// Which joint.
        joint: String,
        /// How long it may be silent.
        limit_ms: u128,
    },
    /// See [`Reason::NoToken`].
    #[error("what comes on topic '{topic}' carries no token, and trust_level asks for one; send actions")]
    NoToken {
        /// The topic.
        topic: String,
    },
    /// See [`Reason::Actuator`].
    #[error("the actuator did not take the command: {cause}")]
    Actuator {
        /// What failed.
        cause: String,
    },
}

impl Refusal {
    /// The reason to count it under.
    pub fn reason(&self) -> Reason {
        match self {
            Refusal::NotFinite { .. } => Reason::NotFinite,
            Refusal::UnsupportedAxis { .. } => Reason::UnsupportedAxis,
            Refusal::Unreasonable { .. } => Reason::Unreasonable,
            Refusal::Stale { .. } => Reason::Stale,
            Refusal::FromFuture { .. } => Reason::FromFuture,
            Refusal::Stopped { .. } => Reason::Stopped,
            Refusal::StateStale { .. } => Reason::StateStale,
            Refusal::NotArmed => Reason::NotArmed,
            Refusal::UnknownSource { .. } => Reason::UnknownSource,
            Refusal::Outranked { .. } => Reason::Outranked,
            Refusal::Zone { rule, .. } => Reason::of_zone(*rule),
            Refusal::Obstacle { .. } => Reason::Obstacle,
            Refusal::Blind => Reason::Blind,
            Refusal::ScanStale { .. } => Reason::ScanStale,
            Refusal::Overslept { .. } => Reason::Overslept,
            Refusal::GoalActive { .. } => Reason::GoalActive,
            Refusal::Journal { .. } => Reason::Journal,
            Refusal::Actuator { .. } => Reason::Actuator,
            Refusal::JointNotFinite { .. } => Reason::NotFinite,
            Refusal::JointUnknown { .. } => Reason::JointUnknown,
            Refusal::JointMalformed { .. } => Reason::JointMalformed,
            Refusal::JointStart { .. } => Reason::JointStart,
            Refusal::JointPosition { .. } => Reason::JointPosition,
            Refusal::JointTooFast { reason, .. } => *reason,
            Refusal::JointEffort { .. } => Reason::JointEffort,
            Refusal::JointStateStale { .. } => Reason::JointStateStale,
            Refusal::NoToken { .. } => Reason::NoToken,
        }
    }
}
