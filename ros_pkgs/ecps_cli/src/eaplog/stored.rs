//! Segments as they are stored, for tools that copy bytes.

use std::path::{Path, PathBuf};

use ecps_journal::input::Input;
use ecps_journal::reader::segment_paths;
use ecps_journal::scan::{Flaw, Segment};

use super::EaplogError;

/// A segment's file, opened: its head may be damaged.
pub(super) type Opened = (PathBuf, Result<Segment<Input>, Flaw>);

/// The segments of a journal, a folder or one file, in order, each opened when it is its turn.
pub(super) fn open_segments(journal: &Path) -> Result<impl Iterator<Item = Result<Opened, EaplogError>>, EaplogError> {
    Ok(segment_paths(journal)?.into_iter().map(|path| {
        let segment = Input::open(&path).and_then(Segment::open).map_err(EaplogError::file(&path))?;
        Ok((path, segment))
    }))
}
