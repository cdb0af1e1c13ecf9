//! Which of Fast DDS's transports a process uses.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The variable that says so.
const TRANSPORTS: &str = "FASTDDS_BUILTIN_TRANSPORTS";

/// For processes whose end must hold up nobody: returns once this one talks by UDP alone, unless its environment chose
/// transports already. To be called first in `main`, since Fast DDS reads its environment when it is loaded: the program
/// begins once more.
///
/// Whoever is killed, or stopped, in the midst of Fast DDS's shared memory leaves it locked, and all who talk to it that way,
/// or only acknowledge what it said, wait for up to a second: a stop that somebody else publishes comes that much later.
///
/// # Errors
/// If the program cannot be started again.
pub fn leave_shared_memory() -> io::Result<()> {
    if std::env::var_os(TRANSPORTS).is_some() {
        return Ok(());
    }
    let mut again = Command::new(std::env::current_exe()?);
    Err(again.args(std::env::args_os().skip(1)).env(TRANSPORTS, "UDPv4").exec())
}
