//! The `.eaplog` black box: what was commanded, refused and done, in records that can be checked.
//!
//! A journal is a folder of segments `000001.eaplog`, `000002.eaplog`, …; each start of a writer begins a new one, so
//! that nothing is ever overwritten or cut. Each record carries two checksums, its sequence number and the digest of the
//! record before it, over all segments; the records are the leaves of a Merkle tree, whose head is signed while the
//! journal is written. `docs/eaplog-3.0.md` describes every byte.
//!
//! | module | what it holds |
//! |---|---|
//! | [`mod@format`] | the bytes of superblocks, records and footers |
//! | [`record`] | the payloads, and which kind of record holds which |
//! | [`journal`] | the handle that writes: in the kernel when [`Journal::append`] returns, synced and signed in the background |
//! | [`storage`] | the folder, its lock and its files |
//! | [`tree`], [`note`], [`sign`] | the tree of RFC 6962, checkpoints over it, and who signs them |
//! | [`cipher`] | encryption of payloads |
//! | [`input`] | the bytes of a segment, also of a compressed one |
//! | [`scan`] | reading one segment |
//! | [`reader`] | reading a whole journal in order |
//! | [`seek`] | finding records by time, kind and trace |
//! | [`legacy`], [`migrate`] | versions 1.0 to 2.1, and how they become later ones |
//! | [`mod@audit`] | integrity, authenticity, completeness and freshness |
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

pub mod audit;
pub mod cipher;
pub mod format;
mod index;
pub mod input;
pub mod journal;
pub mod legacy;
pub mod migrate;
mod notary;
pub mod note;
mod packed;
#[cfg(test)]
mod power_loss;
pub mod reader;
pub mod record;
pub mod scan;
pub mod seek;
pub mod sign;
pub mod storage;
mod sync;
pub mod tree;
mod window;
mod writer;

pub use audit::{Audit, Expectations, audit};
pub use cipher::PayloadKey;
pub use format::{Direction, Identity, Moment};
pub use journal::{Compression, Journal, OpenError, Options, Recovered};
pub use reader::{ReadError, Reader, Report, Verdict, verify};
pub use scan::Record;
pub use sign::{Signer, SoftwareSigner};
pub use sync::{Durability, Durable, SyncError};
pub use writer::AppendError;
