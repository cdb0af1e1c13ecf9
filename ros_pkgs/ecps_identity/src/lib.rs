//! Who asks, and whether it may: decided in the process that acts, with no TPM and no call to a service per command.
//!
//! | module | what it holds |
//! |---|---|
//! | [`key`] | public keys that check signatures, and the ids made of them |
//! | [`key_set`] | an issuer's keys: the current one, the one before it, and those revoked |
//! | [`claims`] | what a token says |
//! | [`token`] | the signed text of a token, written and taken apart |
//! | [`verifier`] | whether a token is to be believed here and now |
//! | [`bulletin`] | the keys and revocations that the fleet's authority makes known |
//! | [`replay`] | requests seen before |
//! | [`permission`] | `action:resource`, with wildcards |
//! | [`policy`] | which role may do what |
//! | [`guard`] | the one question that a node asks, by trust level |
//!
//! ```
//! use ecps_core::clock::Stamp;
//! use ecps_identity::{claims::Claims, key::PublicKey, key_set::KeySet, policy::Policy, token, verifier::{Presented, Verifier}};
//! use ed25519_dalek::{Signer as _, SigningKey};
//!
//! let issuer = SigningKey::from_bytes(&[7; 32]);
//! let key = PublicKey::ed25519(issuer.verifying_key().as_bytes())?;
//! let claims = Claims::new("fleet", "planner", "/robot_7/eap_executor", "first", Stamp(0)).role("robot_operator");
//! let text = token::sign(&key, &claims, |bytes| Ok::<_, std::convert::Infallible>(issuer.sign(bytes).to_bytes().to_vec()))?;
//!
//! let mut verifier = Verifier::new("/robot_7/eap_executor", "this-run", KeySet::new("fleet", key));
//! let asked = Presented { token: &text, caller: "planner", sequence: 1 };
//! let identity = verifier.verify(&asked, Stamp(1_000_000_000))?;
//! let policy = Policy::default();
//! assert!(policy.decide(&identity, "move:robot".parse()?).is_allowed());
//! assert!(!policy.decide(&identity, "configure:robot".parse()?).is_allowed());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod bulletin;
pub mod claims;
pub mod guard;
pub mod key;
pub mod key_set;
pub mod permission;
pub mod policy;
pub mod replay;
pub mod token;
pub mod verifier;
