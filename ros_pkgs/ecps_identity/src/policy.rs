//! Which role may do what. What no role allows is denied.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use thiserror::Error;

use crate::permission::Permission;
use crate::verifier::Identity;

/// Largest policy file, bytes.
pub const POLICY_BYTES: usize = 64 << 10;

/// The roles that exist without a policy file (protocol, "Trust").
const DEFAULT: &str = "\
roles:
  robot_operator: ['move:robot', 'grip:gripper', 'sense:sensors']
  robot_admin: ['move:robot', 'grip:gripper', 'sense:sensors', 'configure:robot', 'update:firmware']
  system_admin: ['*:*']
";

/// Not a policy.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// Too much.
    #[error("a policy of {0} bytes: at most {POLICY_BYTES} are read")]
    TooLong(usize),
    /// Not understood.
    #[error("the policy is refused: {0}")]
    Malformed(#[from] serde_yaml::Error),
}

/// Roles and what they allow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    roles: BTreeMap<String, Vec<Permission>>,
}

/// The protocol's roles.
impl Default for Policy {
    fn default() -> Policy {
        // The text is constant and a test reads it; a policy without roles would deny everything.
        Policy::parse(DEFAULT).unwrap_or(Policy { roles: BTreeMap::new() })
    }
}

impl Policy {
    /// Reads a policy: YAML, `roles:` with a list of permissions for each name.
    pub fn parse(yaml: &str) -> Result<Policy, PolicyError> {
        if yaml.len() > POLICY_BYTES {
            return Err(PolicyError::TooLong(yaml.len()));
        }
        // By way of a mapping, which refuses a role that comes twice.
        Ok(serde_yaml::from_value(serde_yaml::from_str::<serde_yaml::Value>(yaml)?)?)
    }

    /// Whether `identity` may do `asked`, and why: the subject's roles, its capability and the roles of every service that
    /// forwarded the request must each allow it, so that forwarding can only narrow.
    pub fn decide(&self, identity: &Identity, asked: Permission) -> Decision {
        let claims = identity.claims();
        let mut reasons = vec![self.party(&claims.sub, &claims.roles, &asked)];
        if let Some(capability) = &claims.cap {
            let by = capability.iter().find(|permission| permission.covers(&asked));
            reasons.push(Reason {
                who: "the capability".to_owned(),
                roles: Vec::new(),
                by: by.map(ToString::to_string),
            });
        }
        reasons.extend(claims.chain().map(|actor| self.party(&actor.sub, &actor.roles, &asked)));
        Decision { asked, reasons }
    }

    fn party(&self, who: &str, roles: &[String], asked: &Permission) -> Reason {
        let by = roles.iter().find_map(|role| {
            let allowed = self.roles.get(role)?.iter().find(|permission| permission.covers(asked))?;
            Some(format!("{allowed} of {role}"))
        });
        let roles = roles.iter().map(|role| match self.roles.contains_key(role) {
            true => role.clone(),
            false => format!("{} (no such role)", role.escape_debug()),
        });
        Reason { who: who.to_owned(), roles: roles.collect(), by }
    }
}

/// What one party's rights say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Whose rights.
    pub who: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// The permission that allows it; nothing denies it.
    pub by: Option<String>,
}

/// Allowed or denied. Its text explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What was asked for.
    pub asked: Permission,
    /// What each party's rights say; all must allow it.
    pub reasons: Vec<Reason>,
}

impl Decision {
    /// Whether it may be done.
    pub fn is_allowed(&self) -> bool {
        !self.reasons.is_empty() && self.reasons.iter().all(|reason| reason.by.is_some())
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.asked, if self.is_allowed() { "allowed" } else { "denied" })?;
        for (index, Reason { who, roles, by }) in self.reasons.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { ": " } else { "; " }, who.escape_debug())?;
            match by {
                Some(permission) => write!(f, " may by {permission}")?,
                None if roles.is_empty() => write!(f, " gives no right to it")?,
                None => write!(f, " may not as {}", roles.join(", "))?,
            }
        }
        Ok(())
    }
}
