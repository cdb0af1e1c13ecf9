//! The executor, in one process with a node that harms it when it is told to, and says when on standard error: `panic at` and
//! `deadlock at` with the monotonic time in nanoseconds.
#![allow(clippy::panic, clippy::expect_used, reason = "a node for tests, that panics when it is told to")]

use std::io::Write as _;

use ecps_actuation::node::Executor;
use ecps_core::clock::{SteadyClock as _, SystemSteady};
use ecps_ros::r2r::std_msgs::msg::String as Text;
use ecps_ros::{Managed, Node, Process, StartError, qos};

struct Saboteur;

impl Managed for Saboteur {
    const NAME: &'static str = "saboteur";

    fn configure(node: &mut Node<Saboteur>) -> Result<Saboteur, StartError> {
        node.subscribe("sabotage", qos::default(), |_: &mut Saboteur, order: Text| match order.data.as_str() {
            "panic" => {
                eprintln!("panic at {}", SystemSteady.now().0.as_nanos());
                panic!("sabotage")
            }
            // Whoever logs from now on waits for ever.
            _ => {
                let mut held = std::io::stderr().lock();
                let _ = writeln!(held, "deadlock at {}", SystemSteady.now().0.as_nanos());
                loop {
                    std::thread::park();
                }
            }
        })?;
        Ok(Saboteur)
    }
}

fn main() -> std::process::ExitCode {
    ecps_ros::leave_shared_memory().expect("the program starts again");
    Process::new().node::<Executor>().node::<Saboteur>().run()
}
