//! Parameters from one declared schema per node: name, type, default, unit, description, range, choices.
//!
//! The schema is the only place where a parameter is described: values from files and the command line are held against
//! it before the node starts, the parameter services answer from it, and the commented YAML in `config/` is printed
//! from it.

mod services;
mod value;

use std::collections::BTreeMap;
use std::fmt::Write;

use thiserror::Error;

pub(crate) use services::serve;
pub use value::Value;

use crate::args::{Override, Scope};

/// Whether a parameter may change while the node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutability {
    /// Read at start.
    ReadOnly,
    /// Takes effect at once.
    Dynamic,
}

/// What values a parameter may take beyond its type.
#[derive(Debug, Clone, PartialEq)]
enum Bound {
    Any,
    Range { min: f64, max: f64 },
    Choices(Vec<String>),
}

/// One declared parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    name: String,
    default: Value,
    description: String,
    unit: &'static str,
    bound: Bound,
    mutability: Mutability,
}

impl Spec {
    /// A read-only parameter with its default and one sentence about it.
    pub fn new(name: impl Into<String>, default: Value, description: impl Into<String>) -> Spec {
        Spec {
            name: name.into(),
            default,
            description: description.into(),
            unit: "",
            bound: Bound::Any,
            mutability: Mutability::ReadOnly,
        }
    }

    /// A double.
    pub fn double(name: impl Into<String>, default: f64, description: impl Into<String>) -> Spec {
        Spec::new(name, Value::Double(default), description)
    }

    /// An integer.
    pub fn integer(name: impl Into<String>, default: i64, description: impl Into<String>) -> Spec {
        Spec::new(name, Value::Integer(default), description)
    }

    /// A truth value.
    pub fn bool(name: impl Into<String>, default: bool, description: impl Into<String>) -> Spec {
        Spec::new(name, Value::Bool(default), description)
    }

    /// A text.
    pub fn string(name: impl Into<String>, default: &str, description: impl Into<String>) -> Spec {
        Spec::new(name, Value::String(default.to_owned()), description)
    }

    /// A list of texts.
    pub fn strings(name: impl Into<String>, default: &[&str], description: impl Into<String>) -> Spec {
        Spec::new(name, Value::StringArray(default.iter().map(|s| (*s).to_owned()).collect()), description)
    }

    /// A list of doubles.
    pub fn doubles(name: impl Into<String>, default: &[f64], description: impl Into<String>) -> Spec {
        Spec::new(name, Value::DoubleArray(default.to_vec()), description)
    }

    /// The unit of the value, as REP 103 writes it.
    #[must_use]
    pub fn unit(self, unit: &'static str) -> Spec {
        Spec { unit, ..self }
    }

    /// Least and greatest number, both allowed.
    #[must_use]
    pub fn range(self, min: f64, max: f64) -> Spec {
        Spec { bound: Bound::Range { min, max }, ..self }
    }

    /// The only texts allowed.
    #[must_use]
    pub fn choices(self, choices: &[&str]) -> Spec {
        Spec { bound: Bound::Choices(choices.iter().map(|s| (*s).to_owned()).collect()), ..self }
    }

    /// Lets the parameter change while the node runs.
    #[must_use]
    pub fn dynamic(self) -> Spec {
        Spec { mutability: Mutability::Dynamic, ..self }
    }

    /// Holds a value against type, range and choices.
    fn check(&self, value: Value) -> Result<Value, String> {
        let value = value.coerced_to(&self.default);
        if std::mem::discriminant(&value) != std::mem::discriminant(&self.default) {
            return Err(format!(
                "is {} ({}), and must be a {}",
                value.to_yaml(),
                value.type_name(),
                self.default.type_name()
            ));
        }
        for number in value.numbers() {
            if !number.is_finite() {
                return Err(format!("is {number}, and must be finite"));
            }
            if let Bound::Range { min, max } = self.bound
                && (number < min || number > max)
            {
                return Err(format!("is {number}, outside {min} to {max}{}", self.unit_suffix()));
            }
        }
        if let (Bound::Choices(choices), Value::String(text)) = (&self.bound, &value)
            && !choices.contains(text)
        {
            return Err(format!("is '{text}', and must be one of {}", choices.join(", ")));
        }
        Ok(value)
    }

    fn unit_suffix(&self) -> String {
        if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) }
    }

    /// Unit and bounds in words, for descriptions and comments.
    fn constraints(&self) -> String {
        let mut parts = Vec::new();
        if !self.unit.is_empty() {
            parts.push(self.unit.to_owned());
        }
        match &self.bound {
            Bound::Any => {}
            Bound::Range { min, max } => parts.push(format!("{min} to {max}")),
            Bound::Choices(choices) => parts.push(choices.join(" | ")),
        }
        if self.mutability == Mutability::Dynamic {
            parts.push("may change while running".to_owned());
        }
        parts.join(", ")
    }
}

/// A parameter that was given a value it cannot take, or that does not exist. One line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParameterError {
    /// A value from outside that is refused.
    #[error("{origin}: parameter '{name}' {reason}")]
    Refused {
        /// The file, or the command line.
        origin: String,
        /// The parameter.
        name: String,
        /// The value and the limit, in words.
        reason: String,
    },
    /// A name nobody declared.
    #[error("{origin}: parameter '{name}' is not known to this node; known are {known}")]
    Unknown {
        /// The file, or the command line.
        origin: String,
        /// The parameter.
        name: String,
        /// The declared names.
        known: String,
    },
    /// The node's own code asks for a parameter that it did not declare with that type.
    #[error("parameter '{name}' is not declared as a {wanted}")]
    Undeclared {
        /// The parameter.
        name: String,
        /// The type asked for.
        wanted: &'static str,
    },
}

/// A node's parameters: schema and values.
#[derive(Debug, Default)]
pub struct Parameters {
    specs: BTreeMap<String, Spec>,
    order: Vec<String>,
    values: BTreeMap<String, Value>,
    overrides: BTreeMap<String, Override>,
}

macro_rules! getter {
    ($(#[$doc:meta])* $name:ident, $variant:ident, $type:ty, $wanted:literal) => {
        $(#[$doc])*
        pub fn $name(&self, name: &str) -> Result<$type, ParameterError> {
            match self.values.get(name) {
                Some(Value::$variant(value)) => Ok(value.clone()),
                _ => Err(ParameterError::Undeclared { name: name.to_owned(), wanted: $wanted }),
            }
        }
    };
}

impl Parameters {
    /// Parameters that take their values from `overrides` as they are declared.
    pub(crate) fn new(overrides: BTreeMap<String, Override>) -> Parameters {
        Parameters { overrides, ..Parameters::default() }
    }

    /// Declares a parameter; its value is the override if there is one, else the default.
    pub fn declare(&mut self, spec: Spec) -> Result<(), ParameterError> {
        let value = match self.overrides.get(&spec.name) {
            None => spec.default.clone(),
            Some(given) => spec.check(given.value.clone()).map_err(|reason| ParameterError::Refused {
                origin: given.origin.to_string(),
                name: spec.name.clone(),
                reason,
            })?,
        };
        self.values.insert(spec.name.clone(), value);
        if self.specs.insert(spec.name.clone(), spec.clone()).is_none() {
            self.order.push(spec.name);
        }
        Ok(())
    }

    /// Refuses values that were meant for this node alone and that nothing declared: most often a misspelt name.
    pub(crate) fn refuse_unknown(&self) -> Result<(), ParameterError> {
        for (name, given) in &self.overrides {
            if given.scope == Scope::ThisNode && !self.specs.contains_key(name) && !name.starts_with("qos_overrides.") {
                return Err(ParameterError::Unknown {
                    origin: given.origin.to_string(),
                    name: name.clone(),
                    known: self.order.join(", "),
                });
            }
        }
        Ok(())
    }

    /// Whether a value was given for it from outside.
    pub(crate) fn is_overridden(&self, name: &str) -> bool {
        self.overrides.contains_key(name)
    }

    /// Refuses QoS overrides that were meant for this node alone and that fit no topic of it.
    pub(crate) fn refuse_unclaimed_qos(&self) -> Result<(), ParameterError> {
        let unclaimed = |(name, given): &(&String, &Override)| {
            name.starts_with("qos_overrides.") && given.scope == Scope::ThisNode && !self.specs.contains_key(*name)
        };
        match self.overrides.iter().find(unclaimed) {
            None => Ok(()),
            Some((name, given)) => Err(ParameterError::Refused {
                origin: given.origin.to_string(),
                name: name.clone(),
                reason: "fits no topic and policy of this node; it must be \
                         qos_overrides.</full/topic>.<publisher|subscription>.<policy>"
                    .into(),
            }),
        }
    }

    getter!(
        /// Value of a truth parameter.
        bool, Bool, bool, "boolean"
    );
    getter!(
        /// Value of an integer parameter.
        integer, Integer, i64, "integer"
    );
    getter!(
        /// Value of a double parameter.
        double, Double, f64, "double"
    );
    getter!(
        /// Value of a text parameter.
        string, String, String, "string"
    );
    getter!(
        /// Value of a text list parameter.
        strings, StringArray, Vec<String>, "string array"
    );
    getter!(
        /// Value of a double list parameter.
        doubles, DoubleArray, Vec<f64>, "double array"
    );

    /// An integer parameter as a size; negative values count as zero, so declare a range.
    pub fn size(&self, name: &str) -> Result<usize, ParameterError> {
        self.integer(name).map(|value| usize::try_from(value).unwrap_or(0))
    }

    /// A double parameter in seconds as a duration.
    pub fn seconds(&self, name: &str) -> Result<std::time::Duration, ParameterError> {
        let seconds = self.double(name)?;
        std::time::Duration::try_from_secs_f64(seconds).map_err(|e| ParameterError::Refused {
            origin: "parameters".into(),
            name: name.to_owned(),
            reason: format!("is {seconds}: {e}"),
        })
    }

    /// Why a change at run time is refused, or the values it sets.
    pub(crate) fn check_change(&self, name: &str, value: Value) -> Result<Value, String> {
        let Some(spec) = self.specs.get(name) else {
            return Err(format!("parameter '{name}' is not declared"));
        };
        if spec.mutability == Mutability::ReadOnly {
            return Err(format!("parameter '{name}' is read-only: set it in the parameter file and restart"));
        }
        spec.check(value).map_err(|reason| format!("parameter '{name}' {reason}"))
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    /// The parameters as a table in Markdown, for the documentation.
    pub(crate) fn markdown(&self, node: &str) -> String {
        let mut text = format!(
            "## {node}\n\n| parameter | type | default | range or choices | changes | meaning |\n|---|---|---|---|---|---|\n"
        );
        for spec in self.order.iter().filter_map(|name| self.specs.get(name)) {
            let bound = match &spec.bound {
                Bound::Any => spec.unit.to_owned(),
                Bound::Range { min, max } => format!("{min} to {max}{}", spec.unit_suffix()),
                Bound::Choices(choices) => choices.join(", "),
            };
            let changes = match spec.mutability {
                Mutability::ReadOnly => "at start",
                Mutability::Dynamic => "while running",
            };
            let (kind, default) = (spec.default.type_name(), spec.default.to_yaml());
            let meaning = spec.description.replace('|', "\\|");
            let _ = writeln!(text, "| `{}` | {kind} | `{default}` | {bound} | {changes} | {meaning} |", spec.name);
        }
        text.push('\n');
        text
    }

    /// The commented YAML of `config/`: every parameter with its default, unit, bounds and sentence.
    pub fn commented_yaml(&self, node: &str) -> String {
        let mut text = format!("# Every parameter of {node} with its default. Printed from the node's own schema by\n");
        let _ = writeln!(text, "# `{node} --print-config`, and tested against it.\n/**/{node}:\n  ros__parameters:");
        for spec in self.order.iter().filter_map(|name| self.specs.get(name)) {
            let constraints = spec.constraints();
            let constraints = if constraints.is_empty() { String::new() } else { format!(" [{constraints}]") };
            let _ = writeln!(text, "    # {}{constraints}", spec.description);
            let _ = writeln!(text, "    {}: {}", spec.name, spec.default.to_yaml());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Origin;

    fn parameters(overrides: &[(&str, Value)], scope: Scope) -> Parameters {
        let given = |value: &Value| Override { value: value.clone(), origin: Origin::File("robot.yaml".into()), scope };
        Parameters::new(overrides.iter().map(|(name, value)| ((*name).to_owned(), given(value))).collect())
    }

    fn speed() -> Spec {
        Spec::double("max_speed", 1.0, "Highest speed.").unit("m/s").range(0.0, 5.0).dynamic()
    }

    #[test]
    fn a_refused_value_names_file_key_value_and_limit() {
        for (value, line) in [
            (Value::Double(9.0), "robot.yaml: parameter 'max_speed' is 9, outside 0 to 5 m/s"),
            (
                Value::String("fast".into()),
                "robot.yaml: parameter 'max_speed' is \"fast\" (string), and must be a double",
            ),
            (Value::Double(f64::NAN), "robot.yaml: parameter 'max_speed' is NaN, and must be finite"),
        ] {
            let error = parameters(&[("max_speed", value)], Scope::ThisNode).declare(speed()).unwrap_err();
            assert_eq!(error.to_string(), line);
        }
    }

    #[test]
    fn an_integer_will_do_for_a_double() {
        let mut parameters = parameters(&[("max_speed", Value::Integer(2))], Scope::ThisNode);
        parameters.declare(speed()).unwrap();
        assert_eq!(parameters.double("max_speed"), Ok(2.0));
    }

    #[test]
    fn a_misspelt_name_is_refused_unless_it_may_be_meant_for_another_node() {
        let mut own = parameters(&[("max_sped", Value::Double(2.0))], Scope::ThisNode);
        own.declare(speed()).unwrap();
        let error = own.refuse_unknown().unwrap_err().to_string();
        assert_eq!(error, "robot.yaml: parameter 'max_sped' is not known to this node; known are max_speed");
        let mut shared = parameters(&[("max_sped", Value::Double(2.0))], Scope::Shared);
        shared.declare(speed()).unwrap();
        assert_eq!(shared.refuse_unknown(), Ok(()));
    }

    #[test]
    fn a_change_while_running_is_held_against_the_schema() {
        let mut parameters = parameters(&[], Scope::ThisNode);
        parameters.declare(speed()).unwrap();
        parameters.declare(Spec::string("mode", "a", "A mode.").choices(&["a", "b"])).unwrap();
        assert_eq!(parameters.check_change("max_speed", Value::Integer(3)), Ok(Value::Double(3.0)));
        assert!(parameters.check_change("max_speed", Value::Double(6.0)).unwrap_err().contains("outside 0 to 5 m/s"));
        assert!(parameters.check_change("mode", Value::String("b".into())).unwrap_err().contains("read-only"));
        assert!(parameters.check_change("other", Value::Bool(true)).unwrap_err().contains("not declared"));
    }

    #[test]
    fn the_printed_yaml_reads_back_as_the_defaults() {
        let mut parameters = parameters(&[], Scope::ThisNode);
        parameters.declare(speed()).unwrap();
        parameters.declare(Spec::strings("streams", &["scan"], "Streams.")).unwrap();
        let text = parameters.commented_yaml("gate");
        assert!(text.contains("    # Highest speed. [m/s, 0 to 5, may change while running]\n    max_speed: 1.0\n"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let arguments = ["--ros-args", "--params-file", file.path().to_str().unwrap()];
        let args = crate::args::Args::parse(arguments.iter().map(|a| (*a).to_owned())).unwrap();
        let overrides = args.overrides("/robot/gate").unwrap();
        assert_eq!(overrides["max_speed"].value, Value::Double(1.0));
        assert_eq!(overrides["streams"].value, Value::StringArray(vec!["scan".into()]));
    }
}
