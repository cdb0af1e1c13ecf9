//! The six parameter services and `/parameter_events`, so that `ros2 param` and rqt_reconfigure work.

use std::collections::BTreeSet;

use r2r::rcl_interfaces::msg::{
    FloatingPointRange, IntegerRange, Parameter, ParameterDescriptor, ParameterEvent, ParameterType, ParameterValue,
    SetParametersResult,
};
use r2r::rcl_interfaces::srv::{
    DescribeParameters, GetParameterTypes, GetParameters, ListParameters, SetParameters, SetParametersAtomically,
};

use super::{Bound, Mutability, Parameters, Spec, Value};
use crate::clock::NodeClock;
use crate::node::base::Base;
use crate::publisher::Publisher;
use crate::qos;
use crate::start_error::StartError;

impl Spec {
    fn descriptor(&self) -> ParameterDescriptor {
        let mut descriptor = ParameterDescriptor {
            name: self.name.clone(),
            type_: self.default.type_code(),
            description: match self.unit {
                "" => self.description.clone(),
                unit => format!("{} Unit: {unit}.", self.description),
            },
            read_only: self.mutability == Mutability::ReadOnly,
            ..ParameterDescriptor::default()
        };
        match (&self.bound, &self.default) {
            (Bound::Any, _) => {}
            (Bound::Choices(choices), _) => {
                descriptor.additional_constraints = format!("One of: {}", choices.join(", "));
            }
            (Bound::Range { min, max }, Value::Integer(_) | Value::IntegerArray(_)) => {
                let range = IntegerRange { from_value: *min as i64, to_value: *max as i64, step: 1 };
                descriptor.integer_range = vec![range];
            }
            (Bound::Range { min, max }, _) => {
                descriptor.floating_point_range =
                    vec![FloatingPointRange { from_value: *min, to_value: *max, step: 0.0 }];
            }
        }
        descriptor
    }
}

impl Parameters {
    /// Names below any of `prefixes` (all when empty), at most `depth` levels deep (0: any), and their prefixes.
    fn list(&self, prefixes: &[String], depth: u64) -> (Vec<String>, Vec<String>) {
        fn within<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
            if prefix.is_empty() { Some(name) } else { name.strip_prefix(prefix)?.strip_prefix('.') }
        }
        let shallow = |rest: &str| depth == 0 || (rest.matches('.').count() as u64) < depth;
        let all = [String::new()];
        let prefixes = if prefixes.is_empty() { &all[..] } else { prefixes };
        let names: Vec<String> = self
            .order
            .iter()
            .filter(|name| prefixes.iter().any(|p| *name == p || within(name, p).is_some_and(shallow)))
            .cloned()
            .collect();
        let parents: BTreeSet<String> =
            names.iter().filter_map(|name| name.rsplit_once('.').map(|(parent, _)| parent.to_owned())).collect();
        (names, parents.into_iter().collect())
    }

    fn message(&self, name: &str) -> ParameterValue {
        self.values.get(name).map(Value::to_message).unwrap_or_default()
    }

    /// Checks one change as it came in the message.
    fn check_message(&self, parameter: &Parameter) -> Result<(String, Value), String> {
        let value = Value::from_message(parameter.value.clone())
            .ok_or_else(|| format!("parameter '{}' cannot be of type {}", parameter.name, parameter.value.type_))?;
        self.check_change(&parameter.name, value).map(|value| (parameter.name.clone(), value))
    }
}

fn outcome(result: Result<(), String>) -> SetParametersResult {
    SetParametersResult { successful: result.is_ok(), reason: result.err().unwrap_or_default() }
}

/// Offers the services of the node `name` on `ros`.
pub(crate) fn serve<S: 'static>(
    base: &mut Base<S>,
    ros: &mut r2r::Node,
    name: &str,
    clock: &NodeClock,
) -> Result<(), StartError> {
    let topic = "/parameter_events";
    let events = ros
        .create_publisher::<ParameterEvent>(topic, qos::parameter_events())
        .map_err(StartError::ros(|| format!("topic '{topic}'")))?;
    let (events, name, clock) = (Publisher::new(events, topic), name.to_owned(), clock.clone());

    base.service::<GetParameters::Service>(ros, "~/get_parameters", |core, _, request| {
        let values = request.names.iter().map(|name| core.parameters.message(name)).collect();
        GetParameters::Response { values }
    })?;
    base.service::<GetParameterTypes::Service>(ros, "~/get_parameter_types", |core, _, request| {
        let of = |name: &String| {
            core.parameters.values.get(name).map_or(ParameterType::PARAMETER_NOT_SET as u8, Value::type_code)
        };
        GetParameterTypes::Response { types: request.names.iter().map(of).collect() }
    })?;
    base.service::<DescribeParameters::Service>(ros, "~/describe_parameters", |core, _, request| {
        let of = |name: &String| match core.parameters.specs.get(name) {
            Some(spec) => spec.descriptor(),
            None => ParameterDescriptor { name: name.clone(), ..ParameterDescriptor::default() },
        };
        DescribeParameters::Response { descriptors: request.names.iter().map(of).collect() }
    })?;
    base.service::<ListParameters::Service>(ros, "~/list_parameters", |core, _, request| {
        let (names, prefixes) = core.parameters.list(&request.prefixes, request.depth);
        ListParameters::Response { result: r2r::rcl_interfaces::msg::ListParametersResult { names, prefixes } }
    })?;

    let announce = move |changed: Vec<Parameter>| {
        let stamp = crate::convert::time(ecps_core::clock::RosClock::now(&clock));
        let event =
            ParameterEvent { stamp, node: name.clone(), changed_parameters: changed, ..ParameterEvent::default() };
        events.publish(&event);
    };
    let announce_one = announce.clone();
    base.service::<SetParameters::Service>(ros, "~/set_parameters", move |core, mut state, request| {
        let mut results = Vec::with_capacity(request.parameters.len());
        for parameter in request.parameters {
            let result = core
                .parameters
                .check_message(&parameter)
                .and_then(|change| core.apply(state.as_deref_mut(), vec![change]));
            if result.is_ok() {
                announce_one(vec![parameter]);
            }
            results.push(outcome(result));
        }
        SetParameters::Response { results }
    })?;
    base.service::<SetParametersAtomically::Service>(
        ros,
        "~/set_parameters_atomically",
        move |core, state, request| {
            let changes: Result<Vec<_>, String> =
                request.parameters.iter().map(|parameter| core.parameters.check_message(parameter)).collect();
            let result = changes.and_then(|changes| core.apply(state, changes));
            if result.is_ok() {
                announce(request.parameters);
            }
            SetParametersAtomically::Response { result: outcome(result) }
        },
    )?;
    Ok(())
}
