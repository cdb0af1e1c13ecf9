//! The state machine of managed nodes, as `rcl_lifecycle` and <https://design.ros2.org/articles/node_lifecycle.html> have it.
//!
//! No ROS here: which transition leads where, under which ids and labels, so that `ros2 lifecycle` and
//! `nav2_lifecycle_manager` find what they know.

pub(crate) mod services;

use thiserror::Error;

/// A primary state: where a node rests between transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Has its parameters and nothing else.
    Unconfigured,
    /// Has everything it needs, and does nothing with it.
    Inactive,
    /// Does its work.
    Active,
    /// At its end.
    Finalized,
}

impl State {
    /// The node it belongs to in the graph.
    pub fn stage(self) -> Stage {
        match self {
            State::Unconfigured => Stage::Unconfigured,
            State::Inactive => Stage::Inactive,
            State::Active => Stage::Active,
            State::Finalized => Stage::Finalized,
        }
    }

    /// As messages and logs have it.
    pub fn label(self) -> &'static str {
        self.stage().label()
    }
}

/// A primary state, or one of those that a node passes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stage {
    /// Before anything.
    Unknown = 0,
    /// [`State::Unconfigured`].
    Unconfigured = 1,
    /// [`State::Inactive`].
    Inactive = 2,
    /// [`State::Active`].
    Active = 3,
    /// [`State::Finalized`].
    Finalized = 4,
    /// Taking what it needs.
    Configuring = 10,
    /// Giving it back.
    CleaningUp = 11,
    /// Coming to its end.
    ShuttingDown = 12,
    /// Beginning its work.
    Activating = 13,
    /// Ending its work.
    Deactivating = 14,
    /// Bringing itself to a safe state after a failure.
    ErrorProcessing = 15,
}

impl Stage {
    /// All of them, in the order of their ids.
    pub const ALL: [Stage; 11] = [
        Stage::Unknown,
        Stage::Unconfigured,
        Stage::Inactive,
        Stage::Active,
        Stage::Finalized,
        Stage::Configuring,
        Stage::CleaningUp,
        Stage::ShuttingDown,
        Stage::Activating,
        Stage::Deactivating,
        Stage::ErrorProcessing,
    ];

    /// The constant of `lifecycle_msgs/State`.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The label `rcl_lifecycle` gives it.
    pub fn label(self) -> &'static str {
        match self {
            Stage::Unknown => "unknown",
            Stage::Unconfigured => "unconfigured",
            Stage::Inactive => "inactive",
            Stage::Active => "active",
            Stage::Finalized => "finalized",
            Stage::Configuring => "configuring",
            Stage::CleaningUp => "cleaningup",
            Stage::ShuttingDown => "shuttingdown",
            Stage::Activating => "activating",
            Stage::Deactivating => "deactivating",
            Stage::ErrorProcessing => "errorprocessing",
        }
    }
}

/// A transition that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// Unconfigured → inactive.
    Configure,
    /// Inactive → unconfigured.
    Cleanup,
    /// Inactive → active.
    Activate,
    /// Active → inactive.
    Deactivate,
    /// Any but finalized → finalized.
    Shutdown,
}

impl Transition {
    /// All of them.
    pub const ALL: [Transition; 5] = [
        Transition::Configure,
        Transition::Cleanup,
        Transition::Activate,
        Transition::Deactivate,
        Transition::Shutdown,
    ];

    /// The label `rcl_lifecycle` gives it.
    pub fn label(self) -> &'static str {
        match self {
            Transition::Configure => "configure",
            Transition::Cleanup => "cleanup",
            Transition::Activate => "activate",
            Transition::Deactivate => "deactivate",
            Transition::Shutdown => "shutdown",
        }
    }

    /// Where it starts and what it passes through; `None` where it is not allowed.
    pub fn begin(self, from: State) -> Option<Edge> {
        let (id, through) = match (self, from) {
            (Transition::Configure, State::Unconfigured) => (1, Stage::Configuring),
            (Transition::Cleanup, State::Inactive) => (2, Stage::CleaningUp),
            (Transition::Activate, State::Inactive) => (3, Stage::Activating),
            (Transition::Deactivate, State::Active) => (4, Stage::Deactivating),
            (Transition::Shutdown, State::Unconfigured) => (5, Stage::ShuttingDown),
            (Transition::Shutdown, State::Inactive) => (6, Stage::ShuttingDown),
            (Transition::Shutdown, State::Active) => (7, Stage::ShuttingDown),
            _ => return None,
        };
        Some(Edge { id, label: self.label(), from: from.stage(), to: through })
    }
}

/// How the node's own code came out of a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what was asked.
    Success,
    /// It could not, and is as it was before.
    Failure,
    /// It panicked, or cannot say in what state it is.
    Error,
}

impl Outcome {
    const ALL: [Outcome; 3] = [Outcome::Success, Outcome::Failure, Outcome::Error];

    fn label(self) -> &'static str {
        match self {
            Outcome::Success => "transition_success",
            Outcome::Failure => "transition_failure",
            Outcome::Error => "transition_error",
        }
    }
}

/// One arrow of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The constant of `lifecycle_msgs/Transition`.
    pub id: u8,
    /// Its label.
    pub label: &'static str,
    /// Where it starts.
    pub from: Stage,
    /// Where it leads.
    pub to: Stage,
}

/// Where a node goes from `passing` with `outcome`; `None` from a primary state.
fn complete(passing: Stage, outcome: Outcome) -> Option<Edge> {
    let (first_id, success, failure) = match passing {
        Stage::Configuring => (10, Stage::Inactive, Stage::Unconfigured),
        Stage::CleaningUp => (20, Stage::Unconfigured, Stage::Inactive),
        Stage::Activating => (30, Stage::Active, Stage::Inactive),
        Stage::Deactivating => (40, Stage::Inactive, Stage::Active),
        Stage::ShuttingDown => (50, Stage::Finalized, Stage::Finalized),
        Stage::ErrorProcessing => (60, Stage::Unconfigured, Stage::Finalized),
        _ => return None,
    };
    let (offset, to) = match outcome {
        Outcome::Success => (0, success),
        Outcome::Failure => (1, failure),
        Outcome::Error if passing == Stage::ErrorProcessing => (2, Stage::Finalized),
        Outcome::Error => (2, Stage::ErrorProcessing),
    };
    Some(Edge { id: first_id + offset, label: outcome.label(), from: passing, to })
}

/// Every arrow, as `~/get_transition_graph` tells them.
pub(crate) fn graph() -> Vec<Edge> {
    let states = [State::Unconfigured, State::Inactive, State::Active, State::Finalized];
    let asked =
        Transition::ALL.into_iter().flat_map(|transition| states.into_iter().filter_map(move |s| transition.begin(s)));
    let completed = Stage::ALL
        .into_iter()
        .flat_map(|stage| Outcome::ALL.into_iter().filter_map(move |outcome| complete(stage, outcome)));
    asked.chain(completed).collect()
}

/// A transition that the present state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the node is {} and cannot {asked} from there; it can {allowed}", state.label())]
pub struct IllegalTransition {
    state: State,
    asked: String,
    allowed: String,
}

/// A node's present state, and what is allowed from it.
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        Machine { state: State::Unconfigured }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// The arrows that may be asked for now.
    pub(crate) fn available(&self) -> Vec<Edge> {
        Transition::ALL.into_iter().filter_map(|transition| transition.begin(self.state)).collect()
    }

    /// The transition that a request means. As in rclcpp a label, where there is one, decides, since `ros2 service call`
    /// leaves the id at zero.
    pub(crate) fn requested(&self, id: u8, label: &str) -> Result<Transition, IllegalTransition> {
        let meant = |transition: &Transition| match transition.begin(self.state) {
            Some(edge) if label.is_empty() => edge.id == id,
            Some(edge) => edge.label == label,
            None => false,
        };
        Transition::ALL.into_iter().find(meant).ok_or_else(|| IllegalTransition {
            state: self.state,
            asked: if label.is_empty() { format!("take transition {id}") } else { label.to_owned() },
            allowed: match self.available().iter().map(|edge| edge.label).collect::<Vec<_>>() {
                none if none.is_empty() => "do nothing more".to_owned(),
                labels => labels.join(", "),
            },
        })
    }

    /// Carries out a transition whose own code is `run`, telling each arrow to `tell`; after an error, `recover` is the
    /// code that runs in error processing.
    pub(crate) fn perform(
        &mut self,
        transition: Transition,
        run: impl FnOnce() -> Outcome,
        recover: impl FnOnce() -> Outcome,
        mut tell: impl FnMut(Edge),
    ) -> Option<Outcome> {
        let begun = transition.begin(self.state)?;
        tell(begun);
        let outcome = run();
        let ended = complete(begun.to, outcome)?;
        tell(ended);
        if ended.to == Stage::ErrorProcessing {
            self.recover(recover, tell);
        } else {
            self.rest(ended.to);
        }
        Some(outcome)
    }

    /// Enters error processing from where the node is: its code failed outside a transition.
    pub(crate) fn fail(&mut self, recover: impl FnOnce() -> Outcome, mut tell: impl FnMut(Edge)) {
        // rcl has no id of its own for this arrow; 99 is its "callback error".
        tell(Edge { id: 99, label: Outcome::Error.label(), from: self.state.stage(), to: Stage::ErrorProcessing });
        self.recover(recover, tell);
    }

    fn recover(&mut self, recover: impl FnOnce() -> Outcome, mut tell: impl FnMut(Edge)) {
        if let Some(edge) = complete(Stage::ErrorProcessing, recover()) {
            tell(edge);
            self.rest(edge.to);
        }
    }

    fn rest(&mut self, at: Stage) {
        self.state = match at {
            Stage::Unconfigured => State::Unconfigured,
            Stage::Inactive => State::Inactive,
            Stage::Active => State::Active,
            _ => State::Finalized,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(state: State) -> Machine {
        Machine { state }
    }

    #[test]
    fn each_transition_leads_where_rcl_leads_it() {
        use Outcome::{Error, Failure, Success};
        use State::{Active, Finalized, Inactive, Unconfigured};
        for (from, transition, outcome, to) in [
            (Unconfigured, Transition::Configure, Success, Inactive),
            (Unconfigured, Transition::Configure, Failure, Unconfigured),
            (Inactive, Transition::Cleanup, Success, Unconfigured),
            (Inactive, Transition::Cleanup, Failure, Inactive),
            (Inactive, Transition::Activate, Success, Active),
            (Inactive, Transition::Activate, Failure, Inactive),
            (Active, Transition::Deactivate, Success, Inactive),
            (Active, Transition::Deactivate, Failure, Active),
            (Unconfigured, Transition::Shutdown, Success, Finalized),
            (Inactive, Transition::Shutdown, Success, Finalized),
            (Active, Transition::Shutdown, Failure, Finalized),
            (Active, Transition::Deactivate, Error, Unconfigured),
        ] {
            let mut machine = machine(from);
            assert_eq!(machine.perform(transition, || outcome, || Success, |_| ()), Some(outcome));
            assert_eq!(machine.state(), to, "{from:?} {transition:?} {outcome:?}");
        }
    }

    #[test]
    fn what_is_not_in_the_graph_changes_nothing() {
        for (from, allowed) in [
            (State::Unconfigured, &["configure", "shutdown"][..]),
            (State::Inactive, &["cleanup", "activate", "shutdown"]),
            (State::Active, &["deactivate", "shutdown"]),
            (State::Finalized, &[]),
        ] {
            for transition in Transition::ALL {
                let mut machine = machine(from);
                let taken = machine.perform(transition, || Outcome::Success, || Outcome::Success, |_| ());
                assert_eq!(taken.is_some(), allowed.contains(&transition.label()), "{from:?} {transition:?}");
                assert!(taken.is_some() || machine.state() == from);
                let requested = machine_requests(from, transition);
                assert_eq!(requested.is_ok(), allowed.contains(&transition.label()), "{from:?} {transition:?}");
            }
        }
        let refusal = machine(State::Active).requested(1, "").unwrap_err().to_string();
        assert_eq!(refusal, "the node is active and cannot take transition 1 from there; it can deactivate, shutdown");
    }

    fn machine_requests(from: State, transition: Transition) -> Result<Transition, IllegalTransition> {
        machine(from).requested(0, transition.label())
    }

    #[test]
    fn an_error_passes_through_error_processing() {
        for (recovery, end) in [(Outcome::Success, State::Unconfigured), (Outcome::Failure, State::Finalized)] {
            let (mut machine, mut told) = (machine(State::Active), Vec::new());
            machine.fail(|| recovery, |edge| told.push((edge.from, edge.to)));
            assert_eq!(machine.state(), end);
            assert_eq!(told, [(Stage::Active, Stage::ErrorProcessing), (Stage::ErrorProcessing, end.stage())]);
        }
    }

    #[test]
    fn the_graph_has_each_id_once() {
        let graph = graph();
        // 7 that can be asked for (shutdown from three states), and 3 outcomes of each of 6 stages.
        assert_eq!(graph.len(), 7 + 18);
        let mut ids: Vec<u8> = graph.iter().map(|edge| edge.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), graph.len());
    }
}
