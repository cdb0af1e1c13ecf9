//! Commands a robot to drive, says where it is, and tells on standard error what comes out on `cmd_vel`: `moving at` and
//! `zero at` with the monotonic time in nanoseconds, and `still` after each 20 zeros in a row. Each line that it reads is an
//! order for the saboteur; `deadlock` is followed by odometry that the executor has to complain about.
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::time::Duration;

use ecps_core::clock::{RosClock as _, Steady, SteadyClock as _, SystemRos, SystemSteady};
use ecps_ros::r2r::geometry_msgs::msg::Twist;
use ecps_ros::r2r::nav_msgs::msg::Odometry;
use ecps_ros::r2r::std_msgs::msg::String as Text;
use ecps_ros::{Managed, Node, Publisher, StartError, qos};

const PERIOD: Duration = Duration::from_millis(20);
/// A pause after which a zero is news again.
const PAUSE: Duration = Duration::from_millis(500);

struct Onlooker {
    commands: Publisher<Twist>,
    odometry: Publisher<Odometry>,
    moving: bool,
    zeros: u32,
    heard: Option<Steady>,
}

impl Managed for Onlooker {
    const NAME: &'static str = "onlooker";

    fn configure(node: &mut Node<Onlooker>) -> Result<Onlooker, StartError> {
        node.subscribe("cmd_vel", qos::reliable(100), Onlooker::on_command)?;
        node.steady_timer(PERIOD, Onlooker::tick);
        let orders = node.publisher::<Text>("sabotage", qos::default())?;
        let odometry = node.publisher::<Odometry>("odom", qos::default())?;
        let wrong = odometry.clone();
        std::thread::spawn(move || {
            for order in std::io::stdin().lines().map_while(Result::ok) {
                // The first order may come before the saboteur is matched.
                for number in 0..10 {
                    orders.publish(&Text { data: order.clone() });
                    std::thread::sleep(PERIOD);
                    if order == "deadlock" {
                        let mut elsewhere = Odometry::default();
                        elsewhere.header.frame_id = format!("nowhere{number}");
                        wrong.publish(&elsewhere);
                    }
                }
            }
        });
        Ok(Onlooker {
            commands: node.publisher("cmd_vel_in", qos::command())?,
            odometry,
            moving: false,
            zeros: 0,
            heard: None,
        })
    }
}

impl Onlooker {
    fn tick(&mut self) {
        let mut odometry = Odometry::default();
        odometry.header.frame_id = "odom".into();
        odometry.header.stamp = ecps_ros::time(SystemRos.now());
        odometry.pose.pose.orientation.w = 1.0;
        self.odometry.publish(&odometry);
        let mut forward = Twist::default();
        forward.linear.x = 0.3;
        self.commands.publish(&forward);
    }

    fn on_command(&mut self, command: Twist) {
        let now = SystemSteady.now();
        let paused = self.heard.is_none_or(|at| now.since(at) > PAUSE);
        self.heard = Some(now);
        if command == Twist::default() {
            if self.moving || paused {
                eprintln!("zero at {}", now.0.as_nanos());
                self.zeros = 0;
            }
            self.moving = false;
            self.zeros += 1;
            if self.zeros.is_multiple_of(20) {
                eprintln!("still");
            }
        } else {
            if !self.moving {
                eprintln!("moving at {}", now.0.as_nanos());
            }
            self.moving = true;
            self.zeros = 0;
        }
    }
}

fn main() -> std::process::ExitCode {
    ecps_ros::run::<Onlooker>()
}
