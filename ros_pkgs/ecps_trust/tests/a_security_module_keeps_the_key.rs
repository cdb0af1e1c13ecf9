//! What ends a device's key in a security module, and what does not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::os::unix::fs::PermissionsExt as _;

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use ecps_trust::pkcs11::{KEY_LABEL, Pkcs11Error};
use ecps_trust::provider::{Missing, Provider, ProviderError};
use ecps_trust::secret_file::SecretFileError;
use support::SoftHsm;

fn refusal(provider: &Provider, missing: Missing) -> Pkcs11Error {
    match provider.open(missing) {
        Err(ProviderError::Pkcs11(error)) => error,
        other => panic!("{:?}", other.map(|key| key.device_id())),
    }
}

#[test]
fn another_pin_is_refused() {
    let Some(hsm) = SoftHsm::start("another_pin_is_refused") else { return };
    let provider = hsm.provider();
    for wrong in ["999999", "1"] {
        hsm.write_pin(wrong);
        assert!(matches!(refusal(&provider, Missing::Create), Pkcs11Error::Pin(token) if token == "robot"), "{wrong}");
    }
    for none in ["", "\n", "123456\n654321"] {
        hsm.write_pin(none);
        assert!(matches!(refusal(&provider, Missing::Create), Pkcs11Error::PinFile(_)), "{none:?}");
    }
    hsm.write_pin("123456\n");
    std::fs::set_permissions(hsm.pin(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = provider.open(Missing::Create).err().unwrap();
    assert!(matches!(open, ProviderError::File(SecretFileError::Open { mode: 0o644, .. })), "{open}");
    hsm.write_pin("123456\n");
    assert!(provider.open(Missing::Create).is_ok());
}

#[test]
fn the_token_that_was_named_and_no_other() {
    let Some(hsm) = SoftHsm::start("the_token_that_was_named_and_no_other") else { return };
    hsm.add_token("twin");
    hsm.add_token("twin");
    let Provider::Pkcs11 { module, pin, .. } = hsm.provider() else { panic!() };
    let named = |token: &str| Provider::Pkcs11 { module: module.clone(), token: token.into(), pin: pin.clone() };
    assert!(matches!(refusal(&named("nobody"), Missing::Create), Pkcs11Error::NoToken(_)));
    assert!(matches!(refusal(&named("twin"), Missing::Create), Pkcs11Error::ManyTokens { found: 2, .. }));
    assert!(matches!(refusal(&named("robot"), Missing::Refuse), Pkcs11Error::NoKey(_)));
    let elsewhere = Provider::Pkcs11 { module: "/nonexistent/libhsm.so".into(), token: "robot".into(), pin };
    assert!(matches!(refusal(&elsewhere, Missing::Create), Pkcs11Error::Module { .. }));
}

#[test]
fn a_token_that_is_gone_signs_nothing() {
    let Some(hsm) = SoftHsm::start("a_token_that_is_gone_signs_nothing") else { return };
    let mut key = hsm.provider().open(Missing::Create).unwrap();
    key.sign(b"before").unwrap();
    hsm.pull_out();
    assert!(key.sign(b"meanwhile").is_err());
    for _ in 0..2 {
        let found = key.sign(b"meanwhile");
        assert!(matches!(found, Err(ProviderError::Pkcs11(Pkcs11Error::NoToken(_)))), "{found:?}");
    }
}

#[test]
fn a_token_that_was_logged_out_signs_again() {
    let Some(hsm) = SoftHsm::start("a_token_that_was_logged_out_signs_again") else { return };
    let provider = hsm.provider();
    let mut key = provider.open(Missing::Create).unwrap();
    let log_out = || {
        let Provider::Pkcs11 { module, .. } = &provider else { panic!() };
        let module = Pkcs11::new(module).unwrap();
        let slot = module.get_slots_with_initialized_token().unwrap().pop().unwrap();
        module.open_rw_session(slot).unwrap().logout().unwrap(); // everyone's in this process
    };
    log_out();
    assert!(key.sign(b"lost").is_err(), "it is told");
    let signature = key.sign(b"after").unwrap();
    assert!(key.public_key().verifies(b"after", &signature));
    // A PIN that was wrong once is not tried again: the token would lock it.
    log_out();
    hsm.write_pin("999999");
    assert!(key.sign(b"lost").is_err());
    assert!(matches!(key.sign(b"x"), Err(ProviderError::Pkcs11(Pkcs11Error::Pin(_)))));
    hsm.write_pin("123456");
    assert!(matches!(key.sign(b"x"), Err(ProviderError::Pkcs11(Pkcs11Error::Pin(_)))), "until it is opened anew");
    let mut key = provider.open(Missing::Refuse).unwrap();
    key.sign(b"x").unwrap();
}

/// Someone else's key under our label: one that may leave the token would be no identity.
#[test]
fn a_key_that_may_leave_the_token_is_refused() {
    let Some(hsm) = SoftHsm::start("a_key_that_may_leave_the_token_is_refused") else { return };
    let provider = hsm.provider();
    assert!(matches!(refusal(&provider, Missing::Refuse), Pkcs11Error::NoKey(_)));
    let Provider::Pkcs11 { module, .. } = &provider else { panic!() };
    let module = Pkcs11::new(module).unwrap();
    let mut slots = module.get_slots_with_initialized_token().unwrap();
    let session = module.open_rw_session(slots.pop().unwrap()).unwrap();
    session.login(UserType::User, Some(&AuthPin::new("123456".into()))).unwrap();
    let p256 = vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let label = Attribute::Label(KEY_LABEL.into());
    let id = Attribute::Id(vec![1]);
    let public = [Attribute::Token(true), label.clone(), id.clone(), Attribute::EcParams(p256)];
    let private = |extractable| {
        [
            Attribute::Token(true),
            Attribute::Private(true),
            label.clone(),
            id.clone(),
            Attribute::Sign(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(extractable),
        ]
    };
    let (shown, leaky) = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private(true)).unwrap();
    assert!(matches!(refusal(&provider, Missing::Create), Pkcs11Error::WrongKey(_)));
    session.destroy_object(leaky).unwrap();
    session.destroy_object(shown).unwrap();
    session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private(false)).unwrap();
    assert!(provider.open(Missing::Refuse).is_ok(), "one like ours is taken");
    session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private(false)).unwrap();
    assert!(matches!(refusal(&provider, Missing::Create), Pkcs11Error::WrongKey(_)), "two are one too many");
}
