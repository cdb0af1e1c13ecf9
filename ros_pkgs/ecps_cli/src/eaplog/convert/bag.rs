//! A ROS 2 bag in MCAP. Each record is a `std_msgs/String` with its words in JSON on `/eaplog/<kind>`, and a velocity that
//! was applied also a `geometry_msgs/Twist`, so that Foxglove, rosbags and `ros2 bag` show them without our types. The
//! stored bytes ride along as private records of MCAP, which other readers pass over.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read as _};
use std::path::{Path, PathBuf};

use ecps_journal::format::{HEADER_BYTES, Header, Superblock, payload_of};
use ecps_journal::record::{Entry, kind_name};
use mcap::records::MessageHeader;
use mcap::sans_io::linear_reader::{LinearReadEvent, LinearReader, LinearReaderOptions};
use mcap::write::PrivateRecordOptions;
use mcap::{McapError, WriteOptions, Writer};
use serde_json::Value;

use super::super::message::header_json;
use super::super::{EaplogError, new_file};
use super::rebuild::Rebuild;
use super::{Row, Sink};
use crate::bag::RECORD_BYTES;

/// Opcodes of the private records: a superblock, a record, a footer, as stored.
const SUPERBLOCK: u8 = 0x80;
const RECORD: u8 = 0x81;
const FOOTER: u8 = 0x82;
/// How much is read at once at most, bytes.
const READ_BYTES: usize = 1 << 20;

const STRING: &str = "string data\n";
const TWIST: &str = "Vector3 linear\nVector3 angular\n\
    ================================================================================\n\
    MSG: geometry_msgs/Vector3\nfloat64 x\nfloat64 y\nfloat64 z\n";

/// The bag being written.
pub(super) struct Bag {
    path: PathBuf,
    writer: Writer<BufWriter<File>>,
    channels: BTreeMap<String, u16>,
}

impl Bag {
    pub(super) fn create(path: &Path) -> Result<Bag, EaplogError> {
        let writer = WriteOptions::new().profile("ros2").library("eaplog").create(new_file(path)?);
        let writer = writer.map_err(|error| EaplogError::content(path, error))?;
        Ok(Bag { path: path.to_owned(), writer, channels: BTreeMap::new() })
    }

    fn failed(&self) -> impl Fn(McapError) -> EaplogError + use<> {
        let path = self.path.clone();
        move |error| EaplogError::content(&path, error)
    }

    fn part(&mut self, opcode: u8, bytes: &[u8]) -> Result<(), EaplogError> {
        let failed = self.failed();
        self.writer.write_private_record(opcode, bytes, PrivateRecordOptions::IncludeInChunks.into()).map_err(failed)
    }

    fn publish(&mut self, topic: String, kind: (&str, &str), header: &Header, data: &[u8]) -> Result<(), EaplogError> {
        let failed = self.failed();
        let channel_id = match self.channels.get(&topic) {
            Some(id) => *id,
            None => {
                let schema = self.writer.add_schema(kind.0, "ros2msg", kind.1.as_bytes()).map_err(&failed)?;
                let id = self.writer.add_channel(schema, &topic, "cdr", &BTreeMap::new()).map_err(&failed)?;
                self.channels.insert(topic, id);
                id
            }
        };
        let log_time = u64::try_from(header.moment.wall.0).unwrap_or(0);
        let header = MessageHeader { channel_id, sequence: header.sequence as u32, log_time, publish_time: log_time };
        self.writer.write_to_known_channel(&header, data).map_err(failed)
    }
}

/// CDR, little-endian.
fn cdr(fields: impl IntoIterator<Item = u8>) -> Vec<u8> {
    [0, 1, 0, 0].into_iter().chain(fields).collect()
}

fn cdr_string(text: &str) -> Vec<u8> {
    cdr((text.len() as u32 + 1).to_le_bytes().into_iter().chain(text.bytes()).chain([0]))
}

impl Sink for Bag {
    fn superblock(&mut self, _: &Superblock, bytes: &[u8]) -> Result<(), EaplogError> {
        self.part(SUPERBLOCK, bytes)
    }

    fn record(&mut self, row: &Row<'_>) -> Result<(), EaplogError> {
        self.part(RECORD, row.bytes)?;
        let mut fields = header_json(row.segment, row.header);
        fields.insert("message".into(), row.message.clone().unwrap_or(Value::Null));
        let kind = kind_name(row.header.kind).map_or_else(|| format!("kind_{}", row.header.kind), str::to_lowercase);
        let text = Value::Object(fields).to_string();
        self.publish(format!("/eaplog/{kind}"), ("std_msgs/msg/String", STRING), row.header, &cdr_string(&text))?;
        if let Some(payload) = row.payload
            && let Ok(Entry::Motion(motion)) = Entry::decode(row.header.kind, payload)
            && let Some(v) = motion.applied
        {
            let twist = cdr([v.x, v.y, 0.0, 0.0, 0.0, v.yaw].into_iter().flat_map(f64::to_le_bytes));
            self.publish("/eaplog/motion/applied".into(), ("geometry_msgs/msg/Twist", TWIST), row.header, &twist)?;
        }
        Ok(())
    }

    fn footer(&mut self, _: u64, bytes: &[u8]) -> Result<(), EaplogError> {
        self.part(FOOTER, bytes)
    }

    fn finish(mut self: Box<Self>) -> Result<(), EaplogError> {
        let failed = self.failed();
        self.writer.finish().map(drop).map_err(failed)
    }
}

/// Reads a file that [`Bag`] wrote.
pub(super) fn read(path: &Path, rebuild: &mut Rebuild) -> Result<(), EaplogError> {
    let bad = |error: &dyn std::fmt::Display| EaplogError::content(path, error);
    let mut file = File::open(path).map_err(EaplogError::file(path))?;
    let options = LinearReaderOptions::default()
        .with_validate_data_section_crc(true)
        .with_prevalidate_chunk_crcs(true)
        .with_record_length_limit(RECORD_BYTES);
    let mut reader = LinearReader::new_with_options(options);
    let mut any = false;
    while let Some(event) = reader.next_event() {
        match event.map_err(|error| bad(&error))? {
            LinearReadEvent::ReadRequest(wanted) => {
                let read = file.read(reader.insert(wanted.min(READ_BYTES))).map_err(EaplogError::file(path))?;
                reader.notify_read(read);
            }
            LinearReadEvent::Record { opcode: SUPERBLOCK, data } => {
                any = true;
                rebuild.superblock(data)?;
            }
            LinearReadEvent::Record { opcode: RECORD, data } => {
                let head = data.first_chunk::<HEADER_BYTES>().ok_or_else(|| bad(&"a record is too short"))?;
                let header = Header::decode(head).map_err(|error| bad(&error))?;
                rebuild.record(header, payload_of(data).map_err(|error| bad(&error))?)?;
            }
            LinearReadEvent::Record { opcode: FOOTER, data } => rebuild.footer(data)?,
            LinearReadEvent::Record { .. } => {}
        }
    }
    if any { Ok(()) } else { Err(bad(&"no journal was converted to this bag")) }
}
