//! Compiles `proto/journal.proto`, the payloads of the journal's records.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", proto.join("journal.proto").display());
    let descriptors = protox::compile([proto.join("journal.proto")], [proto])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
