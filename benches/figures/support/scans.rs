//! Laser scans of many places: a real robot's where the recording is at hand, the simulated office's otherwise.

use std::f64::consts::TAU;
use std::path::PathBuf;

use ecps_perception::embed;
use ecps_ros::r2r::WrappedTypesupport;
use ecps_ros::r2r::sensor_msgs::msg::LaserScan;
use ecps_sim::floor_plan::FloorPlan;
use nalgebra::{Point2, Vector2};

/// As many as the recording has.
const COUNT: usize = 2726;

/// Scans, and where they come from.
pub(crate) struct Scans {
    /// At least one.
    pub(crate) scans: Vec<LaserScan>,
    /// In words.
    pub(crate) origin: &'static str,
}

impl Scans {
    /// Reads or makes them.
    pub(crate) fn load() -> Scans {
        let beside = ecps_testing::root().join("../shared/data/intel_lab/intel_lab.mcap");
        let bag = std::env::var_os("ECPS_BAG").map_or(beside, PathBuf::from);
        match std::fs::read(bag) {
            Ok(bytes) => Scans { scans: recorded(&bytes), origin: "scans of the Intel Research Lab recording" },
            Err(_) => Scans { scans: simulated(), origin: "scans of the simulated office" },
        }
    }

    /// The place descriptor of each that has one.
    pub(crate) fn embeddings(&self) -> Vec<Vec<f32>> {
        self.scans.iter().filter_map(|scan| embed::scan::describe(&plain(scan)).ok()).collect()
    }
}

/// The scan as the perception library knows it.
fn plain(scan: &LaserScan) -> ecps_perception::sensor::LaserScan {
    ecps_perception::sensor::LaserScan {
        stamp: ecps_ros::stamp(&scan.header.stamp),
        frame_id: scan.header.frame_id.clone(),
        angle_min: scan.angle_min,
        angle_max: scan.angle_max,
        angle_increment: scan.angle_increment,
        time_increment: scan.time_increment,
        scan_time: scan.scan_time,
        range_min: scan.range_min,
        range_max: scan.range_max,
        ranges: scan.ranges.clone(),
        intensities: scan.intensities.clone(),
    }
}

fn recorded(bag: &[u8]) -> Vec<LaserScan> {
    let messages = mcap::MessageStream::new(bag).unwrap().map(Result::unwrap);
    let scans = messages.filter(|message| message.channel.topic == "/scan");
    scans.map(|message| LaserScan::from_serialized_bytes(&message.data).unwrap()).collect()
}

/// Scans from places spread evenly over the office (the R2 sequence of Roberts 2018), 360 rays each.
fn simulated() -> Vec<LaserScan> {
    let plan = FloorPlan::office();
    let bounds = plan.bounds();
    let share = |index: u64, step: f64| (index as f64 * step).fract();
    (1..)
        .map(|index| {
            let at = Point2::new(
                bounds.min.x + share(index, 0.754_877_666_246_693) * (bounds.max.x - bounds.min.x),
                bounds.min.y + share(index, 0.569_840_290_998_053) * (bounds.max.y - bounds.min.y),
            );
            (index, at)
        })
        .filter(|(_, at)| plan.is_free(*at) && plan.distance_to_wall(*at) > 0.3)
        .take(COUNT)
        .map(|(index, at)| scan(&plan, at, share(index, 0.618_033_988_749_895) * TAU))
        .collect()
}

fn scan(plan: &FloorPlan, at: Point2<f64>, heading: f64) -> LaserScan {
    let (view, step) = (plan.seen_from(at), TAU / 360.0);
    let range = |beam: u32| {
        let angle = heading - TAU / 2.0 + f64::from(beam) * step;
        view.cast_ray(Vector2::new(angle.cos(), angle.sin())) as f32
    };
    let mut scan = LaserScan {
        angle_min: -std::f32::consts::PI,
        angle_max: std::f32::consts::PI - step as f32,
        angle_increment: step as f32,
        scan_time: 0.1,
        range_min: 0.05,
        range_max: 30.0,
        ranges: (0..360).map(range).collect(),
        ..LaserScan::default()
    };
    scan.header.frame_id = "laser".into();
    scan
}
