//! Every refusal, as a sentence with the value and the limit.

use std::path::PathBuf;

use thiserror::Error;

use crate::record::InvalidError;

/// Most records of one put, and most ids of one delete.
pub const BATCH: usize = 1024;
/// Largest put, bytes over all its records.
pub const BATCH_BYTES: usize = 64 << 20;
/// Largest answer of a query, bytes over all its hits.
pub const ANSWER_BYTES: usize = 64 << 20;

/// What a caller can do about a refusal; the services' `error_code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The request breaks a limit: change it.
    Invalid,
    /// There is no such record.
    NotFound,
    /// Too much is waiting: ask again later.
    Overloaded,
    /// The memory file failed: the operator is needed.
    Storage,
}

/// Why no request at all can be served at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unavailable {
    /// The queue is full.
    #[error("{limit} requests are waiting already, and no more than {limit} may; ask again later")]
    QueueFull {
        /// Most waiting requests.
        limit: usize,
    },
    /// The waiting requests are too heavy to take another one.
    #[error(
        "the request has {bytes} bytes, and with it the waiting ones would pass the {limit} allowed; ask again later"
    )]
    QueueHeavy {
        /// Bytes of this request.
        bytes: usize,
        /// Most bytes of all waiting requests.
        limit: usize,
    },
    /// SQLite refused.
    #[error("the memory file cannot do it: {0}")]
    Storage(String),
    /// The memory was closed, or its thread is gone.
    #[error("the memory is closed")]
    Closed,
}

impl Unavailable {
    fn cause(&self) -> Cause {
        match self {
            Unavailable::QueueFull { .. } | Unavailable::QueueHeavy { .. } => Cause::Overloaded,
            Unavailable::Storage(_) | Unavailable::Closed => Cause::Storage,
        }
    }
}

impl From<rusqlite::Error> for Unavailable {
    fn from(error: rusqlite::Error) -> Self {
        Unavailable::Storage(error.to_string())
    }
}

/// Why a memory file could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// An option outside its range.
    #[error("option {0}")]
    Option(#[from] ecps_core::check::CheckError),
    /// The folder or the file cannot be used.
    #[error("the memory file '{}' cannot be used: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: std::io::Error,
    },
    /// Another server has it.
    #[error("the memory file '{}' is already served by another process ({holder}); two servers may not share one", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
        /// What the lock file says about the other one.
        holder: String,
    },
    /// It is an SQLite file of something else.
    #[error("'{}' is not a memory file: its application id is {found:#010x}, and a memory's is {expected:#010x}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Application id found.
        found: i32,
        /// Application id of a memory file.
        expected: i32,
    },
    /// A later version of this program wrote it.
    #[error("the memory file '{}' has schema version {found}, and this server knows versions up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Version found.
        found: i64,
        /// Newest version known.
        known: i64,
    },
    /// An earlier version wrote it, and whoever only looks does not change it.
    #[error("the memory file '{}' has schema version {found}, and {needed} is needed to look at it; a server that opens it brings it up to date", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Version found.
        found: i64,
        /// Version needed.
        needed: i64,
    },
    /// Its pages are not as they were written.
    #[error("the memory file '{}' is damaged: {reason}; 'ecps memory verify --salvage NEW {}' saves what can be read", path.display(), path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// SQLite could not open or read it.
    #[error("the memory file '{}' cannot be read: {reason}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        reason: rusqlite::Error,
    },
}

/// Why a put was refused. None of its records was stored.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PutError {
    /// No records, or too many.
    #[error("the batch has {records} records, outside 1 to {BATCH}")]
    BatchSize {
        /// Records given.
        records: usize,
    },
    /// Too many bytes.
    #[error("the batch has {bytes} bytes, more than the {BATCH_BYTES} allowed")]
    BatchBytes {
        /// Bytes of all records.
        bytes: usize,
    },
    /// One record breaks a limit.
    #[error("records[{index}].{reason}")]
    Invalid {
        /// Its position in the batch.
        index: usize,
        /// What is wrong with it.
        reason: InvalidError,
    },
    /// One record's vector has not the dimension of its model's others.
    #[error(
        "records[{index}].embedding has {found} elements, and the vectors of model '{model_id}' in namespace '{namespace}' have {expected}"
    )]
    Dimension {
        /// Its position in the batch.
        index: usize,
        /// Its elements.
        found: usize,
        /// Elements of the others.
        expected: usize,
        /// The model.
        model_id: String,
        /// The namespace.
        namespace: String,
    },
    /// It does not fit into its namespace even without all that may go.
    #[error(
        "the records of namespace '{namespace}' would need {needed} {unit}, more than its quota of {limit}, and {pinned} {unit} of it are pinned"
    )]
    Quota {
        /// The namespace.
        namespace: String,
        /// Records or bytes needed, pinned ones included.
        needed: u64,
        /// What is counted.
        unit: &'static str,
        /// The quota.
        limit: u64,
        /// Of it pinned.
        pinned: u64,
    },
    /// Not at this moment.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl PutError {
    /// What the caller can do about it.
    pub fn cause(&self) -> Cause {
        match self {
            PutError::Unavailable(reason) => reason.cause(),
            _ => Cause::Invalid,
        }
    }
}

/// Why a record was not fetched.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum GetError {
    /// The request breaks a limit.
    #[error(transparent)]
    Invalid(#[from] InvalidError),
    /// There is no such record.
    #[error("namespace '{namespace}' holds no record '{id}'")]
    NotFound {
        /// Where it was looked for.
        namespace: String,
        /// The id asked for.
        id: String,
    },
    /// The record is there, but not as it was written.
    #[error(transparent)]
    Damaged(crate::stats::Damage),
    /// Not at this moment.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl GetError {
    /// What the caller can do about it.
    pub fn cause(&self) -> Cause {
        match self {
            GetError::Invalid(_) => Cause::Invalid,
            GetError::NotFound { .. } => Cause::NotFound,
            GetError::Damaged(_) => Cause::Storage,
            GetError::Unavailable(reason) => reason.cause(),
        }
    }
}

/// Why a query was refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum QueryError {
    /// The request breaks a limit.
    #[error(transparent)]
    Invalid(#[from] InvalidError),
    /// The vector has not the dimension of its model.
    #[error(
        "embedding has {found} elements, and the vectors of model '{model_id}' in namespace '{namespace}' have {expected}"
    )]
    Dimension {
        /// Elements of the query's vector.
        found: usize,
        /// Elements of the model's vectors.
        expected: usize,
        /// The model.
        model_id: String,
        /// The namespace.
        namespace: String,
    },
    /// Not at this moment.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl QueryError {
    /// What the caller can do about it.
    pub fn cause(&self) -> Cause {
        match self {
            QueryError::Unavailable(reason) => reason.cause(),
            _ => Cause::Invalid,
        }
    }
}

/// Why a delete was refused. Nothing was deleted.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum DeleteError {
    /// No ids, or too many.
    #[error("the request has {ids} ids, outside 1 to {BATCH}")]
    BatchSize {
        /// Ids given.
        ids: usize,
    },
    /// The request breaks a limit.
    #[error(transparent)]
    Invalid(#[from] InvalidError),
    /// Not at this moment.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl DeleteError {
    /// What the caller can do about it.
    pub fn cause(&self) -> Cause {
        match self {
            DeleteError::Unavailable(reason) => reason.cause(),
            _ => Cause::Invalid,
        }
    }
}

/// Why a snapshot, a restore, or a change of many records at once failed.
#[derive(Debug, Error)]
pub enum KeepError {
    /// A name or a number that breaks a limit.
    #[error(transparent)]
    Invalid(#[from] InvalidError),
    /// A name of something that could lie elsewhere.
    #[error(
        "the snapshot's name is '{0}', and must be 1 to 64 letters, digits, '-', '_' and '.', not beginning with '.'"
    )]
    Name(String),
    /// No such snapshot.
    #[error("there is no snapshot '{name}' in '{}'", folder.display())]
    NotFound {
        /// The name asked for.
        name: String,
        /// Where snapshots are.
        folder: PathBuf,
    },
    /// The file is not what it should be.
    #[error("the snapshot cannot be used: {0}")]
    Snapshot(String),
    /// Not at this moment.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl KeepError {
    /// What the caller can do about it.
    pub fn cause(&self) -> Cause {
        match self {
            KeepError::Invalid(_) | KeepError::Name(_) => Cause::Invalid,
            KeepError::NotFound { .. } => Cause::NotFound,
            KeepError::Snapshot(_) => Cause::Storage,
            KeepError::Unavailable(reason) => reason.cause(),
        }
    }
}

impl From<rusqlite::Error> for KeepError {
    fn from(error: rusqlite::Error) -> Self {
        KeepError::Unavailable(error.into())
    }
}
