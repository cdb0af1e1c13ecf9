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
    /// Records one decision. At [`TrustLevel::Audited`] an error refuses the request.
    fn record(&mut self, caller: &str, asked: &[Permission], outcome: &Result<Identity, Refusal>)
    -> Result<(), String>;
}

/// Verifier, policy and record.
pub struct Guard {
    level: TrustLevel,
    verifier: Verifier,
    policy: Policy,
    audit: Option<Box<dyn Audit>>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({:?})", self.level)
    }
}

impl Guard {
    /// Of level [`TrustLevel::Authenticated`]: whoever has a valid token may do anything.
    pub fn authenticating(verifier: Verifier) -> Guard {
        Guard { level: TrustLevel::Authenticated, verifier, policy: Policy::default(), audit: None }
    }

    /// Of level [`TrustLevel::Authorized`].
    pub fn authorizing(verifier: Verifier, policy: Policy) -> Guard {
        Guard { level: TrustLevel::Authorized, policy, ..Guard::authenticating(verifier) }
    }

    /// Of level [`TrustLevel::Audited`].
    pub fn audited(verifier: Verifier, policy: Policy, audit: Box<dyn Audit>) -> Guard {
        Guard { level: TrustLevel::Audited, audit: Some(audit), ..Guard::authorizing(verifier, policy) }
    }

    /// Which also has what it refuses recorded, where that is possible.
    #[must_use]
    pub fn recording_refusals(mut self, audit: Box<dyn Audit>) -> Guard {
        self.audit = Some(audit);
        self
    }

    /// What it asks for.
    pub fn level(&self) -> TrustLevel {
        self.level
    }

    /// The verifier, whose keys are rotated and revoked.
    pub fn verifier_mut(&mut self) -> &mut Verifier {
        &mut self.verifier
    }

    /// Who asks, if it may do all that is `asked`. Each request is admitted once.
    pub fn admit(&mut self, presented: &Presented<'_>, asked: &[Permission], now: Stamp) -> Result<Identity, Refusal> {
        let identity = self.verifier.verify(presented, now);
        self.decide(presented, asked, identity)
    }

    /// The same for a request that may be admitted again: it only reads, or its receiver knows that it acted already.
    pub fn admit_again(
        &mut self,
        presented: &Presented<'_>,
        asked: &[Permission],
        now: Stamp,
    ) -> Result<Identity, Refusal> {
        let identity = self.verifier.examine(presented, now);
        self.decide(presented, asked, identity)
    }

    fn decide(
        &mut self,
        presented: &Presented<'_>,
        asked: &[Permission],
        identity: Result<Identity, TokenRefusal>,
    ) -> Result<Identity, Refusal> {
        let authorizes = self.level >= TrustLevel::Authorized;
        let outcome = identity.map_err(Refusal::from).and_then(|identity| {
            let mut decisions = asked.iter().map(|asked| self.policy.decide(&identity, asked.clone()));
            match decisions.find(|decision| authorizes && !decision.is_allowed()) {
                Some(denied) => Err(Refusal::Denied(denied)),
                None => Ok(identity),
            }
        });
        let must_record = self.level >= TrustLevel::Audited;
        if let Some(audit) = &mut self.audit
            && (must_record || outcome.is_err())
            && let Err(error) = audit.record(presented.caller, asked, &outcome)
            && must_record
        {
            return Err(Refusal::Unrecorded(error));
        }
        outcome
    }
}
