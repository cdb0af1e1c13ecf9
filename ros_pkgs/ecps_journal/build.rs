//! Compiles `proto/journal.proto`, the payloads of the journal's records, and keeps its descriptor, which every segment
//! carries.

use std::path::{Path, PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    for name in ["journal.proto", "ecps.proto"] {
        println!("cargo:rerun-if-changed={}", proto.join(name).display());
    }
    let journal = protox::compile([proto.join("journal.proto")], [&proto])?;
    prost_build::Config::new().compile_fds(journal)?;

    let mut schema = protox::compile([proto.join("journal.proto"), proto.join("ecps.proto")], [&proto])?;
    for file in &mut schema.file {
        file.source_code_info = None;
    }
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("schema.binpb"), schema.encode_to_vec())?;
    Ok(())
}
