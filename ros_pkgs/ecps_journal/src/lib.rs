//! The `.eaplog` black box: what was commanded, refused and done, in records that can be checked.
//!
//! A journal is a folder of segments `000001.eaplog`, `000002.eaplog`, …; each start of a writer begins a new one, so
//! that nothing is ever overwritten or cut. Each record carries two checksums, its sequence number and the SHA-256 of the
//! record before it, over all segments.
//!
//! | module | what it holds |
//! |---|---|
//! | [`mod@format`] | the bytes of superblocks and records |
//! | [`record`] | the payloads, and which kind of record holds which |
//! | [`journal`] | the handle that writes: in the kernel when [`Journal::append`] returns, synced in the background |
//! | [`storage`] | the folder, its lock and its files |
//! | [`scan`] | reading one segment |
//! | [`reader`] | reading a whole journal, and the verdict on it |
//!
//! ```
//! use ecps_core::clock::Stamp;
//! use ecps_journal::{Identity, Journal, Moment, Reader, Verdict, record};
//!
//! let folder = tempfile::tempdir()?;
//! let identity = Identity { robot: "r1".into(), session: [1; 16], boot: [2; 16] };
//! let (mut journal, _) = Journal::open(folder.path(), identity, Stamp(0))?;
//! let stop = record::Stop { cause: "requested".into(), detail: "operator".into() };
//! let sequence = journal.append(&Moment::default(), &stop)?;
//! assert_eq!(sequence, 1);
//! drop(journal);
//!
//! let mut reader = Reader::open(folder.path())?;
//! let first = reader.read()?.ok_or("a record is missing")?;
//! assert_eq!(first.entry()?, record::Entry::Stop(stop));
//! assert!(reader.read()?.is_none());
//! assert_eq!(reader.verdict(), &Verdict::Clean);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod format;
pub mod journal;
pub mod reader;
pub mod record;
pub mod scan;
pub mod storage;
mod sync;
mod writer;

pub use format::{Direction, Identity, Moment};
pub use journal::{Journal, OpenError, Recovered};
pub use reader::{ReadError, Reader, Report, Verdict, verify};
pub use scan::Record;
pub use sync::{Durability, Durable, SyncError};
pub use writer::AppendError;
