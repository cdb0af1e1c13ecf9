//! How the robots of a swarm move, as the command line says it.

use clap::{Args, ValueEnum};
use ecps_ros::r2r::ecps_msgs::srv::{SetBehavior, SetFormation};
use ecps_ros::r2r::geometry_msgs::msg::{Point, Pose};

/// By SetFormation's numbers.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shape {
    /// Nothing: the robots stand
    None = 0,
    Line = 1,
    Circle = 2,
    Grid = 3,
    Triangle = 4,
    Diamond = 5,
    /// The points of --slot
    Custom = 6,
}

/// By SetBehavior's numbers.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Behavior {
    /// They stand
    Hold = 0,
    /// In the formation that was set last
    Formation = 1,
    /// In file behind --leader, or behind the one that leads the swarm
    Follow = 2,
    /// As a flock, towards --to
    Flock = 3,
    /// Spread over the area of --corner
    Cover = 4,
    /// Along lanes of the area of --corner
    Search = 5,
}

/// A place, as in 4.0,5.85.
fn place(text: &str) -> Result<(f64, f64), String> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let pair = text.split_once(',').and_then(|(x, y)| number(x).zip(number(y)));
    pair.ok_or_else(|| format!("'{text}' is not a place as in 4.0,5.85"))
}

fn points(places: &[(f64, f64)]) -> Vec<Point> {
    places.iter().map(|&(x, y)| Point { x, y, z: 0.0 }).collect()
}

/// What `ecps swarm formation` is told.
#[derive(Debug, Args)]
pub(super) struct FormationArgs {
    /// Its shape
    #[arg(value_enum)]
    shape: Shape,
    /// Where its centre goes, metres in the swarm's frame; may be given again. Without: around where the robots are
    #[arg(long, value_name = "X,Y", value_parser = place, allow_hyphen_values = true)]
    to: Vec<(f64, f64)>,
    /// Its size, metres; it grows where slots would be nearer than the separation
    #[arg(long, value_name = "METRES", default_value_t = 5.0)]
    scale: f64,
    /// Least distance of two slots
    #[arg(long, value_name = "METRES", default_value_t = 2.0)]
    separation: f64,
    /// A slot of a custom one, relative to its centre; may be given again
    #[arg(long, value_name = "X,Y", value_parser = place, allow_hyphen_values = true)]
    slot: Vec<(f64, f64)>,
    /// An agent that takes part; may be given again. Without: all
    #[arg(long = "agent", value_name = "AGENT")]
    agents: Vec<String>,
}

impl FormationArgs {
    pub(super) fn request(&self) -> SetFormation::Request {
        let pose = |point: Point| Pose { position: point, ..Pose::default() };
        SetFormation::Request {
            formation: self.shape as u8,
            scale: self.scale,
            separation: self.separation,
            path: points(&self.to).into_iter().map(pose).collect(),
            points: points(&self.slot),
            agents: self.agents.clone(),
            ..SetFormation::Request::default()
        }
    }
}

/// What `ecps swarm behavior` is told.
#[derive(Debug, Args)]
pub(super) struct BehaviorArgs {
    /// How they move
    #[arg(value_enum)]
    behavior: Behavior,
    /// Who is followed
    #[arg(long, value_name = "AGENT", default_value = "")]
    leader: String,
    /// How far behind, metres
    #[arg(long, value_name = "METRES", default_value_t = 3.0)]
    offset: f64,
    /// A corner of the area, metres in the swarm's frame; three or more
    #[arg(long = "corner", value_name = "X,Y", value_parser = place, allow_hyphen_values = true)]
    area: Vec<(f64, f64)>,
    /// Where the flock goes
    #[arg(long, value_name = "X,Y", value_parser = place, allow_hyphen_values = true)]
    to: Option<(f64, f64)>,
    /// An agent that takes part; may be given again. Without: all
    #[arg(long = "agent", value_name = "AGENT")]
    agents: Vec<String>,
}

impl BehaviorArgs {
    pub(super) fn request(&self) -> SetBehavior::Request {
        let (x, y) = self.to.unwrap_or_default();
        SetBehavior::Request {
            behavior: self.behavior as u8,
            leader: self.leader.clone(),
            offset: self.offset,
            area: points(&self.area),
            has_target: self.to.is_some(),
            target: Point { x, y, z: 0.0 },
            agents: self.agents.clone(),
            ..SetBehavior::Request::default()
        }
    }
}
