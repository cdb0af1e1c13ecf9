//! `eaplog diff`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use ecps_core::wire::proto::Eap;
use ecps_journal::legacy::{LegacyReader, Version, version};
use ecps_journal::record::{Entry, kind_name};
use ecps_journal::{Reader, Record};
use prost::Message as _;

use super::{EaplogError, Outcome};

/// What `eaplog diff` is told.
#[derive(Debug, Args)]
pub(super) struct Diff {
    /// A journal of any version
    one: PathBuf,
    /// Another
    other: PathBuf,
}

/// What is compared: records, or where an old file takes part, the actions alone.
#[derive(PartialEq)]
enum Item {
    Record(Box<Record>),
    Action(Vec<u8>),
}

impl Item {
    /// The chain is left out: it differs in all records after the first that does.
    fn same(&self, other: &Item) -> bool {
        match (self, other) {
            (Item::Record(a), Item::Record(b)) => {
                (a.header.kind, a.header.moment, &a.payload) == (b.header.kind, b.header.moment, &b.payload)
            }
            (a, b) => a == b,
        }
    }

    fn describe(&self) -> String {
        match self {
            Item::Record(record) => {
                let name = kind_name(record.header.kind).unwrap_or("unknown kind");
                format!("record {} ({name}, {} bytes)", record.header.sequence, record.payload.len())
            }
            Item::Action(bytes) => {
                let id = Eap::decode(bytes.as_slice())
                    .map_or_else(|_| "not an action".into(), |eap| format!("'{}'", eap.id));
                format!("action {id} ({} bytes)", bytes.len())
            }
        }
    }
}

enum Items {
    Records(Reader),
    Actions(Reader),
    Old(PathBuf, LegacyReader),
}

impl Items {
    fn next(&mut self) -> Result<Option<Item>, EaplogError> {
        match self {
            Items::Records(reader) => Ok(reader.read()?.map(|record| Item::Record(Box::new(record)))),
            Items::Actions(reader) => {
                while let Some(record) = reader.read()? {
                    match record.entry() {
                        Ok(Entry::Action(action)) => return Ok(Some(Item::Action(action.eap))),
                        Ok(Entry::Imported(imported)) => return Ok(Some(Item::Action(imported.eap))),
                        _ => {}
                    }
                }
                Ok(None)
            }
            Items::Old(path, reader) => {
                Ok(reader.read().map_err(EaplogError::file(path))?.map(|record| Item::Action(record.bytes)))
            }
        }
    }
}

pub(super) fn run(options: &Diff) -> Outcome {
    let old = |path: &Path| {
        let found = version(path).map_err(|source| EaplogError::Legacy { path: path.to_owned(), source })?;
        Ok::<_, EaplogError>(found != Version::V3_0)
    };
    let (one_old, other_old) = (old(&options.one)?, old(&options.other)?);
    let open = |path: &PathBuf, is_old: bool| {
        Ok::<_, EaplogError>(match (is_old, one_old || other_old) {
            (true, _) => {
                let reader = LegacyReader::open(path);
                Items::Old(path.clone(), reader.map_err(|source| EaplogError::Legacy { path: path.clone(), source })?)
            }
            (false, true) => Items::Actions(Reader::open(path)?),
            (false, false) => Items::Records(Reader::open(path)?),
        })
    };
    let (mut one, mut other) = (open(&options.one, one_old)?, open(&options.other, other_old)?);
    let mut out = std::io::stdout().lock();
    let mut equal = 0u64;
    loop {
        match (one.next()?, other.next()?) {
            (None, None) => {
                writeln!(out, "the same: {equal} equal")?;
                return Ok(ExitCode::SUCCESS);
            }
            (Some(a), Some(b)) if a.same(&b) => equal += 1,
            (a, b) => {
                let text = |item: Option<Item>| item.map_or_else(|| "its end".into(), |item| item.describe());
                writeln!(out, "different after {equal} equal")?;
                writeln!(out, "- {} has {}", options.one.display(), text(a))?;
                writeln!(out, "+ {} has {}", options.other.display(), text(b))?;
                return Ok(ExitCode::from(1));
            }
        }
    }
}
