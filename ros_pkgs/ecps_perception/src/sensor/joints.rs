//! `sensor_msgs/JointState`.

use ecps_core::clock::Stamp;

use super::{Reader, SensorError, SensorMessage, Writer, agree, f64_bytes, f64_values};
use crate::cdr::{CdrError, CdrReader, CdrWriter};
use crate::tensor::{DType, Tensor};

/// Characters of an attribute that names take; below the limit of a value whatever their script.
const PIECE: usize = 250;
/// Most attributes that names take.
const MOST_PIECES: usize = 32;

/// What joints do, as `sensor_msgs/JointState` has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JointState {
    /// When it was measured.
    pub stamp: Stamp,
    /// Mostly empty.
    pub frame_id: String,
    /// The joints' names.
    pub names: Vec<String>,
    /// rad or m; as many as names, or none.
    pub position: Vec<f64>,
    /// rad/s or m/s; as many as names, or none.
    pub velocity: Vec<f64>,
    /// N m or N; as many as names, or none.
    pub effort: Vec<f64>,
}

/// An f64 tensor `[k, n]` of those of position, velocity and effort that are there, for n joints.
impl SensorMessage for JointState {
    const TYPE: &'static str = "sensor_msgs/msg/JointState";

    fn read(from: &mut CdrReader<'_>) -> Result<JointState, CdrError> {
        let (stamp, frame_id) = super::read_header(from)?;
        let count = from.count("name", 5)?;
        let names = (0..count).map(|_| from.text("name").map(str::to_owned)).collect::<Result<Vec<String>, _>>()?;
        let mut numbers = |field| from.sequence(field, 8).map(f64_values);
        let (position, velocity, effort) = (numbers("position")?, numbers("velocity")?, numbers("effort")?);
        Ok(JointState { stamp, frame_id, names, position, velocity, effort })
    }

    fn write(&self, to: &mut CdrWriter) {
        super::write_header(to, self.stamp, &self.frame_id);
        to.u32(self.names.len() as u32);
        for name in &self.names {
            to.text(name);
        }
        for numbers in [&self.position, &self.velocity, &self.effort] {
            to.sequence(&f64_bytes(numbers), 8);
        }
    }

    fn into_tensor(self, name: &str) -> Result<Tensor, SensorError> {
        let (count, mut data, mut rows, mut there) = (self.names.len(), Vec::new(), 0, String::new());
        let kinds = [("position", &self.position), ("velocity", &self.velocity), ("effort", &self.effort)];
        for (field, numbers) in kinds {
            if !numbers.is_empty() {
                agree(field, numbers.len() as u64, count as u64, "as many as names, or none")?;
                data.extend(f64_bytes(numbers));
                rows += 1;
                there = if there.is_empty() { field.to_owned() } else { format!("{there} {field}") };
            }
        }
        // Each name after its length, so that it may hold anything; cut into pieces that attributes take.
        let joined: String = self.names.iter().map(|name| format!("{}:{name}", name.len())).collect();
        let letters: Vec<char> = joined.chars().collect();
        let pieces = letters.chunks(PIECE);
        if pieces.len() > MOST_PIECES {
            let limit = MOST_PIECES * PIECE;
            return Err(SensorError::TooMany { what: "characters of joint names", found: letters.len(), limit });
        }
        let mut attributes = Writer::new(Self::TYPE).put("fields", there).put("names", pieces.len());
        for (index, piece) in pieces.enumerate() {
            attributes = attributes.put(&format!("names.{index}"), piece.iter().collect::<String>());
        }
        let shape = vec![rows, u32::try_from(count).unwrap_or(u32::MAX)];
        let tensor = Tensor::new(name, DType::F64, shape, data)?.in_frame(&self.frame_id)?.at(self.stamp);
        Ok(tensor.with_attributes(attributes.0)?)
    }

    fn from_tensor(tensor: Tensor) -> Result<JointState, SensorError> {
        let read = Reader::new(&tensor, Self::TYPE)?;
        let pieces: usize = read.number("names")?;
        if pieces > MOST_PIECES {
            return Err(SensorError::TooMany { what: "pieces of joint names", found: pieces, limit: MOST_PIECES });
        }
        let texts = (0..pieces).map(|index| read.text(&format!("names.{index}")));
        let joined = texts.collect::<Result<Vec<&str>, _>>()?.concat();
        let (mut rest, mut names) = (joined.as_str(), Vec::new());
        while !rest.is_empty() {
            let parse = |text: &'_ str| {
                let (length, after) = text.split_once(':')?;
                let (name, after) = after.split_at_checked(length.parse().ok()?)?;
                Some((name.to_owned(), text.len() - after.len()))
            };
            let (name, length) = parse(rest).ok_or_else(|| Reader::unreadable("names", rest))?;
            names.push(name);
            rest = rest.get(length..).unwrap_or_default();
        }
        let numbers = f64_values(tensor.data());
        let fields: Vec<&str> = read.text("fields")?.split_whitespace().collect();
        agree("data", numbers.len() as u64, (fields.len() * names.len()) as u64, "fields times joints")?;
        let mut rows = numbers.chunks(names.len().max(1));
        let mut row = |field| {
            let row = if fields.contains(&field) { rows.next() } else { None };
            row.map(<[f64]>::to_vec).unwrap_or_default()
        };
        let (position, velocity, effort) = (row("position"), row("velocity"), row("effort"));
        let (stamp, frame_id) = (tensor.stamp(), tensor.frame_id().to_owned());
        Ok(JointState { stamp, frame_id, names, position, velocity, effort })
    }
}
