//! What may be done to what: `move:robot`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest permission, bytes.
pub const PERMISSION_BYTES: usize = 128;

/// Not a permission.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "'{}' is no permission: it takes the form action:resource, of at most {PERMISSION_BYTES} of the characters a-z 0-9 _ - . / with '*' at the end of either part",
    .0.escape_debug()
)]
pub struct PermissionError(String);

/// An action on a resource. In a policy or a capability either part may end in `*`, which stands for any ending.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Permission {
    action: String,
    resource: String,
}

impl Permission {
    /// Whether this, as a pattern, allows all that `asked` names.
    pub fn covers(&self, asked: &Permission) -> bool {
        covers(&self.action, &asked.action) && covers(&self.resource, &asked.resource)
    }
}

fn covers(pattern: &str, asked: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == asked, |beginning| asked.starts_with(beginning))
}

fn is_part(part: &str) -> bool {
    let name = part.strip_suffix('*').unwrap_or(part);
    !part.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-./".contains(&b))
}

impl FromStr for Permission {
    type Err = PermissionError;

    fn from_str(text: &str) -> Result<Permission, PermissionError> {
        match text.split_once(':') {
            Some((action, resource)) if text.len() <= PERMISSION_BYTES && is_part(action) && is_part(resource) => {
                Ok(Permission { action: action.to_owned(), resource: resource.to_owned() })
            }
            _ => Err(PermissionError(text.chars().take(PERMISSION_BYTES).collect())),
        }
    }
}

impl TryFrom<String> for Permission {
    type Error = PermissionError;

    fn try_from(text: String) -> Result<Permission, PermissionError> {
        text.parse()
    }
}

impl From<Permission> for String {
    fn from(permission: Permission) -> String {
        permission.to_string()
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.action, self.resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_endings_and_nothing_else() {
        let covers =
            |pattern: &str, asked: &str| pattern.parse::<Permission>().unwrap().covers(&asked.parse().unwrap());
        assert!(
            covers("*:*", "move:robot")
                && covers("move:*", "move:robot")
                && covers("put:memory/*", "put:memory/kitchen")
        );
        assert!(!covers("move:robot", "move:robots") && !covers("move:robot", "move:*"), "the asker widens nothing");
        assert!(!covers("put:memory/*", "put:memories") && !covers("*:gripper", "move:robot"));
    }

    #[test]
    fn what_is_no_permission_is_refused() {
        for text in
            ["", "move", ":robot", "move:", "mo*ve:robot", "move:robot:now", "Move:robot", "move: robot", "**:x"]
        {
            assert!(text.parse::<Permission>().is_err(), "{text}");
        }
        assert!(format!("move:{}", "r".repeat(PERMISSION_BYTES)).parse::<Permission>().is_err());
    }
}
