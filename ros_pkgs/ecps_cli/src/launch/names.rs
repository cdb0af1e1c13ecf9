//! Names of nodes and namespaces, by the rules of rmw (rmw/validate_node_name.h, rmw/validate_namespace.h).

use thiserror::Error;

/// Longest name of a node, bytes (RMW_NODE_NAME_MAX_NAME_LENGTH).
const NODE_NAME_BYTES: usize = 255;
/// Longest namespace, bytes (RMW_NAMESPACE_MAX_LENGTH, with which a topic still has room for eight bytes).
const NAMESPACE_BYTES: usize = 245;

/// Why a name cannot be a node's or a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// A character or a beginning that is not allowed.
    #[error(
        "the {what} `{name}` is not valid: letters, digits and underscores only, no digit first, nothing empty between slashes"
    )]
    Characters {
        /// Node name or namespace.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// More bytes than rmw allows.
    #[error("the {what} has {bytes} bytes, more than the {limit} allowed")]
    TooLong {
        /// Node name or namespace.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        limit: usize,
    },
}

/// Refuses what cannot be a node's name.
pub(crate) fn check_node_name(name: &str) -> Result<(), NameError> {
    let what = "node name";
    if name.len() > NODE_NAME_BYTES {
        return Err(NameError::TooLong { what, bytes: name.len(), limit: NODE_NAME_BYTES });
    }
    if is_token(name) { Ok(()) } else { Err(NameError::Characters { what, name: name.to_owned() }) }
}

/// `below` inside `base`, absolute, as launch_ros does it: an absolute one replaces, an empty one leaves `base`.
pub(crate) fn join_namespace(base: &str, below: &str) -> Result<String, NameError> {
    let what = "namespace";
    let below = if below == "/" { below } else { below.trim_end_matches('/') };
    let joined = match (below.starts_with('/'), below.is_empty()) {
        (true, _) => below.to_owned(),
        (false, true) => base.to_owned(),
        (false, false) => format!("{}/{below}", base.trim_end_matches('/')),
    };
    if joined.len() > NAMESPACE_BYTES {
        return Err(NameError::TooLong { what, bytes: joined.len(), limit: NAMESPACE_BYTES });
    }
    let valid = joined == "/" || joined.strip_prefix('/').is_some_and(|tokens| tokens.split('/').all(is_token));
    if valid { Ok(joined) } else { Err(NameError::Characters { what, name: joined }) }
}

fn is_token(token: &str) -> bool {
    token.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && token.starts_with(|c: char| !c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_join_as_in_launch_ros() {
        for (base, below, joined) in [
            ("/", "", "/"),
            ("/", "robot1", "/robot1"),
            ("/robot1", "arm/left/", "/robot1/arm/left"),
            ("/robot1", "", "/robot1"),
            ("/robot1", "/other", "/other"),
            ("/robot1", "/", "/"),
        ] {
            assert_eq!(join_namespace(base, below).unwrap(), joined, "{base} + {below}");
        }
        for below in ["1st", "a//b", "a b", "~", "/a//b"] {
            assert!(join_namespace("/", below).is_err(), "{below}");
        }
        assert!(join_namespace("/", &"a".repeat(245)).is_err());
    }

    #[test]
    fn node_names_are_one_token() {
        assert!(check_node_name("mep_server2").is_ok());
        for name in ["", "a/b", "2a", "a-b", "ä"] {
            assert!(check_node_name(name).is_err(), "{name}");
        }
    }
}
