//! Parameter values as ROS has them.

use r2r::rcl_interfaces::msg::{ParameterType, ParameterValue};

/// A parameter's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// true or false.
    Bool(bool),
    /// 64-bit integer.
    Integer(i64),
    /// Finite double.
    Double(f64),
    /// Text.
    String(String),
    /// List of truth values.
    BoolArray(Vec<bool>),
    /// List of integers.
    IntegerArray(Vec<i64>),
    /// List of finite doubles.
    DoubleArray(Vec<f64>),
    /// List of texts.
    StringArray(Vec<String>),
}

impl Value {
    /// The type's name as `ros2 param describe` prints it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Bool(_) => "boolean",
            Value::Integer(_) => "integer",
            Value::Double(_) => "double",
            Value::String(_) => "string",
            Value::BoolArray(_) => "boolean array",
            Value::IntegerArray(_) => "integer array",
            Value::DoubleArray(_) => "double array",
            Value::StringArray(_) => "string array",
        }
    }

    /// The constant of `rcl_interfaces/ParameterType`.
    pub(crate) fn type_code(&self) -> u8 {
        match self {
            Value::Bool(_) => ParameterType::PARAMETER_BOOL as u8,
            Value::Integer(_) => ParameterType::PARAMETER_INTEGER as u8,
            Value::Double(_) => ParameterType::PARAMETER_DOUBLE as u8,
            Value::String(_) => ParameterType::PARAMETER_STRING as u8,
            Value::BoolArray(_) => ParameterType::PARAMETER_BOOL_ARRAY as u8,
            Value::IntegerArray(_) => ParameterType::PARAMETER_INTEGER_ARRAY as u8,
            Value::DoubleArray(_) => ParameterType::PARAMETER_DOUBLE_ARRAY as u8,
            Value::StringArray(_) => ParameterType::PARAMETER_STRING_ARRAY as u8,
        }
    }

    /// From YAML, with ROS's rules: no nesting, arrays of one type.
    pub fn from_yaml(yaml: &serde_yaml::Value) -> Result<Value, String> {
        use serde_yaml::Value as Yaml;
        match yaml {
            Yaml::Bool(value) => Ok(Value::Bool(*value)),
            Yaml::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => Ok(Value::Integer(integer)),
                (None, Some(double)) => Ok(Value::Double(double)),
                (None, None) => Err(format!("{number} does not fit 64 bits")),
            },
            Yaml::String(text) => Ok(Value::String(text.clone())),
            Yaml::Sequence(items) => Value::array_from_yaml(items),
            Yaml::Null => Err("has no value".into()),
            Yaml::Mapping(_) | Yaml::Tagged(_) => Err("must be a scalar or a list of scalars".into()),
        }
    }

    fn array_from_yaml(items: &[serde_yaml::Value]) -> Result<Value, String> {
        let values = items.iter().map(Value::from_yaml).collect::<Result<Vec<Value>, String>>()?;
        let mixed = || "a list must hold values of one type".to_owned();
        let mut arrays = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for value in values {
            match value {
                Value::Bool(value) => arrays.0.push(value),
                Value::Integer(value) => arrays.1.push(value),
                Value::Double(value) => arrays.2.push(value),
                Value::String(value) => arrays.3.push(value),
                _ => return Err("a list must not hold lists".into()),
            }
        }
        match arrays {
            (bools, i, d, s) if i.is_empty() && d.is_empty() && s.is_empty() && !bools.is_empty() => {
                Ok(Value::BoolArray(bools))
            }
            (b, integers, d, s) if b.is_empty() && d.is_empty() && s.is_empty() && !integers.is_empty() => {
                Ok(Value::IntegerArray(integers))
            }
            (b, i, doubles, s) if b.is_empty() && i.is_empty() && s.is_empty() && !doubles.is_empty() => {
                Ok(Value::DoubleArray(doubles))
            }
            // An empty list carries no type; a declared array parameter takes it as its own.
            (b, i, d, strings) if b.is_empty() && i.is_empty() && d.is_empty() => Ok(Value::StringArray(strings)),
            _ => Err(mixed()),
        }
    }

    /// Converts where ROS users expect it: an integer for a double, an empty list for any array.
    pub(crate) fn coerced_to(self, like: &Value) -> Value {
        match (self, like) {
            (Value::Integer(value), Value::Double(_)) => Value::Double(value as f64),
            (Value::IntegerArray(values), Value::DoubleArray(_)) => {
                Value::DoubleArray(values.into_iter().map(|v| v as f64).collect())
            }
            (Value::StringArray(values), Value::DoubleArray(_)) if values.is_empty() => Value::DoubleArray(Vec::new()),
            (Value::StringArray(values), Value::IntegerArray(_)) if values.is_empty() => {
                Value::IntegerArray(Vec::new())
            }
            (Value::StringArray(values), Value::BoolArray(_)) if values.is_empty() => Value::BoolArray(Vec::new()),
            (value, _) => value,
        }
    }

    /// The numbers in it, for range checks.
    pub(crate) fn numbers(&self) -> Vec<f64> {
        match self {
            Value::Integer(value) => vec![*value as f64],
            Value::Double(value) => vec![*value],
            Value::IntegerArray(values) => values.iter().map(|v| *v as f64).collect(),
            Value::DoubleArray(values) => values.clone(),
            _ => Vec::new(),
        }
    }

    /// As YAML, for messages and parameter files.
    pub fn to_yaml(&self) -> String {
        fn list<T>(values: &[T], show: impl Fn(&T) -> String) -> String {
            format!("[{}]", values.iter().map(show).collect::<Vec<_>>().join(", "))
        }
        let quoted = |text: &String| serde_json_string(text);
        match self {
            Value::Bool(value) => value.to_string(),
            Value::Integer(value) => value.to_string(),
            Value::Double(value) => format!("{value:?}"),
            Value::String(value) => quoted(value),
            Value::BoolArray(values) => list(values, bool::to_string),
            Value::IntegerArray(values) => list(values, i64::to_string),
            Value::DoubleArray(values) => list(values, |v| format!("{v:?}")),
            Value::StringArray(values) => list(values, quoted),
        }
    }

    /// To the message.
    pub(crate) fn to_message(&self) -> ParameterValue {
        let mut message = ParameterValue { type_: self.type_code(), ..ParameterValue::default() };
        match self.clone() {
            Value::Bool(value) => message.bool_value = value,
            Value::Integer(value) => message.integer_value = value,
            Value::Double(value) => message.double_value = value,
            Value::String(value) => message.string_value = value,
            Value::BoolArray(values) => message.bool_array_value = values,
            Value::IntegerArray(values) => message.integer_array_value = values,
            Value::DoubleArray(values) => message.double_array_value = values,
            Value::StringArray(values) => message.string_array_value = values,
        }
        message
    }

    /// From the message; none for types that no parameter of ours has.
    pub(crate) fn from_message(message: ParameterValue) -> Option<Value> {
        // The generated constants are of a type each, so they cannot stand in patterns.
        let is = |like: Value| message.type_ == like.type_code();
        if is(Value::Bool(false)) {
            Some(Value::Bool(message.bool_value))
        } else if is(Value::Integer(0)) {
            Some(Value::Integer(message.integer_value))
        } else if is(Value::Double(0.0)) {
            Some(Value::Double(message.double_value))
        } else if is(Value::String(String::new())) {
            Some(Value::String(message.string_value))
        } else if is(Value::BoolArray(Vec::new())) {
            Some(Value::BoolArray(message.bool_array_value))
        } else if is(Value::IntegerArray(Vec::new())) {
            Some(Value::IntegerArray(message.integer_array_value))
        } else if is(Value::DoubleArray(Vec::new())) {
            Some(Value::DoubleArray(message.double_array_value))
        } else if is(Value::StringArray(Vec::new())) {
            Some(Value::StringArray(message.string_array_value))
        } else {
            None
        }
    }
}

/// A string in double quotes, escaped as JSON and therefore also as YAML.
fn serde_json_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_round_trips_every_type() {
        for value in [
            Value::Bool(true),
            Value::Integer(-3),
            Value::Double(1.0),
            Value::Double(1e-9),
            Value::String("say \"hi\"\\\n".into()),
            Value::BoolArray(vec![true, false]),
            Value::IntegerArray(vec![1, 2]),
            Value::DoubleArray(vec![0.5]),
            Value::StringArray(vec!["a".into(), "b c".into()]),
        ] {
            let yaml: serde_yaml::Value = serde_yaml::from_str(&value.to_yaml()).unwrap();
            assert_eq!(Value::from_yaml(&yaml).unwrap(), value);
            assert_eq!(Value::from_message(value.to_message()), Some(value));
        }
    }

    #[test]
    fn mixed_lists_are_refused() {
        for text in ["[1, x]", "[[1]]", "{a: 1}", "~"] {
            let yaml: serde_yaml::Value = serde_yaml::from_str(text).unwrap();
            assert!(Value::from_yaml(&yaml).is_err(), "{text}");
        }
    }
}
