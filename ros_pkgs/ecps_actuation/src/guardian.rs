//! The executor's side of being supervised: it beats from inside its control loop, and knows at each tick whether
//! somebody watches.

use std::time::Duration;

use ecps_core::clock::Steady;

use crate::heartbeat::{Role, Status};
use crate::link::{Link, Place};

/// Time between two attempts to find the supervisor.
const RETRY: Duration = Duration::from_millis(100);

/// Whether somebody watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guarded {
    /// All is well.
    Yes,
    /// Nobody does, and why.
    No(String),
}

/// The connection to the supervisor.
#[derive(Debug)]
pub struct Guardian {
    place: Place,
    timeout: Duration,
    link: Option<Link>,
    tried: Option<Steady>,
    ticked: Option<Steady>,
    /// What the supervisor last said, and when it said so.
    last: Option<(Status, Steady)>,
    gone: &'static str,
}

impl Guardian {
    /// Nobody found yet.
    pub fn new(place: Place, timeout: Duration) -> Guardian {
        Guardian { place, timeout, link: None, tried: None, ticked: None, last: None, gone: "no supervisor is there" }
    }

    /// One period of the control loop: sends a beat, and tells whether somebody watches.
    pub fn tick(&mut self, status: Status, now: Steady) -> Guarded {
        let pause = self.ticked.map_or(Duration::ZERO, |at| now.since(at));
        self.ticked = Some(now);
        if self.link.is_none() && self.tried.is_none_or(|at| now.since(at) >= RETRY) {
            self.tried = Some(now);
            self.link = self.place.connect().ok();
            // Until it has answered once it has the benefit of the doubt for one timeout, and no longer.
            self.last = self.link.as_ref().map(|_| (Status::Stopped, now));
        }
        let Some(link) = &mut self.link else { return Guarded::No(self.gone.into()) };
        let last = &mut self.last;
        let heard = link.receive(|beat| {
            if let Ok(beat) = beat
                && beat.role == Role::Supervisor
            {
                *last = Some((beat.status, beat.sent));
            }
        });
        if heard.is_err() || link.send(Role::Executor, status, now, pause).is_err() {
            self.link = None;
            self.gone = "the supervisor is gone";
            return Guarded::No(self.gone.into());
        }
        match self.last {
            Some((_, at)) if now.since(at) > self.timeout => {
                Guarded::No(format!("the supervisor has been silent for {:?}", now.since(at)))
            }
            Some((Status::Running, _)) => Guarded::Yes,
            Some((Status::Leaving, _)) => Guarded::No("the supervisor is ending".into()),
            _ => Guarded::No("the supervisor has stopped the robot, or does not watch yet".into()),
        }
    }

    /// Says that this process ends in good order.
    pub fn leave(&mut self, now: Steady) {
        if let Some(mut link) = self.link.take() {
            let _ = link.send(Role::Executor, Status::Leaving, now, Duration::ZERO);
        }
    }
}
