//! The signed text of a token: JWS in compact form (RFC 7515), written and taken apart.
//!
//! Less than a JWT library offers, on purpose (RFC 8725): the key decides the algorithm, the type is fixed, and a header
//! or claim that is not known, or comes twice, refuses the token instead of being passed over.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ecps_core::limits::TOKEN_BYTES;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::claims::Claims;
use crate::key::PublicKey;

/// What kind of token this is (RFC 8725, section 3.11), so that no other JWT of the same issuer passes for one.
pub const TYPE: &str = "ecps+jwt";

/// Not the text of a token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Too long.
    #[error("a token of {0} bytes: at most {TOKEN_BYTES} are read")]
    TooLong(usize),
    /// Not header.claims.signature.
    #[error("a token has three parts in base64url, and this has not")]
    NotCompact,
    /// The header is not one of ours.
    #[error("the token's header is refused: {0}")]
    Header(String),
    /// The claims are not ours.
    #[error("the token's claims are refused: {0}")]
    Claims(String),
}

/// A token was not signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignError {
    /// The claims make a token that nobody would read.
    #[error(transparent)]
    Token(TokenError),
    /// The key's holder refused.
    #[error("the token could not be signed: {0}")]
    Signer(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) alg: String,
    pub(crate) kid: String,
    pub(crate) typ: String,
}

/// Signs `claims` as the holder of `key`; `sign` makes the raw signature of the key's algorithm over the bytes it is given.
pub fn sign<E: std::fmt::Display>(
    key: &PublicKey,
    claims: &Claims,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<String, SignError> {
    let header = Header { alg: key.algorithm().name().to_owned(), kid: key.id(), typ: TYPE.to_owned() };
    let json = |what: Result<Vec<u8>, serde_json::Error>| {
        what.map_err(|e| SignError::Token(TokenError::Claims(e.to_string())))
    };
    let mut text = BASE64URL.encode(json(serde_json::to_vec(&header))?);
    text.push('.');
    BASE64URL.encode_string(json(serde_json::to_vec(claims))?, &mut text);
    let signature = sign(text.as_bytes()).map_err(|error| SignError::Signer(error.to_string()))?;
    text.push('.');
    BASE64URL.encode_string(signature, &mut text);
    if text.len() > TOKEN_BYTES { Err(SignError::Token(TokenError::TooLong(text.len()))) } else { Ok(text) }
}

/// A token taken apart. Nothing in it is to be believed yet, and its claims are read only once the signature holds.
pub(crate) struct Parts<'a> {
    pub(crate) header: Header,
    pub(crate) signed: &'a str,
    pub(crate) signature: Vec<u8>,
    claims: &'a str,
}

impl<'a> Parts<'a> {
    pub(crate) fn read(token: &'a str) -> Result<Parts<'a>, TokenError> {
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::TooLong(token.len()));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::NotCompact)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::NotCompact)?;
        let decode = |part: &str| BASE64URL.decode(part).map_err(|_| TokenError::NotCompact);
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|error| TokenError::Header(error.to_string()))?;
        if header.typ != TYPE {
            return Err(TokenError::Header(format!("its type is '{}' instead of '{TYPE}'", header.typ.escape_debug())));
        }
        Ok(Parts { header, signed, signature: decode(signature)?, claims })
    }

    pub(crate) fn claims(&self) -> Result<Claims, TokenError> {
        let json = BASE64URL.decode(self.claims).map_err(|_| TokenError::NotCompact)?;
        serde_json::from_slice(&json).map_err(|error| TokenError::Claims(error.to_string()))
    }
}
