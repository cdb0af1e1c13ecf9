//! A role allows what the policy says and nothing else; capabilities and forwarding only narrow it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use ecps_core::clock::Stamp;
use ecps_identity::claims::{Claims, Forwarding};
use ecps_identity::guard::{Audit, Guard, Refusal, TrustLevel};
use ecps_identity::key::PublicKey;
use ecps_identity::key_set::KeySet;
use ecps_identity::permission::Permission;
use ecps_identity::policy::{POLICY_BYTES, Policy, PolicyError};
use ecps_identity::token;
use ecps_identity::verifier::{Identity, Presented, TokenRefusal, Verifier};
use ed25519_dalek::{Signer as _, SigningKey};

fn issuer() -> (SigningKey, PublicKey) {
    let signer = SigningKey::from_bytes(&[1; 32]);
    let public = PublicKey::ed25519(signer.verifying_key().as_bytes()).unwrap();
    (signer, public)
}

fn text(claims: &Claims) -> String {
    let (signer, public) = issuer();
    token::sign(&public, claims, |text| Ok::<_, Infallible>(signer.sign(text).to_bytes().to_vec())).unwrap()
}

fn verifier() -> Verifier {
    Verifier::new("executor", "run", KeySet::new("fleet", issuer().1))
}

fn identity(claims: &Claims) -> Identity {
    let asked = Presented { token: &text(claims), caller: claims.presenter(), sequence: 1 };
    verifier().verify(&asked, Stamp(0)).unwrap()
}

fn with(roles: &[&str]) -> Claims {
    roles.iter().fold(Claims::new("fleet", "planner", "executor", "t", Stamp(0)), |claims, role| claims.role(role))
}

fn permission(text: &str) -> Permission {
    text.parse().unwrap()
}

fn may(claims: &Claims, asked: &str) -> bool {
    Policy::default().decide(&identity(claims), permission(asked)).is_allowed()
}

#[test]
fn the_protocols_roles_hold_without_a_file() {
    let all = ["move:robot", "grip:gripper", "sense:sensors", "configure:robot", "update:firmware", "erase:memory"];
    for (roles, allowed) in [(&[] as &[_], 0), (&["robot_operator"], 3), (&["robot_admin"], 5), (&["system_admin"], 6)]
    {
        for (index, asked) in all.iter().enumerate() {
            assert_eq!(may(&with(roles), asked), index < allowed, "{asked} as {roles:?}");
        }
    }
    assert!(!may(&with(&["system_admins", "SYSTEM_ADMIN", "*"]), "move:robot"), "a role is known by its exact name");
    assert!(!may(&Claims { sub: "system_admin".into(), ..with(&[]) }, "move:robot"), "a name is no role");
}

#[test]
fn a_capability_narrows_and_never_widens() {
    let operator =
        |cap: &[&str]| with(&["robot_operator"]).capability("run", cap.iter().map(|p| permission(p)).collect());
    assert!(may(&operator(&["move:*"]), "move:robot"));
    assert!(!may(&operator(&["move:*"]), "grip:gripper"));
    assert!(!may(&operator(&["*:*"]), "configure:robot"), "wider than the roles");
    assert!(!may(&operator(&[]), "move:robot"));
}

#[test]
fn forwarding_narrows_and_never_widens() {
    let through = |subject: &[&str], service: &[&str]| {
        let to = Forwarding { service: "mcp_agent", roles: service, audience: "executor", session: None, id: "u" };
        with(subject).forwarded(&to, Stamp(0))
    };
    assert!(may(&through(&["robot_operator"], &["robot_operator"]), "move:robot"));
    assert!(
        !may(&through(&["robot_operator"], &["system_admin"]), "configure:robot"),
        "the service's rights are not the subject's"
    );
    assert!(
        !may(&through(&["system_admin"], &["robot_operator"]), "configure:robot"),
        "nor the subject's the service's"
    );
    assert!(!may(&through(&["system_admin"], &[]), "move:robot"));
}

#[test]
fn a_decision_explains_itself() {
    let to = Forwarding { service: "mcp_agent", roles: &["ghost"], audience: "executor", session: None, id: "u" };
    let decision = Policy::default()
        .decide(&identity(&with(&["robot_operator"]).forwarded(&to, Stamp(0))), permission("move:robot"));
    assert_eq!(
        decision.to_string(),
        "move:robot is denied: planner may by move:robot of robot_operator; mcp_agent may not as ghost (no such role)"
    );
}

#[test]
fn a_policy_is_read_strictly() {
    let policy = Policy::parse("roles:\n  cook: ['put:memory/kitchen/*']\n").unwrap();
    let cook = identity(&with(&["cook"]));
    assert!(policy.decide(&cook, permission("put:memory/kitchen/oven")).is_allowed());
    assert!(!policy.decide(&cook, permission("put:memory/office")).is_allowed());
    assert!(
        !policy.decide(&identity(&with(&["system_admin"])), permission("move:robot")).is_allowed(),
        "a file replaces the default"
    );
    for bad in
        ["", "roles: 3", "roles: {a: ['move robot']}", "roles: {}\nallow_all: true", "roles: {a: [], a: ['*:*']}"]
    {
        assert!(Policy::parse(bad).is_err(), "{bad}");
    }
    assert!(matches!(Policy::parse(&" ".repeat(POLICY_BYTES + 1)), Err(PolicyError::TooLong(_))));
}

#[derive(Clone, Default)]
struct Book(Arc<Mutex<Vec<String>>>, bool);

impl Audit for Book {
    fn record(
        &mut self,
        caller: &str,
        asked: &[Permission],
        outcome: &Result<Identity, Refusal>,
    ) -> Result<(), String> {
        if self.1 {
            return Err("disk full".into());
        }
        let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
        self.0.lock().unwrap().push(format!("{caller} {} {}", asked.join(" "), outcome.is_ok()));
        Ok(())
    }
}

#[test]
fn each_level_asks_for_more() {
    let operator = text(&with(&["robot_operator"]));
    let asked = |token, sequence| Presented { token, caller: "planner", sequence };
    let configure = permission("configure:robot");

    let mut guard = Guard::authenticating(verifier());
    assert_eq!(guard.level(), TrustLevel::Authenticated);
    assert_eq!(
        guard.admit(&asked("", 1), std::slice::from_ref(&configure), Stamp(0)),
        Err(Refusal::Token(TokenRefusal::Missing))
    );
    assert!(guard.admit(&asked(&operator, 1), std::slice::from_ref(&configure), Stamp(0)).is_ok());

    let mut guard = Guard::authorizing(verifier(), Policy::default());
    assert_eq!(guard.level(), TrustLevel::Authorized);
    assert!(matches!(
        guard.admit(&asked(&operator, 1), std::slice::from_ref(&configure), Stamp(0)),
        Err(Refusal::Denied(_))
    ));
    assert!(guard.admit(&asked(&operator, 2), &[permission("move:robot")], Stamp(0)).is_ok());

    let both = [permission("move:robot"), configure];
    let refusal = guard.admit(&asked(&operator, 3), &both, Stamp(0)).unwrap_err().to_string();
    assert!(refusal.starts_with("configure:robot is denied"), "all that is asked must be allowed: {refusal}");

    let book = Book::default();
    let mut guard = Guard::authorizing(verifier(), Policy::default()).recording_refusals(Box::new(book.clone()));
    assert!(guard.admit(&asked(&operator, 1), &[permission("move:robot")], Stamp(0)).is_ok());
    assert!(guard.admit_again(&asked(&operator, 1), &[permission("move:robot")], Stamp(0)).is_ok());
    assert!(guard.admit(&asked(&operator, 1), &[permission("move:robot")], Stamp(0)).is_err(), "a replay");
    assert_eq!(*book.0.lock().unwrap(), ["planner move:robot false"]);
    let mut guard =
        Guard::authorizing(verifier(), Policy::default()).recording_refusals(Box::new(Book(Arc::default(), true)));
    assert_eq!(guard.admit(&asked("", 1), &[], Stamp(0)), Err(Refusal::Token(TokenRefusal::Missing)));

    let book = Book::default();
    let mut guard = Guard::audited(verifier(), Policy::default(), Box::new(book.clone()));
    assert_eq!(guard.level(), TrustLevel::Audited);
    assert!(guard.admit(&asked(&operator, 1), &[permission("move:robot")], Stamp(0)).is_ok());
    assert!(guard.admit(&asked(&operator, 1), &[permission("move:robot")], Stamp(0)).is_err(), "a replay");
    assert_eq!(*book.0.lock().unwrap(), ["planner move:robot true", "planner move:robot false"]);

    let mut guard = Guard::audited(verifier(), Policy::default(), Box::new(Book(Arc::default(), true)));
    let refusal = guard.admit(&asked(&operator, 1), &[permission("move:robot")], Stamp(0));
    assert_eq!(refusal, Err(Refusal::Unrecorded("disk full".into())));
}

#[test]
fn levels_have_their_names() {
    let read = |name: &str| serde_yaml::from_str::<TrustLevel>(name).unwrap();
    let names = ["NONE", "ENCRYPTION", "AUTHENTICATED", "AUTHORIZED", "AUDITED"];
    assert_eq!(names.map(|name| read(name) as u8), [0, 1, 2, 3, 4]);
    assert!(serde_yaml::from_str::<TrustLevel>("SOME").is_err());
}
