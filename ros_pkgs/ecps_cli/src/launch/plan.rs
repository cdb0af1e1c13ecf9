//! From a launch file to the list of processes that it describes, without starting any.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::action::{Action, Argument, Condition, GroupScope, Kind};
use super::evaluate::{EvaluateError, View};
use super::names::{NameError, join_namespace};
use super::packages::{PackageError, Packages};
use super::parameter::{ParameterFileError, ParameterValueError};
use super::parse::{ParseError, Place, parse_file};
use super::template::Template;
use super::{node, show_args};

/// How deep files may include one another.
const INCLUDE_DEPTH: usize = 32;
/// Most processes of a plan.
const PROCESSES: usize = 256;

/// What lies outside the launch files.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Where packages are.
    pub packages: Packages,
    /// The environment, which `$(env X)` reads.
    pub environment: BTreeMap<String, String>,
}

/// A process to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// What it is called when it is named in output, killed or restarted: the node's full name without the first slash,
    /// as in `robot1/mep_server`. Unique in a plan.
    pub label: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments, the node's name, namespace, parameters and remaps among them.
    pub arguments: Vec<String>,
    /// What is set on top of the environment that it inherits.
    pub environment: BTreeMap<String, String>,
    /// The node's namespace, absolute.
    pub namespace: String,
    /// The node's name, where the launch file gives one.
    pub name: Option<String>,
}

/// The processes of a launch file, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The processes.
    pub processes: Vec<Process>,
}

/// `name:=value` from a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The argument.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Why a word of the command line is not `name:=value`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not of the form name:=value")]
pub struct AssignmentError(String);

impl std::str::FromStr for Assignment {
    type Err = AssignmentError;

    fn from_str(word: &str) -> Result<Self, AssignmentError> {
        match word.split_once(":=") {
            Some((name, value)) if !name.is_empty() => Ok(Self { name: name.to_owned(), value: value.to_owned() }),
            _ => Err(AssignmentError(word.to_owned())),
        }
    }
}

/// Why there is no plan. Each is one line that names file, line, key and value.
#[derive(Debug, Error)]
pub enum PlanError {
    /// A launch file cannot be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// An argument from the command line that no launch file declares.
    #[error("there is no argument `{name}`; {}", known_arguments(known))]
    UnknownArgument {
        /// The argument.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// An argument given twice on the command line.
    #[error("the argument `{0}` is given more than once")]
    RepeatedArgument(String),
    /// Something at a line of a launch file.
    #[error("{place}: {problem}")]
    At {
        /// Where.
        place: Place,
        /// What.
        problem: Box<Problem>,
    },
}

fn known_arguments(known: &[String]) -> String {
    match known {
        [] => "this launch file takes none".to_owned(),
        known => format!("those of this launch file are {}", known.join(", ")),
    }
}

/// What is wrong at a line of a launch file.
#[derive(Debug, Error)]
pub enum Problem {
    /// An argument without default and without value.
    #[error("the argument `{name}` ({description}) has no default and was not given: add {name}:=VALUE")]
    MissingArgument {
        /// The argument.
        name: String,
        /// Its description.
        description: String,
    },
    /// A value that is not among the choices.
    #[error("the argument `{name}` is `{value}`, but must be one of {}", choices.join(", "))]
    NotAChoice {
        /// The argument.
        name: String,
        /// Its value.
        value: String,
        /// What it may be.
        choices: Vec<String>,
    },
    /// A text without a value.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// A package or executable that is not there.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A bad node name or namespace.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A parameter file that nodes could not read.
    #[error(transparent)]
    ParameterFile(#[from] ParameterFileError),
    /// A parameter's value that no parameter can have.
    #[error("the parameter `{name}` cannot be `{value}`: {reason}")]
    ParameterValue {
        /// The parameter.
        name: String,
        /// Its value.
        value: String,
        /// Why.
        reason: ParameterValueError,
    },
    /// The left side of `name:=value` would end elsewhere, or be empty.
    #[error("`{0}` cannot be the name in a rule of the form name:=value")]
    RuleName(String),
    /// Two nodes of one name.
    #[error("there are two nodes of the name `{0}`")]
    DuplicateNode(String),
    /// An environment variable's name or value that no process can be given.
    #[error("the environment variable `{0}` cannot be set: its name is empty or has `=`, or there is a NUL in it")]
    EnvironmentVariable(String),
    /// An include of something that is not XML.
    #[error("the file `{0}` cannot be included: only .xml launch files can; start this file with `ros2 launch`")]
    NotXmlFile(String),
    /// Files including one another without end.
    #[error("files include one another more than {INCLUDE_DEPTH} deep")]
    IncludeDepth,
    /// More processes than a plan may have.
    #[error("there are more than {PROCESSES} nodes")]
    TooManyProcesses,
}

/// The plan of `file`, with `arguments` from the command line.
///
/// Parameter files are read and checked, but nothing is started.
///
/// # Errors
/// [`PlanError`], of which the message is one line for the user.
pub fn plan(file: &Path, arguments: &[Assignment], world: &World) -> Result<Plan, PlanError> {
    let mut scope = Scope { namespace: "/".to_owned(), ..Scope::default() };
    let mut planner = Planner::default();
    for Assignment { name, value } in arguments {
        if scope.configurations.insert(name.clone(), value.clone()).is_some() {
            return Err(PlanError::RepeatedArgument(name.clone()));
        }
        planner.given.insert(name.clone());
    }
    let actions = parse_file(file)?;
    let planned = planner.walk(&actions, &mut scope, file, world, 0);
    // A misspelt argument is the cause when its right spelling is then found missing.
    if let Some(name) = planner.given.iter().find(|name| !planner.known.contains(*name)) {
        let mut known = planner.known.clone();
        known.extend(show_args::declared_in(&actions).map(|argument| argument.name.clone()));
        if !known.contains(name) && (planned.is_ok() || is_missing_argument(&planned)) {
            return Err(PlanError::UnknownArgument { name: name.clone(), known: known.into_iter().collect() });
        }
    }
    planned?;
    Ok(Plan { processes: planner.processes })
}

fn is_missing_argument(planned: &Result<(), PlanError>) -> bool {
    matches!(planned, Err(PlanError::At { problem, .. }) if matches!(**problem, Problem::MissingArgument { .. }))
}

/// What ends with a scoped group.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    pub(super) configurations: BTreeMap<String, String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) namespace: String,
}

#[derive(Default)]
struct Planner {
    /// Arguments from the command line.
    given: BTreeSet<String>,
    /// Arguments that a launch file declares for the command line.
    known: BTreeSet<String>,
    /// Arguments of included files that the including file has set, so that the command line has no say.
    fixed: BTreeSet<String>,
    processes: Vec<Process>,
}

impl Planner {
    fn walk(
        &mut self,
        actions: &[Action],
        scope: &mut Scope,
        file: &Path,
        world: &World,
        depth: usize,
    ) -> Result<(), PlanError> {
        for action in actions {
            self.act(action, scope, file, world, depth).map_err(|failure| match failure {
                Failure::Elsewhere(error) => error,
                Failure::Here(problem) => PlanError::At { place: action.place.clone(), problem: Box::new(problem) },
                Failure::At(place, problem) => PlanError::At { place, problem: Box::new(problem) },
            })?;
        }
        Ok(())
    }

    fn act(
        &mut self,
        action: &Action,
        scope: &mut Scope,
        file: &Path,
        world: &World,
        depth: usize,
    ) -> Result<(), Failure> {
        let folder = file.parent().unwrap_or(Path::new(""));
        let view = View {
            configurations: &scope.configurations,
            environment: &scope.environment,
            outer_environment: &world.environment,
            packages: &world.packages,
            folder,
        };
        let applies = match &action.condition {
            Condition::Always => true,
            Condition::If(condition) => view.truth(condition)?,
            Condition::Unless(condition) => !view.truth(condition)?,
        };
        if !applies {
            self.known.extend(show_args::declared_in(std::slice::from_ref(action)).map(|a| a.name.clone()));
            return Ok(());
        }
        match &action.kind {
            Kind::Argument(argument) => {
                if !self.fixed.contains(&argument.name) {
                    self.known.insert(argument.name.clone());
                }
                let value = value_of(argument, &view)?;
                scope.configurations.insert(argument.name.clone(), value);
            }
            Kind::Let { name, value } => {
                let (name, value) = (view.text(name)?, view.text(value)?);
                scope.configurations.insert(name, value);
            }
            Kind::SetEnvironment { name, value } => {
                let (name, value) = (view.text(name)?, view.text(value)?);
                if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                    return Err(Problem::EnvironmentVariable(name).into());
                }
                scope.environment.insert(name, value);
            }
            Kind::PushNamespace(below) => {
                scope.namespace = join_namespace(&scope.namespace, &view.text(below)?)?;
            }
            Kind::Group { scope: GroupScope::Own, actions } => {
                self.walk(actions, &mut scope.clone(), file, world, depth).map_err(Failure::Elsewhere)?;
            }
            Kind::Group { scope: GroupScope::Shared, actions } => {
                self.walk(actions, scope, file, world, depth).map_err(Failure::Elsewhere)?;
            }
            Kind::Include { file: included, arguments } => {
                let (included, set) = included_file(&view, included, arguments, depth)?;
                self.fixed.extend(set.iter().map(|(name, _)| name).filter(|name| !self.known.contains(*name)).cloned());
                scope.configurations.extend(set);
                let actions = parse_file(&included).map_err(|e| Failure::Elsewhere(e.into()))?;
                self.walk(&actions, scope, &included, world, depth + 1).map_err(Failure::Elsewhere)?;
            }
            Kind::Node(node) => {
                let process = node::process(node, &view, &scope.namespace)?;
                if self.processes.iter().any(|other| other.label == process.label) {
                    return Err(Problem::DuplicateNode(process.label).into());
                }
                if self.processes.len() >= PROCESSES {
                    return Err(Problem::TooManyProcesses.into());
                }
                self.processes.push(process);
            }
        }
        Ok(())
    }
}

fn included_file(
    view: &View<'_>,
    file: &Template,
    arguments: &[(Template, Template)],
    depth: usize,
) -> Result<(PathBuf, Vec<(String, String)>), Failure> {
    let file = view.text(file)?;
    if !file.ends_with(".xml") {
        return Err(Problem::NotXmlFile(file).into());
    }
    if depth + 1 >= INCLUDE_DEPTH {
        return Err(Problem::IncludeDepth.into());
    }
    let set = arguments.iter().map(|(name, value)| Ok((view.text(name)?, view.text(value)?)));
    Ok((PathBuf::from(file), set.collect::<Result<_, EvaluateError>>()?))
}

fn value_of(argument: &Argument, view: &View<'_>) -> Result<String, Problem> {
    let value = match (view.configurations.get(&argument.name), &argument.default) {
        (Some(value), _) => value.clone(),
        (None, Some(default)) => view.text(default)?,
        (None, None) => {
            let (name, description) = (argument.name.clone(), argument.description.clone());
            return Err(Problem::MissingArgument { name, description });
        }
    };
    if argument.choices.is_empty() || argument.choices.contains(&value) {
        return Ok(value);
    }
    Err(Problem::NotAChoice { name: argument.name.clone(), value, choices: argument.choices.clone() })
}

/// Where a failure belongs: to the action at hand, to a line inside it, or to what already knows its line.
pub(super) enum Failure {
    Here(Problem),
    At(Place, Problem),
    Elsewhere(PlanError),
}

impl<P: Into<Problem>> From<P> for Failure {
    fn from(problem: P) -> Self {
        Self::Here(problem.into())
    }
}
