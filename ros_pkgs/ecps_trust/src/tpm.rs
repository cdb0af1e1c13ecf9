//! A device key in a TPM 2.0, and quotes of its PCRs by a second, restricted key.
//!
//! Both are primary keys (the device's of the owner hierarchy, the attestation key of the endorsement hierarchy) under
//! persistent handles, so that a restart finds them again. Objects are flushed after use: a bare TPM has three slots.

use std::str::FromStr as _;

use ecps_identity::key::PublicKey;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tss_esapi::Context;
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::constants::{CapabilityType, Tss2ResponseCodeKind};
use tss_esapi::handles::{KeyHandle, PcrHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::{Hierarchy, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    CapabilityData, Data, Digest, DigestValues, EccPoint, EccScheme, HashScheme, HashcheckTicket,
    KeyDerivationFunctionScheme, PcrSelectionList, PcrSlot, Public, PublicBuilder, PublicEccParametersBuilder,
    Signature, SignatureScheme, SymmetricDefinitionObject,
};
use tss_esapi::tcti_ldr::TctiNameConf;
use tss_esapi::traits::Marshall as _;
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;

use crate::attestation::{NONCE_BYTES, PCRS, PcrValues, Quote};
use crate::provider::{DeviceKey, Missing, ProviderError};

/// Where the device's key stays, in the range for owners (TCG Registry of Reserved TPM 2.0 Handles, section 2.3.1).
pub const DEVICE_KEY_HANDLE: u32 = 0x8100_8010;
/// Where the attestation key stays.
pub const ATTESTATION_KEY_HANDLE: u32 = 0x8100_8011;

/// What the TPM did not do.
#[derive(Debug, Error)]
pub enum TpmError {
    /// It cannot be reached.
    #[error("the TPM at '{tcti}' cannot be reached: {source}")]
    Unreachable {
        /// Where it should be.
        tcti: String,
        /// Why.
        source: tss_esapi::Error,
    },
    /// It refused a command.
    #[error("the TPM did not {doing}: {source}")]
    Refused {
        /// What was asked of it.
        doing: &'static str,
        /// Its answer.
        source: tss_esapi::Error,
    },
    /// Other programs' objects fill it.
    #[error(
        "the TPM did not {0}: all its slots for objects are taken; a resource manager (tpm2-abrmd, /dev/tpmrm0) shares them"
    )]
    NoSlot(&'static str),
    /// There is no key.
    #[error("the TPM has no key at handle 0x{0:08x}: provision the device")]
    NoKey(u32),
    /// There is something else.
    #[error(
        "the TPM's key at handle 0x{0:08x} is not one that this program made: a P-256 signing key that never leaves the TPM"
    )]
    WrongKey(u32),
    /// After a reconnection.
    #[error("the TPM that answers has another device's key")]
    AnotherTpm,
    /// It answered nonsense.
    #[error("the TPM's answer is not understood: {0}")]
    Answer(&'static str),
}

fn refused(doing: &'static str) -> impl Fn(tss_esapi::Error) -> TpmError {
    move |source| match source {
        tss_esapi::Error::Tss2Error(code) if code.kind() == Some(Tss2ResponseCodeKind::ObjectMemory) => {
            TpmError::NoSlot(doing)
        }
        source => TpmError::Refused { doing, source },
    }
}

/// Which of the two keys.
#[derive(Clone, Copy)]
enum Role {
    Device,
    Attestation,
}

impl Role {
    fn handle(self) -> u32 {
        match self {
            Role::Device => DEVICE_KEY_HANDLE,
            Role::Attestation => ATTESTATION_KEY_HANDLE,
        }
    }

    fn hierarchy(self) -> Hierarchy {
        match self {
            Role::Device => Hierarchy::Owner,
            Role::Attestation => Hierarchy::Endorsement,
        }
    }

    /// The attestation key is restricted: it signs only what the TPM itself says, so nobody can have it sign a made-up quote.
    fn template(self) -> Result<Public, tss_esapi::Error> {
        let restricted = matches!(self, Role::Attestation);
        let attributes = ObjectAttributesBuilder::new()
            .with_fixed_tpm(true)
            .with_fixed_parent(true)
            .with_sensitive_data_origin(true)
            .with_user_with_auth(true)
            .with_sign_encrypt(true)
            .with_decrypt(false)
            .with_restricted(restricted)
            .build()?;
        let parameters = PublicEccParametersBuilder::new()
            .with_symmetric(SymmetricDefinitionObject::Null)
            .with_ecc_scheme(EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256)))
            .with_curve(EccCurve::NistP256)
            .with_key_derivation_function_scheme(KeyDerivationFunctionScheme::Null)
            .with_is_signing_key(true)
            .with_is_decryption_key(false)
            .with_restricted(restricted)
            .build()?;
        PublicBuilder::new()
            .with_public_algorithm(PublicAlgorithm::Ecc)
            .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
            .with_object_attributes(attributes)
            .with_ecc_parameters(parameters)
            .with_ecc_unique_identifier(EccPoint::default())
            .build()
    }
}

/// A connection, and the keys as it knows them.
struct Link {
    context: Context,
    device: KeyHandle,
    attestation: KeyHandle,
}

/// A TPM with this device's keys in it.
pub struct Tpm {
    tcti: String,
    link: Option<Link>,
    device: PublicKey,
    attestation: PublicKey,
}

impl std::fmt::Debug for Tpm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tpm").field("tcti", &self.tcti).field("device", &self.device).finish_non_exhaustive()
    }
}

impl Tpm {
    /// Opens the TPM at `tcti` and finds its keys, or makes them.
    pub fn open(tcti: &str, missing: Missing) -> Result<Tpm, TpmError> {
        let (link, device, attestation) = connect(tcti, missing)?;
        Ok(Tpm { tcti: tcti.to_owned(), link: Some(link), device, attestation })
    }

    /// The key that checks quotes.
    pub fn attestation_key(&self) -> &PublicKey {
        &self.attestation
    }

    /// What the PCRs hold, said by the TPM itself for `nonce`.
    pub fn quote(&mut self, nonce: &[u8; NONCE_BYTES]) -> Result<Quote, TpmError> {
        let quote = self.with_link(|link| {
            let data = Data::try_from(nonce.as_slice()).map_err(refused("take the nonce"))?;
            let pcrs = read_pcrs(&mut link.context)?;
            let (key, selection) = (link.attestation, selection()?);
            let (attest, signature) = link
                .context
                .execute_with_session(Some(AuthSession::Password), |context| {
                    context.quote(key, data, SignatureScheme::Null, selection)
                })
                .map_err(refused("quote its PCRs"))?;
            let attest = attest.marshall().map_err(refused("put its quote into bytes"))?;
            Ok(Quote { pcrs, attest, signature: raw(&signature)? })
        })?;
        if self.attestation.verifies(&quote.attest, &quote.signature) { Ok(quote) } else { Err(TpmError::AnotherTpm) }
    }

    /// Adds a measurement to a PCR of the SHA-256 bank; it stays until the machine is started anew.
    pub fn extend(&mut self, pcr: u32, digest: &[u8; 32]) -> Result<(), TpmError> {
        self.with_link(|link| {
            let handle = PcrHandle::try_from(pcr).map_err(refused("take the number of the PCR"))?;
            let mut values = DigestValues::new();
            values.set(
                HashingAlgorithm::Sha256,
                Digest::try_from(digest.as_slice()).map_err(refused("take the digest"))?,
            );
            link.context
                .execute_with_session(Some(AuthSession::Password), |context| context.pcr_extend(handle, values))
                .map_err(refused("extend a PCR"))
        })
    }

    /// Runs a command. A connection that failed is given up, and the next command makes a new one, to the same keys only.
    fn with_link<T>(&mut self, command: impl FnOnce(&mut Link) -> Result<T, TpmError>) -> Result<T, TpmError> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => {
                let (link, device, attestation) = connect(&self.tcti, Missing::Refuse)?;
                if device != self.device || attestation != self.attestation {
                    return Err(TpmError::AnotherTpm);
                }
                link
            }
        };
        let result = command(&mut link)?;
        self.link = Some(link);
        Ok(result)
    }
}

impl DeviceKey for Tpm {
    fn public_key(&self) -> &PublicKey {
        &self.device
    }

    fn sign(&mut self, text: &[u8]) -> Result<Vec<u8>, ProviderError> {
        let digest = Sha256::digest(text);
        let signature = self.with_link(|link| {
            let digest = Digest::try_from(digest.as_slice()).map_err(refused("take the digest"))?;
            let ticket =
                TPMT_TK_HASHCHECK { tag: TPM2_ST_HASHCHECK, hierarchy: TPM2_RH_NULL, digest: Default::default() };
            let ticket = HashcheckTicket::try_from(ticket).map_err(refused("take the ticket"))?;
            let key = link.device;
            let signature = link
                .context
                .execute_with_session(Some(AuthSession::Password), |context| {
                    context.sign(key, digest, SignatureScheme::Null, ticket)
                })
                .map_err(refused("sign"))?;
            raw(&signature)
        })?;
        // Where a TPM was exchanged under an open connection, the handle is another's key.
        if self.device.verifies(text, &signature) { Ok(signature) } else { Err(TpmError::AnotherTpm.into()) }
    }
}

fn connect(tcti: &str, missing: Missing) -> Result<(Link, PublicKey, PublicKey), TpmError> {
    let unreachable = |source| TpmError::Unreachable { tcti: tcti.to_owned(), source };
    let mut context = TctiNameConf::from_str(tcti).and_then(Context::new).map_err(unreachable)?;
    let (device, device_key) = find(&mut context, Role::Device, missing)?;
    let (attestation, attestation_key) = find(&mut context, Role::Attestation, missing)?;
    Ok((Link { context, device, attestation }, device_key, attestation_key))
}

fn find(context: &mut Context, role: Role, missing: Missing) -> Result<(KeyHandle, PublicKey), TpmError> {
    let number = role.handle();
    if !holds(context, number)? {
        match missing {
            Missing::Create => create(context, role)?,
            Missing::Refuse => return Err(TpmError::NoKey(number)),
        }
    }
    let handle = PersistentTpmHandle::new(number).map_err(refused("take the handle"))?;
    let found = context.tr_from_tpm_public(TpmHandle::Persistent(handle)).map_err(refused("find its key"))?;
    let found = KeyHandle::from(found);
    let (public, _, _) = context.read_public(found).map_err(refused("show its public key"))?;
    // Everything but the key itself must be as we make it.
    let template = role.template().map_err(refused("take the key's template"))?;
    let is_ours = public.object_attributes() == template.object_attributes()
        && public.name_hashing_algorithm() == template.name_hashing_algorithm();
    match (&public, &template) {
        (Public::Ecc { parameters, unique, .. }, Public::Ecc { parameters: ours, .. })
            if is_ours && parameters == ours =>
        {
            Ok((found, point(unique)?))
        }
        _ => Err(TpmError::WrongKey(number)),
    }
}

fn holds(context: &mut Context, handle: u32) -> Result<bool, TpmError> {
    let (data, _) =
        context.get_capability(CapabilityType::Handles, handle, 1).map_err(refused("list its persistent keys"))?;
    let CapabilityData::Handles(handles) = data else {
        return Err(TpmError::Answer("a list of handles was asked for"));
    };
    Ok(handles.as_ref().iter().any(|found| u32::from(*found) == handle))
}

fn create(context: &mut Context, role: Role) -> Result<(), TpmError> {
    let template = role.template().map_err(refused("take the key's template"))?;
    let handle = PersistentTpmHandle::new(role.handle()).map_err(refused("take the handle"))?;
    context.execute_with_session(Some(AuthSession::Password), |context| {
        let made = context
            .create_primary(role.hierarchy(), template, None, None, None, None)
            .map_err(refused("make a key"))?
            .key_handle;
        let kept = context.evict_control(Provision::Owner, made.into(), Persistent::Persistent(handle));
        context.flush_context(made.into()).map_err(refused("free a slot"))?;
        kept.map_err(refused("keep the key"))?;
        Ok(())
    })
}

fn selection() -> Result<PcrSelectionList, TpmError> {
    let slots: Vec<PcrSlot> = PCRS
        .map(|index| PcrSlot::try_from(1_u32 << index))
        .collect::<Result<_, _>>()
        .map_err(refused("take the list of PCRs"))?;
    PcrSelectionList::builder()
        .with_selection(HashingAlgorithm::Sha256, &slots)
        .build()
        .map_err(refused("take the list of PCRs"))
}

fn read_pcrs(context: &mut Context) -> Result<PcrValues, TpmError> {
    let (_, _, digests) = context.pcr_read(selection()?).map_err(refused("show its PCRs"))?;
    let values = digests.value().iter().map(|digest| digest.value().try_into()).collect::<Result<Vec<_>, _>>();
    values.ok().and_then(|values| PcrValues::try_from(values).ok()).ok_or(TpmError::Answer("eight PCRs were asked for"))
}

/// A coordinate or scalar of 32 bytes; TPMs may leave zeros at the front out.
fn padded(bytes: &[u8]) -> Result<[u8; 32], TpmError> {
    let mut padded = [0; 32];
    let start = padded.len().checked_sub(bytes.len()).ok_or(TpmError::Answer("a number has more than 32 bytes"))?;
    padded.iter_mut().skip(start).zip(bytes).for_each(|(to, from)| *to = *from);
    Ok(padded)
}

fn point(point: &EccPoint) -> Result<PublicKey, TpmError> {
    let (x, y) = (padded(point.x().value())?, padded(point.y().value())?);
    PublicKey::p256(&[&[4], x.as_slice(), &y].concat()).map_err(|_| TpmError::Answer("its public key is none"))
}

fn raw(signature: &Signature) -> Result<Vec<u8>, TpmError> {
    let Signature::EcDsa(signature) = signature else { return Err(TpmError::Answer("its signature is not ECDSA")) };
    let (r, s) = (padded(signature.signature_r().value())?, padded(signature.signature_s().value())?);
    Ok([r, s].concat())
}
