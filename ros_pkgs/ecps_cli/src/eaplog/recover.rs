//! `eaplog recover`: what is whole, byte for byte, and what stands behind damage, for somebody to look at.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use ecps_journal::format::{HEADER_BYTES, Header, OVERHEAD_BYTES, PAYLOAD_BYTES, payload_of};
use ecps_journal::input::Input;
use ecps_journal::record::{SCHEMA, is_housekeeping};
use ecps_journal::scan::{Flaw, RawStep};
use serde_json::{Value, json};

use super::message::{Messages, header_json};
use super::stored::open_segments;
use super::{EaplogError, Outcome, new_file};

/// What `eaplog recover` is told.
#[derive(Debug, Args)]
pub(super) struct Recover {
    /// A damaged journal's folder, or one segment; it stays as it is
    source: PathBuf,
    /// A new folder, for each segment up to its first flaw, and for salvaged.jsonl
    target: PathBuf,
}

pub(super) fn run(options: &Recover) -> Outcome {
    let target = &options.target;
    std::fs::create_dir(target).map_err(EaplogError::file(target))?;
    let (mut whole, mut salvaged, mut flaws) = (0u64, 0u64, 0u64);
    let salvage_path = target.join("salvaged.jsonl");
    let mut salvage = new_file(&salvage_path)?;
    let mut out = std::io::stdout().lock();
    for opened in open_segments(&options.source)? {
        let (path, opened) = opened?;
        let (records, end, flaw, encrypted) = match opened {
            Err(flaw) => (0, 0, Some(flaw), false),
            Ok(mut segment) => {
                let mut records = 0u64;
                let mut end = segment.superblock_bytes().len() as u64;
                let flaw = loop {
                    match segment.read_raw().map_err(EaplogError::file(&path))? {
                        RawStep::Record(raw) => {
                            records += 1;
                            end = raw.offset + raw.bytes.len() as u64;
                        }
                        RawStep::End => break None,
                        RawStep::Flaw(flaw) => break Some(flaw),
                    }
                };
                if let Some(footer) = segment.footer().filter(|_| flaw.is_none()) {
                    end += footer.bytes.len() as u64;
                }
                (records, end, flaw, segment.superblock().encryption_key.is_some())
            }
        };
        whole += records;
        // A compressed segment is copied as what it holds.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if end > 0 {
            copy(&path, &target.join(name.strip_suffix(".zst").unwrap_or(&name)), end)?;
        }
        let Some(flaw) = flaw else { continue };
        flaws += 1;
        writeln!(out, "{}: {records} whole records, then at byte {end}: {}", path.display(), describe(&flaw))?;
        let more = behind(&path, end, encrypted, &mut salvage)?;
        salvaged += more;
    }
    salvage.flush().map_err(EaplogError::file(&salvage_path))?;
    drop(salvage);
    if salvaged == 0 {
        std::fs::remove_file(&salvage_path).map_err(EaplogError::file(&salvage_path))?;
    }
    writeln!(
        out,
        "{whole} whole records copied to {}, {salvaged} from behind damage to salvaged.jsonl",
        target.display()
    )?;
    Ok(ExitCode::from(if whole == 0 {
        1
    } else if flaws > 0 {
        3
    } else {
        0
    }))
}

fn describe(flaw: &Flaw) -> String {
    match flaw {
        Flaw::Torn { .. } => "a torn tail".into(),
        Flaw::Damaged { reason, .. } => reason.to_string(),
        Flaw::ChainBroken { reason, .. } => reason.to_string(),
    }
}

fn copy(source: &Path, target: &Path, size: u64) -> Result<(), EaplogError> {
    let mut from = Input::open(source).map_err(EaplogError::file(source))?.take(size);
    let mut to = new_file(target)?;
    let failed = EaplogError::file(target);
    std::io::copy(&mut from, &mut to).map_err(&failed)?;
    to.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(&failed)
}

/// Damage in a compressed segment ends what can be looked through.
fn uncompressible(error: std::io::Error) -> std::io::Result<u64> {
    if error.kind() == std::io::ErrorKind::InvalidData { Ok(0) } else { Err(error) }
}

/// Looks byte by byte for records after `start` whose checksums are right. Nothing vouches for their place.
fn behind(path: &Path, start: u64, encrypted: bool, out: &mut impl std::io::Write) -> Result<u64, EaplogError> {
    const LARGEST: usize = OVERHEAD_BYTES + PAYLOAD_BYTES;
    let failed = EaplogError::file(path);
    let mut file = Input::open(path).map_err(&failed)?;
    file.seek(SeekFrom::Start(start)).or_else(uncompressible).map_err(&failed)?;
    let messages = Messages::new(SCHEMA);
    let (mut buffer, mut at, mut base, mut found) = (Vec::new(), 0usize, start, 0u64);
    loop {
        if buffer.len() - at < LARGEST {
            buffer.drain(..at);
            base += std::mem::take(&mut at) as u64;
            (&mut file)
                .take(2 * LARGEST as u64)
                .read_to_end(&mut buffer)
                .map(|read| read as u64)
                .or_else(uncompressible)
                .map_err(&failed)?;
        }
        let rest = buffer.get(at..).unwrap_or_default();
        let Some(head) = rest.first_chunk::<HEADER_BYTES>() else { return Ok(found) };
        let record = Header::decode(head).ok().and_then(|header| Some((header, rest.get(..header.length)?)));
        match record.and_then(|(header, bytes)| Some((header, payload_of(bytes).ok()?))) {
            None => at += 1,
            Some((header, payload)) => {
                let mut fields = header_json(0, &header);
                let readable = !encrypted || is_housekeeping(header.kind);
                fields.insert("file".into(), json!(path.file_name().unwrap_or_default().to_string_lossy()));
                fields.insert("offset".into(), json!(base + at as u64));
                let message = messages.to_json(header.kind, payload).filter(|_| readable);
                fields.insert("message".into(), message.unwrap_or(Value::Null));
                writeln!(out, "{}", Value::Object(fields)).map_err(&failed)?;
                found += 1;
                at += header.length;
            }
        }
    }
}
