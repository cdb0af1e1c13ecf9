//! Two nodes in one process: the probe, and one that echoes.
#![allow(clippy::panic, reason = "a node for tests, that panics when it is told to")]

mod probe;

use ecps_ros::r2r::std_msgs::msg::Float64;
use ecps_ros::{Managed, Node, Process, Publisher, StartError, qos};

struct Echo {
    output: Publisher<Float64>,
}

impl Managed for Echo {
    const NAME: &'static str = "echo";

    fn configure(node: &mut Node<Echo>) -> Result<Echo, StartError> {
        node.subscribe("output", qos::default(), |echo: &mut Echo, reading: Float64| echo.output.publish(&reading))?;
        Ok(Echo { output: node.publisher("~/output", qos::default())? })
    }
}

fn main() -> std::process::ExitCode {
    Process::new().node::<probe::Probe>().node::<Echo>().run()
}
