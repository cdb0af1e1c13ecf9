//! Length of test campaigns: reduced in `make test`, full in `make soak`.

/// `full` rounds when `ECPS_SOAK` is set, else `reduced`.
pub fn rounds(reduced: u32, full: u32) -> u32 {
    if std::env::var_os("ECPS_SOAK").is_some() { full } else { reduced }
}
