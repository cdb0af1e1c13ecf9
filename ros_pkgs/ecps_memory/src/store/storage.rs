//! What the memory asks of the place where its records lie.
//!
//! Versions, merging, quotas and answers are decided above it, and know no SQL. SQLite is the one implementation; one that
//! keeps copies on several robots would be another, and finds what it needs in each record: id, version and time.

use crate::arena::TextScores;
use crate::error::Unavailable;
use crate::record::Record;
use crate::stats::Damage;

/// A record as it was written, or what is wrong with it.
pub(crate) type Read = Result<Record, Damage>;

/// Records by row: a number that names one embedding for ever, and is never given twice. What is written is there for
/// whoever reads once the transaction is committed that all of it happens in.
pub(crate) trait Storage {
    /// Row and version of a record. Of a damaged one the version may be anything.
    fn find(&self, namespace: &str, id: &str) -> Result<Option<(i64, u64)>, Unavailable>;

    /// The record of a row.
    fn read(&self, row: i64) -> Result<Option<Read>, Unavailable>;

    /// The record of a row without its payload, which is then not read at all.
    fn read_head(&self, row: i64) -> Result<Option<Read>, Unavailable>;

    /// The record of that name.
    fn read_named(&self, namespace: &str, id: &str) -> Result<Option<Read>, Unavailable>;

    /// Rows whose text holds all of the words (as [`Query::words`](crate::Query) quotes them), at most so many, and how
    /// well each fits.
    fn read_words(&self, words: &str, most: usize) -> Result<TextScores, Unavailable>;

    /// Writes a valid record, whose namespace is set, under a new row.
    fn add(&self, row: i64, record: &Record) -> Result<(), Unavailable>;

    /// Writes a record in the place of an earlier state of it, which had the same text.
    fn change(&self, row: i64, record: &Record) -> Result<(), Unavailable>;

    /// Takes a row away; false where there was none.
    fn remove(&self, row: i64) -> Result<bool, Unavailable>;
}
