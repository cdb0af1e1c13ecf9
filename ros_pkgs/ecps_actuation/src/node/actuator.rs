//! `cmd_vel` as an actuator.

use std::time::Duration;

use ecps_core::clock::{RosClock, SteadyClock, SystemSteady};
use ecps_ros::r2r::geometry_msgs::msg::{Twist, TwistStamped};
use ecps_ros::{Node, NodeClock, Publisher, StartError, qos};

use crate::motion::Velocity;
use crate::ticket::{Actuator, ActuatorError, Journaled, SafeState};

/// The robot's velocity topic.
#[derive(Clone)]
pub(crate) struct CmdVel {
    output: Output,
    frame_id: String,
    clock: NodeClock,
    /// Age of a decision at which it is too late to carry it out.
    too_late: Duration,
}

#[derive(Clone)]
enum Output {
    Plain(Publisher<Twist>),
    Stamped(Publisher<TwistStamped>),
}

impl CmdVel {
    pub(crate) fn new<S: 'static>(node: &mut Node<S>, stamped: bool, too_late: Duration) -> Result<CmdVel, StartError> {
        let output = if stamped {
            Output::Stamped(node.publisher("cmd_vel", qos::command())?)
        } else {
            Output::Plain(node.publisher("cmd_vel", qos::command())?)
        };
        Ok(CmdVel { output, frame_id: "base_footprint".to_owned(), clock: node.clock(), too_late })
    }

    /// How many listen.
    pub(crate) fn subscribers(&self) -> usize {
        match &self.output {
            Output::Plain(publisher) => publisher.subscribers(),
            Output::Stamped(publisher) => publisher.subscribers(),
        }
    }

    pub(crate) fn publish(&self, velocity: Velocity) -> Result<(), ActuatorError> {
        let mut twist = Twist::default();
        twist.linear.x = velocity.x;
        twist.linear.y = velocity.y;
        twist.angular.z = velocity.yaw;
        let sent = match &self.output {
            Output::Plain(publisher) => publisher.try_publish(&twist),
            Output::Stamped(publisher) => {
                let mut stamped = TwistStamped { twist, ..TwistStamped::default() };
                stamped.header.stamp = ecps_ros::time(self.clock.now());
                stamped.header.frame_id.clone_from(&self.frame_id);
                publisher.try_publish(&stamped)
            }
        };
        sent.map_err(|reason| ActuatorError(format!("cmd_vel could not be published: {reason}")))
    }
}

impl Actuator for CmdVel {
    fn safe_state(&self) -> SafeState {
        SafeState::ZeroVelocity
    }

    fn drive(&mut self, velocity: Journaled<Velocity>) -> Result<(), ActuatorError> {
        let age = SystemSteady.now().since(velocity.decided());
        if age > self.too_late {
            return Err(ActuatorError(format!("the decision was {age:?} old, and may be {:?}", self.too_late)));
        }
        self.publish(*velocity.value())
    }

    fn halt(&mut self) -> Result<(), ActuatorError> {
        self.publish(Velocity::ZERO)
    }
}
