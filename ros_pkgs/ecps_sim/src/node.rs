//! The world as a ROS node: `/clock` and `/tf`, and per robot `<robot>/scan`, `<robot>/odom` and `<robot>/cmd_vel`. A robot
//! with an arm has `<robot>/joint_states` and `<robot>/robot_description`, and listens on `<robot>/joint_trajectory` and
//! `<robot>/gripper_trajectory` as joint trajectory controllers do. A world that is paused moves by `~/step` alone.
//!
//! Frames (REP 105): `<robot>/odom` → `<robot>/base_footprint` → `<robot>/laser`. Without drift the odometry frame is
//! the plan's. Simulated time runs at `real_time_factor` times wall time and never jumps: a machine that is too slow gets
//! a slower world.

use std::time::Duration;

use ecps_core::check::{CheckError, in_range};
use ecps_core::clock::Stamp;
use ecps_core::id::CallerError;
use ecps_ros::r2r::builtin_interfaces::msg::Time;
use ecps_ros::r2r::ecps_msgs::srv::StepWorld;
use ecps_ros::r2r::geometry_msgs::msg::{Quaternion, Transform, TransformStamped, Twist, TwistStamped, Vector3};
use ecps_ros::r2r::nav_msgs::msg::Odometry;
use ecps_ros::r2r::rosgraph_msgs::msg::Clock;
use ecps_ros::r2r::sensor_msgs::msg::{JointState, LaserScan};
use ecps_ros::r2r::std_msgs::msg::{Header, String as StringMessage};
use ecps_ros::tf::TransformBroadcaster;
use ecps_ros::{Managed, Node, ParameterError, Parameters, Publisher, Reply, Spec, StartError, qos};
use nalgebra::Isometry2;

use crate::arm::Arm;
use crate::floor_plan::FloorPlan;
use crate::robot::{Drift, Robot, RobotSpec, Velocity};
use crate::tour::Tour;
use crate::world::World;

mod joints;

/// Most steps of one call, which the world answers after the last.
const MOST_STEPS: f64 = 20_000.0;
/// How long after its stamp a call may be acted upon, where it does not say.
const PATIENCE: Duration = Duration::from_secs(10);
const INVALID: u8 = 1;
const NOT_PAUSED: u8 = 2;
const EXPIRED: u8 = 4;

fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
    for spec in [
        Spec::strings("robots", &["robot1"], "Names of the robots; each is the namespace of its topics."),
        Spec::string("plan", "office", "Where the robots are: an office of six rooms, or an empty hall of 24 by 16 m.")
            .choices(&["office", "hall"]),
        Spec::integer("seed", 1, "Seed of all noise: same seed, same run.").range(0.0, 1e15),
        Spec::double("step", 0.01, "Simulated time of one step.").unit("s").range(0.001, 0.1),
        Spec::double("real_time_factor", 1.0, "Simulated seconds per second of wall time.").range(0.01, 20.0),
        Spec::double("scan_rate", 10.0, "Laser scans per simulated second.").unit("Hz").range(0.1, 50.0),
        Spec::double("odom_rate", 50.0, "Odometry messages per simulated second.").unit("Hz").range(1.0, 200.0),
        Spec::double(
            "drift_distance",
            0.0,
            "Standard deviation of odometry's distance after one metre; it grows with the root of the way.",
        )
        .unit("m")
        .range(0.0, 1.0),
        Spec::double(
            "drift_heading",
            0.0,
            "Standard deviation of odometry's heading after one metre; it grows with the root of the way.",
        )
        .unit("rad")
        .range(0.0, 1.0),
        Spec::bool("enable_stamped_cmd_vel", false, "Whether cmd_vel is a TwistStamped instead of a Twist."),
        Spec::bool("arm", false, "Whether the robots have an arm and a gripper."),
        Spec::double("gripper_object", 0.0, "Position of a finger at which it meets something; 0: nothing is there.")
            .unit("m")
            .range(0.0, 0.04),
        Spec::bool("paused", false, "Whether time stands still but for ~/step."),
    ] {
        parameters.declare(spec)?;
    }
    let tour = Tour::office();
    for (index, name) in parameters.strings("robots")?.iter().enumerate() {
        let place = tour.places().get(index % tour.places().len().max(1));
        let start = place.map_or_else(Isometry2::identity, |place| place.pose);
        let start = [start.translation.x, start.translation.y, start.rotation.angle()];
        let text = "Where the robot starts: x, y in metres, heading in radians; by default a place of the tour.";
        parameters.declare(Spec::doubles(format!("{name}.start"), &start, text).range(-1000.0, 1000.0))?;
    }
    Ok(())
}

/// The node's state.
#[derive(Debug)]
pub struct Sim {
    world: World,
    step: Duration,
    scan_every: u64,
    odom_every: u64,
    steps: u64,
    paused: bool,
    robots: Vec<Outputs>,
    clock: Publisher<Clock>,
    tf: TransformBroadcaster,
}

#[derive(Debug)]
struct Outputs {
    name: String,
    scan: Publisher<LaserScan>,
    odom: Publisher<Odometry>,
    /// Of a robot with an arm; its description is latched, and kept for late joiners.
    joints: Option<(Publisher<JointState>, Publisher<StringMessage>)>,
}

impl Managed for Sim {
    const NAME: &'static str = "ecps_sim";

    fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
        declare(parameters)
    }

    fn configure(node: &mut Node<Sim>) -> Result<Sim, StartError> {
        configure(node)
    }
}

fn configure(node: &mut Node<Sim>) -> Result<Sim, StartError> {
    let names = node.parameters().strings("robots")?;
    let drift = Drift {
        distance: node.parameters().double("drift_distance")?,
        heading: node.parameters().double("drift_heading")?,
    };
    let arm = node.parameters().bool("arm")?.then_some(node.parameters().double("gripper_object")?).map(Arm::new);
    let mut specs = Vec::new();
    let mut robots = Vec::new();
    for name in &names {
        let start = match node.parameters().doubles(&format!("{name}.start"))?.as_slice() {
            [x, y, heading] => Isometry2::new([*x, *y].into(), *heading),
            other => {
                return Err(StartError::layer(format!("{name}.start has {} numbers, and must have 3", other.len())));
            }
        };
        let mut spec = RobotSpec::new(name, start);
        spec.base.drift = drift;
        spec.arm.clone_from(&arm);
        specs.push(spec);
        let joints = arm.is_some().then(|| joints::outputs(node, name)).transpose()?;
        robots.push(Outputs {
            name: name.clone(),
            scan: node.publisher(&format!("{name}/scan"), qos::reliable(5))?,
            odom: node.publisher(&format!("{name}/odom"), qos::reliable(10))?,
            joints,
        });
    }
    let seed = node.parameters().integer("seed")?.unsigned_abs();
    let plan = match node.parameters().string("plan")?.as_str() {
        "hall" => FloorPlan::hall(),
        _ => FloorPlan::office(),
    };
    let world = World::new(plan, seed, specs).map_err(StartError::layer)?;

    let stamped = node.parameters().bool("enable_stamped_cmd_vel")?;
    for (index, name) in names.iter().enumerate() {
        let topic = format!("{name}/cmd_vel");
        if stamped {
            node.subscribe(&topic, qos::command(), move |sim: &mut Sim, command: TwistStamped| {
                sim.command(index, &command.twist);
            })?;
        } else {
            node.subscribe(&topic, qos::command(), move |sim: &mut Sim, command: Twist| sim.command(index, &command))?;
        }
        if arm.is_some() {
            joints::listen(node, index, name)?;
        }
    }

    let laser = |name: &String| TransformStamped {
        header: Header { frame_id: format!("{name}/base_footprint"), ..Header::default() },
        child_frame_id: format!("{name}/laser"),
        transform: Transform {
            translation: Vector3::default(),
            rotation: Quaternion { x: 0.0, y: 0.0, z: 0.0, w: 1.0 },
        },
    };
    let static_tf = node.static_transform_broadcaster()?;
    static_tf.send(names.iter().map(laser).collect());

    let step = node.parameters().seconds("step")?;
    let per = |rate: f64| ((1.0 / rate) / step.as_secs_f64()).round().max(1.0) as u64;
    let sim = Sim {
        world,
        step,
        scan_every: per(node.parameters().double("scan_rate")?),
        odom_every: per(node.parameters().double("odom_rate")?),
        steps: 0,
        paused: node.parameters().bool("paused")?,
        robots,
        clock: node.publisher("/clock", qos::reliable(10))?,
        tf: node.transform_broadcaster()?,
    };
    node.steady_timer(step.div_f64(node.parameters().double("real_time_factor")?), |sim: &mut Sim| {
        if !sim.paused {
            sim.advance(sim.step);
        }
    });
    node.service_once::<StepWorld::Service>("~/step", |request| &request.caller, Sim::on_step)?;
    Ok(sim)
}

impl Sim {
    fn command(&mut self, robot: usize, twist: &Twist) {
        let velocity = Velocity { linear: twist.linear.x, angular: twist.angular.z };
        if let Err(error) = self.world.command(robot, velocity) {
            tracing::warn!("command refused: {error}");
        }
    }

    fn advance(&mut self, step: Duration) {
        if let Err(error) = self.world.step(step) {
            tracing::error!("the world stands still: {error}");
            return;
        }
        self.steps += 1;
        let stamp = self.stamp();
        self.clock.publish(&Clock { clock: stamp.clone() });
        if self.steps.is_multiple_of(self.odom_every) {
            let transforms = (0..self.robots.len()).filter_map(|robot| self.publish_odometry(robot, &stamp)).collect();
            self.tf.send(transforms);
            for (index, outputs) in self.robots.iter().enumerate() {
                let arm = self.world.robot(index).ok().and_then(Robot::arm);
                if let (Some((states, _)), Some(arm)) = (&outputs.joints, arm) {
                    states.publish(&joints::states(arm, stamp.clone()));
                }
            }
        }
        if self.steps.is_multiple_of(self.scan_every) {
            self.publish_scans(&stamp);
        }
    }

    fn stamp(&self) -> Time {
        ecps_ros::time(Stamp(i64::try_from(self.world.time_ns()).unwrap_or(i64::MAX)))
    }

    fn publish_scans(&self, stamp: &Time) {
        for robot in 0..self.robots.len() {
            self.publish_scan(robot, stamp);
        }
    }

    /// Steps a paused world, before it answers.
    fn on_step(&mut self, request: StepWorld::Request, reply: Reply<StepWorld::Service>) {
        let refused = |error_code, error_msg| StepWorld::Response { error_code, error_msg, time: self.stamp() };
        let now = Stamp(i64::try_from(self.world.time_ns()).unwrap_or(i64::MAX));
        if let Err(error) = ecps_ros::caller(&request.caller).check(now, PATIENCE) {
            let code = if matches!(error, CallerError::Expired { .. }) { EXPIRED } else { INVALID };
            return reply.send(refused(code, error.to_string()));
        }
        if !self.paused {
            return reply.send(refused(NOT_PAUSED, "the world runs by itself (parameter 'paused')".into()));
        }
        let (duration, steps) = match steps(request.duration_s, request.physics_steps, self.step) {
            Ok(split) => split,
            Err(error) => return reply.send(refused(INVALID, error.to_string())),
        };
        for done in 0..steps {
            // From the whole, so that parts of a nanosecond do not get lost.
            let part = |nth: u32| duration.mul_f64(f64::from(nth) / f64::from(steps));
            self.advance(part(done + 1).saturating_sub(part(done)));
        }
        if request.render_frame && !self.steps.is_multiple_of(self.scan_every) {
            self.publish_scans(&self.stamp());
        }
        reply.send(StepWorld::Response { time: self.stamp(), ..StepWorld::Response::default() });
    }

    fn publish_odometry(&self, index: usize, stamp: &Time) -> Option<TransformStamped> {
        let (Some(outputs), Ok(robot)) = (self.robots.get(index), self.world.robot(index)) else { return None };
        let name = &outputs.name;
        let pose = robot.odometry();
        let half = pose.rotation.angle() / 2.0;
        let rotation = Quaternion { x: 0.0, y: 0.0, z: half.sin(), w: half.cos() };
        let header = Header { stamp: stamp.clone(), frame_id: format!("{name}/odom") };

        let child_frame_id = format!("{name}/base_footprint");
        let mut odometry = Odometry { header: header.clone(), child_frame_id, ..Odometry::default() };
        odometry.pose.pose.position.x = pose.translation.x;
        odometry.pose.pose.position.y = pose.translation.y;
        odometry.pose.pose.orientation = rotation.clone();
        odometry.twist.twist.linear.x = robot.velocity().linear;
        odometry.twist.twist.angular.z = robot.velocity().angular;
        outputs.odom.publish(&odometry);

        Some(TransformStamped {
            header,
            child_frame_id: odometry.child_frame_id,
            transform: Transform {
                translation: Vector3 { x: pose.translation.x, y: pose.translation.y, z: 0.0 },
                rotation,
            },
        })
    }

    fn publish_scan(&self, index: usize, stamp: &Time) {
        let (Some(outputs), Ok(scan)) = (self.robots.get(index), self.world.scan(index)) else { return };
        outputs.scan.publish(&LaserScan {
            header: Header { stamp: stamp.clone(), frame_id: format!("{}/laser", outputs.name) },
            angle_min: scan.angle_min as f32,
            angle_max: scan.angle_max() as f32,
            angle_increment: scan.angle_increment as f32,
            time_increment: 0.0,
            scan_time: (self.step.as_secs_f64() * self.scan_every as f64) as f32,
            range_min: scan.range_min as f32,
            range_max: scan.range_max as f32,
            ranges: scan.ranges,
            intensities: Vec::new(),
        });
    }
}

/// The time to simulate, and in how many steps.
fn steps(seconds: f64, steps: u32, own: Duration) -> Result<(Duration, u32), CheckError> {
    in_range("duration_s", seconds, 1e-6, 3600.0)?;
    let duration = Duration::from_secs_f64(seconds);
    let steps = if steps > 0 { f64::from(steps) } else { (seconds / own.as_secs_f64()).ceil().max(1.0) };
    let most = MOST_STEPS.min(duration.as_micros() as f64);
    in_range("the number of steps", steps, 1.0, most)?;
    in_range("the time of one step", seconds / steps, 1e-6, 1.0)?;
    Ok((duration, steps as u32))
}
