//! From a text with substitutions to a text, in the scope where it stands.

use std::collections::BTreeMap;
use std::path::Path;

use thiserror::Error;

use super::packages::{PackageError, Packages};
use super::template::{Call, Piece, Template};

/// Why a text with substitutions has no value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EvaluateError {
    /// A launch configuration that nothing has set.
    #[error("$(var {0}): no <arg> or <let> above has set `{0}`")]
    NoVariable(String),
    /// An environment variable that is not set, without a default.
    #[error("$(env {0}): the environment variable `{0}` is not set, and no default is given")]
    NoEnvironmentVariable(String),
    /// A condition that is neither true nor false.
    #[error("`{source_text}` gives `{value}`, which is none of true, false, 1, 0")]
    NotABoolean {
        /// As written.
        source_text: String,
        /// What it evaluates to.
        value: String,
    },
    /// A package that is not found.
    #[error(transparent)]
    Package(#[from] PackageError),
}

/// What substitutions can see.
pub(crate) struct View<'a> {
    pub(crate) configurations: &'a BTreeMap<String, String>,
    /// What the launch files have set.
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// What `ecps` itself was started with.
    pub(crate) outer_environment: &'a BTreeMap<String, String>,
    pub(crate) packages: &'a Packages,
    /// The folder of the file in which the text stands.
    pub(crate) folder: &'a Path,
}

impl View<'_> {
    pub(crate) fn text(&self, template: &Template) -> Result<String, EvaluateError> {
        self.pieces(&template.pieces)
    }

    /// The value of `if` or `unless`.
    pub(crate) fn truth(&self, template: &Template) -> Result<bool, EvaluateError> {
        truth(&template.source, &self.text(template)?)
    }

    /// The words of a command line. The value of a substitution is never split, as in `ros2 launch`.
    pub(crate) fn words(&self, template: &Template) -> Result<Vec<String>, EvaluateError> {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut quote = None;
        for piece in &template.pieces {
            let text = match piece {
                Piece::Text(text) => text,
                Piece::Call(call) => {
                    word.get_or_insert_default().push_str(&self.call(call)?);
                    continue;
                }
            };
            for c in text.chars() {
                match (c, quote) {
                    (c, Some(open)) if c == open => quote = None,
                    (c, Some(_)) => word.get_or_insert_default().push(c),
                    ('\'' | '"', None) => {
                        quote = Some(c);
                        word.get_or_insert_default();
                    }
                    (c, None) if c.is_whitespace() => words.extend(word.take()),
                    (c, None) => word.get_or_insert_default().push(c),
                }
            }
        }
        words.extend(word);
        Ok(words)
    }

    fn pieces(&self, pieces: &[Piece]) -> Result<String, EvaluateError> {
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::Call(call) => text.push_str(&self.call(call)?),
            }
        }
        Ok(text)
    }

    fn call(&self, call: &Call) -> Result<String, EvaluateError> {
        match call {
            Call::Var(name) => {
                let name = self.pieces(name)?;
                self.configurations.get(&name).cloned().ok_or(EvaluateError::NoVariable(name))
            }
            Call::Env { name, default } => {
                let name = self.pieces(name)?;
                match (self.environment.get(&name).or_else(|| self.outer_environment.get(&name)), default) {
                    (Some(value), _) => Ok(value.clone()),
                    (None, Some(default)) => self.pieces(default),
                    (None, None) => Err(EvaluateError::NoEnvironmentVariable(name)),
                }
            }
            Call::FindPkgShare(package) => {
                Ok(self.packages.share(&self.pieces(package)?)?.to_string_lossy().into_owned())
            }
            Call::Dirname => Ok(self.folder.to_string_lossy().into_owned()),
            Call::Not(value) => Ok((!truth("$(not …)", &self.pieces(value)?)?).to_string()),
            Call::Equals(left, right) => Ok(equal(&self.pieces(left)?, &self.pieces(right)?).to_string()),
        }
    }
}

fn truth(source_text: &str, value: &str) -> Result<bool, EvaluateError> {
    boolean(value.trim())
        .ok_or_else(|| EvaluateError::NotABoolean { source_text: source_text.to_owned(), value: value.to_owned() })
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// As ros2/launch's EqualsSubstitution: as booleans, else as numbers (to 1e-9 of the larger), else as texts.
fn equal(left: &str, right: &str) -> bool {
    if let (Some(left), Some(right)) = (boolean(left), boolean(right)) {
        return left == right;
    }
    if let (Ok(left), Ok(right)) = (left.trim().parse::<f64>(), right.trim().parse::<f64>()) {
        return left == right || (left - right).abs() <= 1e-9 * left.abs().max(right.abs());
    }
    left == right
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluate<T>(source: &str, read: impl Fn(&View<'_>, &Template) -> T) -> T {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let view = View {
            configurations: &map(&[("name", "gate"), ("words", "two words"), ("on", "True"), ("empty", "")]),
            environment: &map(&[("BOTH", "inner")]),
            outer_environment: &map(&[("BOTH", "outer"), ("OUTER", "o")]),
            packages: &Packages::default(),
            folder: Path::new("/launch"),
        };
        read(&view, &Template::parse(source).unwrap())
    }

    #[test]
    fn substitutions_see_configurations_environment_and_folder() {
        for (source, value) in [
            ("$(dirname)/$(var name).yaml", "/launch/gate.yaml"),
            ("$(env BOTH) $(env OUTER) $(env NONE x) $(env NONE '')", "inner o x "),
            ("$(not $(var on))", "false"),
            ("$(equals $(var on) 1) $(equals 1.0 1) $(equals a A) $(equals x$(var empty) x)", "true true false true"),
        ] {
            assert_eq!(evaluate(source, |view, t| view.text(t)).unwrap(), value, "{source}");
        }
    }

    #[test]
    fn what_has_no_value_is_named() {
        for (source, message) in [
            ("$(var nothing)", "no <arg> or <let> above has set `nothing`"),
            ("$(env NOTHING)", "environment variable `NOTHING` is not set"),
            ("$(not $(var name))", "gives `gate`, which is none of"),
            ("$(find-pkg-share nowhere)", "`nowhere` is not found"),
        ] {
            let error = evaluate(source, |view, t| view.text(t)).unwrap_err().to_string();
            assert!(error.contains(message), "{source}: {error}");
        }
        assert!(evaluate(" TRUE ", |view, t| view.truth(t)).unwrap());
        let error = evaluate("$(var empty)", |view, t| view.truth(t)).unwrap_err().to_string();
        assert_eq!(error, "`$(var empty)` gives ``, which is none of true, false, 1, 0");
    }

    #[test]
    fn command_lines_split_at_spaces_but_never_inside_a_value() {
        let words = |source: &str| evaluate(source, |view, t| view.words(t)).unwrap();
        assert_eq!(
            words("  --a 'b c'  --d=$(var words)/x $(var name) ''"),
            ["--a", "b c", "--d=two words/x", "gate", ""]
        );
        assert_eq!(words("$(var empty)"), [""]);
        assert_eq!(words("   "), [""; 0]);
    }
}
