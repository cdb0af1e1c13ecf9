//! `ecps swarm`: looks at a swarm's agents and tasks, gives it tasks, and says how it moves.

mod moves;
mod tables;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use ecps_core::clock::{RosClock as _, Stamp};
use ecps_ros::r2r::builtin_interfaces::msg::Duration as RosDuration;
use ecps_ros::r2r::ecps_msgs::msg::{Caller, SwarmSlots, SwarmTask};
use ecps_ros::r2r::ecps_msgs::srv::{CancelTask, SetBehavior, SetFormation, SubmitTask};
use ecps_ros::{CallError, Message, Node, NodeClock, StartError};
use thiserror::Error;

use crate::asking::{self, Last, PATIENCE};
use crate::say::say;

/// Name of the node that asks.
const NODE: &str = "ecps_swarm";
/// Between two pictures of the live table.
const PICTURE: Duration = Duration::from_millis(500);

/// What `ecps swarm` is told.
#[derive(Debug, Args)]
pub struct Swarm {
    /// Namespace of the robot whose coordinator is asked, as in robot1; any of the swarm will do
    #[arg(long, default_value = "", global = true)]
    namespace: String,
    /// Take the time from /clock
    #[arg(long, global = true)]
    use_sim_time: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Who is there, how sure that is, and who leads
    Agents,
    /// What there is to do, who does it, and why something waits
    Tasks,
    /// Give the swarm a task
    Submit(Box<Submit>),
    /// Take a task back
    Cancel {
        /// Its id
        id: String,
    },
    /// Have the robots that hold no task take up a formation
    Formation(moves::FormationArgs),
    /// Have them move otherwise, or stand
    Behavior(moves::BehaviorArgs),
    /// All of it, live, until Ctrl-C
    Watch,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Priority {
    Critical = 1,
    High = 2,
    Normal = 3,
    Low = 4,
    Background = 5,
}

#[derive(Debug, Args)]
struct Submit {
    /// Drive to this place, metres in the swarm's frame
    #[arg(allow_negative_numbers = true, requires = "y")]
    x: Option<f64>,
    /// Metres
    #[arg(allow_negative_numbers = true)]
    y: Option<f64>,
    /// Heading, radians
    #[arg(allow_negative_numbers = true, default_value_t = 0.0)]
    heading: f64,
    /// Kind of work; a coordinator itself carries out navigate
    #[arg(long, default_value = "navigate")]
    kind: String,
    /// Id of the task; the same id and content is taken once, however often it is sent
    #[arg(long, default_value = "")]
    id: String,
    /// How urgent it is
    #[arg(long, value_enum, default_value = "normal")]
    priority: Priority,
    /// A capability that it takes; may be given again
    #[arg(long = "needs", value_name = "CAPABILITY")]
    capabilities: Vec<String>,
    /// A task that has to complete before; may be given again
    #[arg(long = "after", value_name = "ID")]
    depends_on: Vec<String>,
    /// Seconds from now within which it must be done
    #[arg(long, value_name = "SECONDS")]
    within: Option<f64>,
    /// How long the work itself is thought to take
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    takes: f64,
    /// An agent that is chosen where it can; may be given again
    #[arg(long, value_name = "AGENT")]
    prefer: Vec<String>,
    /// An agent that is not chosen; may be given again
    #[arg(long, value_name = "AGENT")]
    exclude: Vec<String>,
}

/// Why it did not work. One line.
#[derive(Debug, Error)]
pub enum SwarmError {
    /// ROS.
    #[error(transparent)]
    Ros(#[from] StartError),
    /// Nobody answered.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Nothing came on a topic.
    #[error("nothing came on {topic} within {PATIENCE:?}; does the robot's namespace have a swarm_coordinator?")]
    Silent {
        /// The topic.
        topic: String,
    },
    /// The coordinator refused.
    #[error("the swarm: {0}")]
    Refused(String),
    /// A number of the command line.
    #[error("--{option} is {value}, and must be from 0 to 1000000000 seconds")]
    Seconds {
        /// Which.
        option: &'static str,
        /// What it is.
        value: f64,
    },
}

struct Asking {
    node: Node<()>,
    clock: NodeClock,
    prefix: String,
}

/// A topic of the coordinator, and what came on it last.
struct Told<T> {
    topic: String,
    last: Last<T>,
}

impl<T: Clone> Told<T> {
    fn wait(&self) -> Result<T, SwarmError> {
        self.last.wait(PATIENCE).ok_or_else(|| SwarmError::Silent { topic: self.topic.clone() })
    }
}

impl Asking {
    fn new(options: &Swarm) -> Result<Asking, SwarmError> {
        let node = asking::node(NODE, options.use_sim_time)?;
        let prefix = match options.namespace.trim_matches('/') {
            "" => "/swarm_coordinator".to_owned(),
            name => format!("/{name}/swarm_coordinator"),
        };
        Ok(Asking { clock: node.clock(), node, prefix })
    }

    fn told<T: Message + Clone>(&mut self, name: &str) -> Result<Told<T>, SwarmError> {
        let topic = format!("{}/{name}", self.prefix);
        Ok(Told { last: Last::of(&mut self.node, &topic)?, topic })
    }

    fn caller(&self) -> Caller {
        asking::caller(NODE, &self.clock)
    }
}

/// Runs `ecps swarm`.
///
/// # Errors
/// [`SwarmError`], one line.
pub fn run(options: &Swarm) -> Result<ExitCode, SwarmError> {
    let mut asking = Asking::new(options)?;
    match &options.verb {
        Verb::Agents => {
            let (leader, agents) = (asking.told("leader")?, asking.told("agents")?);
            let _spinning = asking.node.spin_in_background(());
            tables::agents(&leader.wait()?, &agents.wait()?).iter().for_each(|line| say!("{line}"));
        }
        Verb::Tasks => {
            let tasks = asking.told("tasks")?;
            let _spinning = asking.node.spin_in_background(());
            tables::tasks(&tasks.wait()?).iter().for_each(|line| say!("{line}"));
        }
        Verb::Submit(submit) => {
            let request = SubmitTask::Request { caller: asking.caller(), task: task(submit, asking.clock.now())? };
            let client = asking.node.client::<SubmitTask::Service>(&format!("{}/submit_task", asking.prefix))?;
            let _spinning = asking.node.spin_in_background(());
            let answer = client.call(&request, PATIENCE)?;
            accepted(answer.error_code, answer.error_msg)?;
            say!("{}", answer.id);
        }
        Verb::Cancel { id } => {
            let request = CancelTask::Request { caller: asking.caller(), id: id.clone() };
            let client = asking.node.client::<CancelTask::Service>(&format!("{}/cancel_task", asking.prefix))?;
            let _spinning = asking.node.spin_in_background(());
            let answer = client.call(&request, PATIENCE)?;
            accepted(answer.error_code, answer.error_msg)?;
        }
        Verb::Formation(formation) => {
            let request = SetFormation::Request { caller: asking.caller(), ..formation.request() };
            let client = asking.node.client::<SetFormation::Service>(&format!("{}/set_formation", asking.prefix))?;
            let _spinning = asking.node.spin_in_background(());
            let answer = client.call(&request, PATIENCE)?;
            accepted(answer.error_code, answer.error_msg)?;
            say!("{:.2} m", answer.scale);
        }
        Verb::Behavior(behavior) => {
            let request = SetBehavior::Request { caller: asking.caller(), ..behavior.request() };
            let client = asking.node.client::<SetBehavior::Service>(&format!("{}/set_behavior", asking.prefix))?;
            let _spinning = asking.node.spin_in_background(());
            let answer = client.call(&request, PATIENCE)?;
            accepted(answer.error_code, answer.error_msg)?;
        }
        Verb::Watch => {
            let (leader, agents, tasks) = (asking.told("leader")?, asking.told("agents")?, asking.told("tasks")?);
            let slots = asking.told::<SwarmSlots>("slots")?;
            let _spinning = asking.node.spin_in_background(());
            loop {
                let agents = agents.wait()?;
                let parts = [
                    tables::agents(&leader.wait()?, &agents),
                    tables::slots(&slots.wait()?, &agents),
                    tables::tasks(&tasks.wait()?),
                ];
                let parts = parts.iter().filter(|part| !part.is_empty()).map(|part| part.join("\n"));
                let picture = parts.collect::<Vec<_>>().join("\n\n");
                // On a terminal each picture takes the place of the one before.
                let home = if std::io::stdout().is_terminal() { "\x1b[H\x1b[J" } else { "" };
                say!("{home}{picture}");
                std::thread::sleep(PICTURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn accepted(code: u8, reason: String) -> Result<(), SwarmError> {
    if code == 0 { Ok(()) } else { Err(SwarmError::Refused(reason)) }
}

fn seconds(option: &'static str, value: f64) -> Result<f64, SwarmError> {
    if (0.0..=1e9).contains(&value) { Ok(value) } else { Err(SwarmError::Seconds { option, value }) }
}

fn task(submit: &Submit, now: Stamp) -> Result<SwarmTask, SwarmError> {
    let takes = seconds("takes", submit.takes)?;
    let mut task = SwarmTask {
        id: submit.id.clone(),
        kind: submit.kind.clone(),
        priority: submit.priority as u8,
        required_capabilities: submit.capabilities.clone(),
        depends_on: submit.depends_on.clone(),
        duration_estimate: RosDuration { sec: takes as i32, nanosec: (takes.fract() * 1e9) as u32 },
        preferred_agents: submit.prefer.clone(),
        excluded_agents: submit.exclude.clone(),
        ..SwarmTask::default()
    };
    if let Some(within) = submit.within {
        let within = seconds("within", within)?;
        task.deadline = ecps_ros::time(Stamp(now.0.saturating_add((within * 1e9) as i64)));
    }
    if let Some((x, y)) = submit.x.zip(submit.y) {
        task.has_location = true;
        (task.location.position.x, task.location.position.y) = (x, y);
        (task.location.orientation.z, task.location.orientation.w) = (submit.heading / 2.0).sin_cos();
    }
    Ok(task)
}
