//! Formations, behaviours and collision avoidance: pure functions and state machines, no ROS, no clock, no threads.
//!
//! | module | what it holds |
//! |---|---|
//! | [`shape`] | formations as slots around a centre |
//! | [`formation`] | who takes which slot, and how robots get there without coming near each other |
//! | [`route`] | where a formation's centre goes |
//! | [`follow`] | following a leader |
//! | [`flocking`] | flocking after Olfati-Saber |
//! | [`coverage`] | spreading over an area (Lloyd) |
//! | [`search`] | sweeping an area in lanes |
//! | [`polygon`] | convex areas |
//! | [`avoidance`] | velocities that collide with nobody (ORCA), for one robot and for many |
//! | [`grid`] | who is near whom |
//! | [`drive`] | such velocities for wheels |
//! | [`scene`] | a simulation of it all, for tests, benches and pictures |
//!
//! A behaviour says where its robot would like to go: a velocity, metres per second, in the frame of the positions. That
//! goes through [`avoidance`], which every behaviour shares, and [`drive`], and from there to the robot's executor, never
//! straight to wheels. Positions and velocities are `Vector2<f64>` in one fixed frame (REP 105's `map`), units are metres,
//! seconds and radians, axes follow REP 103.

pub mod avoidance;
pub mod coverage;
pub mod drive;
pub mod flocking;
pub mod follow;
pub mod formation;
pub mod grid;
pub mod polygon;
pub mod route;
pub mod scene;
pub mod search;
pub mod shape;

use ecps_core::check::{CheckError, finite};
use nalgebra::Vector2;

/// Side of a formation, metres.
pub const SCALE: f64 = 5.0;
/// Fastest a robot drives, metres per second.
pub const MAX_SPEED: f64 = 2.0;
/// Least distance of two slots, metres. Robots on their way keep at least half of it.
pub const SEPARATION: f64 = 2.0;
/// How far robots notice each other, metres.
pub const NEIGHBOUR_RADIUS: f64 = 10.0;
/// Time between two decisions, seconds.
pub const CONTROL_PERIOD: f64 = 0.1;

/// Refuses vectors that are not finite.
pub(crate) fn finite_vector(field: &str, vector: &Vector2<f64>) -> Result<(), CheckError> {
    finite(field, vector.x)?;
    finite(field, vector.y).map(|_| ())
}

/// Not longer than `limit`.
pub(crate) fn capped(vector: Vector2<f64>, limit: f64) -> Vector2<f64> {
    let length = vector.norm();
    if length > limit { vector * (limit / length) } else { vector }
}
