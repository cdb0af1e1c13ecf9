//! The consensus-based bundle algorithm: H.-L. Choi, L. Brunet, J. P. How, "Consensus-based decentralized auctions for robust task
//! allocation", IEEE Transactions on Robotics 25(4), 2009. For robots that are cut off from a quorum and still want to know who of
//! them would do what: each bids for itself and tells its neighbours, and those that reach each other come to agree.
//!
//! What a task is worth to a robot is what the objective saves by giving it to that robot behind those in its bundle; it falls as the
//! bundle grows, which is what the convergence and the bound of one half of the optimum rest on.

use std::collections::BTreeMap;

use super::problem::{Place, Plan, Problem};

/// A robot's bid for a task.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bid {
    value: f64,
    winner: usize,
}

impl Bid {
    /// Ties go to the robot that comes first, so that all see them alike.
    fn beats(self, other: Bid) -> bool {
        self.value > other.value || (self.value == other.value && self.winner < other.winner)
    }
}

/// What one bidder tells the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    from: usize,
    /// For each task the highest bid that is known.
    bids: Vec<Option<Bid>>,
    /// When something was last heard of each robot, in rounds.
    heard: BTreeMap<usize, u64>,
}

/// One robot that bids.
#[derive(Debug, Clone)]
pub struct Bidder {
    me: usize,
    bundle: Vec<usize>,
    word: Word,
}

/// What is to be done with what is known of a task.
enum Rule {
    Leave,
    Update,
    Reset,
}

impl Bidder {
    /// Robot number `me` of the problem's.
    pub fn new(me: usize, problem: &Problem<'_>) -> Bidder {
        let word = Word { from: me, bids: vec![None; problem.jobs.len()], heard: BTreeMap::new() };
        Bidder { me, bundle: Vec::new(), word }
    }

    /// The first phase: takes what is worth most, as long as it outbids what is known; then what it tells the others in `round`.
    pub fn bid(&mut self, problem: &Problem<'_>, round: u64) -> Word {
        while let Some((job, bid)) = self.best(problem) {
            self.bundle.push(job);
            self.set(job, Some(bid));
        }
        self.word.heard.insert(self.me, round);
        self.word.clone()
    }

    fn best(&self, problem: &Problem<'_>) -> Option<(usize, Bid)> {
        let robot = problem.robots.get(self.me)?;
        let bids = problem.jobs.iter().zip(&self.word.bids).enumerate().filter_map(|(number, (job, known))| {
            let value = problem.unplaced(job) - problem.cost(job, robot, self.bundle.len());
            let bid = Bid { value, winner: self.me };
            let wins = known.is_none_or(|known| bid.beats(known));
            (value > 0.0 && wins && !self.bundle.contains(&number)).then_some((number, bid))
        });
        bids.reduce(|best, next| if next.1.value > best.1.value { next } else { best })
    }

    /// The second phase: what another one told in `round` is weighed against what is known (the paper's table I).
    pub fn hear(&mut self, word: &Word, round: u64) {
        for (job, theirs) in word.bids.iter().enumerate() {
            let ours = self.word.bids.get(job).copied().flatten();
            match self.rule(word, *theirs, ours) {
                Rule::Leave => {}
                Rule::Update => self.set(job, *theirs),
                Rule::Reset => self.set(job, None),
            }
        }
        for (robot, at) in &word.heard {
            let known = self.word.heard.entry(*robot).or_default();
            *known = (*known).max(*at);
        }
        self.word.heard.insert(word.from, round);
        // What was outbid falls out of the bundle, and all behind it, whose worth counted on it.
        let still_ours =
            |job: &usize| self.word.bids.get(*job).copied().flatten().is_some_and(|bid| bid.winner == self.me);
        if let Some(first) = self.bundle.iter().position(|job| !still_ours(job)) {
            for job in self.bundle.split_off(first).into_iter().skip(1) {
                if self.word.bids.get(job).copied().flatten().is_some_and(|bid| bid.winner == self.me) {
                    self.set(job, None);
                }
            }
        }
    }

    fn rule(&self, word: &Word, theirs: Option<Bid>, ours: Option<Bid>) -> Rule {
        let (me, from) = (self.me, word.from);
        let newer =
            |of: usize| word.heard.get(&of).copied().unwrap_or(0) > self.word.heard.get(&of).copied().unwrap_or(0);
        let higher = || matches!((theirs, ours), (Some(theirs), Some(ours)) if theirs.beats(ours));
        let update_if = |holds: bool| if holds { Rule::Update } else { Rule::Leave };
        match (theirs.map(|bid| bid.winner), ours.map(|bid| bid.winner)) {
            (Some(k), Some(i)) if k == from && i == me => update_if(higher()),
            (Some(k), Some(i)) if k == from && i == from => Rule::Update,
            (Some(k), Some(m)) if k == from => update_if(newer(m) || higher()),
            (Some(k), None) if k == from => Rule::Update,
            (Some(i), Some(o)) if i == me && o == me => Rule::Leave,
            (Some(i), Some(o)) if i == me && o == from => Rule::Reset,
            (Some(i), Some(m)) if i == me => {
                if newer(m) {
                    Rule::Reset
                } else {
                    Rule::Leave
                }
            }
            (Some(i), None) if i == me => Rule::Leave,
            (Some(m), Some(i)) if i == me => update_if(newer(m) && higher()),
            (Some(m), Some(k)) if k == from => {
                if newer(m) {
                    Rule::Update
                } else {
                    Rule::Reset
                }
            }
            (Some(m), Some(n)) if m == n => update_if(newer(m)),
            (Some(m), Some(n)) => {
                if newer(m) && (newer(n) || higher()) {
                    Rule::Update
                } else if newer(n) && !newer(m) {
                    Rule::Reset
                } else {
                    Rule::Leave
                }
            }
            (Some(m), None) => update_if(newer(m)),
            (None, Some(i)) if i == me => Rule::Leave,
            (None, Some(k)) if k == from => Rule::Update,
            (None, Some(m)) => update_if(newer(m)),
            (None, None) => Rule::Leave,
        }
    }

    fn set(&mut self, job: usize, bid: Option<Bid>) {
        if let Some(place) = self.word.bids.get_mut(job) {
            *place = bid;
        }
    }

    /// The tasks that it would do, in this order.
    pub fn bundle(&self) -> &[usize] {
        &self.bundle
    }
}

/// What bidders came to, as a plan.
pub fn plan(problem: &Problem<'_>, bidders: &[Bidder]) -> Plan {
    let places = bidders.iter().flat_map(|bidder| {
        bidder.bundle.iter().enumerate().map(|(slot, job)| Place { job: *job, robot: bidder.me, slot })
    });
    problem.plan(places.collect(), None)
}
