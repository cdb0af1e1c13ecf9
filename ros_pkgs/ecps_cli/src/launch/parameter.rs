//! Parameter values and parameter files, checked before anything is started.

use std::path::{Path, PathBuf};

use serde_yaml::Value;
use thiserror::Error;

/// Largest parameter file, bytes.
const FILE_BYTES: u64 = 1 << 20;
/// How deep names may stand in one another in a parameter file.
const DEPTH: u32 = 16;

/// Why a text is not the value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParameterValueError {
    /// Not YAML.
    #[error("it is not YAML: {0}")]
    NotYaml(String),
    /// Null, a mapping or a tag.
    #[error("it is {0}, but a parameter is a boolean, an integer, a number, a text or a list of these")]
    Kind(&'static str),
    /// An empty list, or one with several types.
    #[error("a list must have at least one item, and all of one type")]
    List,
    /// NaN or infinity.
    #[error("the number is not finite")]
    NotFinite,
    /// More than 64 bits.
    #[error("the integer is beyond 64 bits")]
    TooLarge,
}

/// Why a parameter file is refused. Each is one line that names file, key and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParameterFileError {
    /// No such file, no permission, too large, not YAML.
    #[error("parameter file {}: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// A key that a parameter file cannot have.
    #[error("parameter file {}: {key}: {reason}", file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// The names down to it, joined by dots.
        key: String,
        /// Why.
        reason: String,
    },
}

/// `text` as YAML that every reader takes for the same type: by the rules of YAML, as launch_ros infers it.
pub(crate) fn infer(text: &str) -> Result<String, ParameterValueError> {
    if text.is_empty() {
        return Ok(quote(""));
    }
    let value: Value = serde_yaml::from_str(text).map_err(|e| ParameterValueError::NotYaml(e.to_string()))?;
    match &value {
        // PyYAML reads YAML 1.1, where these are booleans unless quoted.
        Value::String(word) if word == text.trim() && is_yes(word) => Ok("true".to_owned()),
        Value::String(word) if word == text.trim() && is_no(word) => Ok("false".to_owned()),
        Value::Sequence(items) => {
            check_list(items)?;
            let items: Result<Vec<_>, _> = items.iter().map(scalar).collect();
            Ok(format!("[{}]", items?.join(", ")))
        }
        other => scalar(other),
    }
}

fn is_yes(word: &str) -> bool {
    matches!(word, "yes" | "Yes" | "YES" | "on" | "On" | "ON")
}

fn is_no(word: &str) -> bool {
    matches!(word, "no" | "No" | "NO" | "off" | "Off" | "OFF")
}

fn scalar(value: &Value) -> Result<String, ParameterValueError> {
    match value {
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Ok(integer.to_string()),
            (None, Some(float)) if number.is_f64() && float.is_finite() => Ok(format!("{float:?}")),
            (None, Some(_)) if number.is_f64() => Err(ParameterValueError::NotFinite),
            _ => Err(ParameterValueError::TooLarge),
        },
        Value::String(text) => Ok(quote(text)),
        Value::Null => Err(ParameterValueError::Kind("null")),
        Value::Sequence(_) => Err(ParameterValueError::Kind("a list in a list")),
        Value::Mapping(_) => Err(ParameterValueError::Kind("a mapping")),
        Value::Tagged(_) => Err(ParameterValueError::Kind("a value with a tag")),
    }
}

/// All of one type, and at least one.
fn check_list(items: &[Value]) -> Result<(), ParameterValueError> {
    let kind = |value: &Value| match value {
        Value::Bool(_) => 0,
        Value::Number(number) if number.is_f64() => 1,
        Value::Number(_) => 2,
        _ => 3,
    };
    match items.split_first() {
        Some((first, rest)) if rest.iter().all(|item| kind(item) == kind(first)) => Ok(()),
        _ => Err(ParameterValueError::List),
    }
}

/// As it stands where it cannot be taken for anything but a text, else in double quotes.
fn quote(text: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
    let reserved = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '/'))
        && text.chars().all(word)
        && !reserved.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Refuses a file that a node could not read as its parameters.
pub(crate) fn check_file(file: &Path) -> Result<(), ParameterFileError> {
    let unreadable = |reason: String| ParameterFileError::Unreadable { file: file.to_owned(), reason };
    let bytes = std::fs::metadata(file).map_err(|e| unreadable(e.to_string()))?.len();
    if bytes > FILE_BYTES {
        return Err(unreadable(format!("it has {bytes} bytes, more than the {FILE_BYTES} allowed")));
    }
    let text = std::fs::read_to_string(file).map_err(|e| unreadable(e.to_string()))?;
    let top: Value = serde_yaml::from_str(&text).map_err(|e| unreadable(format!("it is not YAML: {e}")))?;
    let found = check_section(&top, Section::Nodes, 0);
    found.map_err(|(path, reason)| match path.join(".") {
        key if key.is_empty() => unreadable(reason),
        key => ParameterFileError::Key { file: file.to_owned(), key, reason },
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Nodes,
    Parameters,
}

/// The names down to what is wrong, and what is wrong with it.
fn check_section(section: &Value, kind: Section, depth: u32) -> Result<(), (Vec<String>, String)> {
    let here = |reason: &str| Err((Vec::new(), reason.to_owned()));
    let Value::Mapping(section) = section else {
        // A file of comments alone, or a node all of whose parameters are commented out.
        return match (section, kind, depth) {
            (Value::Null, _, 0) | (Value::Null, Section::Parameters, _) => Ok(()),
            (_, Section::Nodes, 0) => here("it must map the names of nodes to `ros__parameters`"),
            (_, Section::Nodes, _) => here("it must be the name of a node, with `ros__parameters` below it"),
            (_, Section::Parameters, _) => here("it must map the names of parameters to values"),
        };
    };
    if depth > DEPTH {
        return here("names stand in one another more than 16 deep");
    }
    for (name, value) in section {
        let Value::String(name) = name else { return here("a name is not a text") };
        let checked = match (kind, value) {
            (Section::Nodes, _) if name == "ros__parameters" => check_section(value, Section::Parameters, depth + 1),
            (Section::Nodes, _) => check_section(value, Section::Nodes, depth + 1),
            (Section::Parameters, Value::Mapping(_)) => check_section(value, Section::Parameters, depth + 1),
            // Parameters may be empty lists in a file: their declaration says of what.
            (Section::Parameters, Value::Sequence(items)) if items.is_empty() => Ok(()),
            (Section::Parameters, Value::Sequence(items)) => check_list(items)
                .and_then(|()| items.iter().try_for_each(|item| scalar(item).map(drop)))
                .map_err(|e| (Vec::new(), e.to_string())),
            (Section::Parameters, value) => scalar(value).map(drop).map_err(|e| (Vec::new(), e.to_string())),
        };
        checked.map_err(|(mut path, reason)| {
            path.insert(0, name.clone());
            (path, reason)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_from_the_rules_of_yaml() {
        for (text, value) in [
            ("true", "true"),
            ("off", "false"),
            ("Yes", "true"),
            ("'yes'", "\"yes\""),
            ("17", "17"),
            ("-3", "-3"),
            ("1.0", "1.0"),
            ("2.5e-3", "0.0025"),
            ("standard", "standard"),
            ("'17'", "\"17\""),
            ("a b: c".replace(": ", ":").as_str(), "\"a b:c\""),
            ("", "\"\""),
            ("[robot1, robot2]", "[robot1, robot2]"),
            ("[1.5, 2.0]", "[1.5, 2.0]"),
            ("['say \"hi\"']", "[\"say \\\"hi\\\"\"]"),
        ] {
            assert_eq!(infer(text).as_deref(), Ok(value), "{text}");
            let again: Value = serde_yaml::from_str(value).unwrap();
            assert_eq!(serde_yaml::from_str::<Value>(&infer(value).unwrap()).unwrap(), again, "{text} twice");
        }
    }

    #[test]
    fn what_no_parameter_can_be_is_refused() {
        for (text, error) in [
            ("null", ParameterValueError::Kind("null")),
            ("{a: 1}", ParameterValueError::Kind("a mapping")),
            ("[]", ParameterValueError::List),
            ("[1, 2.0]", ParameterValueError::List),
            ("[1, a]", ParameterValueError::List),
            ("[[1]]", ParameterValueError::Kind("a list in a list")),
            (".nan", ParameterValueError::NotFinite),
            ("-.inf", ParameterValueError::NotFinite),
            ("18446744073709551615", ParameterValueError::TooLarge),
        ] {
            assert_eq!(infer(text), Err(error), "{text}");
        }
        assert!(matches!(infer("[1"), Err(ParameterValueError::NotYaml(_))));
    }

    #[test]
    fn a_parameter_file_is_checked_down_to_its_keys() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("p.yaml");
        let check = |text: &str| {
            std::fs::write(&file, text).unwrap();
            check_file(&file).map_err(|e| e.to_string().replace(&file.display().to_string(), "F"))
        };
        for text in [
            "",
            "# nothing\n",
            "/**:\n  ros__parameters:\n    a: 1\n    b: {c: [x, y], d: []}\n",
            "n:\n  ros__parameters:\n",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for (text, error) in [
            ("- a\n", "parameter file F: it must map the names of nodes to `ros__parameters`"),
            ("gate: 3\n", "parameter file F: gate: it must be the name of a node, with `ros__parameters` below it"),
            (
                "/r:\n  gate:\n    ros__parameters:\n      limits:\n        v: .inf\n",
                "parameter file F: /r.gate.ros__parameters.limits.v: the number is not finite",
            ),
            (
                "gate: {ros__parameters: {a: [1, x]}}",
                "parameter file F: gate.ros__parameters.a: a list must have at least one item, and all of one type",
            ),
            (
                "gate: {ros__parameters: 1}",
                "parameter file F: gate.ros__parameters: it must map the names of parameters to values",
            ),
            ("1: {}", "parameter file F: a name is not a text"),
        ] {
            assert_eq!(check(text), Err(error.to_owned()), "{text}");
        }
        assert!(check("a: [unclosed").unwrap_err().starts_with("parameter file F: it is not YAML: "));
        let deep = (0..20).map(|i| format!("{}a{i}:\n", " ".repeat(i))).collect::<String>();
        assert!(check(&deep).unwrap_err().contains("16 deep"));
        std::fs::remove_file(&file).unwrap();
        assert!(check_file(&file).unwrap_err().to_string().contains("No such file"));
    }
}
