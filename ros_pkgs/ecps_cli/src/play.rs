//! `ecps play`: publishes a bag on the topics it was recorded on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use ecps_ros::{CdrPublisher, Node, Parameters, StartError, qos};
use thiserror::Error;

use crate::bag::{Bag, BagError, Message};

/// What `ecps play` is told.
#[derive(Debug, Args)]
pub struct Play {
    /// A ROS 2 bag in MCAP
    #[arg(value_name = "BAG.mcap")]
    bag: PathBuf,
    /// Seconds of the recording per second
    #[arg(long, default_value_t = 1.0, value_parser = parse_rate)]
    rate: f64,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=100.0).contains(&rate) => Ok(rate),
        _ => Err(format!("the rate is '{text}', and must be 0.01 to 100")),
    }
}

/// Why a bag is not played to its end.
#[derive(Debug, Error)]
pub enum PlayError {
    /// The bag.
    #[error(transparent)]
    Bag(#[from] BagError),
    /// ROS, or a type that is not compiled in.
    #[error(transparent)]
    Ros(#[from] StartError),
    /// A message could not be published.
    #[error("{topic}: publishing failed: {reason}")]
    Publish {
        /// The topic.
        topic: String,
        /// What ROS said.
        reason: String,
    },
}

/// Publishes the messages of bags.
#[derive(Debug, Default)]
pub struct Player {
    publishers: BTreeMap<String, CdrPublisher>,
}

impl Player {
    /// Makes a publisher for each topic of the bag, below `namespace` ("" for the recorded names).
    pub fn new<S: 'static>(node: &mut Node<S>, bag: &Path, namespace: &str) -> Result<Player, PlayError> {
        let mut player = Player::default();
        for message in Bag::open(bag)? {
            let topic = message?.topic;
            if !player.publishers.contains_key(&topic.name) {
                let name = format!("{namespace}{}", topic.name);
                player
                    .publishers
                    .insert(topic.name.clone(), node.cdr_publisher(&name, &topic.kind, qos::reliable(100))?);
            }
        }
        Ok(player)
    }

    /// Publishes one message.
    pub fn publish(&self, message: &Message) -> Result<(), PlayError> {
        let Some(publisher) = self.publishers.get(&message.topic.name) else { return Ok(()) };
        publisher
            .try_publish(&message.cdr)
            .map_err(|reason| PlayError::Publish { topic: message.topic.name.clone(), reason })
    }

    /// Whether the bag has messages on `topic`.
    pub fn has(&self, topic: &str) -> bool {
        self.publishers.contains_key(topic)
    }

    /// Subscribers on a topic of the bag.
    pub fn subscribers(&self, topic: &str) -> usize {
        self.publishers.get(topic).map_or(0, CdrPublisher::subscribers)
    }
}

/// Waits until a recorded moment is due, at `rate` recorded seconds per second.
#[derive(Debug)]
pub struct Pace {
    rate: f64,
    start: Option<(Instant, u64)>,
}

impl Pace {
    /// A pace that starts with the first message.
    pub fn new(rate: f64) -> Pace {
        Pace { rate, start: None }
    }

    /// Sleeps until the message recorded at `log_time_ns` is due.
    pub fn wait(&mut self, log_time_ns: u64) {
        let (began, first) = *self.start.get_or_insert((Instant::now(), log_time_ns));
        let recorded = Duration::from_nanos(log_time_ns.saturating_sub(first));
        let due = began + recorded.div_f64(self.rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// Runs `ecps play`.
///
/// # Errors
/// [`PlayError`], one line.
pub fn run(play: &Play) -> Result<ExitCode, PlayError> {
    // Before ROS is started, so that what is no bag is told at once.
    Bag::open(&play.bag)?;
    let args = ecps_ros::Args::default();
    let mut node = Node::<()>::start("ecps_play", &args, |_: &mut Parameters| Ok(()))?;
    let player = Player::new(&mut node, &play.bag, "")?;
    let _spinning = node.spin_in_background(());
    let mut pace = Pace::new(play.rate);
    let mut count = 0_u64;
    for message in Bag::open(&play.bag)? {
        let message = message?;
        pace.wait(message.log_time_ns);
        player.publish(&message)?;
        count += 1;
    }
    // What was written last is still on its way to the subscribers.
    std::thread::sleep(Duration::from_millis(500));
    eprintln!("ecps: {count} messages played");
    Ok(ExitCode::SUCCESS)
}
