//! ROS 2 bags in MCAP (<https://mcap.dev/spec>), read from beginning to end with bounded memory.
//!
//! A chunk's checksum is verified before a message of it is handed out, that of the whole data section at its end, and no
//! length in the file is trusted.
//! Messages stay serialised: this knows no message types.
//!
//! ```no_run
//! use ecps_cli::bag::Bag;
//! use std::path::Path;
//!
//! for message in Bag::open(Path::new("drive.mcap"))? {
//!     let message = message?;
//!     println!("{} {} {} bytes", message.log_time_ns, message.topic.name, message.cdr.len());
//! }
//! # Ok::<(), ecps_cli::bag::BagError>(())
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mcap::records::Record;
use mcap::sans_io::linear_reader::{LinearReadEvent, LinearReader, LinearReaderOptions};
use mcap::{MAGIC, McapError};
use thiserror::Error;

/// Largest record and largest chunk, unpacked, bytes: four messages of the largest size that any profile allows.
pub const RECORD_BYTES: usize = 64 << 20;
/// How much is read at once at most, bytes.
const READ_BYTES: usize = 1 << 20;

/// Why a bag, or the rest of it, cannot be read. Each is one line that names the file.
#[derive(Debug, Error)]
pub enum BagError {
    /// No such file, no permission, a bad disk.
    #[error("bag {}: {source}", file.display())]
    Io {
        /// The bag.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The folder of a bag instead of the file in it.
    #[error("bag {}: this is a folder; name the .mcap file in it", file.display())]
    Folder {
        /// The folder.
        file: PathBuf,
    },
    /// Another format.
    #[error("bag {}: this is not an MCAP file: it does not begin with the bytes 89 4D 43 41 50 30 0D 0A", file.display())]
    NotMcap {
        /// The file.
        file: PathBuf,
    },
    /// A cut, damaged or oversized record. What was handed out before is sound.
    #[error("bag {}: after {messages} messages: {reason} (limit for records and chunks: {RECORD_BYTES} bytes)", file.display())]
    Damaged {
        /// The bag.
        file: PathBuf,
        /// How many messages were read before.
        messages: u64,
        /// What is wrong.
        reason: McapError,
    },
    /// A message on a channel that the bag has not declared before.
    #[error("bag {}: after {messages} messages: a message names the channel {channel}, which has no type", file.display())]
    UnknownChannel {
        /// The bag.
        file: PathBuf,
        /// How many messages were read before.
        messages: u64,
        /// The channel.
        channel: u16,
    },
    /// Messages are missing, as after damage to the head of a chunk.
    #[error("bag {}: it has {messages} readable messages, but its own statistics say {recorded}", file.display())]
    Incomplete {
        /// The bag.
        file: PathBuf,
        /// How many messages were read.
        messages: u64,
        /// How many were written.
        recorded: u64,
    },
    /// Messages that are not ROS 2's.
    #[error("bag {}: the topic `{topic}` is encoded as `{encoding}`, but must be cdr", file.display())]
    Encoding {
        /// The bag.
        file: PathBuf,
        /// The topic.
        topic: String,
        /// Its encoding.
        encoding: String,
    },
}

/// A topic of a bag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name, as in `/scan`.
    pub name: String,
    /// Its type, as in `sensor_msgs/msg/LaserScan`.
    pub kind: String,
}

/// A message of a bag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: Arc<Topic>,
    /// When it was recorded, nanoseconds since the epoch of the recording's clock.
    pub log_time_ns: u64,
    /// The message in CDR, with its header of four bytes.
    pub cdr: Vec<u8>,
}

/// The messages of a bag, in the order of the file, which for rosbag2 is the order of recording. It ends after an error.
pub struct Bag {
    path: PathBuf,
    file: File,
    reader: LinearReader,
    schemas: BTreeMap<u16, String>,
    channels: BTreeMap<u16, Arc<Topic>>,
    messages: u64,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Reading,
    Ended,
}

impl Bag {
    /// Opens the file, and refuses at once what is not MCAP.
    ///
    /// # Errors
    /// [`BagError::Io`], [`BagError::Folder`], [`BagError::NotMcap`].
    pub fn open(path: &Path) -> Result<Self, BagError> {
        let io = |source| BagError::Io { file: path.to_owned(), source };
        let mut file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.is_dir() {
            return Err(BagError::Folder { file: path.to_owned() });
        }
        let mut magic = Vec::new();
        (&mut file).take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(io)?;
        if magic != MAGIC {
            return Err(BagError::NotMcap { file: path.to_owned() });
        }
        // The checksum of the data section begins with the magic.
        file.rewind().map_err(io)?;
        let options = LinearReaderOptions::default()
            .with_validate_data_section_crc(true)
            .with_prevalidate_chunk_crcs(true)
            .with_record_length_limit(RECORD_BYTES);
        let reader = LinearReader::new_with_options(options);
        let (schemas, channels) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { path: path.to_owned(), file, reader, schemas, channels, messages: 0, state: State::Reading })
    }

    fn read(&mut self) -> Result<Option<Message>, BagError> {
        let Self { path, file, reader, schemas, channels, messages, .. } = self;
        let damaged = |reason| BagError::Damaged { file: path.clone(), messages: *messages, reason };
        while let Some(event) = reader.next_event() {
            let (opcode, data) = match event.map_err(damaged)? {
                LinearReadEvent::Record { opcode, data } => (opcode, data),
                LinearReadEvent::ReadRequest(wanted) => {
                    let read = file.read(reader.insert(wanted.min(READ_BYTES)));
                    reader.notify_read(read.map_err(|source| BagError::Io { file: path.clone(), source })?);
                    continue;
                }
            };
            match mcap::parse_record(opcode, data).map_err(damaged)? {
                Record::Schema { header, .. } => {
                    schemas.insert(header.id, header.name);
                }
                Record::Channel(channel) => {
                    if channel.message_encoding != "cdr" {
                        let (topic, encoding) = (channel.topic, channel.message_encoding);
                        return Err(BagError::Encoding { file: path.clone(), topic, encoding });
                    }
                    if let Some(kind) = schemas.get(&channel.schema_id) {
                        channels.insert(channel.id, Arc::new(Topic { name: channel.topic, kind: kind.clone() }));
                    }
                }
                Record::Message { header, data } => {
                    let channel = header.channel_id;
                    let Some(topic) = channels.get(&channel) else {
                        return Err(BagError::UnknownChannel { file: path.clone(), messages: *messages, channel });
                    };
                    *messages += 1;
                    let (topic, cdr) = (Arc::clone(topic), data.into_owned());
                    return Ok(Some(Message { topic, log_time_ns: header.log_time, cdr }));
                }
                // In the summary, after all messages.
                Record::Statistics(statistics) if statistics.message_count != *messages => {
                    let recorded = statistics.message_count;
                    return Err(BagError::Incomplete { file: path.clone(), messages: *messages, recorded });
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

impl Iterator for Bag {
    type Item = Result<Message, BagError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Ended {
            return None;
        }
        let next = self.read().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.state = State::Ended;
        }
        next
    }
}
