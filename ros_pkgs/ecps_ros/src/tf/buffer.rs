//! Transforms over time, in a tree of frames.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use ecps_core::clock::Stamp;
use nalgebra::Isometry3;
use thiserror::Error;

/// How far back a transform is kept, as in tf2.
const KEPT: Duration = Duration::from_secs(10);
/// Frames, and transforms of one frame: what no robot has, and what no publisher needs in 10 s.
const FRAMES: usize = 4096;
const TRANSFORMS: usize = 10_000;

/// Why there is no transform.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransformError {
    /// Nobody has told of the frame.
    #[error("frame '{frame}' is not known")]
    Unknown {
        /// The frame.
        frame: String,
    },
    /// Both are known, in trees of their own.
    #[error("frames '{target}' and '{from}' are not connected")]
    Disconnected {
        /// Where to.
        target: String,
        /// Where from.
        from: String,
    },
    /// Earlier than what is kept.
    #[error("frame '{frame}' is known from {oldest_ns} ns on, and {asked_ns} ns was asked for")]
    Past {
        /// The frame.
        frame: String,
        /// The time asked for.
        asked_ns: i64,
        /// The oldest time known.
        oldest_ns: i64,
    },
    /// Later than what was heard: nothing is extrapolated.
    #[error("frame '{frame}' is known up to {newest_ns} ns, and {asked_ns} ns was asked for")]
    Future {
        /// The frame.
        frame: String,
        /// The time asked for.
        asked_ns: i64,
        /// The newest time known.
        newest_ns: i64,
    },
    /// A frame that would be its own ancestor.
    #[error("frame '{frame}' below '{parent}' would close a loop")]
    Loop {
        /// The frame.
        frame: String,
        /// Its parent.
        parent: String,
    },
    /// More frames than a buffer keeps.
    #[error("frame '{frame}' is one more than the {limit} that are kept")]
    Full {
        /// The frame.
        frame: String,
        /// The limit.
        limit: usize,
    },
}

#[derive(Debug)]
struct Frame {
    parent: String,
    history: History,
}

#[derive(Debug)]
enum History {
    Static(Isometry3<f64>),
    /// In the order of their stamps.
    Moving(VecDeque<(Stamp, Isometry3<f64>)>),
}

/// A tree of frames and how each lay in its parent over the last 10 s.
///
/// ```
/// use ecps_core::clock::Stamp;
/// use ecps_ros::tf::Buffer;
/// use nalgebra::{Isometry3, Vector3};
///
/// let mut buffer = Buffer::default();
/// buffer.insert("odom", "base_link", Stamp(0), Isometry3::translation(1.0, 0.0, 0.0)).unwrap();
/// buffer.insert("odom", "base_link", Stamp(1_000_000_000), Isometry3::translation(3.0, 0.0, 0.0)).unwrap();
/// buffer.insert_static("base_link", "laser", Isometry3::translation(0.0, 0.0, 0.5)).unwrap();
/// let halfway = buffer.lookup("odom", "laser", Stamp(500_000_000)).unwrap();
/// assert_eq!(halfway.translation.vector, Vector3::new(2.0, 0.0, 0.5));
/// ```
#[derive(Debug, Default)]
pub struct Buffer {
    frames: HashMap<String, Frame>,
}

impl Buffer {
    /// Notes how `child` lay in `parent` at `stamp`. A stamp from before what is kept means that time began anew.
    pub fn insert(
        &mut self,
        parent: &str,
        child: &str,
        stamp: Stamp,
        transform: Isometry3<f64>,
    ) -> Result<(), TransformError> {
        let frame = self.frame(parent, child, || History::Moving(VecDeque::new()))?;
        if let History::Static(_) = frame.history {
            frame.history = History::Moving(VecDeque::new());
        }
        let History::Moving(history) = &mut frame.history else { return Ok(()) };
        let kept = i64::try_from(KEPT.as_nanos()).unwrap_or(i64::MAX);
        if history.back().is_some_and(|(newest, _)| newest.nanos_since(stamp) > kept) {
            history.clear();
        }
        let at = history.partition_point(|(known, _)| *known < stamp);
        match history.get_mut(at) {
            Some((known, same)) if *known == stamp => *same = transform,
            _ => history.insert(at, (stamp, transform)),
        }
        let newest = history.back().map_or(stamp, |(newest, _)| *newest);
        while history.len() > TRANSFORMS
            || history.front().is_some_and(|(oldest, _)| newest.nanos_since(*oldest) > kept)
        {
            history.pop_front();
        }
        Ok(())
    }

    /// Notes how `child` lies in `parent` for ever.
    pub fn insert_static(
        &mut self,
        parent: &str,
        child: &str,
        transform: Isometry3<f64>,
    ) -> Result<(), TransformError> {
        self.frame(parent, child, || History::Static(transform))?.history = History::Static(transform);
        Ok(())
    }

    fn frame(
        &mut self,
        parent: &str,
        child: &str,
        history: impl FnOnce() -> History,
    ) -> Result<&mut Frame, TransformError> {
        let (parent, child) = (plain(parent), plain(child));
        if self.ancestors(parent).any(|ancestor| ancestor == child) {
            return Err(TransformError::Loop { frame: child.into(), parent: parent.into() });
        }
        if self.frames.len() >= FRAMES && !self.frames.contains_key(child) {
            return Err(TransformError::Full { frame: child.into(), limit: FRAMES });
        }
        let frame = self
            .frames
            .entry(child.to_owned())
            .or_insert_with(|| Frame { parent: parent.to_owned(), history: history() });
        if frame.parent != parent {
            // The tree was rearranged: how it lay in another parent says nothing now.
            parent.clone_into(&mut frame.parent);
            if let History::Moving(history) = &mut frame.history {
                history.clear();
            }
        }
        Ok(frame)
    }

    /// The frame itself, its parent, and so on up to the root.
    fn ancestors<'a>(&'a self, frame: &'a str) -> impl Iterator<Item = &'a str> {
        std::iter::successors(Some(frame), |frame| self.frames.get(*frame).map(|known| known.parent.as_str()))
    }

    /// What takes coordinates in `source` to coordinates in `target` at `at`; zero asks for the newest time at which all
    /// of the way is known.
    pub fn lookup(&self, target: &str, source: &str, at: Stamp) -> Result<Isometry3<f64>, TransformError> {
        let (target, source) = (plain(target), plain(source));
        if target == source {
            return Ok(Isometry3::identity());
        }
        for frame in [target, source] {
            if !self.frames.contains_key(frame) && !self.frames.values().any(|known| known.parent == frame) {
                return Err(TransformError::Unknown { frame: frame.into() });
            }
        }
        let above_target: Vec<&str> = self.ancestors(target).collect();
        let common = self
            .ancestors(source)
            .find(|frame| above_target.contains(frame))
            .ok_or_else(|| TransformError::Disconnected { target: target.into(), from: source.into() })?;
        let at = if at.is_zero() { self.newest_common(&[target, source], common) } else { at };
        Ok(self.up_to(common, target, at)?.inverse() * self.up_to(common, source, at)?)
    }

    /// The newest time at which every moving frame below `top` on the ways from `frames` is known.
    fn newest_common(&self, frames: &[&str], top: &str) -> Stamp {
        let below = frames.iter().flat_map(|frame| self.ancestors(frame).take_while(|ancestor| *ancestor != top));
        let newest = below.filter_map(|frame| match &self.frames.get(frame)?.history {
            History::Static(_) => None,
            History::Moving(history) => history.back().map(|(stamp, _)| *stamp),
        });
        newest.min().unwrap_or_default()
    }

    /// What takes coordinates in `frame` to coordinates in its ancestor `top`.
    fn up_to(&self, top: &str, frame: &str, at: Stamp) -> Result<Isometry3<f64>, TransformError> {
        let mut whole = Isometry3::identity();
        for frame in self.ancestors(frame).take_while(|ancestor| *ancestor != top) {
            let Some(known) = self.frames.get(frame) else {
                return Err(TransformError::Unknown { frame: frame.into() });
            };
            whole = known.history.at(frame, at)? * whole;
        }
        Ok(whole)
    }
}

impl History {
    fn at(&self, frame: &str, at: Stamp) -> Result<Isometry3<f64>, TransformError> {
        let history = match self {
            History::Static(transform) => return Ok(*transform),
            History::Moving(history) => history,
        };
        let after = history.partition_point(|(known, _)| *known < at);
        let later = history.get(after);
        if let Some((known, transform)) = later
            && *known == at
        {
            return Ok(*transform);
        }
        match (after.checked_sub(1).and_then(|before| history.get(before)), later) {
            (Some((from, start)), Some((to, end))) => {
                let along = at.nanos_since(*from) as f64 / to.nanos_since(*from) as f64;
                // Opposite orientations have no way between them; then the nearer one is meant.
                let nearer = if along < 0.5 { start } else { end };
                let rotation = start.rotation.try_slerp(&end.rotation, along, 1e-9).unwrap_or(nearer.rotation);
                let translation = start.translation.vector.lerp(&end.translation.vector, along);
                Ok(Isometry3::from_parts(translation.into(), rotation))
            }
            (None, Some((oldest, _))) => {
                Err(TransformError::Past { frame: frame.into(), asked_ns: at.0, oldest_ns: oldest.0 })
            }
            (Some((newest, _)), None) => {
                Err(TransformError::Future { frame: frame.into(), asked_ns: at.0, newest_ns: newest.0 })
            }
            (None, None) => Err(TransformError::Unknown { frame: frame.into() }),
        }
    }
}

/// tf's frame ids have no leading slash; some publishers still write one.
fn plain(frame: &str) -> &str {
    frame.strip_prefix('/').unwrap_or(frame)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{FRAC_PI_2, FRAC_PI_4};

    use nalgebra::{Point3, UnitQuaternion, Vector3};

    use super::*;

    fn seconds(s: f64) -> Stamp {
        Stamp((s * 1e9) as i64)
    }

    fn turn(yaw: f64) -> Isometry3<f64> {
        Isometry3::from_parts(Vector3::zeros().into(), UnitQuaternion::from_euler_angles(0.0, 0.0, yaw))
    }

    #[test]
    fn the_way_between_two_branches_goes_through_their_common_frame() {
        let mut buffer = Buffer::default();
        buffer.insert_static("map", "odom", turn(FRAC_PI_2)).unwrap();
        buffer.insert("odom", "a", seconds(1.0), Isometry3::translation(1.0, 0.0, 0.0)).unwrap();
        buffer.insert("odom", "b", seconds(1.0), Isometry3::translation(0.0, 2.0, 0.0)).unwrap();
        let b_in_a = buffer.lookup("a", "b", seconds(1.0)).unwrap() * Point3::origin();
        assert!((b_in_a - Point3::new(-1.0, 2.0, 0.0)).norm() < 1e-12);
        let a_in_map = buffer.lookup("map", "/a", seconds(1.0)).unwrap() * Point3::origin();
        assert!((a_in_map - Point3::new(0.0, 1.0, 0.0)).norm() < 1e-12);
        let and_back = buffer.lookup("a", "map", seconds(1.0)).unwrap() * a_in_map;
        assert!((and_back - Point3::origin()).norm() < 1e-12);
    }

    #[test]
    fn rotations_are_interpolated_and_nothing_is_extrapolated() {
        let mut buffer = Buffer::default();
        buffer.insert("odom", "base", seconds(2.0), turn(FRAC_PI_2)).unwrap();
        // Out of order, as topics bring them.
        buffer.insert("odom", "base", seconds(1.0), turn(0.0)).unwrap();
        let halfway = buffer.lookup("odom", "base", seconds(1.5)).unwrap();
        assert!((halfway.rotation.euler_angles().2 - FRAC_PI_4).abs() < 1e-12);
        assert!(matches!(buffer.lookup("odom", "base", seconds(0.5)), Err(TransformError::Past { .. })));
        assert!(matches!(buffer.lookup("odom", "base", seconds(2.5)), Err(TransformError::Future { .. })));
        assert_eq!(buffer.lookup("odom", "base", Stamp(0)).unwrap(), turn(FRAC_PI_2));
    }

    #[test]
    fn what_is_not_known_or_not_connected_is_named() {
        let mut buffer = Buffer::default();
        buffer.insert_static("map", "odom", turn(0.0)).unwrap();
        buffer.insert_static("world", "table", turn(0.0)).unwrap();
        let error = buffer.lookup("map", "gripper", Stamp(0)).unwrap_err();
        assert_eq!(error.to_string(), "frame 'gripper' is not known");
        let error = buffer.lookup("map", "table", Stamp(0)).unwrap_err();
        assert_eq!(error.to_string(), "frames 'map' and 'table' are not connected");
        let error = buffer.insert_static("odom", "map", turn(0.0)).unwrap_err();
        assert_eq!(error.to_string(), "frame 'map' below 'odom' would close a loop");
        assert!(buffer.insert_static("map", "map", turn(0.0)).is_err());
    }

    #[test]
    fn old_transforms_are_forgotten_also_when_time_begins_anew() {
        let mut buffer = Buffer::default();
        for s in 0..100 {
            buffer.insert("odom", "base", seconds(f64::from(s)), turn(0.0)).unwrap();
        }
        assert!(buffer.lookup("odom", "base", seconds(89.0)).is_ok());
        assert!(matches!(buffer.lookup("odom", "base", seconds(88.0)), Err(TransformError::Past { .. })));
        buffer.insert("odom", "base", seconds(1.0), turn(1.0)).unwrap();
        assert_eq!(buffer.lookup("odom", "base", Stamp(0)).unwrap(), turn(1.0));
        assert!(matches!(buffer.lookup("odom", "base", seconds(90.0)), Err(TransformError::Future { .. })));
    }
}
