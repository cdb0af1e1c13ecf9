//! What `ecps-conformance` checks, beside replay.

#[cfg(feature = "ros")]
pub mod transport;
pub mod validate;

pub mod compression;
