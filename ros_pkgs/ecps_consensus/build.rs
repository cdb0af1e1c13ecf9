//! Compiles `proto/raft.proto`; its descriptor goes into every segment of the log.

use std::path::{Path, PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", proto.join("raft.proto").display());
    let mut descriptors = protox::compile([proto.join("raft.proto")], [proto])?;
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("schema.binpb"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
