//! The world as a ROS node: `/clock` and `/tf`, and per robot `<robot>/scan`, `<robot>/odom` and `<robot>/cmd_vel`.
//!
//! Frames (REP 105): `<robot>/odom` → `<robot>/base_footprint` → `<robot>/laser`. Without drift the odometry frame is
//! the plan's. Simulated time runs at `real_time_factor` times wall time and never jumps: a machine that is too slow gets
//! a slower world.

use std::time::Duration;

use ecps_core::clock::Stamp;
use ecps_ros::r2r::builtin_interfaces::msg::Time;
use ecps_ros::r2r::geometry_msgs::msg::{Quaternion, Transform, TransformStamped, Twist, TwistStamped, Vector3};
use ecps_ros::r2r::nav_msgs::msg::Odometry;
use ecps_ros::r2r::rosgraph_msgs::msg::Clock;
use ecps_ros::r2r::sensor_msgs::msg::LaserScan;
use ecps_ros::r2r::std_msgs::msg::Header;
use ecps_ros::tf::TransformBroadcaster;
use ecps_ros::{Managed, Node, ParameterError, Parameters, Publisher, Spec, StartError, qos};
use nalgebra::Isometry2;

use crate::floor_plan::FloorPlan;
use crate::robot::{Drift, RobotSpec, Velocity};
use crate::tour::Tour;
use crate::world::World;

fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
    for spec in [
        Spec::strings("robots", &["robot1"], "Names of the robots; each is the namespace of its topics."),
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
    robots: Vec<Outputs>,
    clock: Publisher<Clock>,
    tf: TransformBroadcaster,
}

#[derive(Debug)]
struct Outputs {
    name: String,
    scan: Publisher<LaserScan>,
    odom: Publisher<Odometry>,
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
        specs.push(spec);
        robots.push(Outputs {
            name: name.clone(),
            scan: node.publisher(&format!("{name}/scan"), qos::reliable(5))?,
            odom: node.publisher(&format!("{name}/odom"), qos::reliable(10))?,
        });
    }
    let seed = node.parameters().integer("seed")?.unsigned_abs();
    let world = World::new(FloorPlan::office(), seed, specs).map_err(StartError::layer)?;

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
        robots,
        clock: node.publisher("/clock", qos::reliable(10))?,
        tf: node.transform_broadcaster()?,
    };
    node.steady_timer(step.div_f64(node.parameters().double("real_time_factor")?), Sim::advance);
    Ok(sim)
}

impl Sim {
    fn command(&mut self, robot: usize, twist: &Twist) {
        let velocity = Velocity { linear: twist.linear.x, angular: twist.angular.z };
        if let Err(error) = self.world.command(robot, velocity) {
            tracing::warn!("command refused: {error}");
        }
    }

    fn advance(&mut self) {
        if let Err(error) = self.world.step(self.step) {
            tracing::error!("the world stands still: {error}");
            return;
        }
        self.steps += 1;
        let stamp = ecps_ros::time(Stamp(i64::try_from(self.world.time_ns()).unwrap_or(i64::MAX)));
        self.clock.publish(&Clock { clock: stamp.clone() });
        if self.steps.is_multiple_of(self.odom_every) {
            let transforms = (0..self.robots.len()).filter_map(|robot| self.publish_odometry(robot, &stamp)).collect();
            self.tf.send(transforms);
        }
        if self.steps.is_multiple_of(self.scan_every) {
            for robot in 0..self.robots.len() {
                self.publish_scan(robot, &stamp);
            }
        }
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
