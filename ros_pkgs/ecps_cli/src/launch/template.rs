//! Text with substitutions, as in `$(find-pkg-share ecps)/config/$(var node).yaml`, by the grammar of ros2/launch
//! (launch/share/launch/frontend/grammar.lark).

use std::iter::Peekable;
use std::str::Chars;

use thiserror::Error;

/// How deep substitutions may stand in one another.
const DEPTH: usize = 16;

/// Why a text with substitutions cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// A substitution outside the subset.
    #[error(
        "the substitution $({0} …) is not among those that `ecps up` knows \
         (var, env, find-pkg-share, dirname, not, equals); start this file with `ros2 launch`"
    )]
    Unknown(String),
    /// A known substitution with too few or too many arguments.
    #[error("the substitution $({name} …) takes {takes}, but {given} are given")]
    ArgumentCount {
        /// Its name.
        name: &'static str,
        /// How many it takes.
        takes: &'static str,
        /// How many there are.
        given: usize,
    },
    /// `$(equals A '')`, which `ros2 launch` 3.7 compares with the text `[]`.
    #[error(
        "$(equals … ''): `ros2 launch` does not take this for empty; write $(equals xA x) to ask whether A is empty"
    )]
    EmptyInEquals,
    /// Text that the grammar does not allow.
    #[error("the text `{text}` cannot be read: {reason}")]
    Malformed {
        /// The whole text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// A text with substitutions, read but not yet evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) pieces: Vec<Piece>,
    /// As written in the file.
    pub(crate) source: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Call(Box<Call>),
}

/// A substitution with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Var(Pieces),
    Env { name: Pieces, default: Option<Pieces> },
    FindPkgShare(Pieces),
    Dirname,
    Not(Pieces),
    Equals(Pieces, Pieces),
}

pub(crate) type Pieces = Vec<Piece>;

impl Template {
    pub(crate) fn parse(source: &str) -> Result<Self, TemplateError> {
        let mut reader = Reader { source, chars: source.chars().peekable(), depth: 0 };
        let pieces = reader.pieces(Until::End)?;
        Ok(Self { pieces, source: source.to_owned() })
    }
}

/// Where a run of pieces ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    End,
    /// An unquoted argument: at a space or a closing parenthesis.
    Argument,
    Quote(char),
}

struct Reader<'a> {
    source: &'a str,
    chars: Peekable<Chars<'a>>,
    depth: usize,
}

impl Reader<'_> {
    fn malformed(&self, reason: &'static str) -> TemplateError {
        TemplateError::Malformed { text: self.source.to_owned(), reason }
    }

    /// Pieces up to, and for a quote including, the end of this run.
    fn pieces(&mut self, until: Until) -> Result<Pieces, TemplateError> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        loop {
            match (self.chars.peek().copied(), until) {
                (None, Until::End) => break,
                (None, Until::Argument) => return Err(self.malformed("a substitution is not closed by `)`")),
                (None, Until::Quote(_)) => return Err(self.malformed("a quote is not closed")),
                (Some(' ' | ')'), Until::Argument) => break,
                (Some('\'' | '"' | '('), Until::Argument) => {
                    return Err(self.malformed("inside an argument of a substitution, quotes and `(` need a backslash"));
                }
                (Some(quote), Until::Quote(end)) if quote == end => {
                    self.chars.next();
                    break;
                }
                (Some('\\'), _) => {
                    self.chars.next();
                    text.push(self.chars.next().unwrap_or('\\'));
                }
                (Some('$'), _) => {
                    self.chars.next();
                    if self.chars.next_if_eq(&'(').is_some() {
                        if !text.is_empty() {
                            pieces.push(Piece::Text(std::mem::take(&mut text)));
                        }
                        pieces.push(Piece::Call(Box::new(self.call()?)));
                    } else {
                        text.push('$');
                    }
                }
                (Some(other), _) => {
                    self.chars.next();
                    text.push(other);
                }
            }
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(pieces)
    }

    /// What follows `$(`, up to and including `)`.
    fn call(&mut self) -> Result<Call, TemplateError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.malformed("substitutions stand in one another more than 16 deep"));
        }
        let mut name = String::new();
        while let Some(c) = self.chars.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
            name.push(c);
        }
        // Before its arguments are looked at, which need not be of this grammar.
        if !KNOWN.contains(&name.as_str()) {
            return Err(TemplateError::Unknown(name));
        }
        let mut arguments = Vec::new();
        loop {
            match self.chars.next() {
                Some(')') => break,
                Some(' ') => {
                    let argument = match self.chars.peek().copied() {
                        Some(quote @ ('\'' | '"')) => {
                            self.chars.next();
                            self.pieces(Until::Quote(quote))?
                        }
                        // `ros2 launch` does not read these either.
                        Some(' ' | ')') => {
                            return Err(
                                self.malformed("arguments of a substitution are separated by exactly one space")
                            );
                        }
                        _ => self.pieces(Until::Argument)?,
                    };
                    arguments.push(argument);
                }
                None => return Err(self.malformed("a substitution is not closed by `)`")),
                Some(_) => return Err(self.malformed("a space or `)` must follow the argument of a substitution")),
            }
        }
        self.depth -= 1;
        resolve(&name, arguments)
    }
}

const KNOWN: [&str; 6] = ["var", "env", "find-pkg-share", "dirname", "not", "equals"];

fn resolve(name: &str, arguments: Vec<Pieces>) -> Result<Call, TemplateError> {
    let given = arguments.len();
    let mut arguments = arguments.into_iter();
    let mut two = || (arguments.next(), arguments.next());
    let (name, takes) = match (name, given) {
        ("dirname", 0) => return Ok(Call::Dirname),
        ("dirname", _) => ("dirname", "no argument"),
        ("env", _) => match (two(), given) {
            ((Some(name), default), 1 | 2) => return Ok(Call::Env { name, default }),
            _ => ("env", "one or two arguments"),
        },
        ("equals", _) => match (two(), given) {
            ((Some(left), Some(right)), 2) if left.is_empty() || right.is_empty() => {
                return Err(TemplateError::EmptyInEquals);
            }
            ((Some(left), Some(right)), 2) => return Ok(Call::Equals(left, right)),
            _ => ("equals", "two arguments"),
        },
        ("var", _) => match (two(), given) {
            ((Some(name), _), 1) => return Ok(Call::Var(name)),
            _ => ("var", "one argument"),
        },
        ("find-pkg-share", _) => match (two(), given) {
            ((Some(package), _), 1) => return Ok(Call::FindPkgShare(package)),
            _ => ("find-pkg-share", "one argument"),
        },
        ("not", _) => match (two(), given) {
            ((Some(value), _), 1) => return Ok(Call::Not(value)),
            _ => ("not", "one argument"),
        },
        _ => return Err(TemplateError::Unknown(name.to_owned())),
    };
    Err(TemplateError::ArgumentCount { name, takes, given })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    #[test]
    fn plain_text_escapes_and_lone_dollars_are_text() {
        for (source, expected) in
            [("plain (text) 'x'", "plain (text) 'x'"), ("5 $ each", "5 $ each"), (r"\$(var x) a\\b", r"$(var x) a\b")]
        {
            assert_eq!(Template::parse(source).unwrap().pieces, [text(expected)], "{source}");
        }
        assert_eq!(Template::parse("").unwrap().pieces, []);
    }

    #[test]
    fn calls_take_quoted_empty_and_nested_arguments() {
        let call = |source: &str| match Template::parse(source).unwrap().pieces.as_slice() {
            [Piece::Call(call)] => (**call).clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(call("$(env HOME 'a b')"), Call::Env { name: vec![text("HOME")], default: Some(vec![text("a b")]) });
        let var = |name: &str| Piece::Call(Box::new(Call::Var(vec![text(name)])));
        assert_eq!(call("$(equals $(var a)$(var b) x)"), Call::Equals(vec![var("a"), var("b")], vec![text("x")]));
        assert_eq!(call(r#"$(not "$(var a)")"#), Call::Not(vec![var("a")]));
    }

    #[test]
    fn what_is_outside_the_grammar_is_refused() {
        for (source, message) in [
            ("$(eval 1 + (2))", "$(eval …) is not among those"),
            ("$(eval '1')", "$(eval …) is not among those"),
            ("$(anon x)", "$(anon …) is not among those"),
            ("$(var a", "not closed by `)`"),
            ("$(var a b)", "takes one argument, but 2 are given"),
            ("$(var)", "takes one argument, but 0 are given"),
            ("$(dirname x)", "takes no argument, but 1 are given"),
            ("$(var  a)", "exactly one space"),
            ("$(equals $(var a) '')", "$(equals xA x)"),
            ("$(var 'a)", "quote is not closed"),
            ("$(var 'a'b)", "a space or `)` must follow"),
            ("$(var a(b)", "need a backslash"),
        ] {
            let error = Template::parse(source).unwrap_err().to_string();
            assert!(error.contains(message), "{source}: {error}");
        }
        let deep = format!("{}x{}", "$(not ".repeat(17), ")".repeat(17));
        assert!(Template::parse(&deep).unwrap_err().to_string().contains("16 deep"));
    }
}
