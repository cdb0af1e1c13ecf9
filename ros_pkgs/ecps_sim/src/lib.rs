//! A deterministic world: differential-drive robots with 2-D lidars in a floor plan. No ROS, no clock, no threads.
//!
//! | module | what it holds |
//! |---|---|
//! | [`geometry`] | wall segments: distances and ray hits |
//! | [`floor_plan`] | an outline and solids in it; the built-in office |
//! | [`lidar`] | a 2-D lidar with seeded noise, REP 117 |
//! | [`robot`] | a differential-drive base: motors, contact with walls, command timeout, odometry |
//! | [`arm`] | an arm and a gripper on it: joints that follow trajectories |
//! | [`world`] | several robots, simulated time, the state digest |
//! | [`tour`] | named places in the office and safe ways between them |
//!
//! Units are metres, seconds and radians; axes follow REP 103 (x forward, y left, angles counter-clockwise).
//!
//! **Same seed, same run.** A run is a function of the plan, the robots, the seed, the commands and the lengths of the
//! steps. Wall time, process and threads have no part in it, and neither has looking: a scan's noise depends on seed, robot
//! and simulated time alone, so that taking more scans changes nothing. On one build runs agree byte for byte; between
//! platforms whose sine and cosine differ in the last bit, [`world::World::state_sha`] still agrees, because it quantises
//! (short of a value that sits on a rounding border).
//!
//! ```
//! use ecps_sim::{floor_plan::FloorPlan, robot::{RobotSpec, Velocity}, tour::Tour, world::World};
//! use std::time::Duration;
//!
//! let tour = Tour::office();
//! let lab = tour.place("lab").ok_or("the office has a lab")?;
//! let mut world = World::new(FloorPlan::office(), 7, vec![RobotSpec::new("robot1", lab.pose)])?;
//!
//! world.command(0, Velocity { linear: 0.5, angular: 0.0 })?;
//! for _ in 0..20 {
//!     world.step(Duration::from_millis(10))?;
//! }
//! assert_eq!(world.scan(0)?.ranges.len(), 360);
//! assert!((world.robot(0)?.velocity().linear - 0.5).abs() < 1e-9);
//!
//! // The way from here to the kitchen, as poses to drive to one after the other, in straight lines.
//! let way = tour.route(world.robot(0)?.pose().translation.vector.into(), "kitchen")?;
//! assert!(!way.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod arm;
pub mod floor_plan;
pub mod geometry;
pub mod lidar;
#[cfg(feature = "node")]
pub mod node;
mod noise;
mod office;
pub mod robot;
pub mod tour;
pub mod world;
