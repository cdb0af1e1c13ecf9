//! What a token says (RFC 7519 names; `act` of RFC 8693).

use ecps_core::clock::Stamp;
use serde::{Deserialize, Serialize};

use crate::permission::Permission;

/// Longest life of a token, seconds (protocol, "Trust").
pub const LIFE_SECONDS: u64 = 3600;
/// Most roles of one party.
pub const ROLES: usize = 16;
/// Most permissions in a capability.
pub const CAPABILITIES: usize = 64;
/// Most services that may forward one request.
pub const CHAIN: usize = 8;

/// What a token says. A claim that is not among these refuses the token, so that none can look like a role and be overlooked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Issuer: who signed it.
    pub iss: String,
    /// Subject: the device or node that it was given to, the `Caller.id` of its requests.
    pub sub: String,
    /// Audience: the one service that may accept it.
    pub aud: String,
    /// Issued at, seconds since the Unix epoch.
    pub iat: u64,
    /// Not before; absent means from `iat` on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Expires at; from this second on it is worth nothing.
    pub exp: u64,
    /// The token's own id.
    pub jti: String,
    /// The run of the audience that it is for. A capability must name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// The subject's roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// A capability: of what the roles allow, only this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<Vec<Permission>>,
    /// Who forwards the subject's request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Actor>>,
}

/// A service that acts for the subject, and the one that asked it to (RFC 8693, section 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// The service.
    pub sub: String,
    /// Its own roles. What they do not allow, it cannot do for others either.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Who forwarded to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Actor>>,
}

/// How a request is passed on.
#[derive(Debug, Clone, Copy)]
pub struct Forwarding<'a> {
    /// By whom.
    pub service: &'a str,
    /// The roles that the issuer knows this service to have.
    pub roles: &'a [&'a str],
    /// To which service.
    pub audience: &'a str,
    /// To which run of it; a capability needs one.
    pub session: Option<&'a str>,
    /// The new token's id.
    pub id: &'a str,
}

impl Claims {
    /// A token of the full [`LIFE_SECONDS`] with no role.
    pub fn new(issuer: &str, subject: &str, audience: &str, id: &str, now: Stamp) -> Claims {
        let iat = seconds(now);
        Claims {
            iss: issuer.to_owned(),
            sub: subject.to_owned(),
            aud: audience.to_owned(),
            iat,
            nbf: None,
            exp: iat.saturating_add(LIFE_SECONDS),
            jti: id.to_owned(),
            sid: None,
            roles: Vec::new(),
            cap: None,
            act: None,
        }
    }

    /// With one more role.
    #[must_use]
    pub fn role(mut self, role: &str) -> Claims {
        self.roles.push(role.to_owned());
        self
    }

    /// As a capability for the run `session` of the audience.
    #[must_use]
    pub fn capability(mut self, session: &str, permissions: Vec<Permission>) -> Claims {
        self.sid = Some(session.to_owned());
        self.cap = Some(permissions);
        self
    }

    /// What a service gets in order to pass the subject's request on: the same subject, roles and capability, the service at
    /// the head of the chain, and no later end. Whoever signs it must have verified `self`.
    #[must_use]
    pub fn forwarded(&self, to: &Forwarding<'_>, now: Stamp) -> Claims {
        let roles = to.roles.iter().map(|&role| role.to_owned()).collect();
        let actor = Actor { sub: to.service.to_owned(), roles, act: self.act.clone() };
        let iat = seconds(now);
        Claims {
            iat,
            exp: self.exp.min(iat.saturating_add(LIFE_SECONDS)),
            jti: to.id.to_owned(),
            aud: to.audience.to_owned(),
            sid: to.session.map(str::to_owned),
            act: Some(Box::new(actor)),
            ..self.clone()
        }
    }

    /// The services that forwarded it, the nearest first.
    pub fn chain(&self) -> impl Iterator<Item = &Actor> {
        std::iter::successors(self.act.as_deref(), |actor| actor.act.as_deref())
    }

    /// Whose request it carries in: the nearest forwarding service, or the subject itself.
    pub fn presenter(&self) -> &str {
        self.act.as_ref().map_or(&self.sub, |actor| &actor.sub)
    }
}

/// Whole seconds since the epoch; none before it.
pub(crate) fn seconds(at: Stamp) -> u64 {
    u64::try_from(at.0.div_euclid(1_000_000_000)).unwrap_or(0)
}
