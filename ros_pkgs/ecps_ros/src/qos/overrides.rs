//! QoS policies that a parameter file sets: `qos_overrides.<topic>.<publisher|subscription>.<policy>`, as in rclcpp.
//!
//! A policy that is given becomes a read-only parameter, held against what it may be. Durations are in nanoseconds.

use std::time::Duration;

use r2r::QosProfile;
use r2r::qos::{DurabilityPolicy, HistoryPolicy, LivelinessPolicy, ReliabilityPolicy};

use crate::parameter::{ParameterError, Parameters, Spec};

/// Which end of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Publisher,
    Subscription,
}

impl Endpoint {
    fn name(self) -> &'static str {
        match self {
            Endpoint::Publisher => "publisher",
            Endpoint::Subscription => "subscription",
        }
    }
}

/// `qos` with the policies that are given for `topic` (its full name).
pub(crate) fn apply(
    parameters: &mut Parameters,
    topic: &str,
    endpoint: Endpoint,
    mut qos: QosProfile,
) -> Result<QosProfile, ParameterError> {
    let mut text = |policy: &str, choices: &[&str]| -> Result<Option<String>, ParameterError> {
        let name = format!("qos_overrides.{topic}.{}.{policy}", endpoint.name());
        if !parameters.is_overridden(&name) {
            return Ok(None);
        }
        let default = choices.first().copied().unwrap_or_default();
        let sentence = format!("Quality of service of the {} of {topic}.", endpoint.name());
        parameters.declare(Spec::string(&name, default, sentence).choices(choices))?;
        parameters.string(&name).map(Some)
    };
    if let Some(value) = text("reliability", &["reliable", "best_effort"])? {
        qos.reliability = if value == "reliable" { ReliabilityPolicy::Reliable } else { ReliabilityPolicy::BestEffort };
    }
    if let Some(value) = text("durability", &["volatile", "transient_local"])? {
        qos.durability =
            if value == "volatile" { DurabilityPolicy::Volatile } else { DurabilityPolicy::TransientLocal };
    }
    if let Some(value) = text("history", &["keep_last", "keep_all"])? {
        qos.history = if value == "keep_last" { HistoryPolicy::KeepLast } else { HistoryPolicy::KeepAll };
    }
    if let Some(value) = text("liveliness", &["automatic", "manual_by_topic"])? {
        qos.liveliness =
            if value == "automatic" { LivelinessPolicy::Automatic } else { LivelinessPolicy::ManualByTopic };
    }
    let mut number = |policy: &str, max: f64| -> Result<Option<u64>, ParameterError> {
        let name = format!("qos_overrides.{topic}.{}.{policy}", endpoint.name());
        if !parameters.is_overridden(&name) {
            return Ok(None);
        }
        let sentence = format!("Quality of service of the {} of {topic}.", endpoint.name());
        parameters.declare(Spec::integer(&name, 1, sentence).range(1.0, max))?;
        parameters.integer(&name).map(|value| u64::try_from(value).ok())
    };
    if let Some(depth) = number("depth", 100_000.0)? {
        qos.depth = usize::try_from(depth).unwrap_or(usize::MAX);
    }
    // A year is as good as for ever.
    const YEAR_NS: f64 = 3.2e16;
    if let Some(nanos) = number("deadline", YEAR_NS)? {
        qos.deadline = Duration::from_nanos(nanos);
    }
    if let Some(nanos) = number("lifespan", YEAR_NS)? {
        qos.lifespan = Duration::from_nanos(nanos);
    }
    if let Some(nanos) = number("liveliness_lease_duration", YEAR_NS)? {
        qos.liveliness_lease_duration = Duration::from_nanos(nanos);
    }
    Ok(qos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;

    fn parameters(given: &[&str]) -> Parameters {
        let arguments = given.iter().flat_map(|rule| ["-p".to_owned(), (*rule).to_owned()]);
        let args = Args::parse(std::iter::once("--ros-args".to_owned()).chain(arguments)).unwrap();
        Parameters::new(args.overrides("/robot1/gate").unwrap())
    }

    #[test]
    fn given_policies_replace_the_nodes_own_at_that_end_alone() {
        let mut given = parameters(&[
            "qos_overrides./robot1/scan.subscription.reliability:=best_effort",
            "qos_overrides./robot1/scan.subscription.depth:=3",
            "qos_overrides./robot1/scan.subscription.deadline:=200000000",
        ]);
        let own = crate::qos::reliable(50);
        let qos = apply(&mut given, "/robot1/scan", Endpoint::Subscription, own.clone()).unwrap();
        assert_eq!((qos.reliability, qos.depth), (ReliabilityPolicy::BestEffort, 3));
        assert_eq!(qos.deadline, Duration::from_millis(200));
        assert_eq!(qos.durability, own.durability);
        assert_eq!(apply(&mut given, "/robot1/scan", Endpoint::Publisher, own.clone()).unwrap(), own);
        assert_eq!(apply(&mut given, "/scan", Endpoint::Subscription, own.clone()).unwrap(), own);
    }

    #[test]
    fn a_policy_that_does_not_exist_is_named() {
        let rule = "qos_overrides./robot1/scan.publisher.reliability:=sometimes";
        let error = apply(&mut parameters(&[rule]), "/robot1/scan", Endpoint::Publisher, crate::qos::default());
        let text = error.unwrap_err().to_string();
        assert!(text.contains("'sometimes'") && text.contains("reliable, best_effort"), "{text}");
    }
}
