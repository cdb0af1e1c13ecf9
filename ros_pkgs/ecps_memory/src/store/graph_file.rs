//! The graphs in a file beside the database, so that a start need not build them. The file is worth nothing by itself: the
//! database holds its digest, and where the two differ the graphs are built anew and everything is scanned meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

use crate::index::Index;

const MAGIC: &[u8; 8] = b"ECPSGRF1";
/// Largest that is read, bytes.
const FILE_BYTES: u64 = 8 << 30;

pub(crate) fn path(database: &Path) -> PathBuf {
    let mut path = database.to_owned().into_os_string();
    path.push(".graph");
    path.into()
}

/// What was found on opening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraphFile {
    /// None was ever written.
    Missing,
    /// As it was written, with so many nodes.
    Whole(usize),
    /// Not what the database says was written, and why.
    Unusable(String),
}

/// All graphs in bytes, and their nodes; none where there is no graph.
pub(crate) fn encode(index: &Index) -> Option<(Vec<u8>, usize)> {
    let mut bytes = MAGIC.to_vec();
    let mut all = 0;
    for (namespace, model, arena) in index.arenas() {
        let Some((graph, nodes)) = arena.encode() else { continue };
        all += nodes;
        for text in [namespace, model] {
            bytes.push(text.len() as u8);
            bytes.extend(text.as_bytes());
        }
        bytes.extend(graph);
    }
    (all > 0).then_some((bytes, all))
}

/// Writes them down, synced, and gives the digest that the database has to know.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let partial = path.with_extension("graph-partial");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(Sha256::digest(bytes).to_vec())
}

/// Reads the file where it is what the database says it is.
fn read(path: &Path, connection: &Connection) -> Result<Option<(Vec<u8>, usize)>, String> {
    let known = connection
        .query_row("SELECT digest, nodes FROM graph_file", [], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
        })
        .optional()
        .map_err(|e| e.to_string())?;
    let Some((digest, nodes)) = known else { return Ok(None) };
    let size = fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > FILE_BYTES {
        return Err(format!("it has {size} bytes, more than the {FILE_BYTES} allowed"));
    }
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    if Sha256::digest(&bytes).as_slice() != digest {
        return Err("its digest is not the one that the database holds".into());
    }
    Ok(Some((bytes, nodes.unsigned_abs() as usize)))
}

/// Looks at the file without using it.
pub(crate) fn look(path: &Path, connection: &Connection) -> GraphFile {
    match read(path, connection) {
        Ok(None) => GraphFile::Missing,
        Ok(Some((_, nodes))) => GraphFile::Whole(nodes),
        Err(reason) => GraphFile::Unusable(reason),
    }
}

/// Gives the index its graphs.
pub(crate) fn adopt(path: &Path, connection: &Connection, index: &mut Index) -> GraphFile {
    let (bytes, nodes) = match read(path, connection) {
        Ok(None) => return GraphFile::Missing,
        Ok(Some(whole)) => whole,
        Err(reason) => return GraphFile::Unusable(reason),
    };
    let bad = || GraphFile::Unusable("its content does not add up".into());
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else { return bad() };
    while !rest.is_empty() {
        let mut text = || -> Option<String> {
            let (length, after) = rest.split_first()?;
            let (text, after) = after.split_at_checked(usize::from(*length))?;
            rest = after;
            String::from_utf8(text.to_vec()).ok()
        };
        let (Some(namespace), Some(model)) = (text(), text()) else { return bad() };
        let adopted = match index.arena_mut(&namespace, &model) {
            Some(arena) => arena.adopt(&mut rest),
            // Its records are all gone.
            None => crate::graph::Graph::decode(&mut rest, |_| None).is_some(),
        };
        if !adopted {
            return bad();
        }
    }
    GraphFile::Whole(nodes)
}
