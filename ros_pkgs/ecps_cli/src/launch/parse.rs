//! From XML to actions. What is outside the subset is refused here, by name and line.

use std::fmt;
use std::path::{Path, PathBuf};

use roxmltree::{Document, Node, ParsingOptions};
use thiserror::Error;

use super::action::{Action, Argument, Condition, GroupScope, Kind, NodeAction, Parameter};
use super::template::{Template, TemplateError};

/// Largest launch file, bytes.
const FILE_BYTES: u64 = 1 << 20;
/// Most elements, attributes and texts of one file.
const XML_NODES: u32 = 20_000;
/// How deep groups may stand in one another.
const GROUP_DEPTH: u32 = 32;

/// A line of a launch file, printed as `file:line`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Why a launch file cannot be read. Each is one line that names file, line and what stands there.
#[derive(Debug, Error)]
pub enum ParseError {
    /// No such file, a folder, not UTF-8, no permission.
    #[error("launch file {}: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// More bytes than a launch file may have.
    #[error("launch file {}: it has {bytes} bytes, more than the {FILE_BYTES} allowed", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Not well-formed XML.
    #[error("{place}: not well-formed XML: {reason}")]
    NotXml {
        /// Where.
        place: Place,
        /// What the XML reader says.
        reason: String,
    },
    /// An element that is outside the subset, or not allowed where it stands.
    #[error(
        "{place}: the element <{element}> inside <{parent}> is not one that `ecps up` knows ({known}); start this file with `ros2 launch`"
    )]
    Element {
        /// Where.
        place: Place,
        /// Its name.
        element: String,
        /// The element around it.
        parent: String,
        /// What may stand there.
        known: String,
    },
    /// An attribute outside the subset.
    #[error(
        "{place}: the attribute `{attribute}` of <{element}> is not one that `ecps up` knows ({known}); start this file with `ros2 launch`"
    )]
    Attribute {
        /// Where.
        place: Place,
        /// The element.
        element: String,
        /// The attribute.
        attribute: String,
        /// The attributes that are known.
        known: String,
    },
    /// An attribute that must be there.
    #[error("{place}: <{element}> needs the attribute `{attribute}`")]
    MissingAttribute {
        /// Where.
        place: Place,
        /// The element.
        element: String,
        /// The attribute.
        attribute: &'static str,
    },
    /// A value that the attribute cannot have.
    #[error("{place}: the attribute `{attribute}` of <{element}> is `{value}`, but must be {allowed}")]
    Value {
        /// Where.
        place: Place,
        /// The element.
        element: String,
        /// The attribute.
        attribute: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// Two attributes that exclude each other.
    #[error("{place}: <{element}> has both `{first}` and `{second}`, of which only one may be given")]
    Both {
        /// Where.
        place: Place,
        /// The element.
        element: String,
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// Text between elements.
    #[error("{place}: the text `{text}` stands inside <{element}>, where no text belongs")]
    Text {
        /// Where.
        place: Place,
        /// The element.
        element: String,
        /// The text's beginning.
        text: String,
    },
    /// Groups in groups beyond any use.
    #[error("{place}: groups stand in one another more than {GROUP_DEPTH} deep")]
    TooDeep {
        /// Where.
        place: Place,
    },
    /// A text with substitutions that cannot be read.
    #[error("{place}: {source}")]
    Template {
        /// Where.
        place: Place,
        /// What is wrong with it.
        source: TemplateError,
    },
}

/// Reads `file`.
pub(crate) fn parse_file(file: &Path) -> Result<Vec<Action>, ParseError> {
    let unreadable = |e: std::io::Error| ParseError::Unreadable { file: file.to_owned(), reason: e.to_string() };
    let bytes = std::fs::metadata(file).map_err(unreadable)?.len();
    if bytes > FILE_BYTES {
        return Err(ParseError::TooLarge { file: file.to_owned(), bytes });
    }
    parse_text(&std::fs::read_to_string(file).map_err(unreadable)?, file)
}

/// Reads `text`, which came from `file`.
pub(crate) fn parse_text(text: &str, file: &Path) -> Result<Vec<Action>, ParseError> {
    let options = ParsingOptions { nodes_limit: XML_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|e| ParseError::NotXml {
        place: Place { file: file.to_owned(), line: e.pos().row },
        reason: e.to_string(),
    })?;
    let root = Element { node: document.root_element(), file };
    if root.name() != "launch" {
        return Err(root.unknown("the file", &["launch"]));
    }
    root.check_attributes(&[])?;
    root.actions(0)
}

/// What may stand in `launch` and `group`.
const ACTIONS: [&str; 8] =
    ["arg", "let", "set_env", "push_ros_namespace", "push-ros-namespace", "group", "include", "node"];

#[derive(Clone, Copy)]
struct Element<'a, 'input> {
    node: Node<'a, 'input>,
    file: &'a Path,
}

impl<'a, 'input> Element<'a, 'input> {
    fn name(&self) -> &'a str {
        self.node.tag_name().name()
    }

    fn place_of(&self, node: Node<'a, 'input>) -> Place {
        Place { file: self.file.to_owned(), line: node.document().text_pos_at(node.range().start).row }
    }

    fn place(&self) -> Place {
        self.place_of(self.node)
    }

    fn unknown(&self, parent: &str, known: &[&str]) -> ParseError {
        let (place, element) = (self.place(), self.name().to_owned());
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        ParseError::Element { place, element, parent: parent.to_owned(), known }
    }

    fn children(&self) -> Result<Vec<Self>, ParseError> {
        let mut children = Vec::new();
        for node in self.node.children() {
            if node.is_element() {
                children.push(Self { node, file: self.file });
            } else if let Some(text) = node.text().map(str::trim).filter(|text| node.is_text() && !text.is_empty()) {
                let text = text.chars().take(40).collect();
                return Err(ParseError::Text { place: self.place_of(node), element: self.name().to_owned(), text });
            }
        }
        Ok(children)
    }

    /// The children, all of which must be of the kinds `known`.
    fn children_of(&self, known: &[&str]) -> Result<Vec<Self>, ParseError> {
        let children = self.children()?;
        match children.iter().find(|child| !known.contains(&child.name())) {
            Some(child) => Err(child.unknown(self.name(), known)),
            None => Ok(children),
        }
    }

    fn check_attributes(&self, known: &[&str]) -> Result<(), ParseError> {
        match self.node.attributes().find(|attribute| !known.contains(&attribute.name())) {
            None => Ok(()),
            Some(attribute) => Err(ParseError::Attribute {
                place: self.place(),
                element: self.name().to_owned(),
                attribute: attribute.name().to_owned(),
                known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
            }),
        }
    }

    fn text(&self, attribute: &'static str) -> Result<&'a str, ParseError> {
        self.node.attribute(attribute).ok_or_else(|| ParseError::MissingAttribute {
            place: self.place(),
            element: self.name().to_owned(),
            attribute,
        })
    }

    fn template(&self, attribute: &'static str) -> Result<Template, ParseError> {
        Template::parse(self.text(attribute)?).map_err(|source| ParseError::Template { place: self.place(), source })
    }

    fn optional(&self, attribute: &'static str) -> Result<Option<Template>, ParseError> {
        self.node.attribute(attribute).map(|_| self.template(attribute)).transpose()
    }

    fn value_error(&self, attribute: &'static str, value: &str, allowed: &'static str) -> ParseError {
        let element = self.name().to_owned();
        ParseError::Value { place: self.place(), element, attribute, value: value.to_owned(), allowed }
    }

    fn both(&self, first: &'static str, second: &'static str) -> ParseError {
        ParseError::Both { place: self.place(), element: self.name().to_owned(), first, second }
    }

    /// Name and value of an element that has just these two and no children.
    fn pair(&self, first: &'static str, second: &'static str) -> Result<(Template, Template), ParseError> {
        self.check_attributes(&[first, second])?;
        self.children_of(&[])?;
        Ok((self.template(first)?, self.template(second)?))
    }

    fn condition(&self) -> Result<Condition, ParseError> {
        match (self.optional("if")?, self.optional("unless")?) {
            (None, None) => Ok(Condition::Always),
            (Some(condition), None) => Ok(Condition::If(condition)),
            (None, Some(condition)) => Ok(Condition::Unless(condition)),
            (Some(_), Some(_)) => Err(self.both("if", "unless")),
        }
    }

    fn actions(&self, depth: u32) -> Result<Vec<Action>, ParseError> {
        self.children_of(&ACTIONS)?.into_iter().map(|child| child.action(depth)).collect()
    }

    fn action(&self, depth: u32) -> Result<Action, ParseError> {
        let kind = match self.name() {
            "arg" => Kind::Argument(self.argument()?),
            name @ ("let" | "set_env") => {
                self.check_attributes(&["name", "value", "if", "unless"])?;
                self.children_of(&[])?;
                let (variable, value) = (self.template("name")?, self.template("value")?);
                if name == "let" {
                    Kind::Let { name: variable, value }
                } else {
                    Kind::SetEnvironment { name: variable, value }
                }
            }
            "group" => self.group(depth)?,
            "include" => self.include()?,
            "node" => Kind::Node(Box::new(self.node_action()?)),
            // ACTIONS leaves nothing else.
            _ => {
                self.check_attributes(&["namespace", "if", "unless"])?;
                self.children_of(&[])?;
                Kind::PushNamespace(self.template("namespace")?)
            }
        };
        Ok(Action { place: self.place(), condition: self.condition()?, kind })
    }

    fn argument(&self) -> Result<Argument, ParseError> {
        self.check_attributes(&["name", "default", "description", "if", "unless"])?;
        let mut choices = Vec::new();
        for choice in self.children_of(&["choice"])? {
            choice.check_attributes(&["value"])?;
            choice.children_of(&[])?;
            choices.push(choice.text("value")?.to_owned());
        }
        Ok(Argument {
            name: self.text("name")?.to_owned(),
            default: self.optional("default")?,
            description: self.node.attribute("description").unwrap_or("no description given").to_owned(),
            choices,
        })
    }

    fn group(&self, depth: u32) -> Result<Kind, ParseError> {
        self.check_attributes(&["scoped", "if", "unless"])?;
        if depth >= GROUP_DEPTH {
            return Err(ParseError::TooDeep { place: self.place() });
        }
        let scope = match self.node.attribute("scoped") {
            None | Some("true") => GroupScope::Own,
            Some("false") => GroupScope::Shared,
            Some(other) => return Err(self.value_error("scoped", other, "true or false")),
        };
        Ok(Kind::Group { scope, actions: self.actions(depth + 1)? })
    }

    fn include(&self) -> Result<Kind, ParseError> {
        self.check_attributes(&["file", "if", "unless"])?;
        let arguments = self.children_of(&["arg"])?.into_iter().map(|arg| arg.pair("name", "value"));
        Ok(Kind::Include { file: self.template("file")?, arguments: arguments.collect::<Result<_, _>>()? })
    }

    fn node_action(&self) -> Result<NodeAction, ParseError> {
        self.check_attributes(&["pkg", "exec", "name", "namespace", "output", "args", "ros_args", "if", "unless"])?;
        // The terminal shows everything, so "log" (standard output to a file alone) would not be what it says.
        match self.node.attribute("output") {
            None | Some("screen" | "both") => {}
            Some(other) => return Err(self.value_error("output", other, "screen or both")),
        }
        let (mut parameters, mut remaps) = (Vec::new(), Vec::new());
        for child in self.children_of(&["param", "remap"])? {
            if child.name() == "remap" {
                remaps.push(child.pair("from", "to")?);
            } else {
                parameters.push((child.place(), child.parameter()?));
            }
        }
        Ok(NodeAction {
            package: self.template("pkg")?,
            executable: self.template("exec")?,
            name: self.optional("name")?,
            namespace: self.optional("namespace")?,
            arguments: self.optional("args")?,
            ros_arguments: self.optional("ros_args")?,
            parameters,
            remaps,
        })
    }

    fn parameter(&self) -> Result<Parameter, ParseError> {
        self.check_attributes(&["name", "value", "from"])?;
        self.children_of(&[])?;
        match (self.optional("from")?, self.node.has_attribute("name")) {
            (Some(_), true) => Err(self.both("name", "from")),
            (Some(_), false) if self.node.has_attribute("value") => Err(self.both("value", "from")),
            (Some(file), false) => Ok(Parameter::File(file)),
            (None, _) => Ok(Parameter::Value { name: self.template("name")?, value: self.template("value")? }),
        }
    }
}
