//! Managed nodes: what a layer writes, and the runtime that leads it through its life.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ecps_core::clock::{RosClock, SteadyClock, SystemSteady};
use r2r::lifecycle_msgs::srv::ChangeState;

use crate::args::Args;
use crate::lifecycle::services::{ChangeRequest, LifecycleServices, event};
use crate::lifecycle::{Edge, Machine, Outcome, State, Transition};
use crate::node::{Gate, Node, base};
use crate::parameter::{ParameterError, Parameters, Spec};
use crate::process::panics;
use crate::start_error::StartError;

/// How long a node that ends still answers what was asked before, such as the results of the goals that ended with it,
/// and how long its last messages get to leave: DDS forgets what a publisher has under way as soon as it is gone.
const PARTING: Duration = Duration::from_millis(200);

/// What becomes of a node after an error that it did not handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// It ends, and its process with exit code 1, so that whoever launched it can start it anew.
    Finalize,
    /// It goes on unconfigured, and may be configured again.
    Unconfigure,
}

/// A node with a lifecycle. Its value exists from configuration to clean-up, and lives on the node's spin thread.
///
/// Callbacks and timers run while the node is active, and those made by [`Node::in_any_state`] whenever it is configured.
pub trait Managed: Sized + 'static {
    /// The node's name unless it is remapped, and that of its program.
    const NAME: &'static str;

    /// Declares the parameters.
    fn declare(_parameters: &mut Parameters) -> Result<(), ParameterError> {
        Ok(())
    }

    /// Takes what the node needs: files, threads, and on `node` its publishers, subscriptions, services and timers. When
    /// it fails, or at clean-up, all of them are released.
    fn configure(node: &mut Node<Self>) -> Result<Self, StartError>;

    /// Begins work.
    fn activate(&mut self) -> Result<(), StartError> {
        Ok(())
    }

    /// Ends work, such that it may begin again.
    fn deactivate(&mut self) -> Result<(), StartError> {
        Ok(())
    }

    /// Brings what the node drives to its safe state: before it ends, and first of all after a panic.
    fn shutdown(&mut self) {}

    /// After an error, and after [`Managed::shutdown`]: whether the node may go on.
    fn recover(&mut self) -> Recovery {
        Recovery::Finalize
    }
}

/// How a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was asked to.
    Asked,
    /// It failed, and did not recover.
    Failed,
}

fn declare<M: Managed>(parameters: &mut Parameters) -> Result<(), ParameterError> {
    let sentence = "Configure and activate at start, without waiting for a lifecycle manager.";
    parameters.declare(Spec::bool("autostart", true, sentence))?;
    M::declare(parameters)
}

/// The parameters with their defaults.
pub(crate) fn declared<M: Managed>() -> Result<Parameters, ParameterError> {
    let mut parameters = Parameters::default();
    base::declare(&mut parameters, "info")?;
    declare::<M>(&mut parameters)?;
    Ok(parameters)
}

/// Runs a node on this thread from start to end.
pub(crate) fn spin<M: Managed>(args: &Args, stop: &AtomicBool) -> Result<Ended, StartError> {
    let mut life = Life::<M>::begin(args)?;
    let name = life.node.fully_qualified_name().to_owned();
    if life.node.parameters().bool("autostart")? {
        for transition in [Transition::Configure, Transition::Activate] {
            if life.change(transition) != Some(Outcome::Success) {
                return Err(life.why.take().unwrap_or_else(|| StartError::Layer("it failed at its start".into())));
            }
        }
        life.node.parameters().refuse_unclaimed_qos()?;
        tracing::info!("{name} is up");
    } else {
        tracing::info!("{name} waits to be configured");
    }
    while !stop.load(Ordering::Acquire) {
        if life.round() == Ended::Failed {
            tracing::error!("{name} does not recover");
            part(&mut life.node, None, "finalized");
            return Ok(Ended::Failed);
        }
    }
    life.change(Transition::Shutdown);
    tracing::info!("{name} has ended");
    part(&mut life.node, None, "finalized");
    Ok(Ended::Asked)
}

struct Life<M: Managed> {
    // Before the node, whose publishers it uses to the last.
    state: Option<M>,
    node: Node<M>,
    machine: Machine,
    services: LifecycleServices,
    /// Panics of the process that were dealt with.
    panics: u64,
    /// Why the last transition failed.
    why: Option<StartError>,
}

impl<M: Managed> Life<M> {
    fn begin(args: &Args) -> Result<Life<M>, StartError> {
        let panics = panics();
        let mut node = Node::start(M::NAME, args, declare::<M>)?;
        node.adopt_this_thread();
        let services = LifecycleServices::offer(node.ros())?;
        Ok(Life { state: None, node, machine: Machine::new(), services, panics, why: None })
    }

    fn round(&mut self) -> Ended {
        let gate = if self.machine.state() == State::Active { Gate::Open } else { Gate::Closed };
        let stage = self.machine.state().label();
        let went = catch_unwind(AssertUnwindSafe(|| self.node.round(self.state.as_mut(), gate, stage)));
        if went.is_err() || panics() != self.panics {
            return self.fail();
        }
        for request in self.services.answer(&self.machine) {
            if self.answer(request) == Ended::Failed {
                return Ended::Failed;
            }
        }
        Ended::Asked
    }

    fn answer(&mut self, request: ChangeRequest) -> Ended {
        let asked = &request.message.transition;
        let outcome = match self.machine.requested(asked.id, &asked.label) {
            Ok(transition) => self.change(transition),
            Err(refusal) => {
                tracing::warn!("{refusal}");
                None
            }
        };
        if let Some(why) = self.why.take() {
            tracing::error!("{why}");
        }
        crate::service::respond(request, ChangeState::Response { success: outcome == Some(Outcome::Success) });
        if outcome == Some(Outcome::Error) && self.machine.state() == State::Finalized {
            Ended::Failed
        } else {
            Ended::Asked
        }
    }

    /// Carries out a transition; its outcome, or none where it is not allowed.
    fn change(&mut self, transition: Transition) -> Option<Outcome> {
        let Life { state, node, machine, services, why, .. } = self;
        let tell = teller(services, node);
        let state = std::cell::RefCell::new(state);
        let run = || {
            let mut state = state.borrow_mut();
            let went = catch_unwind(AssertUnwindSafe(|| carry_out(transition, &mut state, node)));
            match went {
                Ok(Ok(())) => Outcome::Success,
                Ok(Err(error)) => {
                    *why = Some(error);
                    Outcome::Failure
                }
                Err(_) => Outcome::Error,
            }
        };
        let outcome = machine.perform(transition, run, || recover(&mut state.borrow_mut()), tell)?;
        if outcome == Outcome::Error {
            self.panics = panics();
        }
        self.tidy();
        Some(outcome)
    }

    /// Error processing: a callback or another thread of the process panicked.
    fn fail(&mut self) -> Ended {
        self.panics = panics();
        tracing::error!("{}: something panicked: the node goes to its safe state", self.node.fully_qualified_name());
        let tell = teller(&self.services, &self.node);
        let state = &mut self.state;
        self.machine.fail(|| recover(state), tell);
        self.tidy();
        if self.machine.state() == State::Finalized { Ended::Failed } else { Ended::Asked }
    }

    /// Where the node is unconfigured or at its end, it keeps nothing of its layer.
    fn tidy(&mut self) {
        let at = self.machine.state();
        if matches!(at, State::Unconfigured | State::Finalized) {
            self.state = None;
        }
        if at == State::Unconfigured && self.node.has_entities() {
            let renewed = self.node.renew().and_then(|()| LifecycleServices::offer(self.node.ros()));
            match renewed {
                Ok(services) => self.services = services,
                Err(error) => self.why = Some(error),
            }
        }
    }
}

/// The code of a transition.
fn carry_out<M: Managed>(transition: Transition, state: &mut Option<M>, node: &mut Node<M>) -> Result<(), StartError> {
    match (transition, state.as_mut()) {
        (Transition::Configure, _) => *state = Some(M::configure(node)?),
        (Transition::Activate, Some(running)) => {
            running.activate()?;
            node.restart_alarms();
        }
        (Transition::Deactivate, Some(running)) => running.deactivate()?,
        (Transition::Shutdown, Some(running)) => {
            running.shutdown();
            part(node, Some(running), "shuttingdown");
        }
        // Clean-up is what its drop does.
        (Transition::Cleanup, _) => drop(state.take()),
        (_, None) => {}
    }
    Ok(())
}

/// The last rounds of a node, in which nothing new begins.
fn part<M: Managed>(node: &mut Node<M>, mut state: Option<&mut M>, stage: &str) {
    let begun = SystemSteady.now();
    while SystemSteady.now().since(begun) < PARTING {
        node.round(state.as_deref_mut(), Gate::Closed, stage);
    }
}

/// Error processing: first the safe state, whatever else is broken.
fn recover<M: Managed>(state: &mut Option<M>) -> Outcome {
    let Some(state) = state else { return Outcome::Failure };
    if catch_unwind(AssertUnwindSafe(|| state.shutdown())).is_err() {
        tracing::error!("the way to the safe state panicked too");
        return Outcome::Error;
    }
    match catch_unwind(AssertUnwindSafe(|| state.recover())) {
        Ok(Recovery::Unconfigure) => Outcome::Success,
        Ok(Recovery::Finalize) => Outcome::Failure,
        Err(_) => Outcome::Error,
    }
}

fn teller<M: Managed>(services: &LifecycleServices, node: &Node<M>) -> impl FnMut(Edge) + use<M> {
    let (events, clock) = (services.events(), node.clock());
    move |edge| {
        tracing::debug!("{} → {}: {}", edge.from.label(), edge.to.label(), edge.label);
        events.publish(&event(&edge, clock.now().0));
    }
}
