//! Threads that the kernel lets run before all others (`SCHED_FIFO`), for control loops.

use std::io;

use crate::parameter::{Parameters, Spec};
use crate::start_error::StartError;

/// Parameter of [`RealTime::raise`].
pub const PARAMETER: &str = "realtime_priority";

/// The parameter's schema.
pub fn spec() -> Spec {
    Spec::integer(PARAMETER, 0, "SCHED_FIFO priority of the control loop and of the middleware's threads; 0: none.")
        .range(0.0, 99.0)
}

/// The threads that this process has so far: those of the spin thread and of the middleware, if asked for before a node
/// starts any of its own.
#[derive(Debug)]
pub struct RealTime {
    threads: Vec<i32>,
}

impl RealTime {
    /// Of the threads at present.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn of_present_threads() -> Result<RealTime, StartError> {
        let threads = std::fs::read_dir("/proc/self/task")
            .map_err(StartError::layer)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        Ok(RealTime { threads })
    }

    /// Gives them the priority that the parameter says, unless it is 0.
    ///
    /// # Errors
    /// If the parameter was not declared.
    pub fn raise(self, parameters: &Parameters) -> Result<(), StartError> {
        let priority = i32::try_from(parameters.integer(PARAMETER)?).unwrap_or(0);
        if priority != 0 {
            self.raise_to(priority);
        }
        Ok(())
    }

    /// Gives them this priority. Where the right is missing (`CAP_SYS_NICE`, or `rtprio` in limits.conf), they stay as they
    /// are, with a warning. Threads that they start later stay ordinary. Returns whether they have it.
    pub fn raise_to(self, priority: i32) -> bool {
        let raised = self.threads.iter().try_for_each(|thread| fifo(*thread, priority));
        match &raised {
            Ok(()) => tracing::info!("{} threads run under SCHED_FIFO, priority {priority}", self.threads.len()),
            Err(error) => tracing::warn!(
                "{PARAMETER} is {priority}, and the process may not have it: {error}; it runs as any other, so that \
                 other processes can delay it"
            ),
        }
        raised.is_ok()
    }
}

#[allow(unsafe_code, reason = "no library sets the scheduler of a thread by its id")]
fn fifo(thread: i32, priority: i32) -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: priority };
    // SAFETY: the parameter outlives the call, which only reads it; a wrong thread id is an error.
    match unsafe {
        libc::sched_setscheduler(thread, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const parameter)
    } {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            // It has ended since.
            gone if gone.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_raised_or_the_right_is_missing_and_its_children_are_ordinary() {
        std::thread::spawn(|| {
            let policy = || {
                let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
                stat.rsplit(' ').nth(11).unwrap().to_owned()
            };
            assert_eq!(policy(), "0", "SCHED_OTHER");
            match fifo(0, 1) {
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
                Ok(()) => {
                    assert_eq!(policy(), "1", "SCHED_FIFO");
                    assert_eq!(std::thread::spawn(policy).join().unwrap(), "0");
                }
            }
        })
        .join()
        .unwrap();
        assert!(RealTime::of_present_threads().unwrap().threads.len() >= 2);
        assert!(fifo(0, 200).is_err(), "no such priority");
    }
}
