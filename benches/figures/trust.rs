//! What a token costs the node that checks it, beside the signature alone.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use ecps_core::clock::Stamp;
use ecps_identity::claims::Claims;
use ecps_identity::guard::Guard;
use ecps_identity::key::PublicKey;
use ecps_identity::key_set::KeySet;
use ecps_identity::permission::Permission;
use ecps_identity::policy::Policy;
use ecps_identity::token;
use ecps_identity::verifier::{Presented, Verifier};
use ecps_testing::{Process, Ros};
use ed25519_dalek::{Signer as _, SigningKey};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use crate::support::{Sample, Section};

const TOKENS: usize = 20_000;
/// A token as long as those of the bench.
const TEXT: [u8; 320] = [b'x'; 320];

pub(crate) fn stage(_: &Ros) -> Vec<Process> {
    Vec::new()
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

fn ed25519() -> (PublicKey, Sign) {
    let signer = SigningKey::from_bytes(&[7; 32]);
    let key = PublicKey::ed25519(signer.verifying_key().as_bytes()).unwrap();
    (key, Box::new(move |text| signer.sign(text).to_bytes().to_vec()))
}

fn p256() -> (PublicKey, Sign) {
    let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
    let key = PublicKey::p256(pair.public_key().as_ref()).unwrap();
    (key, Box::new(move |text| pair.sign(&random, text).unwrap().as_ref().to_vec()))
}

pub(crate) fn measure() -> Section {
    let mut section = Section::begin(format!(
        "Wall time of the decision on one request, {TOKENS} of each: token read, signature, claims, replay window and policy, \
         beside the signature over as many bytes alone; the two in turn."
    ));
    for (key, sign) in [ed25519(), p256()] {
        let name = key.algorithm().name();
        let claims = Claims::new("fleet", "planner", "executor", "bench", Stamp(0)).role("robot_operator");
        let text = token::sign(&key, &claims, |text| Ok::<_, Infallible>(sign(text))).unwrap();
        let signature = sign(&TEXT);
        let verifier = Verifier::new("executor", "run", KeySet::new("fleet", key.clone()));
        let mut guard = Guard::authorizing(verifier, Policy::default());
        let permission: Permission = "move:robot".parse().unwrap();
        let [mut whole, mut alone] = std::array::from_fn(|_| Sample::default());
        for sequence in 1..=TOKENS as u64 {
            let presented = Presented { token: &text, caller: "planner", sequence };
            let start = Instant::now();
            black_box(guard.admit(&presented, std::slice::from_ref(&permission), Stamp(0)).unwrap());
            whole.push(start.elapsed());
            let start = Instant::now();
            assert!(key.verifies(&TEXT, &signature));
            alone.push(start.elapsed());
        }
        section.group();
        section.row(format!("{name} token: the whole decision"), &whole);
        section.row(format!("{name}: the signature alone"), &alone);
        section.goal(&format!("{name} token verify, p50"), whole.p50() * 1e3, 60.0, " µs");
    }
    section
}
