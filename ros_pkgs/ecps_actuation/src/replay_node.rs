//! `eap_replay`: a journal published back to ROS, for RViz, `ros2 topic` and a bag. It is marked as replay, by its names and by
//! its frame, and it has no publisher that an actuator listens to.

use std::collections::VecDeque;
use std::time::Duration;

use ecps_core::clock::{RosClock as _, Steady, SteadyClock as _, SystemSteady};
use ecps_journal::record::is_housekeeping;
use ecps_journal::{PayloadKey, Reader, Record};
use ecps_ros::r2r::ecps_msgs::msg::GateState;
use ecps_ros::r2r::geometry_msgs::msg::{Pose, PoseStamped, Twist, TwistStamped};
use ecps_ros::r2r::nav_msgs::msg::Path;
use ecps_ros::r2r::std_msgs::msg::{ColorRGBA, Header};
use ecps_ros::r2r::visualization_msgs::msg::{Marker, MarkerArray};
use ecps_ros::{
    Health, Managed, Node, NodeClock, ParameterError, Parameters, Publisher, Report, Spec, StartError, qos,
};

use crate::motion::Velocity;
use crate::playback::{Event, Mode, Playback, What};
use crate::state::PlanarPose;

const PERIOD: Duration = Duration::from_millis(20);
/// Path, state and markers are told in every so many periods.
const SLOW: u32 = 5;
/// Records in a period, at most, however high the rate.
const BURST: usize = 1000;
/// Poses of the path: one after each of these, metres and radians, and so many at most.
const STEP: f64 = 0.02;
const POSES: usize = 10_000;
/// Events shown at once, at most.
const MARKERS: usize = 500;
const TEXT_VIEW_FACING: i32 = 9;

/// The node's state.
pub struct Replay {
    reader: Option<Reader>,
    /// The record that is due next, with its session.
    next: Option<([u8; 16], Record)>,
    playback: Playback,
    rate: f64,
    began: Option<Steady>,
    ticks: u32,
    records: u64,
    ended: bool,
    frame: String,
    clock: NodeClock,
    path: VecDeque<PoseStamped>,
    walked: PlanarPose,
    markers: VecDeque<Marker>,
    output: Output,
}

struct Output {
    requested: Publisher<TwistStamped>,
    applied: Publisher<TwistStamped>,
    path: Publisher<Path>,
    state: Publisher<GateState>,
    events: Publisher<MarkerArray>,
}

impl Managed for Replay {
    const NAME: &'static str = "eap_replay";

    fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
        for spec in [
            Spec::string(
                "journal",
                "",
                "Folder of the journal that is told again, or one segment; empty: nothing is told.",
            ),
            Spec::string("journal_payload_key", "", "Key that its payloads are encrypted with; empty: they are not."),
            Spec::double("rate", 1.0, "How many times as fast as it happened.").range(0.01, 1000.0),
            Spec::string("frame", "replay", "Frame of all that is published; the live robot's would mix the two."),
        ] {
            parameters.declare(spec)?;
        }
        Ok(())
    }

    fn configure(node: &mut Node<Replay>) -> Result<Replay, StartError> {
        let (journal, key) = {
            let parameters = node.parameters();
            (parameters.string("journal")?, parameters.string("journal_payload_key")?)
        };
        let keys = match key.as_str() {
            "" => Vec::new(),
            path => vec![PayloadKey::load(path.as_ref()).map_err(StartError::layer)?],
        };
        let reader = match journal.as_str() {
            "" => {
                tracing::warn!("parameter 'journal' is empty: there is nothing to tell again");
                None
            }
            path => Some(Reader::open(path.as_ref()).map_err(StartError::layer)?.with_keys(keys)),
        };
        node.steady_timer(PERIOD, Replay::tick);
        node.diagnose("replay", Replay::report);
        Ok(Replay {
            reader,
            next: None,
            playback: Playback::default(),
            rate: node.parameters().double("rate")?,
            began: None,
            ticks: 0,
            records: 0,
            ended: false,
            frame: node.parameters().string("frame")?,
            clock: node.clock(),
            path: VecDeque::new(),
            walked: PlanarPose::default(),
            markers: VecDeque::new(),
            output: Output {
                requested: node.publisher("~/requested", qos::reliable(100))?,
                applied: node.publisher("~/applied", qos::reliable(100))?,
                path: node.publisher("~/path", qos::latched())?,
                state: node.publisher("~/state", qos::latched())?,
                events: node.publisher("~/events", qos::latched())?,
            },
        })
    }
}

impl Replay {
    fn tick(&mut self) {
        let now = SystemSteady.now();
        let began = *self.began.get_or_insert(now);
        let reached = now.since(began).mul_f64(self.rate);
        for _ in 0..BURST {
            let Some((session, record)) = self.next.take().or_else(|| self.read()) else { break };
            let steady = record.header.moment.steady;
            if self.playback.due(session, steady) > reached {
                self.next = Some((session, record));
                break;
            }
            self.show(session, &record);
        }
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(SLOW) {
            self.tell();
        }
    }

    fn read(&mut self) -> Option<([u8; 16], Record)> {
        let reader = self.reader.as_mut().filter(|_| !self.ended)?;
        let mut read = reader.read();
        // What the journal says of itself did not happen to the robot.
        while matches!(&read, Ok(Some(record)) if is_housekeeping(record.header.kind)) {
            read = reader.read();
        }
        match read {
            Ok(Some(record)) => {
                self.records += 1;
                Some((reader.superblock().map(|head| head.identity.session).unwrap_or_default(), record))
            }
            Ok(None) => {
                self.ended = true;
                tracing::info!("replayed {} records to the end: {}", self.records, reader.verdict());
                None
            }
            Err(error) => {
                self.ended = true;
                tracing::error!("{error}");
                None
            }
        }
    }

    fn show(&mut self, session: [u8; 16], record: &Record) {
        let entry = match record.entry() {
            Ok(entry) => entry,
            Err(error) => {
                self.ended = true;
                tracing::error!("record {}: {error}", record.header.sequence);
                return;
            }
        };
        let before = (self.playback.admitted + self.playback.limited + self.playback.refused, self.playback.applied);
        let event = self.playback.take(session, record.header.moment.steady, record.header.sequence, &entry);
        let playback = &self.playback;
        if before != (playback.admitted + playback.limited + playback.refused, playback.applied) {
            self.output.requested.publish(&self.twist(playback.requested));
            self.output.applied.publish(&self.twist(playback.applied));
        }
        self.walk();
        if let Some(event) = event {
            let marker = self.marker(&event, record.header.sequence);
            self.markers.push_back(marker);
            bound(&mut self.markers, MARKERS);
        }
    }

    fn header(&self) -> Header {
        let mut header = Header { frame_id: self.frame.clone(), ..Header::default() };
        header.stamp = ecps_ros::time(self.clock.now());
        header
    }

    fn twist(&self, velocity: Velocity) -> TwistStamped {
        let mut twist = Twist::default();
        (twist.linear.x, twist.linear.y, twist.angular.z) = (velocity.x, velocity.y, velocity.yaw);
        TwistStamped { header: self.header(), twist }
    }

    fn walk(&mut self) {
        let pose = self.playback.pose;
        let turned = (pose.yaw - self.walked.yaw).abs();
        if self.path.is_empty() || pose.distance(self.walked) >= STEP || turned >= STEP {
            self.walked = pose;
            let stamped = PoseStamped { header: self.header(), pose: message(pose) };
            self.path.push_back(stamped);
            bound(&mut self.path, POSES);
        }
    }

    fn marker(&self, event: &Event, sequence: u64) -> Marker {
        let (r, g, b) = match event.what {
            What::Refused => (0.9, 0.6, 0.1),
            What::Stopped => (0.9, 0.1, 0.1),
            What::Reset => (0.1, 0.7, 0.1),
            What::Action => (0.2, 0.4, 0.9),
        };
        let mut marker = Marker {
            header: self.header(),
            ns: "replay".into(),
            id: i32::try_from(sequence % (1 << 31)).unwrap_or(0),
            type_: TEXT_VIEW_FACING,
            pose: message(event.pose),
            color: ColorRGBA { r, g, b, a: 1.0 },
            text: event.text.clone(),
            ..Marker::default()
        };
        marker.scale.z = 0.1;
        marker
    }

    fn tell(&self) {
        self.output.path.publish(&Path { header: self.header(), poses: self.path.iter().cloned().collect() });
        self.output.events.publish(&MarkerArray { markers: self.markers.iter().cloned().collect() });
        let playback = &self.playback;
        self.output.state.publish(&GateState {
            header: self.header(),
            mode: match playback.mode {
                Mode::Idle => 0,
                Mode::Active => 1,
                Mode::Stopped => 2,
                Mode::Disarmed => 3,
            },
            stop_cause: playback.stop_cause.clone(),
            admitted: playback.admitted,
            limited: playback.limited,
            refused: playback.refused,
            reasons: playback.reasons.keys().cloned().collect(),
            reason_counts: playback.reasons.values().copied().collect(),
            last_refusal: playback.last_refusal.clone(),
            journal_sequence: playback.sequence,
            source: playback.source.clone(),
            ..GateState::default()
        });
    }

    fn report(&self, report: &mut Report) {
        let what = if self.ended { "at its end" } else { "a journal is told again; the robot does not do this now" };
        report.is(Health::Ok, what);
        report.add("records", self.records);
    }
}

fn message(pose: PlanarPose) -> Pose {
    let mut message = Pose::default();
    (message.position.x, message.position.y) = (pose.x, pose.y);
    let [x, y, z, w] = pose.quaternion();
    (message.orientation.x, message.orientation.y, message.orientation.z, message.orientation.w) = (x, y, z, w);
    message
}

/// Forgets the oldest.
fn bound<T>(queue: &mut VecDeque<T>, most: usize) {
    while queue.len() > most {
        queue.pop_front();
    }
}
