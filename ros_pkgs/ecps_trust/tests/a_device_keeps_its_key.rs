//! What holds for a device's key wherever it lives, and what ends each kind of it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use ecps_trust::provider::{DeviceKey as _, Missing, Provider, ProviderError};
use ecps_trust::secret_file::SecretFileError;
use ecps_trust::tpm::{Tpm, TpmError};
use support::{SoftHsm, Swtpm};
use tempfile::TempDir;

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A folder with a passphrase in it.
fn home() -> (TempDir, PathBuf, Provider) {
    let home = TempDir::new().unwrap();
    mode(home.path(), 0o700);
    let passphrase = home.path().join("passphrase");
    std::fs::write(&passphrase, "correct horse battery staple\n").unwrap();
    mode(&passphrase, 0o600);
    let key = home.path().join("keys/device");
    let provider = Provider::Software { key: key.clone(), passphrase };
    (home, key, provider)
}

/// The same for every provider.
fn keeps_its_key(provider: &Provider) {
    assert!(provider.open(Missing::Refuse).is_err(), "nothing is made where nothing was asked for");
    let mut key = provider.open(Missing::Create).unwrap();
    let (public, id) = (key.public_key().clone(), key.device_id());
    assert_eq!(id.len(), 16);
    for text in [b"".as_slice(), b"a", &[7; 5000]] {
        let signature = key.sign(text).unwrap();
        assert!(public.verifies(text, &signature));
        assert!(!public.verifies(b"another", &signature));
    }
    drop(key);
    for missing in [Missing::Refuse, Missing::Create] {
        let mut again = provider.open(missing).unwrap();
        assert_eq!((again.public_key(), again.device_id()), (&public, id.clone()));
        let signature = again.sign(b"again").unwrap();
        assert!(public.verifies(b"again", &signature));
    }
}

#[test]
fn in_a_file() {
    let (_home, key, provider) = home();
    keeps_its_key(&provider);
    let modes = [&key, key.parent().unwrap()].map(|path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777);
    assert_eq!(modes, [0o600, 0o700]);
    let files = std::fs::read_dir(key.parent().unwrap()).unwrap().count();
    assert_eq!(files, 1, "nothing is left beside it");
}

#[test]
fn in_a_tpm() {
    let Some(swtpm) = Swtpm::start("a_device_keeps_its_key in_a_tpm") else { return };
    keeps_its_key(&Provider::Tpm { tcti: swtpm.tcti() });
}

#[test]
fn in_a_security_module() {
    let Some(hsm) = SoftHsm::start("in_a_security_module") else { return };
    keeps_its_key(&hsm.provider());
}

#[test]
fn two_devices_have_two_keys() {
    let ids = [home(), home()].map(|(_home, _, provider)| provider.open(Missing::Create).unwrap().device_id());
    assert_ne!(ids[0], ids[1]);
    let Some(first) = Swtpm::start("two_devices_have_two_keys") else { return };
    let Some(second) = Swtpm::start("two_devices_have_two_keys") else { return };
    assert_ne!(first.open(Missing::Create).device_id(), second.open(Missing::Create).device_id());
}

#[test]
fn a_key_file_that_others_reach_is_refused() {
    let (_home, key, provider) = home();
    provider.open(Missing::Create).unwrap();
    let refusal = || match provider.open(Missing::Create) {
        Err(ProviderError::File(error)) => error,
        other => panic!("{:?}", other.map(|key| key.device_id())),
    };
    for open in [0o644, 0o640, 0o601, 0o4600] {
        mode(&key, open);
        assert!(matches!(refusal(), SecretFileError::Open { mode, .. } if mode == open), "{open:o}");
    }
    mode(&key, 0o600);
    mode(key.parent().unwrap(), 0o755);
    assert!(matches!(refusal(), SecretFileError::Open { mode: 0o755, .. }));
    mode(key.parent().unwrap(), 0o700);

    let elsewhere = key.with_extension("elsewhere");
    std::fs::rename(&key, &elsewhere).unwrap();
    symlink(&elsewhere, &key).unwrap();
    assert!(matches!(refusal(), SecretFileError::Io { .. }), "a link");
    std::fs::remove_file(&key).unwrap();
    std::fs::create_dir(&key).unwrap();
    assert!(matches!(refusal(), SecretFileError::Kind { .. }), "a folder");
    std::fs::remove_dir(&key).unwrap();
    std::fs::rename(&elsewhere, &key).unwrap();
    assert!(provider.open(Missing::Refuse).is_ok());
}

#[test]
fn a_key_file_that_was_cut_or_altered_is_refused() {
    let (_home, key, provider) = home();
    provider.open(Missing::Create).unwrap();
    let whole = std::fs::read(&key).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        std::fs::write(&key, bytes).unwrap();
        assert!(matches!(provider.open(Missing::Create), Err(ProviderError::Sealed(_))), "{what}");
        assert_eq!(std::fs::read(&key).unwrap(), bytes, "it is not replaced either");
    };
    for end in [0, 7, 24, 36, whole.len() - 1] {
        refused(&whole[..end], &format!("cut at {end}"));
    }
    for index in [0, 8, 24, 40, whole.len() - 1] {
        let mut altered = whole.clone();
        altered[index] ^= 1;
        refused(&altered, &format!("byte {index}"));
    }
    refused(&[&whole[..], b"x"].concat(), "one byte more");
    std::fs::write(&key, &whole).unwrap();
    assert!(provider.open(Missing::Refuse).is_ok());
}

#[test]
fn another_or_a_short_passphrase_is_refused() {
    let (home, _, provider) = home();
    provider.open(Missing::Create).unwrap();
    let passphrase = home.path().join("passphrase");
    std::fs::write(&passphrase, "correct horse battery stapler").unwrap();
    assert!(matches!(provider.open(Missing::Create), Err(ProviderError::Sealed(_))));
    std::fs::write(&passphrase, "correct horse  \n").unwrap();
    assert!(matches!(provider.open(Missing::Create), Err(ProviderError::ShortPassphrase { found: 13, .. })));
    mode(&passphrase, 0o644);
    assert!(matches!(provider.open(Missing::Create), Err(ProviderError::File(SecretFileError::Open { .. }))));
}

#[test]
fn no_tpm_means_no_key() {
    // Nobody listens there: the port was free a moment ago.
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let tcti = format!("swtpm:host=127.0.0.1,port={free}");
    let refusal = Provider::Tpm { tcti }.open(Missing::Create).err().unwrap();
    assert!(matches!(refusal, ProviderError::Tpm(TpmError::Unreachable { .. })), "{refusal}");
    let refusal = Provider::Tpm { tcti: "nonsense".into() }.open(Missing::Create).err().unwrap();
    assert!(matches!(refusal, ProviderError::Tpm(TpmError::Unreachable { .. })), "{refusal}");
}

#[test]
fn a_tpm_that_goes_and_comes_back_signs_again() {
    let Some(mut swtpm) = Swtpm::start("a_tpm_that_goes_and_comes_back_signs_again") else { return };
    let mut tpm = swtpm.open(Missing::Create);
    tpm.sign(b"before").unwrap();
    swtpm.kill();
    for _ in 0..2 {
        assert!(tpm.sign(b"meanwhile").is_err(), "it does not sign by other means");
    }
    swtpm.restart();
    let signature = tpm.sign(b"after").unwrap();
    assert!(tpm.public_key().verifies(b"after", &signature));
}

#[test]
fn another_tpm_at_the_same_place_is_noticed() {
    let Some(mut swtpm) = Swtpm::start("another_tpm_at_the_same_place_is_noticed") else { return };
    let mut tpm = swtpm.open(Missing::Create);
    swtpm.kill();
    swtpm.replace();
    drop(Tpm::open(&swtpm.tcti(), Missing::Create).unwrap());
    for _ in 0..2 {
        assert!(matches!(tpm.sign(b"x"), Err(ProviderError::Tpm(TpmError::AnotherTpm))));
        assert!(matches!(tpm.quote(&[1; 32]), Err(TpmError::AnotherTpm)));
    }
}

#[test]
fn a_tpm_without_a_free_slot_says_so_and_signs_once_there_is_one() {
    let Some(swtpm) = Swtpm::start("a_tpm_without_a_free_slot_says_so_and_signs_once_there_is_one") else { return };
    let slots = swtpm.fill_slots();
    assert!(matches!(Tpm::open(&swtpm.tcti(), Missing::Create), Err(TpmError::NoSlot("make a key"))));
    swtpm.free_slots(&slots);
    let mut tpm = swtpm.open(Missing::Create);
    let public = tpm.public_key().clone();
    drop(tpm);
    let slots = swtpm.fill_slots();
    // A persistent key takes a slot while it is used.
    let found = Tpm::open(&swtpm.tcti(), Missing::Refuse).and_then(|mut tpm| tpm.quote(&[1; 32]).map(drop));
    assert!(matches!(found, Err(TpmError::NoSlot(_))), "{found:?}");
    swtpm.free_slots(&slots);
    tpm = swtpm.open(Missing::Refuse);
    assert_eq!(tpm.public_key(), &public);
    assert!(public.verifies(b"x", &tpm.sign(b"x").unwrap()));
}

#[test]
fn a_bare_tpm_does_not_run_out_of_slots() {
    let Some(swtpm) = Swtpm::start("a_bare_tpm_does_not_run_out_of_slots") else { return };
    for _ in 0..5 {
        let mut tpm = swtpm.open(Missing::Create);
        for _ in 0..5 {
            tpm.sign(b"x").unwrap();
            tpm.quote(&[1; 32]).unwrap();
        }
    }
}
