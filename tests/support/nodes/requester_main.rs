//! Twenty clients of the probe's `~/act`, with fifty requests each, all at once. Prints how many were answered, how many
//! different answers there were, and how often the probe has acted.
#![allow(clippy::unwrap_used, reason = "a program for tests")]

use std::collections::BTreeSet;
use std::time::Duration;

use ecps_ros::r2r::ecps_msgs::msg::Caller;
use ecps_ros::r2r::ecps_msgs::srv::ResetGate;
use ecps_ros::r2r::std_srvs::srv::Trigger;
use ecps_ros::{Args, Client, Node};

const CLIENTS: u64 = 20;
const REQUESTS: u64 = 50;

fn main() {
    let mut node = Node::<()>::start("requester", &Args::default(), |_| Ok(())).unwrap();
    let clients: Vec<Client<ResetGate::Service>> = (0..CLIENTS).map(|_| node.client("/probe/act").unwrap()).collect();
    let acts: Client<Trigger::Service> = node.client("/probe/acts").unwrap();
    let _spinning = node.spin_in_background(());
    let answers: Vec<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = clients
            .iter()
            .zip(0..)
            .flat_map(|(client, number)| (0..REQUESTS).map(move |sequence| (client, number, sequence)))
            .map(|(client, number, sequence): (_, u64, _)| {
                scope.spawn(move || {
                    let caller = Caller { id: format!("/client{number}"), sequence: sequence + 1, ..Caller::default() };
                    client.call(&ResetGate::Request { caller }, Duration::from_secs(60)).unwrap().error_msg
                })
            })
            .collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let acts = acts.call(&Trigger::Request {}, Duration::from_secs(60)).unwrap().message;
    let different = answers.iter().collect::<BTreeSet<_>>().len();
    println!("{} answers, {different} different, for {acts} acts", answers.len());
}
