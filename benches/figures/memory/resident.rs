//! Memory of this process.

/// What is its own, bytes: without the pages of files, which the system takes back when it needs them.
pub(super) fn own() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
