//! Whether a token is to be believed here and now.

use ecps_core::clock::Stamp;
use ecps_core::limits::NAME_BYTES;
use thiserror::Error;

use crate::bulletin::{Anchor, Bulletins, LIST_LIFE, Revoked, device_of};
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
    /// Its bearer, or who forwarded it, was revoked.
    #[error("device '{}' is revoked", .0.escape_debug())]
    Revoked(String),
    /// It was revoked itself.
    #[error("this token is revoked")]
    RevokedToken,
    /// Nobody is believed.
    #[error("the fleet is locked down: no token is accepted until its authority lifts that")]
    Lockdown,
    /// What is revoked is not known, so anybody might be.
    #[error("the fleet's revocations were not heard yet, so that no token is accepted")]
    NoRevocations,
    /// It was known, and is too old.
    #[error("the fleet's revocations are {0} s old: from {max} s on no token is accepted", max = LIST_LIFE.as_secs())]
    StaleRevocations(u64),
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
    revocations: Revocations,
    any_bearer: bool,
}

/// What is revoked, where that matters.
enum Revocations {
    /// The issuer has no list.
    None,
    /// They have to be heard first.
    Awaited,
    Known(Revoked),
}

impl Verifier {
    /// For the service `audience` in its run `session`.
    pub fn new(audience: impl Into<String>, session: impl Into<String>, keys: KeySet) -> Verifier {
        let (replay, revocations) = (ReplayWindow::default(), Revocations::None);
        Verifier { audience: audience.into(), session: session.into(), keys, replay, revocations, any_bearer: false }
    }

    /// For the service `audience` in its run `session`, in a fleet of which nothing was heard yet: see [`Verifier::hear`].
    pub fn in_fleet(audience: impl Into<String>, session: impl Into<String>, anchor: &Anchor) -> Verifier {
        let verifier = Verifier::new(audience, session, KeySet::awaited(anchor.issuer()));
        Verifier { revocations: Revocations::Awaited, ..verifier }
    }

    /// From now on it does not matter who presents a token: for questions about tokens, which admit nobody.
    pub fn any_bearer(&mut self) {
        self.any_bearer = true;
    }

    /// Takes over what the fleet's authority has made known.
    pub fn hear(&mut self, bulletins: &Bulletins) {
        self.keys.replace(bulletins.accepted());
        if let Some(revoked) = bulletins.revoked() {
            self.revocations = Revocations::Known(revoked.clone());
        }
    }

    /// The issuer's keys, to rotate and to revoke.
    pub fn keys_mut(&mut self) -> &mut KeySet {
        &mut self.keys
    }

    /// Believes a token, or says why not. A request that is repeated because its answer was lost is refused as a replay:
    /// ask what remembers answers first.
    pub fn verify(&mut self, presented: &Presented<'_>, now: Stamp) -> Result<Identity, TokenRefusal> {
        let identity = self.examine(presented, now)?;
        let claims = identity.claims();
        self.replay.admit(&claims.jti, presented.sequence, claims.exp, seconds(now))?;
        Ok(identity)
    }

    /// The same for a request that does no harm when it comes again: its number is not looked at.
    pub fn examine(&self, presented: &Presented<'_>, now: Stamp) -> Result<Identity, TokenRefusal> {
        if presented.token.is_empty() {
            return Err(TokenRefusal::Missing);
        }
        let parts = Parts::read(presented.token)?;
        let revoked = self.revoked(now)?;
        let kid = &parts.header.kid;
        if revoked.is_some_and(|revoked| revoked.key(kid)) {
            return Err(KeyRefusal::Revoked(kid.clone()).into());
        }
        let key = self.keys.find(kid, now)?;
        let expected = key.algorithm().name();
        if parts.header.alg != expected {
            return Err(TokenRefusal::Algorithm { expected, found: parts.header.alg });
        }
        if !key.verifies(parts.signed.as_bytes(), &parts.signature) {
            return Err(TokenRefusal::Signature);
        }
        let claims = parts.claims()?;
        self.check(&claims, presented.caller, seconds(now))?;
        if let Some(revoked) = revoked {
            let parties = std::iter::once(&claims.sub).chain(claims.chain().map(|actor| &actor.sub));
            if let Some(party) = parties.into_iter().find(|party| revoked.device(party)) {
                return Err(TokenRefusal::Revoked(device_of(party).to_owned()));
            }
            if revoked.token(&claims.jti) {
                return Err(TokenRefusal::RevokedToken);
            }
        }
        Ok(Identity(claims))
    }

    /// What is revoked, if that is known where it has to be.
    fn revoked(&self, now: Stamp) -> Result<Option<&Revoked>, TokenRefusal> {
        match &self.revocations {
            Revocations::None => Ok(None),
            Revocations::Awaited => Err(TokenRefusal::NoRevocations),
            Revocations::Known(revoked) => {
                let age = seconds(now).saturating_sub(seconds(revoked.stamp));
                if age >= LIST_LIFE.as_secs() {
                    return Err(TokenRefusal::StaleRevocations(age));
                }
                if revoked.lockdown { Err(TokenRefusal::Lockdown) } else { Ok(Some(revoked)) }
            }
        }
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
        if !self.any_bearer && claims.presenter() != caller {
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
