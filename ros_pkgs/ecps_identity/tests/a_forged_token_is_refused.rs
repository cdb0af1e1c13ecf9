//! A token is believed only if every part of it holds, and each part that does not has its own reason.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ecps_core::clock::Stamp;
use ecps_identity::claims::{CAPABILITIES, CHAIN, Claims, Forwarding, LIFE_SECONDS, ROLES};
use ecps_identity::key::{Algorithm, KeyError, PublicKey};
use ecps_identity::key_set::{KeyRefusal, KeySet, OVERLAP};
use ecps_identity::replay::ReplayError;
use ecps_identity::token::{self, TokenError};
use ecps_identity::verifier::{Identity, LEEWAY_SECONDS, Presented, TokenRefusal, Verifier};
use ed25519_dalek::{Signer as _, SigningKey};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

const SERVICE: &str = "/robot_7/eap_executor";
const SESSION: &str = "run-1";

fn at(second: u64) -> Stamp {
    Stamp(i64::try_from(second).unwrap() * 1_000_000_000)
}

fn key(seed: u8) -> (SigningKey, PublicKey) {
    let signer = SigningKey::from_bytes(&[seed; 32]);
    let public = PublicKey::ed25519(signer.verifying_key().as_bytes()).unwrap();
    (signer, public)
}

fn sign((signer, public): &(SigningKey, PublicKey), claims: &Claims) -> String {
    token::sign(public, claims, |text| Ok::<_, Infallible>(signer.sign(text).to_bytes().to_vec())).unwrap()
}

fn claims() -> Claims {
    Claims::new("fleet", "planner", SERVICE, "t1", at(1000)).role("robot_operator")
}

fn verifier() -> Verifier {
    Verifier::new(SERVICE, SESSION, KeySet::new("fleet", key(1).1))
}

fn present(verifier: &mut Verifier, token: &str, second: u64) -> Result<Identity, TokenRefusal> {
    verifier.verify(&Presented { token, caller: "planner", sequence: 1 }, at(second))
}

/// The same claims as JSON, altered, and signed by the right key.
fn altered(header: Option<Value>, alter: impl FnOnce(&mut Value)) -> Result<Identity, TokenRefusal> {
    let mut value = serde_json::to_value(claims()).unwrap();
    alter(&mut value);
    raw(header, &value.to_string())
}

fn raw(header: Option<Value>, claims: &str) -> Result<Identity, TokenRefusal> {
    let (signer, public) = key(1);
    let header = header.unwrap_or_else(|| json!({"alg": "EdDSA", "kid": public.id(), "typ": token::TYPE}));
    let text = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims));
    let signature = BASE64URL.encode(signer.sign(text.as_bytes()).to_bytes());
    present(&mut verifier(), &format!("{text}.{signature}"), 1001)
}

#[test]
fn a_good_token_is_believed_under_either_algorithm() {
    let identity = present(&mut verifier(), &sign(&key(1), &claims()), 1001).unwrap();
    assert_eq!(identity.claims(), &claims());

    let random = ring::rand::SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
    let public = PublicKey::p256(pair.public_key().as_ref()).unwrap();
    let text =
        token::sign(&public, &claims(), |text| pair.sign(&random, text).map(|signature| signature.as_ref().to_vec()));
    let mut verifier = Verifier::new(SERVICE, SESSION, KeySet::new("fleet", public));
    assert_eq!(present(&mut verifier, &text.unwrap(), 1001).unwrap(), identity);
}

#[test]
fn no_altered_byte_passes() {
    let good = sign(&key(1), &claims());
    for index in 0..good.len() {
        for bit in 0..7 {
            let mut bytes = good.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            let text = String::from_utf8(bytes).unwrap();
            assert!(present(&mut verifier(), &text, 1001).is_err(), "bit {bit} of byte {index}");
        }
    }
    for end in 0..good.len() {
        assert!(present(&mut verifier(), good.get(..end).unwrap(), 1001).is_err(), "cut at {end}");
    }
}

#[test]
fn the_key_decides_the_algorithm() {
    let kid = key(1).1.id();
    let header = |alg: &str| Some(json!({"alg": alg, "kid": kid, "typ": token::TYPE}));
    for alg in ["none", "None", "", "HS256", "ES256", "eddsa"] {
        let refusal = altered(header(alg), |_| ()).unwrap_err();
        assert_eq!(refusal, TokenRefusal::Algorithm { expected: "EdDSA", found: alg.to_owned() });
    }
    // Without a signature.
    let unsigned = format!("{}.", sign(&key(1), &claims()).rsplit_once('.').unwrap().0);
    assert_eq!(present(&mut verifier(), &unsigned, 1001), Err(TokenRefusal::Signature));
}

#[test]
fn a_header_with_more_or_less_in_it_is_refused() {
    let kid = key(1).1.id();
    for header in [
        json!({"alg": "EdDSA", "kid": kid, "typ": "JWT"}),
        json!({"alg": "EdDSA", "kid": kid}),
        json!({"alg": "EdDSA", "typ": token::TYPE}),
        json!({"alg": "EdDSA", "kid": kid, "typ": token::TYPE, "crit": ["exp"]}),
        json!({"alg": "EdDSA", "kid": kid, "typ": token::TYPE, "jwk": {"kty": "OKP"}}),
        json!({"alg": "EdDSA", "kid": kid, "typ": token::TYPE, "jku": "http://127.0.0.1/keys"}),
    ] {
        let refusal = altered(Some(header.clone()), |_| ());
        assert!(matches!(refusal, Err(TokenRefusal::Malformed(TokenError::Header(_)))), "{header}: {refusal:?}");
    }
}

#[test]
fn only_the_issuers_keys_count() {
    let stranger = key(2);
    let refusal = present(&mut verifier(), &sign(&stranger, &claims()), 1001).unwrap_err();
    assert_eq!(refusal, TokenRefusal::Key(KeyRefusal::Unknown(stranger.1.id(), "fleet".into())));
    // The stranger's signature under the issuer's key id.
    let forged = sign(&(stranger.0, key(1).1), &claims());
    assert_eq!(present(&mut verifier(), &forged, 1001), Err(TokenRefusal::Signature));
    let refusal = altered(None, |claims| claims["iss"] = "another".into()).unwrap_err();
    assert_eq!(refusal, TokenRefusal::Issuer { expected: "fleet".into(), found: "another".into() });
}

#[test]
fn a_rotated_key_overlaps_and_a_revoked_one_is_dead() {
    let (old, new) = (key(1), key(2));
    assert_ne!(old.1.id(), new.1.id(), "two keys of one second");
    let mut verifier = verifier();
    verifier.keys_mut().rotate(new.1.clone(), at(1000));
    let end = 1000 + OVERLAP.as_secs();
    let named = |id: &str, second| Claims { jti: id.into(), iat: second, exp: second + 600, ..claims() };
    assert!(present(&mut verifier, &sign(&new, &named("a", 1000)), 1000).is_ok());
    assert!(present(&mut verifier, &sign(&old, &named("b", end - 1)), end - 1).is_ok());
    let refusal = present(&mut verifier, &sign(&old, &named("c", end)), end).unwrap_err();
    assert_eq!(refusal, TokenRefusal::Key(KeyRefusal::Replaced(old.1.id())));

    verifier.keys_mut().revoke(new.1.id());
    let revoked = Err(TokenRefusal::Key(KeyRefusal::Revoked(new.1.id())));
    assert_eq!(present(&mut verifier, &sign(&new, &named("d", end)), end), revoked);
    verifier.keys_mut().rotate(key(3).1, at(end));
    verifier.keys_mut().rotate(new.1.clone(), at(end));
    assert_eq!(present(&mut verifier, &sign(&new, &named("e", end)), end), revoked, "it does not come back");
}

#[test]
fn a_token_lives_an_hour_at_most() {
    assert!(matches!(
        altered(None, |claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
        Err(TokenRefusal::Malformed(TokenError::Claims(_)))
    ));
    for exp in [json!(null), json!("4600"), json!(4600.5), json!(-1), json!(1e30)] {
        let refusal = altered(None, |claims| claims["exp"] = exp.clone());
        assert!(matches!(refusal, Err(TokenRefusal::Malformed(TokenError::Claims(_)))), "{exp}: {refusal:?}");
    }
    for exp in [0, 1000, 1000 + LIFE_SECONDS + 1, u64::MAX] {
        let refusal = altered(None, |claims| claims["exp"] = exp.into()).unwrap_err();
        assert_eq!(refusal, TokenRefusal::Life { iat: 1000, exp });
    }
    let good = sign(&key(1), &claims());
    assert!(present(&mut verifier(), &good, 1000 + LIFE_SECONDS - 1).is_ok());
    assert_eq!(present(&mut verifier(), &good, 1000 + LIFE_SECONDS), Err(TokenRefusal::Expired(0)));
    assert!(present(&mut verifier(), &good, 1000 - LEEWAY_SECONDS).is_ok());
    assert_eq!(present(&mut verifier(), &good, 999 - LEEWAY_SECONDS), Err(TokenRefusal::Early(LEEWAY_SECONDS + 1)));
    let refusal = altered(None, |claims| claims["nbf"] = 2000.into()).unwrap_err();
    assert_eq!(refusal, TokenRefusal::Early(999));
}

#[test]
fn it_is_for_one_service_and_one_caller() {
    let refusal = altered(None, |claims| claims["aud"] = "/robot_8/eap_executor".into()).unwrap_err();
    assert_eq!(refusal, TokenRefusal::Audience { expected: SERVICE.into(), found: "/robot_8/eap_executor".into() });
    // A list of audiences is not read as "one of them".
    assert!(altered(None, |claims| claims["aud"] = json!([SERVICE, "elsewhere"])).is_err());
    let token = sign(&key(1), &claims());
    let stolen = Presented { token: &token, caller: "thief", sequence: 1 };
    let refusal = verifier().verify(&stolen, at(1001)).unwrap_err();
    assert_eq!(refusal, TokenRefusal::Bearer { given: "planner".into(), presented: "thief".into() });
}

#[test]
fn no_claim_shadows_another() {
    for name in ["role", "Roles", "admin", "scope", "permissions", "groups", "cap ", "__proto__"] {
        let refusal = altered(None, |claims| claims[name] = json!(["system_admin"]));
        assert!(matches!(refusal, Err(TokenRefusal::Malformed(TokenError::Claims(_)))), "{name}: {refusal:?}");
    }
    let twice =
        serde_json::to_string(&claims()).unwrap().replace(r#""roles":"#, r#""roles":["system_admin"],"roles":"#);
    assert!(matches!(raw(None, &twice), Err(TokenRefusal::Malformed(TokenError::Claims(_)))), "{twice}");
    assert!(raw(None, &format!("{}{{}}", serde_json::to_string(&claims()).unwrap())).is_err(), "text after the claims");
}

#[test]
fn a_request_passes_once() {
    let (mut verifier, token) = (verifier(), sign(&key(1), &claims()));
    let mut ask = |sequence| verifier.verify(&Presented { token: &token, caller: "planner", sequence }, at(1001)).err();
    assert_eq!((ask(1), ask(2)), (None, None), "a token serves many requests");
    assert_eq!(ask(1), Some(TokenRefusal::Replay(ReplayError::Seen(1))));
    assert_eq!(ask(0), Some(TokenRefusal::Replay(ReplayError::Unnumbered)));
    // What was refused for another reason takes no place: the honest request still passes.
    let stolen = Presented { token: &token, caller: "thief", sequence: 3 };
    assert!(verifier.verify(&stolen, at(1001)).is_err());
    assert!(verifier.verify(&Presented { token: &token, caller: "planner", sequence: 3 }, at(1001)).is_ok());
}

#[test]
fn a_capability_is_for_one_run() {
    let permissions = || vec!["move:robot".parse().unwrap()];
    assert!(present(&mut verifier(), &sign(&key(1), &claims().capability(SESSION, permissions())), 1001).is_ok());
    let refusal = present(&mut verifier(), &sign(&key(1), &claims().capability("run-0", permissions())), 1001);
    assert_eq!(refusal, Err(TokenRefusal::Session { expected: SESSION.into(), found: "run-0".into() }));
    let unbound = Claims { cap: Some(permissions()), ..claims() };
    let refusal = present(&mut verifier(), &sign(&key(1), &unbound), 1001);
    assert_eq!(refusal, Err(TokenRefusal::Session { expected: SESSION.into(), found: String::new() }));
}

#[test]
fn a_forwarded_request_keeps_its_chain_and_its_end() {
    let to = |service, id| Forwarding { service, roles: &[], audience: SERVICE, session: None, id };
    let first = claims().forwarded(&to("mcp_agent", "t2"), at(2000));
    let second = first.forwarded(&to("swarm_coordinator", "t3"), at(3000));
    assert_eq!((second.sub.as_str(), second.exp, second.iat), ("planner", claims().exp, 3000));
    assert_eq!(second.chain().map(|actor| actor.sub.as_str()).collect::<Vec<_>>(), ["swarm_coordinator", "mcp_agent"]);
    let token = sign(&key(1), &second);
    let by = |caller| verifier().verify(&Presented { token: &token, caller, sequence: 1 }, at(3001));
    assert!(by("swarm_coordinator").is_ok());
    assert!(by("planner").is_err() && by("mcp_agent").is_err(), "only the nearest service presents it");
}

#[test]
fn sizes_are_bounded() {
    let long = "x".repeat(257);
    for (what, refused) in [
        ("sub", Claims { sub: long.clone(), ..claims() }),
        ("jti", Claims { jti: String::new(), ..claims() }),
        ("roles", Claims { roles: vec!["r".into(); ROLES + 1], ..claims() }),
        ("capabilities", claims().capability(SESSION, vec!["a:b".parse().unwrap(); CAPABILITIES + 1])),
        (
            "forwarding services",
            (0..=CHAIN).fold(claims(), |claims, _| {
                claims.forwarded(
                    &Forwarding { service: "s", roles: &[], audience: SERVICE, session: None, id: "t" },
                    at(1000),
                )
            }),
        ),
    ] {
        let refusal = present(&mut verifier(), &sign(&key(1), &refused), 1001).unwrap_err();
        assert!(refusal.to_string().contains(what), "{what}: {refusal}");
    }
    let refusal = present(&mut verifier(), &"a".repeat(8193), 1001).unwrap_err();
    assert_eq!(refusal, TokenRefusal::Malformed(TokenError::TooLong(8193)));
    // Nesting that would exhaust a stack.
    let deep = format!("{}1{}", "[".repeat(2000), "]".repeat(2000));
    assert!(raw(None, &deep).is_err());
    assert_eq!(present(&mut verifier(), "", 1001), Err(TokenRefusal::Missing));
}

#[test]
fn keys_that_fit_many_texts_are_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(PublicKey::ed25519(&identity), Err(KeyError::Unusable(Algorithm::EdDsa)));
    assert!(
        PublicKey::ed25519(&[1; 31]).is_err()
            && PublicKey::p256(&[2; 65]).is_err()
            && PublicKey::p256(&[4; 33]).is_err()
    );
}
