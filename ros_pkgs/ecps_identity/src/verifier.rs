//! Whether a token is to be believed here and now.

use ecps_core::clock::Stamp;
use ecps_core::limits::NAME_BYTES;
use thiserror::Error;

use crate::claims::{CAPABILITIES, CHAIN, Claims, LIFE_SECONDS, ROLES, seconds};
use crate::key_set::{KeyRefusal, KeySet};
use crate::replay::{ReplayError, ReplayWindow};
use crate::token::{Parts, TokenError};

/// How far the issuer's clock may be ahead, seconds.
pub const LEEWAY_SECONDS: u64 = 5;

/// A request as it came in its `Caller`.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// `Caller.token`.
    pub token: &'a str,
    /// `Caller.id`.
    pub caller: &'a str,
    /// `Caller.sequence`.
    pub sequence: u64,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenRefusal {
    /// There is none.
    #[error("the request carries no token")]
    Missing,
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] TokenError),
    /// Its key is not accepted.
    #[error("the token's {0}")]
    Key(#[from] KeyRefusal),
    /// Another algorithm than its key's.
    #[error("the token says algorithm '{}', and its key signs with {expected}", found.escape_debug())]
    Algorithm {
        /// The key's.
        expected: &'static str,
        /// The token's.
        found: String,
    },
    /// The signature does not fit.
    #[error("the token's signature does not fit its text")]
    Signature,
    /// Signed by an issuer's key in another's name.
    #[error("the token names issuer '{}', and its key belongs to '{expected}'", found.escape_debug())]
    Issuer {
        /// The key's owner.
        expected: String,
        /// The token's word.
        found: String,
    },
    /// For another service.
    #[error("the token is for '{}', and this is '{expected}'", found.escape_debug())]
    Audience {
        /// This service.
        expected: String,
        /// The token's.
        found: String,
    },
    /// Its time is over.
    #[error("the token expired {0} s ago")]
    Expired(u64),
    /// Its time has not come.
    #[error("the token is valid only in {0} s: {LEEWAY_SECONDS} s are allowed, since clocks differ")]
    Early(u64),
    /// It lives too long, or ends before it begins.
    #[error("the token is issued at {iat} and expires at {exp}: it may live from 1 to {LIFE_SECONDS} s")]
    Life {
        /// Issued at.
        iat: u64,
        /// Expires at.
        exp: u64,
    },
    /// Presented by somebody else.
    #[error("the token was given to '{}', and '{}' presents it", given.escape_debug(), presented.escape_debug())]
    Bearer {
        /// To whom it was given.
        given: String,
        /// Who asks.
        presented: String,
    },
    /// For another run of this service.
    #[error("the token is for session '{}', and this is '{expected}'", found.escape_debug())]
    Session {
        /// This run.
        expected: String,
        /// The token's; empty where a capability names none.
        found: String,
    },
    /// Too much in it.
    #[error("the token holds {found} {what}: at most {limit} are read")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A name with nothing in it, or too much.
    #[error("the token's '{what}' has {found} bytes: 1 to {NAME_BYTES} are read")]
    Name {
        /// The claim.
        what: &'static str,
        /// Its length.
        found: usize,
    },
    /// It came before.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// Claims that were found to hold. Only a [`Verifier`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity(Claims);

impl Identity {
    /// What the token said.
    pub fn claims(&self) -> &Claims {
        &self.0
    }
}

/// Verifies the tokens of one issuer for one service.
pub struct Verifier {
    audience: String,
    session: String,
    keys: KeySet,
    replay: ReplayWindow,
}

impl Verifier {
    /// For the service `audience` in its run `session`.
    pub fn new(audience: impl Into<String>, session: impl Into<String>, keys: KeySet) -> Verifier {
        Verifier { audience: audience.into(), session: session.into(), keys, replay: ReplayWindow::default() }
    }

    /// The issuer's keys, to rotate and to revoke.
    pub fn keys_mut(&mut self) -> &mut KeySet {
        &mut self.keys
    }

    /// Believes a token, or says why not. A request that is repeated because its answer was lost is refused as a replay:
    /// ask what remembers answers first.
    pub fn verify(&mut self, presented: &Presented<'_>, now: Stamp) -> Result<Identity, TokenRefusal> {
        if presented.token.is_empty() {
            return Err(TokenRefusal::Missing);
        }
        let parts = Parts::read(presented.token)?;
        let key = self.keys.find(&parts.header.kid, now)?;
        let expected = key.algorithm().name();
        if parts.header.alg != expected {
            return Err(TokenRefusal::Algorithm { expected, found: parts.header.alg });
        }
        if !key.verifies(parts.signed.as_bytes(), &parts.signature) {
            return Err(TokenRefusal::Signature);
        }
        let claims = parts.claims()?;
        let now = seconds(now);
        self.check(&claims, presented.caller, now)?;
        self.replay.admit(&claims.jti, presented.sequence, claims.exp, now)?;
        Ok(Identity(claims))
    }

    fn check(&self, claims: &Claims, caller: &str, now: u64) -> Result<(), TokenRefusal> {
        bounds(claims)?;
        if claims.iss != self.keys.issuer() {
            return Err(TokenRefusal::Issuer { expected: self.keys.issuer().to_owned(), found: claims.iss.clone() });
        }
        if claims.aud != self.audience {
            return Err(TokenRefusal::Audience { expected: self.audience.clone(), found: claims.aud.clone() });
        }
        if !claims.exp.checked_sub(claims.iat).is_some_and(|life| (1..=LIFE_SECONDS).contains(&life)) {
            return Err(TokenRefusal::Life { iat: claims.iat, exp: claims.exp });
        }
        if now >= claims.exp {
            return Err(TokenRefusal::Expired(now - claims.exp));
        }
        let begins = claims.nbf.unwrap_or(claims.iat).max(claims.iat);
        if begins > now.saturating_add(LEEWAY_SECONDS) {
            return Err(TokenRefusal::Early(begins - now));
        }
        if claims.presenter() != caller {
            return Err(TokenRefusal::Bearer { given: claims.presenter().to_owned(), presented: caller.to_owned() });
        }
        let named = claims.sid.as_deref();
        if named.is_some_and(|session| session != self.session) || (named.is_none() && claims.cap.is_some()) {
            let found = named.unwrap_or_default().to_owned();
            return Err(TokenRefusal::Session { expected: self.session.clone(), found });
        }
        Ok(())
    }
}

fn bounds(claims: &Claims) -> Result<(), TokenRefusal> {
    let most = |what, found, limit| {
        if found > limit { Err(TokenRefusal::TooMany { what, found, limit }) } else { Ok(()) }
    };
    let name = |what, text: &str| {
        if (1..=NAME_BYTES).contains(&text.len()) {
            Ok(())
        } else {
            Err(TokenRefusal::Name { what, found: text.len() })
        }
    };
    name("sub", &claims.sub)?;
    name("jti", &claims.jti)?;
    most("roles", claims.roles.len(), ROLES)?;
    most("capabilities", claims.cap.as_ref().map_or(0, Vec::len), CAPABILITIES)?;
    most("forwarding services", claims.chain().count(), CHAIN)?;
    for actor in claims.chain() {
        name("act", &actor.sub)?;
        most("roles of a service", actor.roles.len(), ROLES)?;
    }
    Ok(())
}
