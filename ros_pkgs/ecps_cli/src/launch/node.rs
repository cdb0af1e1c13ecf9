//! A `<node>` as a process.

use super::action::{NodeAction, Parameter};
use super::evaluate::View;
use super::names::{check_node_name, join_namespace};
use super::parameter;
use super::parse::Place;
use super::plan::{Failure, Problem, Process};

/// The process of `node`, whose namespace lies in `outer_namespace`. The order of the arguments is that of launch_ros.
pub(super) fn process(node: &NodeAction, view: &View<'_>, outer_namespace: &str) -> Result<Process, Failure> {
    let executable = view.text(&node.executable)?;
    let program = view.packages.executable(&view.text(&node.package)?, &executable)?;
    let below = node.namespace.as_ref().map(|namespace| view.text(namespace)).transpose()?;
    let namespace = join_namespace(outer_namespace, below.as_deref().unwrap_or_default())?;
    let name = node.name.as_ref().map(|name| view.text(name)).transpose()?;
    if let Some(name) = &name {
        check_node_name(name)?;
    }

    let mut arguments = Vec::new();
    if let Some(words) = &node.arguments {
        arguments.extend(view.words(words)?);
    }
    arguments.push("--ros-args".to_owned());
    if let Some(words) = &node.ros_arguments {
        arguments.extend(view.words(words)?);
    }
    if let Some(name) = &name {
        arguments.extend(["-r".to_owned(), format!("__node:={name}")]);
    }
    arguments.extend(["-r".to_owned(), format!("__ns:={namespace}")]);
    for (place, parameter) in &node.parameters {
        arguments.extend(parameter_arguments(parameter, view, place)?);
    }
    for (from, to) in &node.remaps {
        let (from, to) = (view.text(from)?, view.text(to)?);
        check_rule_name(&from)?;
        arguments.extend(["-r".to_owned(), format!("{from}:={to}")]);
    }

    let label = format!("{}/{}", namespace.trim_matches('/'), name.as_deref().unwrap_or(&executable));
    Ok(Process {
        label: label.trim_start_matches('/').to_owned(),
        program,
        arguments,
        environment: view.environment.clone(),
        namespace,
        name,
    })
}

fn parameter_arguments(parameter: &Parameter, view: &View<'_>, place: &Place) -> Result<[String; 2], Failure> {
    let here = |problem: Problem| Failure::At(place.clone(), problem);
    match parameter {
        Parameter::File(file) => {
            let file = view.text(file).map_err(|e| here(e.into()))?;
            parameter::check_file(file.as_ref()).map_err(|e| here(e.into()))?;
            Ok(["--params-file".to_owned(), file])
        }
        Parameter::Value { name, value } => {
            let name = view.text(name).map_err(|e| here(e.into()))?;
            let value = view.text(value).map_err(|e| here(e.into()))?;
            check_rule_name(&name).map_err(here)?;
            let inferred = parameter::infer(&value);
            let yaml =
                inferred.map_err(|reason| here(Problem::ParameterValue { name: name.clone(), value, reason }))?;
            Ok(["-p".to_owned(), format!("{name}:={yaml}")])
        }
    }
}

fn check_rule_name(name: &str) -> Result<(), Problem> {
    if name.is_empty() || name.contains(":=") { Err(Problem::RuleName(name.to_owned())) } else { Ok(()) }
}
