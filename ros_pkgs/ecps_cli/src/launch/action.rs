//! What a launch file says, read but not yet carried out.

use super::parse::Place;
use super::template::Template;

/// One element that does something, with the condition under which it does.
#[derive(Debug)]
pub(crate) struct Action {
    pub(crate) place: Place,
    pub(crate) condition: Condition,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Condition {
    Always,
    If(Template),
    Unless(Template),
}

#[derive(Debug)]
pub(crate) enum Kind {
    Argument(Argument),
    Let { name: Template, value: Template },
    SetEnvironment { name: Template, value: Template },
    PushNamespace(Template),
    Group { scope: GroupScope, actions: Vec<Action> },
    Include { file: Template, arguments: Vec<(Template, Template)> },
    Node(Box<NodeAction>),
}

/// Whether what a group sets ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupScope {
    Own,
    Shared,
}

#[derive(Debug, Clone)]
pub(crate) struct Argument {
    pub(crate) name: String,
    pub(crate) default: Option<Template>,
    pub(crate) description: String,
    pub(crate) choices: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct NodeAction {
    pub(crate) package: Template,
    pub(crate) executable: Template,
    pub(crate) name: Option<Template>,
    pub(crate) namespace: Option<Template>,
    pub(crate) arguments: Option<Template>,
    pub(crate) ros_arguments: Option<Template>,
    pub(crate) parameters: Vec<(Place, Parameter)>,
    pub(crate) remaps: Vec<(Template, Template)>,
}

#[derive(Debug)]
pub(crate) enum Parameter {
    Value { name: Template, value: Template },
    File(Template),
}
