//! `eaplog list` and `eaplog extract`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use ecps_core::clock::Stamp;
use ecps_core::wire::proto::Eap;
use ecps_journal::Record;
use ecps_journal::record::{Entry, KINDS, kind_name};
use ecps_journal::seek::{Matches, Query, find};
use prost::Message as _;
use serde_json::Value;

use super::message::{Messages, header_json};
use super::{EaplogError, Outcome, load_keys, new_file, parse_time, time_text};

/// Which records are wanted.
#[derive(Debug, Args)]
struct Filter {
    /// Wall time from this on, as in 2026-03-01T12:00:00Z or nanoseconds since 1970
    #[arg(long, value_parser = parse_time)]
    from: Option<Stamp>,
    /// Wall time before this
    #[arg(long, value_parser = parse_time)]
    to: Option<Stamp>,
    /// A kind, as in Motion; may be given several times
    #[arg(long, value_parser = parse_kind)]
    kind: Vec<u16>,
    /// A trace id, 32 hexadecimal digits
    #[arg(long, value_parser = parse_trace)]
    trace: Option<[u8; 16]>,
    /// The id of an action: its record, what it drove, and how it ended
    #[arg(long)]
    id: Option<String>,
    /// A file with a key for encrypted payloads; may be given several times
    #[arg(long, value_name = "FILE")]
    payload_key: Vec<PathBuf>,
}

fn parse_kind(text: &str) -> Result<u16, String> {
    let named = KINDS.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(kind, _)| *kind);
    named.or_else(|| text.parse().ok()).ok_or_else(|| {
        let known: Vec<&str> = KINDS.iter().map(|(_, name)| *name).collect();
        format!("there is no kind '{text}'; there are {}", known.join(", "))
    })
}

fn parse_trace(text: &str) -> Result<[u8; 16], String> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|_| digits);
    number.map(u128::to_be_bytes).ok_or_else(|| format!("'{text}' is no trace id of 32 hexadecimal digits"))
}

/// Records that pass the filter.
struct Wanted<'a> {
    matches: Matches,
    id: Option<&'a str>,
    /// Sequences of the records of actions with that id.
    actions: BTreeSet<u64>,
}

impl Filter {
    fn open(&self, journal: &std::path::Path) -> Result<Wanted<'_>, EaplogError> {
        // An action of an id may have been asked for before the time that is wanted.
        let query = match self.id {
            Some(_) => Query { trace: self.trace, ..Query::default() },
            None => Query { from: self.from, to: self.to, trace: self.trace, kinds: self.kind.clone() },
        };
        let matches = find(journal, query, load_keys(&self.payload_key)?)?;
        Ok(Wanted { matches, id: self.id.as_deref(), actions: BTreeSet::new() })
    }

    fn passes(&self, record: &Record) -> bool {
        let query = Query { from: self.from, to: self.to, trace: self.trace, kinds: self.kind.clone() };
        query.matches(record)
    }
}

impl Wanted<'_> {
    fn next(&mut self, filter: &Filter) -> Result<Option<Record>, EaplogError> {
        while let Some(record) = self.matches.read()? {
            if self.has_id(&record) && filter.passes(&record) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn has_id(&mut self, record: &Record) -> bool {
        let Some(id) = self.id else { return true };
        match record.entry() {
            Ok(Entry::Action(action)) if names(&action.eap, id) => self.actions.insert(record.header.sequence),
            Ok(Entry::Imported(imported)) => names(&imported.eap, id),
            Ok(Entry::Motion(motion)) => self.actions.contains(&motion.action_sequence),
            Ok(Entry::Outcome(outcome)) => self.actions.contains(&outcome.action_sequence),
            _ => false,
        }
    }

    /// 0, or 3 or 4 where something could not be read; said on standard error.
    fn exit_code(&self) -> ExitCode {
        let verdict = self.matches.verdict();
        if *verdict == ecps_journal::Verdict::Clean {
            return ExitCode::SUCCESS;
        }
        eprintln!("eaplog: not everything could be read: {verdict}");
        ExitCode::from(if verdict.is_whole() { 3 } else { 4 })
    }

    fn messages(&self) -> Messages {
        Messages::new(self.matches.superblock().map_or(&[], |head| head.schema.as_slice()))
    }
}

fn names(eap: &[u8], id: &str) -> bool {
    Eap::decode(eap).is_ok_and(|eap| eap.id == id)
}

/// What `eaplog list` is told.
#[derive(Debug, Args)]
pub(super) struct List {
    /// A journal's folder, or one segment
    journal: PathBuf,
    #[command(flatten)]
    filter: Filter,
    /// Print at most this many
    #[arg(long)]
    limit: Option<u64>,
}

pub(super) fn list(options: &List) -> Outcome {
    let mut wanted = options.filter.open(&options.journal)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut printed = 0;
    while options.limit.is_none_or(|limit| printed < limit)
        && let Some(record) = wanted.next(&options.filter)?
    {
        printed += 1;
        let header = &record.header;
        let name = kind_name(header.kind).map_or_else(|| format!("kind {}", header.kind), str::to_owned);
        let text = if record.encrypted {
            "(encrypted)".into()
        } else {
            wanted.messages().to_json(header.kind, &record.payload).map_or_else(String::new, |json| json.to_string())
        };
        let time = time_text(header.moment.wall);
        writeln!(out, "{} {time} {:?} {name} {text}", header.sequence, header.moment.direction)?;
    }
    out.flush()?;
    Ok(wanted.exit_code())
}

/// What an extract is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// One JSON object a line
    Json,
    /// The actions alone: EAP messages, each after its length as a varint
    Actions,
}

/// What `eaplog extract` is told.
#[derive(Debug, Args)]
pub(super) struct Extract {
    /// A journal's folder, or one segment
    journal: PathBuf,
    /// The new file
    target: PathBuf,
    #[command(flatten)]
    filter: Filter,
    /// What to write
    #[arg(long, value_enum, default_value = "json")]
    form: Form,
}

pub(super) fn extract(options: &Extract) -> Outcome {
    let mut wanted = options.filter.open(&options.journal)?;
    let mut out = new_file(&options.target)?;
    let failed = EaplogError::file(&options.target);
    let mut written = 0u64;
    while let Some(record) = wanted.next(&options.filter)? {
        match options.form {
            Form::Json => {
                let mut fields = header_json(record.segment, &record.header);
                let message = wanted.messages().to_json(record.header.kind, &record.payload);
                fields.insert("message".into(), message.filter(|_| !record.encrypted).unwrap_or(Value::Null));
                writeln!(out, "{}", Value::Object(fields)).map_err(&failed)?;
            }
            Form::Actions => {
                let eap = match record.entry() {
                    Ok(Entry::Action(action)) if !action.eap.is_empty() => action.eap,
                    Ok(Entry::Imported(imported)) => imported.eap,
                    _ => continue,
                };
                let mut length = Vec::new();
                prost::encoding::encode_varint(eap.len() as u64, &mut length);
                out.write_all(&length).and_then(|()| out.write_all(&eap)).map_err(&failed)?;
            }
        }
        written += 1;
    }
    out.flush().map_err(&failed)?;
    eprintln!("{written} written to {}", options.target.display());
    Ok(wanted.exit_code())
}
