//! Velocities for wheels: a differential drive follows any velocity of a point ahead of its axle.
//!
//! The point moves freely while the axle cannot (input-output linearisation: Oriolo, De Luca and Vendittelli, "WMR Control
//! via Dynamic Feedback Linearization", IEEE Transactions on Control Systems Technology 10, 2002). Collision avoidance then
//! takes the point for the robot, with a disc around it that holds the robot however it is turned.

use ecps_core::check::{CheckError, in_range};
use nalgebra::{Isometry2, Vector2};

use super::finite_vector;

/// What the base is told, as in `geometry_msgs/Twist`: metres per second forward, radians per second to the left.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Command {
    /// Forward.
    pub linear: f64,
    /// To the left.
    pub angular: f64,
}

/// A base with two driven wheels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DifferentialDrive {
    ahead: f64,
    max_linear: f64,
    max_angular: f64,
}

impl DifferentialDrive {
    /// The point is `ahead` metres in front of the axle's middle, 0.01 to 10. The nearer it is, the harder the base turns: to
    /// be as fast sideways as forward it must turn with `max_linear / ahead`.
    pub fn new(ahead: f64, max_linear: f64, max_angular: f64) -> Result<DifferentialDrive, CheckError> {
        in_range("ahead", ahead, 0.01, 10.0)?;
        in_range("max_linear", max_linear, 0.0, 100.0)?;
        in_range("max_angular", max_angular, 0.0, 100.0)?;
        Ok(DifferentialDrive { ahead, max_linear, max_angular })
    }

    /// Where the point is, for the pose of the axle's middle.
    pub fn point(&self, pose: &Isometry2<f64>) -> Vector2<f64> {
        (pose * nalgebra::Point2::new(self.ahead, 0.0)).coords
    }

    /// Radius of the disc around the point that holds a robot of `radius` around its axle's middle.
    pub fn radius(&self, radius: f64) -> f64 {
        radius + self.ahead
    }

    /// The command that gives the point this velocity. Where the base cannot do it, all of it is slowed down: the direction
    /// stays, and with it whatever limits standing still satisfies.
    pub fn command(&self, pose: &Isometry2<f64>, velocity: &Vector2<f64>) -> Result<Command, CheckError> {
        finite_vector("velocity", velocity)?;
        finite_vector("position", &pose.translation.vector)?;
        let own = pose.rotation.inverse() * velocity;
        in_range("heading", own.x, f64::MIN, f64::MAX)?;
        let (linear, angular) = (own.x, own.y / self.ahead);
        let over = (linear.abs() / self.max_linear).max(angular.abs() / self.max_angular).max(1.0);
        // At a limit of zero 0 / 0 is no number, and any speed over it infinite.
        let slower = |value: f64| if over.is_finite() { value / over } else { 0.0 };
        Ok(Command { linear: slower(linear), angular: slower(angular) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_point_gets_the_velocity_asked_for() {
        let drive = DifferentialDrive::new(0.2, 2.0, 20.0).unwrap();
        for turn in 0..12 {
            let pose = Isometry2::new(Vector2::new(3.0, -1.0), f64::from(turn));
            let velocity = Vector2::new(0.4, 0.7);
            let command = drive.command(&pose, &velocity).unwrap();
            let dt = 1e-6;
            let moved = Isometry2::new(
                pose.translation.vector + pose.rotation * Vector2::new(command.linear * dt, 0.0),
                pose.rotation.angle() + command.angular * dt,
            );
            let got = (drive.point(&moved) - drive.point(&pose)) / dt;
            assert!((got - velocity).norm() < 1e-4, "{got} at {turn}");
        }
    }

    #[test]
    fn too_fast_is_slowed_in_its_direction() {
        let drive = DifferentialDrive::new(0.2, 1.0, 2.0).unwrap();
        let command = drive.command(&Isometry2::identity(), &Vector2::new(1.0, 2.0)).unwrap();
        assert_eq!(command, Command { linear: 0.2, angular: 2.0 });
        let still = DifferentialDrive::new(0.2, 0.0, 0.0).unwrap();
        assert_eq!(still.command(&Isometry2::identity(), &Vector2::new(1.0, 2.0)).unwrap(), Command::default());
    }

    #[test]
    fn no_number_is_refused() {
        let drive = DifferentialDrive::new(0.2, 1.0, 2.0).unwrap();
        assert!(drive.command(&Isometry2::identity(), &Vector2::new(f64::NAN, 0.0)).is_err());
        assert!(drive.command(&Isometry2::new(Vector2::zeros(), f64::NAN), &Vector2::x()).is_err());
        assert!(DifferentialDrive::new(0.0, 1.0, 2.0).is_err());
    }
}
