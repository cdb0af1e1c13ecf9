//! What others carry out: a thread for each errand, whose reports the control loop collects. The spin thread waits for none
//! of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ecps_ros::r2r::ecps_msgs::msg::Caller;
use ecps_ros::r2r::ecps_msgs::srv::StepWorld;
use ecps_ros::{Client, Node, ParameterError, Parameters, Spec, StartError};

use super::cloud::Cloud;
use super::navigator::Navigator;
use super::{Executor, now};
use crate::action::ErrorCode;
use crate::errand::{Errand, ErrandEvent, ErrandFailure, Errands, WorldSteps};
use crate::goal::GoalId;

/// Most errands that may still be on their way, recalled ones included.
const UNDER_WAY: usize = 8;
/// Within which a world answers, beyond the time that it simulates.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a thread has to say.
pub(super) enum Report {
    Progress(GoalId, f64),
    Ended(GoalId, Result<Vec<u8>, ErrandFailure>),
}

/// Those who carry out errands, as far as they are configured.
pub(super) struct Runner {
    cloud: Option<Cloud>,
    world: Option<Client<StepWorld::Service>>,
    navigator: Option<Navigator>,
    name: String,
    reports: (Sender<Report>, Receiver<Report>),
    /// Set where nobody waits any more.
    under_way: HashMap<GoalId, Arc<AtomicBool>>,
}

pub(super) fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
    for spec in [
        Spec::string(
            "cloud_endpoint",
            "",
            "HTTPS address that cloud actions are posted to, as <address>/<api>/<method>; empty: they are refused.",
        ),
        Spec::string(
            "cloud_ca_file",
            "",
            "PEM file of the authorities whose certificates the endpoint may show; empty: those of the public web.",
        ),
        Spec::string("cloud_token_file", "", "File of mode 0600 with the bearer token of cloud actions; empty: none."),
        Spec::double("cloud_timeout", 10.0, "Time in which a cloud action must be answered.")
            .unit("s")
            .range(0.1, 300.0),
        Spec::string(
            "sim_step_service",
            "",
            "Service of ecps_msgs/StepWorld that steps the simulated world; empty: sim actions are refused.",
        ),
        Spec::string(
            "navigate_action",
            "",
            "NavigateToPose server (Nav2) that navigate actions go to; empty: the executor's own driver, in straight lines.",
        ),
        Spec::string("navigate_source", "", "The one of 'sources' that the NavigateToPose server commands on."),
    ] {
        parameters.declare(spec)?;
    }
    Ok(())
}

/// What the parameters say that others are there for.
pub(super) fn offered(parameters: &Parameters) -> Result<Errands, StartError> {
    let navigate = if parameters.string("navigate_action")?.is_empty() {
        None
    } else {
        let source = parameters.string("navigate_source")?;
        if !parameters.strings("sources")?.contains(&source) {
            return Err(StartError::layer(format!(
                "parameter 'navigate_source' is '{source}', and must be one of 'sources': what the planner commands passes the gate"
            )));
        }
        Some(source)
    };
    Ok(Errands {
        cloud: !parameters.string("cloud_endpoint")?.is_empty(),
        sim: !parameters.string("sim_step_service")?.is_empty(),
        navigate,
    })
}

impl Runner {
    pub(super) fn new(node: &mut Node<Executor>, frame: &str) -> Result<Runner, StartError> {
        let parameters = node.parameters();
        let [endpoint, authorities, token] =
            ["cloud_endpoint", "cloud_ca_file", "cloud_token_file"].map(|name| parameters.string(name));
        let (endpoint, authorities, token) = (endpoint?, authorities?, token?);
        let timeout = parameters.seconds("cloud_timeout")?;
        let (world, action) = (parameters.string("sim_step_service")?, parameters.string("navigate_action")?);
        let patience = parameters.seconds("progress_timeout")?;
        let cloud = (!endpoint.is_empty()).then(|| Cloud::new(&endpoint, &authorities, &token, timeout)).transpose()?;
        let world = (!world.is_empty()).then(|| node.client(&world)).transpose()?;
        let navigator = (!action.is_empty()).then(|| Navigator::new(node, &action, frame, patience)).transpose()?;
        Ok(Runner {
            cloud,
            world,
            navigator,
            name: node.fully_qualified_name().to_owned(),
            reports: channel(),
            under_way: HashMap::new(),
        })
    }

    fn take(&mut self, event: ErrandEvent) {
        match event {
            ErrandEvent::Begin(goal, errand) => self.begin(goal, errand),
            ErrandEvent::Recall(goal) => {
                if let Some(recalled) = self.under_way.get(&goal) {
                    recalled.store(true, Ordering::Release);
                }
            }
        }
    }

    fn begin(&mut self, goal: GoalId, errand: Errand) {
        let reports = self.reports.0.clone();
        // Fails only when the runner is gone, and nobody waits then.
        let end = move |outcome| drop(reports.send(Report::Ended(goal, outcome)));
        if self.under_way.len() >= UNDER_WAY {
            return end(Err(failed(format!("{UNDER_WAY} errands are on their way still, none of which was answered"))));
        }
        let recalled = Arc::new(AtomicBool::new(false));
        let work: Box<dyn FnOnce() -> Result<Vec<u8>, ErrandFailure> + Send> = match errand {
            Errand::Cloud(call) => {
                let Some(cloud) = self.cloud.clone() else { return end(Err(nobody("cloud endpoint"))) };
                Box::new(move || cloud.call(&call))
            }
            Errand::Sim(steps) => {
                let Some(world) = self.world.clone() else { return end(Err(nobody("simulated world"))) };
                // Without a stamp: the world's clock need not be this one.
                let caller = Caller { id: self.name.clone(), sequence: goal.0, ..Caller::default() };
                Box::new(move || step(&world, caller, steps))
            }
            Errand::Navigate { target } => {
                let Some(navigator) = self.navigator.clone() else { return end(Err(nobody("planner"))) };
                let (recalled, reports) = (Arc::clone(&recalled), self.reports.0.clone());
                let progress = move |left| drop(reports.send(Report::Progress(goal, left)));
                Box::new(move || navigator.navigate(target, &recalled, progress).map(|()| Vec::new()))
            }
        };
        self.under_way.insert(goal, recalled);
        let answer = end.clone();
        if let Err(error) = std::thread::Builder::new().name("eap-errand".into()).spawn(move || answer(work())) {
            end(Err(failed(format!("no thread could be had for it: {error}"))));
        }
    }
}

fn failed(message: String) -> ErrandFailure {
    ErrandFailure { code: ErrorCode::Failed, message }
}

fn nobody(what: &str) -> ErrandFailure {
    ErrandFailure { code: ErrorCode::Unsupported, message: format!("no {what} is configured") }
}

fn step(world: &Client<StepWorld::Service>, caller: Caller, steps: WorldSteps) -> Result<Vec<u8>, ErrandFailure> {
    let request = StepWorld::Request {
        caller,
        duration_s: steps.duration,
        physics_steps: steps.steps,
        render_frame: steps.render,
    };
    let answer = world.call(&request, PATIENCE + Duration::from_secs_f64(steps.duration));
    match answer.map_err(|e| failed(e.to_string()))? {
        StepWorld::Response { error_code: 0, .. } => Ok(Vec::new()),
        refused => Err(failed(format!("the simulated world: {}", refused.error_msg))),
    }
}

impl Executor {
    /// Hands out what there is, and takes what has come back.
    pub(super) fn run_errands(&mut self) {
        while let Some(event) = self.executive.take_errand() {
            self.runner.take(event);
        }
        while let Ok(report) = self.runner.reports.1.try_recv() {
            match report {
                Report::Progress(goal, left) => self.executive.on_errand_progress(goal, left),
                Report::Ended(goal, outcome) => {
                    self.runner.under_way.remove(&goal);
                    self.executive.on_errand(goal, outcome, now(&self.clock));
                }
            }
        }
    }
}
