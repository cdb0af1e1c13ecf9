//! When a member stands for election: once it has neither heard a leader nor voted for a time that is drawn anew for each
//! attempt.
//!
//! openraft (0.9.25) would draw that time once for a member's whole life, so that two that drew alike split the votes again
//! and again; would add the leader's lease to it; and looks at it only with every tick. It is told when to stand instead.

use std::time::Duration;

use openraft::{Instant as _, Raft};
use rand08::Rng as _;
use tokio::sync::watch;

use crate::runtime::Runtime;
use crate::types::Types;

/// Shortest and longest silence before a member stands, milliseconds.
pub(crate) const SHORTEST_MS: u64 = 150;
const LONGEST_MS: u64 = 300;

/// Has a member stand for election, until this is dropped.
pub(crate) struct Elections(watch::Sender<()>);

impl Elections {
    pub(crate) fn new() -> Elections {
        Elections(watch::Sender::new(()))
    }

    /// Has `raft` stand where it hears of nobody else.
    pub(crate) fn begin<R: Runtime>(&self, raft: Raft<Types<R>>) {
        drop(R::spawn(stand_in_silence(raft, self.0.subscribe())));
    }

    /// A voter refused that has less in its log, and stands itself in this term or a later one. It cannot win. As openraft
    /// does not learn the term of a candidate that it refuses, such two would refuse each other for seconds, did not the
    /// better one stand again at once, in a term that it has learnt of by this.
    pub(crate) fn refused_by_worse(&self) {
        self.0.send_replace(());
    }
}

async fn stand_in_silence<R: Runtime>(raft: Raft<Types<R>>, mut refusals: watch::Receiver<()>) {
    let draw = || Duration::from_millis(R::thread_rng().gen_range(SHORTEST_MS..=LONGEST_MS));
    let shortest = Duration::from_millis(SHORTEST_MS);
    let (mut silence, mut look, mut leader) = (draw(), shortest, None);
    loop {
        match R::timeout(look, refusals.changed()).await {
            Ok(Ok(())) => (silence, look) = (Duration::ZERO, Duration::ZERO),
            Ok(Err(_)) => return,
            Err(_) => {
                // Openraft says since when, behind all that came to it before, however long it was busy.
                let heard = raft.with_raft_state(|s| (*s.vote_ref(), s.vote_last_modified().map(|at| at.elapsed())));
                let Ok((vote, quiet)) = heard.await else { return };
                // Or those that did not stand would be left with long ones.
                if vote.committed && leader != Some(vote) {
                    (leader, silence) = (Some(vote), draw());
                }
                let mut quiet = quiet.unwrap_or(silence);
                if quiet >= silence {
                    // Learners and leaders do not stand, which openraft sees to.
                    if raft.trigger().elect().await.is_err() {
                        return;
                    }
                    (silence, quiet) = (draw(), Duration::ZERO);
                }
                look = silence.saturating_sub(quiet).min(shortest);
            }
        }
    }
}
