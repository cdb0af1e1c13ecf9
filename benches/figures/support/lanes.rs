//! Two ways of the same message, sent to in turn, so that whatever the machine does hits both.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ecps_ros::r2r::QosProfile;
use ecps_ros::{Message, Node, Publisher};

use super::{Flights, STRAGGLERS, Sample, WARM_UP};

const PERIOD: Duration = Duration::from_millis(10);
/// Messages after which the two ways change places within the period.
const ROUND: usize = 100;

/// One way: what goes in on a topic and comes out on another, told apart by a number in it.
pub(crate) struct Lane<M: Message> {
    input: Publisher<M>,
    make: fn(f64) -> M,
    flights: Arc<Mutex<Flights>>,
}

impl<M: Message> Lane<M> {
    /// From `input` to `output`; a message whose number was altered on its way counts as lost.
    pub(crate) fn new(
        node: &mut Node<()>,
        (input, output, qos): (&str, &str, QosProfile),
        make: fn(f64) -> M,
        number: fn(&M) -> f64,
    ) -> Lane<M> {
        let flights = super::flights();
        let arrivals = Arc::clone(&flights);
        node.subscribe(output, ecps_ros::qos::reliable(100), move |(), message: M| {
            arrivals.lock().unwrap().arrive(number(&message).to_bits(), Instant::now());
        })
        .unwrap();
        Lane { input: node.publisher(input, qos).unwrap(), make, flights }
    }

    /// Waits until someone listens.
    pub(crate) fn wait_for_subscriber(&self) {
        super::wait_for_subscriber(&self.input);
    }

    fn send(&self, number: f64) {
        self.flights.lock().unwrap().depart(number.to_bits(), Instant::now());
        self.input.publish(&(self.make)(number));
    }
}

/// Sends `count` messages at 100 Hz through each, half a period apart, after a warm-up; the times they took.
pub(crate) fn race<M: Message>(lanes: &[&Lane<M>; 2], count: usize) -> [Sample; 2] {
    let start = Instant::now();
    for number in 0..WARM_UP + count {
        if number == WARM_UP {
            lanes.iter().for_each(|lane| drop(lane.flights.lock().unwrap().take()));
        }
        let value = super::numbered_speed(number as u64);
        let [first, second] = if (number / ROUND).is_multiple_of(2) { *lanes } else { [lanes[1], lanes[0]] };
        super::sleep_until(start + PERIOD * number as u32);
        first.send(value);
        super::sleep_until(start + PERIOD * number as u32 + PERIOD / 2);
        second.send(value);
    }
    std::thread::sleep(STRAGGLERS);
    lanes.each_ref().map(|lane| lane.flights.lock().unwrap().take())
}
