//! `--ros-args`, read before the ROS context is made, since r2r aborts on what it cannot read.
//!
//! rcl applies remaps, the namespace and the log level itself; parameters are ours, because r2r knows neither wildcards
//! nor where a value came from, and a refused value should name its file.

mod remap;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::parameter::Value;

/// Where a parameter value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A parameter file.
    File(PathBuf),
    /// `-p name:=value` on the command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::CommandLine => f.write_str("command line"),
        }
    }
}

/// Whether an override was meant for this node alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Under the node's own name or from the command line: an unknown parameter is a mistake.
    ThisNode,
    /// Under a wildcard: other nodes may know the parameter.
    Shared,
}

/// A parameter value from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The value.
    pub value: Value,
    /// Where it was given.
    pub origin: Origin,
    /// For whom it was given.
    pub scope: Scope,
}

/// What is wrong with the arguments. One line each, naming file, key and value.
#[derive(Debug, Error)]
pub enum ArgsError {
    /// A flag without its value.
    #[error("--ros-args: '{0}' needs a value")]
    MissingValue(String),
    /// A flag nobody knows.
    #[error(
        "--ros-args: '{0}' is not known; known are -r, -p, --params-file, --log-level, -e, --enable-*, --disable-*"
    )]
    UnknownFlag(String),
    /// Not `from:=to`.
    #[error("--ros-args {flag} '{rule}': must have the form name:=value")]
    MalformedRule {
        /// The flag.
        flag: String,
        /// What followed it.
        rule: String,
    },
    /// A remap to or from what is no name.
    #[error("--ros-args {flag} '{rule}': {reason}")]
    Remap {
        /// The flag.
        flag: String,
        /// What followed it.
        rule: String,
        /// Why.
        reason: String,
    },
    /// A log level nobody knows.
    #[error("--log-level '{0}': must be debug, info, warn, error or fatal, or <logger>:=<level>")]
    LogLevel(String),
    /// A file that cannot be read.
    #[error("parameter file {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file that is no ROS parameter file.
    #[error("parameter file {}: {key}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in it.
        key: String,
        /// Why.
        reason: String,
    },
}

/// Largest parameter file, bytes.
const FILE_BYTES: u64 = 1 << 20;

/// The parts of the arguments that matter to us.
#[derive(Debug, Clone, Default)]
pub struct Args {
    /// Arguments outside `--ros-args … --`, without the program's name.
    pub user: Vec<String>,
    /// The log level, if one was given.
    pub log_level: Option<String>,
    /// Remaps of name and namespace, in order: whom they are for (none: every node of the process), what, to what.
    identity: Vec<(Option<String>, Identity, String)>,
    /// Remaps of topics, in order: whom they are for, from, to.
    topics: Vec<(Option<String>, String, String)>,
    sources: Vec<Source>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    Name,
    Namespace,
}

#[derive(Debug, Clone)]
enum Source {
    File(PathBuf, serde_yaml::Mapping),
    Flag { node: Option<String>, name: String, value: Value },
}

impl Args {
    /// Reads and checks `arguments` (without the program's name), parameter files included.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Args, ArgsError> {
        let mut parsed = Args::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if argument != "--ros-args" {
                parsed.user.push(argument);
                continue;
            }
            while let Some(flag) = arguments.next() {
                match flag.as_str() {
                    "--" => break,
                    // Harmless, as in rcl: `ros2 launch` says it once for ros_args and once more for all the rest.
                    "--ros-args" => {}
                    _ => parsed.ros_flag(flag, &mut arguments)?,
                }
            }
        }
        Ok(parsed)
    }

    fn ros_flag(&mut self, flag: String, rest: &mut impl Iterator<Item = String>) -> Result<(), ArgsError> {
        let mut value = || rest.next().ok_or_else(|| ArgsError::MissingValue(flag.clone()));
        match flag.as_str() {
            "-r" | "--remap" => {
                let rule = value()?;
                let (from, to) = split_rule(&flag, &rule)?;
                remap::check(from, to).map_err(|reason| ArgsError::Remap { flag, rule: rule.clone(), reason })?;
                let (node, what) = match from.split_once(':') {
                    Some((node, what)) if !what.starts_with("//") => (Some(node.to_owned()), what),
                    _ => (None, from),
                };
                match what {
                    "__node" | "__name" => self.identity.push((node, Identity::Name, to.to_owned())),
                    "__ns" => self.identity.push((node, Identity::Namespace, to.to_owned())),
                    _ if what.starts_with("rosservice://") => {}
                    _ => {
                        let topic = what.strip_prefix("rostopic://").unwrap_or(what);
                        self.topics.push((node, topic.to_owned(), to.to_owned()));
                    }
                }
            }
            "-p" | "--param" => {
                let rule = value()?;
                let (name, text) = split_rule(&flag, &rule)?;
                let (node, name) = match name.split_once(':') {
                    Some((node, name)) => (Some(node.to_owned()), name),
                    None => (None, name),
                };
                let yaml: serde_yaml::Value = serde_yaml::from_str(text)
                    .map_err(|_| ArgsError::MalformedRule { flag: flag.clone(), rule: rule.clone() })?;
                let value = Value::from_yaml(&yaml)
                    .map_err(|_| ArgsError::MalformedRule { flag: flag.clone(), rule: rule.clone() })?;
                self.sources.push(Source::Flag { node, name: name.to_owned(), value });
            }
            "--params-file" => {
                let path = PathBuf::from(value()?);
                let file = read_file(&path)?;
                self.sources.push(Source::File(path, file));
            }
            "--log-level" => {
                let text = value()?;
                let level = text.split_once(":=").map_or(text.as_str(), |(_, level)| level).to_ascii_lowercase();
                if !["debug", "info", "warn", "error", "fatal", "unset"].contains(&level.as_str()) {
                    return Err(ArgsError::LogLevel(text));
                }
                self.log_level = Some(level);
            }
            "-e" | "--enclave" | "--log-config-file" | "--log-file-name" => {
                value()?;
            }
            _ if flag.starts_with("--enable-") || flag.starts_with("--disable-") => {}
            _ => return Err(ArgsError::UnknownFlag(flag)),
        }
        Ok(())
    }

    /// The node's fully qualified name once remaps are applied to `default_name`.
    pub fn fully_qualified_name(&self, default_name: &str) -> String {
        // As in rcl, the first rule that is for this node counts.
        let remapped = |wanted: Identity| {
            let is_ours = |node: &Option<String>| node.as_deref().is_none_or(|node| node == default_name);
            self.identity.iter().find(|(node, what, _)| is_ours(node) && *what == wanted).map(|(_, _, to)| to.as_str())
        };
        let namespace = remapped(Identity::Namespace).unwrap_or("/").trim_matches('/');
        let name = remapped(Identity::Name).unwrap_or(default_name);
        if namespace.is_empty() { format!("/{name}") } else { format!("/{namespace}/{name}") }
    }

    /// A topic's full name once it is expanded and remapped for the node `fully_qualified_name`.
    pub(crate) fn topic_name(&self, fully_qualified_name: &str, topic: &str) -> String {
        let (namespace, node) = fully_qualified_name.rsplit_once('/').unwrap_or(("", fully_qualified_name));
        let expand = |name: &str| match name.strip_prefix('~') {
            Some(private) => format!("{fully_qualified_name}{private}"),
            None if name.starts_with('/') => name.to_owned(),
            None => format!("{namespace}/{name}"),
        };
        let topic = expand(topic);
        let ours = |rule: &&(Option<String>, String, String)| {
            rule.0.as_deref().is_none_or(|whom| whom == node) && expand(&rule.1) == topic
        };
        self.topics.iter().find(ours).map_or_else(|| topic.clone(), |(_, _, to)| expand(to))
    }

    /// The parameter values meant for the node `fully_qualified_name`; later sources win over earlier ones.
    pub fn overrides(&self, fully_qualified_name: &str) -> Result<BTreeMap<String, Override>, ArgsError> {
        let base_name = fully_qualified_name.rsplit('/').next().unwrap_or_default();
        let mut found = BTreeMap::new();
        for source in &self.sources {
            match source {
                Source::Flag { node, name, value } => {
                    if node.as_deref().is_none_or(|node| node == base_name) {
                        let given =
                            Override { value: value.clone(), origin: Origin::CommandLine, scope: Scope::ThisNode };
                        found.insert(name.clone(), given);
                    }
                }
                Source::File(path, file) => {
                    collect(path, file, &mut Vec::new(), fully_qualified_name, &mut found)?;
                }
            }
        }
        Ok(found)
    }
}

fn split_rule<'a>(flag: &str, rule: &'a str) -> Result<(&'a str, &'a str), ArgsError> {
    rule.split_once(":=")
        .filter(|(from, _)| !from.is_empty())
        .ok_or_else(|| ArgsError::MalformedRule { flag: flag.into(), rule: rule.into() })
}

fn read_file(path: &Path) -> Result<serde_yaml::Mapping, ArgsError> {
    let unreadable = |reason: String| ArgsError::Unreadable { path: path.into(), reason };
    let size = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?.len();
    if size > FILE_BYTES {
        return Err(unreadable(format!("it has {size} bytes, more than the {FILE_BYTES} allowed")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))?;
    let yaml: serde_yaml::Value = serde_yaml::from_str(&text).map_err(|e| unreadable(format!("not YAML: {e}")))?;
    match yaml {
        serde_yaml::Value::Mapping(file) => Ok(file),
        serde_yaml::Value::Null => Ok(serde_yaml::Mapping::new()),
        _ => Err(unreadable("the top level must map node names to ros__parameters".into())),
    }
}

/// Walks the node names of a parameter file down to `ros__parameters`.
fn collect(
    path: &Path,
    section: &serde_yaml::Mapping,
    above: &mut Vec<String>,
    fully_qualified_name: &str,
    found: &mut BTreeMap<String, Override>,
) -> Result<(), ArgsError> {
    let malformed = |key: String, reason: &str| ArgsError::Malformed { path: path.into(), key, reason: reason.into() };
    for (key, below) in section {
        let key = key.as_str().ok_or_else(|| malformed(above.join("/"), "a key is not a string"))?;
        let serde_yaml::Value::Mapping(below) = below else {
            return Err(malformed(key.into(), "must be a node name with ros__parameters below it"));
        };
        if key == "ros__parameters" {
            let pattern = above.join("/");
            if name_matches(&pattern, fully_qualified_name) {
                let scope = if pattern.contains('*') { Scope::Shared } else { Scope::ThisNode };
                flatten(path, below, "", scope, found)?;
            }
            continue;
        }
        above.push(key.to_owned());
        collect(path, below, above, fully_qualified_name, found)?;
        above.pop();
    }
    Ok(())
}

fn flatten(
    path: &Path,
    section: &serde_yaml::Mapping,
    prefix: &str,
    scope: Scope,
    found: &mut BTreeMap<String, Override>,
) -> Result<(), ArgsError> {
    for (key, value) in section {
        let malformed = |key: &str, reason: String| ArgsError::Malformed { path: path.into(), key: key.into(), reason };
        let key = key.as_str().ok_or_else(|| malformed(prefix, "a parameter's name is not a string".into()))?;
        let name = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
        if let serde_yaml::Value::Mapping(below) = value {
            flatten(path, below, &name, scope, found)?;
            continue;
        }
        let value = Value::from_yaml(value).map_err(|reason| malformed(&name, reason))?;
        found.insert(name, Override { value, origin: Origin::File(path.into()), scope });
    }
    Ok(())
}

/// Whether a name from a parameter file, with `*` for one token and `**` for any number, means this node.
fn name_matches(pattern: &str, fully_qualified_name: &str) -> bool {
    fn tokens_match(pattern: &[&str], name: &[&str]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((&"**", rest)), _) => {
                tokens_match(rest, name) || name.split_first().is_some_and(|(_, below)| tokens_match(pattern, below))
            }
            (Some((&"*", rest)), Some((_, below))) => tokens_match(rest, below),
            (Some((token, rest)), Some((first, below))) => token == first && tokens_match(rest, below),
            _ => false,
        }
    }
    let split = |text: &str| -> Vec<String> { text.split('/').filter(|t| !t.is_empty()).map(str::to_owned).collect() };
    let (pattern_tokens, name) = (split(pattern), split(fully_qualified_name));
    let pattern_tokens: Vec<&str> = pattern_tokens.iter().map(String::as_str).collect();
    let name: Vec<&str> = name.iter().map(String::as_str).collect();
    // A bare node name matches in every namespace, as in rclcpp.
    let bare = !pattern.starts_with('/') && pattern_tokens.len() == 1;
    tokens_match(&pattern_tokens, &name) || (bare && name.last() == pattern_tokens.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Args, ArgsError> {
        Args::parse(arguments.iter().map(|a| (*a).to_owned()))
    }

    fn with_file(text: &str) -> (tempfile::NamedTempFile, Args) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let args = parse(&["--ros-args", "--params-file", file.path().to_str().unwrap()]).unwrap();
        (file, args)
    }

    #[test]
    fn names_match_with_wildcards() {
        for (pattern, matches) in [
            ("gate", true),
            ("/robot/gate", true),
            ("robot/gate", true),
            ("/**", true),
            ("**", true),
            ("/*/gate", true),
            ("/**/gate", true),
            ("/robot/**", true),
            ("/robot/*", true),
            ("/gate", false),
            ("/other/gate", false),
            ("/*", false),
            ("other", false),
        ] {
            assert_eq!(name_matches(pattern, "/robot/gate"), matches, "{pattern}");
        }
    }

    #[test]
    fn later_sources_win_and_nested_names_are_joined_by_dots() {
        let (file, _) =
            with_file("/**:\n  ros__parameters:\n    a: 1\ngate:\n  ros__parameters:\n    a: 2\n    b: {c: x}\n");
        let path = file.path().to_str().unwrap();
        let args = parse(&["--ros-args", "--params-file", path, "-p", "b.d:=2.5", "--", "left"]).unwrap();
        let found = args.overrides("/robot/gate").unwrap();
        assert_eq!(found["a"].value, Value::Integer(2));
        assert_eq!(found["b.c"].value, Value::String("x".into()));
        assert_eq!(found["b.d"].value, Value::Double(2.5));
        assert_eq!(found["b.d"].origin, Origin::CommandLine);
        assert_eq!(args.user, ["left"]);
        let other = args.overrides("/robot/other").unwrap();
        assert_eq!((other["a"].value.clone(), other["a"].scope), (Value::Integer(1), Scope::Shared));
    }

    #[test]
    fn what_ros2_launch_hands_over_is_read() {
        let args = ["--ros-args", "--log-level", "info", "--ros-args", "-r", "__node:=gate", "-r", "__ns:=/robot1"];
        let args = parse(&args).unwrap();
        assert_eq!((args.fully_qualified_name("eap_executor").as_str(), args.user.len()), ("/robot1/gate", 0));
    }

    #[test]
    fn remaps_give_the_fully_qualified_name() {
        let args = parse(&["--ros-args", "-r", "__ns:=/robot1", "-r", "__node:=gate2"]).unwrap();
        assert_eq!(args.fully_qualified_name("gate"), "/robot1/gate2");
        assert_eq!(Args::default().fully_qualified_name("gate"), "/gate");
        let args = parse(&["--ros-args", "-r", "other:__ns:=/x", "-r", "gate:__ns:=/y", "-r", "__ns:=/z"]).unwrap();
        assert_eq!(args.fully_qualified_name("gate"), "/y/gate");
        assert_eq!(args.fully_qualified_name("third"), "/z/third");
    }

    #[test]
    fn topics_are_expanded_and_remapped_as_rcl_does() {
        let args = parse(&[
            "--ros-args",
            "-r",
            "scan:=front/scan",
            "-r",
            "other:odom:=nowhere",
            "-r",
            "gate:odom:=/fused",
            "-r",
            "~/state:=state",
        ]);
        let args = args.unwrap();
        for (topic, name) in [
            ("scan", "/robot1/front/scan"),
            ("/robot1/scan", "/robot1/front/scan"),
            ("/scan", "/scan"),
            ("odom", "/fused"),
            ("~/state", "/robot1/state"),
            ("~/frames", "/robot1/gate/frames"),
        ] {
            assert_eq!(args.topic_name("/robot1/gate", topic), name, "{topic}");
        }
    }

    #[test]
    fn each_mistake_is_one_clear_line() {
        for (arguments, line) in [
            (&["--ros-args", "-r"][..], "--ros-args: '-r' needs a value"),
            (&["--ros-args", "-p", "x"], "--ros-args -p 'x': must have the form name:=value"),
            (&["--ros-args", "--frob"], "--ros-args: '--frob' is not known"),
            (&["--ros-args", "--log-level", "loud"], "--log-level 'loud': must be debug"),
            (&["--ros-args", "--params-file", "/no/such.yaml"], "parameter file /no/such.yaml: No such file"),
        ] {
            let error = parse(arguments).unwrap_err().to_string();
            assert!(error.starts_with(line), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_no_parameter_file_is_refused_with_its_key() {
        for (text, key) in [("gate: 3\n", "gate"), ("gate:\n  ros__parameters:\n    a: [1, x]\n", "a")] {
            let (file, args) = match std::panic::catch_unwind(|| with_file(text)) {
                Ok(parsed) => parsed,
                Err(_) => panic!("{text}"),
            };
            let error = args.overrides("/gate").unwrap_err().to_string();
            assert!(error.starts_with(&format!("parameter file {}: {key}: ", file.path().display())), "{error}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a: [unclosed").unwrap();
        let error = parse(&["--ros-args", "--params-file", file.path().to_str().unwrap()]).unwrap_err();
        assert!(error.to_string().contains("not YAML"), "{error}");
    }
}
