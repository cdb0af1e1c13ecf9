//! Compiles `proto/ecps.proto`; protox is a protobuf compiler in Rust, so that no system protoc is needed.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", proto.display());
    let descriptors = protox::compile([proto.join("ecps.proto")], [proto])?;
    // BTreeMap, so that the same message always encodes to the same bytes: the journal hashes them.
    prost_build::Config::new().btree_map(["."]).compile_fds(descriptors)?;
    Ok(())
}
