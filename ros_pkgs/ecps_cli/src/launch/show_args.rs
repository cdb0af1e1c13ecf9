//! The arguments that a launch file takes, for `--show-args`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::action::{Action, Argument, Kind};
use super::evaluate::View;
use super::parse::{ParseError, parse_file};
use super::plan::World;

/// How many files are looked into.
const FILES: usize = 256;

/// An argument of a launch file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredArgument {
    /// Its name.
    pub name: String,
    /// Its default as written, with substitutions; without one it must be given.
    pub default: Option<String>,
    /// What it is for.
    pub description: String,
    /// The values it may have; empty where it may have any.
    pub choices: Vec<String>,
}

/// The arguments that `file`, and the files that it includes, take from the command line, each once, outer files first.
///
/// A file whose path depends on an argument is not looked into. As with `ros2 launch`, an argument that an outer file has
/// declared is that of the inner file, too.
///
/// # Errors
/// [`ParseError`] for `file` or one that it includes.
pub fn declared_arguments(file: &Path, world: &World) -> Result<Vec<DeclaredArgument>, ParseError> {
    let mut found: Vec<DeclaredArgument> = Vec::new();
    let mut set_by_includes = Vec::new();
    let mut files = vec![file.to_owned()];
    let mut next = 0;
    while let Some(file) = files.get(next).cloned() {
        next += 1;
        let actions = parse_file(&file)?;
        for argument in declared_in(&actions) {
            if !set_by_includes.contains(&argument.name) && !found.iter().any(|other| other.name == argument.name) {
                found.push(DeclaredArgument {
                    name: argument.name.clone(),
                    default: argument.default.as_ref().map(|default| default.source.clone()),
                    description: argument.description.clone(),
                    choices: argument.choices.clone(),
                });
            }
        }
        for (included, set) in includes_in(&actions, &file, world) {
            set_by_includes.extend(set);
            if files.len() < FILES && !files.contains(&included) {
                files.push(included);
            }
        }
    }
    Ok(found)
}

/// Every action, those in groups included.
fn flatten(actions: &[Action]) -> impl Iterator<Item = &Action> {
    let mut waiting: Vec<&Action> = actions.iter().rev().collect();
    std::iter::from_fn(move || {
        let action = waiting.pop()?;
        if let Kind::Group { actions, .. } = &action.kind {
            waiting.extend(actions.iter().rev());
        }
        Some(action)
    })
}

/// The `<arg>`s of one file, those in groups included.
pub(super) fn declared_in(actions: &[Action]) -> impl Iterator<Item = &Argument> {
    flatten(actions).filter_map(|action| match &action.kind {
        Kind::Argument(argument) => Some(argument),
        _ => None,
    })
}

/// The files included by one file, with the arguments that are set for each.
fn includes_in(actions: &[Action], file: &Path, world: &World) -> Vec<(PathBuf, Vec<String>)> {
    let nothing = BTreeMap::new();
    let view = View {
        configurations: &nothing,
        environment: &nothing,
        outer_environment: &world.environment,
        packages: &world.packages,
        folder: file.parent().unwrap_or(Path::new("")),
    };
    let included = flatten(actions).filter_map(|action| match &action.kind {
        Kind::Include { file, arguments } => {
            let set = arguments.iter().filter_map(|(name, _)| view.text(name).ok()).collect();
            let file = view.text(file).ok().filter(|file| file.ends_with(".xml"))?;
            Some((PathBuf::from(file), set))
        }
        _ => None,
    });
    included.collect()
}
