//! The one question that a node asks: may this request be acted upon?

use std::fmt;

use ecps_core::clock::Stamp;
use serde::Deserialize;
use thiserror::Error;

use crate::permission::Permission;
use crate::policy::{Decision, Policy};
use crate::verifier::{Identity, Presented, TokenRefusal, Verifier};

/// How much a node asks of those who ask it (protocol, "Trust"). Each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[repr(u8)]
pub enum TrustLevel {
    /// Nothing.
    #[default]
    None = 0,
    /// Encrypted transport, which is the middleware's affair.
    Encryption = 1,
    /// A valid token.
    Authenticated = 2,
    /// One whose rights allow what is asked.
    Authorized = 3,
    /// And a record of the decision, without which nothing is done.
    Audited = 4,
}

/// A request is not acted upon.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Who asks is not known.
    #[error(transparent)]
    Token(#[from] TokenRefusal),
    /// It is known, and may not.
    #[error("{0}")]
    Denied(Decision),
    /// What was decided could not be recorded.
    #[error("the decision could not be recorded, so the request is refused: {0}")]
    Unrecorded(String),
}

/// Takes down what was decided, before it is acted upon.
pub trait Audit: Send {
    /// Records one decision; an error refuses the request.
    fn record(&mut self, caller: &str, asked: &Permission, outcome: &Result<Identity, Refusal>) -> Result<(), String>;
}

/// Verifier, policy and, where the level asks for it, the record.
pub struct Guard {
    verifier: Verifier,
    policy: Policy,
    audit: Option<Box<dyn Audit>>,
    authorizes: bool,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({:?})", self.level())
    }
}

impl Guard {
    /// Of level [`TrustLevel::Authenticated`]: whoever has a valid token may do anything.
    pub fn authenticating(verifier: Verifier) -> Guard {
        Guard { verifier, policy: Policy::default(), audit: None, authorizes: false }
    }

    /// Of level [`TrustLevel::Authorized`].
    pub fn authorizing(verifier: Verifier, policy: Policy) -> Guard {
        Guard { verifier, policy, audit: None, authorizes: true }
    }

    /// Of level [`TrustLevel::Audited`].
    pub fn audited(verifier: Verifier, policy: Policy, audit: Box<dyn Audit>) -> Guard {
        Guard { verifier, policy, audit: Some(audit), authorizes: true }
    }

    /// What it asks for.
    pub fn level(&self) -> TrustLevel {
        match (self.authorizes, &self.audit) {
            (false, _) => TrustLevel::Authenticated,
            (true, None) => TrustLevel::Authorized,
            (true, Some(_)) => TrustLevel::Audited,
        }
    }

    /// The verifier, whose keys are rotated and revoked.
    pub fn verifier_mut(&mut self) -> &mut Verifier {
        &mut self.verifier
    }

    /// Who asks, if it may do `asked`.
    pub fn admit(&mut self, presented: &Presented<'_>, asked: &Permission, now: Stamp) -> Result<Identity, Refusal> {
        let outcome = self.outcome(presented, asked, now);
        if let Some(audit) = &mut self.audit {
            audit.record(presented.caller, asked, &outcome).map_err(Refusal::Unrecorded)?;
        }
        outcome
    }

    fn outcome(&mut self, presented: &Presented<'_>, asked: &Permission, now: Stamp) -> Result<Identity, Refusal> {
        let identity = self.verifier.verify(presented, now)?;
        if self.authorizes {
            let decision = self.policy.decide(&identity, asked.clone());
            if !decision.is_allowed() {
                return Err(Refusal::Denied(decision));
            }
        }
        Ok(identity)
    }
}
