//! Which device is speaking, and in what state it is.
//!
//! | module | what it holds |
//! |---|---|
//! | [`provider`] | the device's key, wherever it lives |
//! | [`software`] | one in an encrypted file |
//! | [`secret_file`] | files that only their owner may read |
//! | [`pkcs11`] | one in a hardware security module |
//! | [`tpm`] | one in a TPM 2.0, and its quotes |
//! | [`attestation`] | reports of a device's state, and who believes them |
//! | [`provisioning`] | from the factory to the field, in steps |
//! | [`pem`] | certificates as text |
//! | [`shared_key`] | the device's key for certificates and TLS |
//! | [`authority`] | who issues the fleet's certificates, and takes them back |
//! | [`books`] | which devices belong to the fleet, in which roles, and what is revoked |
//! | [`issuer`] | the authority at work: tokens, signing keys, revocations |
//! | [`fleet`] | whose certificate is believed |
//! | [`tls`] | connections between robots |

pub mod attestation;
pub mod authority;
pub mod books;
pub mod fleet;
pub mod issuer;
#[cfg(feature = "node")]
pub mod node;
pub mod pem;
pub mod pkcs11;
pub mod provider;
pub mod provisioning;
pub mod secret_file;
pub mod shared_key;
pub mod software;
pub mod tls;
pub mod tpm;
