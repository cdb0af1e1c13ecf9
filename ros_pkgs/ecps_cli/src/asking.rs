//! What the commands share that ask nodes: a node of their own, themselves as a caller, and the last message of a topic.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ecps_core::clock::{RosClock as _, SystemRos};
use ecps_ros::r2r::builtin_interfaces::msg::Duration as RosDuration;
use ecps_ros::r2r::ecps_msgs::msg::Caller;
use ecps_ros::{Message, Node, NodeClock, Parameters, StartError, qos};

/// Within which a node tells or answers; it may have to be found first.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A node called `name`.
pub(crate) fn node(name: &str, use_sim_time: bool) -> Result<Node<()>, StartError> {
    let arguments = ["--ros-args".to_owned(), "-p".to_owned(), format!("use_sim_time:={use_sim_time}")];
    let args = ecps_ros::Args::parse(arguments)?;
    Node::start(name, &args, |_: &mut Parameters| Ok(()))
}

/// The command whose node has this `name` as a caller, now.
pub(crate) fn caller(name: &str, clock: &NodeClock) -> Caller {
    // Unique also among several of these, and from one call to the next.
    let sequence = u64::try_from(SystemRos.now().0).unwrap_or(1);
    let stamp = ecps_ros::time(clock.now());
    // As long as somebody waits for the answer.
    let lifetime = RosDuration { sec: PATIENCE.as_secs() as i32, nanosec: 0 };
    Caller { id: format!("/{name}/{}", std::process::id()), sequence, stamp, lifetime, ..Caller::default() }
}

/// The last message of a topic. Clones are handles to the same.
pub(crate) struct Last<T>(Arc<(Mutex<Option<T>>, Condvar)>);

impl<T> Clone for Last<T> {
    fn clone(&self) -> Last<T> {
        Last(Arc::clone(&self.0))
    }
}

impl<T> Default for Last<T> {
    fn default() -> Last<T> {
        Last(Arc::default())
    }
}

impl<T: Clone> Last<T> {
    /// Of a topic that is latched.
    pub(crate) fn of(node: &mut Node<()>, topic: &str) -> Result<Last<T>, StartError>
    where
        T: Message,
    {
        let last = Last::default();
        let heard = last.clone();
        node.subscribe(topic, qos::latched(), move |(), message: T| heard.keep(message))?;
        Ok(last)
    }

    pub(crate) fn keep(&self, message: T) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
        self.0.1.notify_all();
    }

    /// Waits for the first one; none where it does not come in time.
    pub(crate) fn wait(&self, limit: Duration) -> Option<T> {
        let deadline = Instant::now() + limit;
        let mut message = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if message.is_some() || left.is_zero() {
                return message.clone();
            }
            message = self.0.1.wait_timeout(message, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
