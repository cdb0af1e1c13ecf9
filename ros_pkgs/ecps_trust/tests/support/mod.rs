//! Hardware in software, which tests start themselves.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, missing_docs, unused_imports, reason = "tests")]

pub(crate) mod fleet;
mod softhsm;
mod swtpm;

pub(crate) use softhsm::SoftHsm;
pub(crate) use swtpm::Swtpm;

/// Says that a test is skipped since `program` is missing. `./setup` brings it, so in CI its absence fails.
fn skipped(test: &str, program: &str) {
    assert!(std::env::var_os("CI").is_none(), "{program} is missing: ./setup should have brought it");
    eprintln!("SKIPPED {test}: {program} is not installed");
}
