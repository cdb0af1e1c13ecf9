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
//! | [`shared_key`] | the device's key for certificates and TLS |
//! | [`authority`] | who issues the fleet's certificates, and takes them back |
//! | [`fleet`] | whose certificate is believed |
//! | [`tls`] | connections between robots |

pub mod attestation;
pub mod authority;
pub mod fleet;
pub mod pkcs11;
pub mod provider;
pub mod secret_file;
pub mod shared_key;
pub mod software;
pub mod tls;
pub mod tpm;
