//! The services.

use ecps_core::clock::{SteadyClock as _, SystemSteady};
use ecps_identity::bulletin::device_of;
use ecps_identity::permission::Permission;
use ecps_identity::policy::Policy;
use ecps_identity::verifier::{Presented, Verifier};
use ecps_journal::record::Decision;
use ecps_journal::{Direction, Moment};
use ecps_ros::Reply;
use ecps_ros::r2r::ecps_msgs::msg::{self, Caller};
use ecps_ros::r2r::ecps_msgs::srv::{
    Attest, Enroll, GetIdentity, IssueToken, Revoke, RotateKey, VerifyAttestation, VerifyToken,
};
use rustls::pki_types::alg_id;
use rustls::sign::public_key_to_spki;

use super::{Agent, lock, now};
use crate::attestation::{IdentityReport, NONCE_BYTES};
use crate::books::BooksError;
use crate::issuer::{IssuerError, TokenRequest};
use crate::pem;
use crate::provider::Provider;

const INVALID: u8 = 1;
/// Of attestations.
const UNSUPPORTED: u8 = 2;
const STORAGE: u8 = 2;
const EXPIRED: u8 = 4;
const UNAUTHORIZED: u8 = 5;
const UNAVAILABLE: u8 = 6;

/// `AttestationReport.DEVICE_IDENTITY`.
pub(super) const DEVICE_IDENTITY: u8 = 2;
const NO_KEY: &str = "this agent has no device's key: parameter 'provider' is none";
const NO_FLEET: &str = "nothing is known of the fleet: no root ('trust_anchor'), or its authority was not heard yet";

/// A report as it came.
pub(super) fn report_from_ros(message: &msg::AttestationReport) -> Option<IdentityReport> {
    Some(IdentityReport {
        device_id: message.device_id.clone(),
        time: ecps_ros::stamp(&message.stamp),
        nonce: nonce(&message.nonce)?,
        certificate: pem::first(message.certificate_chain.as_bytes())?,
        signature: message.signature.clone(),
    })
}

fn nonce(bytes: &[u8]) -> Option<[u8; NONCE_BYTES]> {
    bytes.try_into().ok()
}

impl Agent {
    pub(super) fn identity(&self) -> msg::DeviceIdentity {
        let shared = &self.shared;
        let Some(key) = &shared.key else { return msg::DeviceIdentity::default() };
        let (provider, provider_detail) = match &shared.settings.provider {
            Some(Provider::Tpm { tcti }) => (1, tcti.clone()),
            Some(Provider::Pkcs11 { token, .. }) => (2, token.clone()),
            _ => (0, "encrypted file".to_owned()),
        };
        let mut identity = msg::DeviceIdentity {
            device_id: key.device_id(),
            name: shared.name.clone(),
            provider,
            provider_detail,
            public_key: public_key_to_spki(&alg_id::ECDSA_P256, key.public_key().as_bytes()).to_vec(),
            ..msg::DeviceIdentity::default()
        };
        if let Some(certificate) = lock(&shared.certificate).as_ref() {
            identity.certificate_chain = pem::block("CERTIFICATE", certificate);
            identity.certificate_expires = ecps_ros::time(crate::fleet::end(certificate).unwrap_or_default());
        }
        identity
    }

    pub(super) fn on_get_identity(&mut self, _: GetIdentity::Request, reply: Reply<GetIdentity::Service>) {
        reply.send(match self.shared.key {
            Some(_) => GetIdentity::Response { identity: self.identity(), ..GetIdentity::Response::default() },
            None => GetIdentity::Response {
                error_code: UNAVAILABLE,
                error_msg: NO_KEY.into(),
                ..GetIdentity::Response::default()
            },
        });
    }

    pub(super) fn on_attest(&mut self, request: Attest::Request, reply: Reply<Attest::Service>) {
        let refused = |error_code, error_msg: &str| Attest::Response {
            error_code,
            error_msg: error_msg.to_owned(),
            ..Attest::Response::default()
        };
        let Some(key) = &self.shared.key else { return reply.send(refused(UNAVAILABLE, NO_KEY)) };
        if request.type_ != DEVICE_IDENTITY {
            let text = "this agent reports its device's identity alone; quotes are made by the library";
            return reply.send(refused(UNSUPPORTED, text));
        }
        let Some(nonce) = nonce(&request.nonce) else { return reply.send(refused(INVALID, "a nonce has 32 bytes")) };
        let Some(certificate) = lock(&self.shared.certificate).clone() else {
            return reply.send(refused(UNAVAILABLE, "this device has no certificate of a fleet yet"));
        };
        reply.send(match IdentityReport::make(key, certificate, nonce, now()) {
            Err(error) => refused(UNAVAILABLE, &error.to_string()),
            Ok(report) => Attest::Response {
                report: msg::AttestationReport {
                    type_: DEVICE_IDENTITY,
                    device_id: report.device_id,
                    stamp: ecps_ros::time(report.time),
                    nonce: report.nonce.to_vec(),
                    signature: report.signature,
                    certificate_chain: pem::block("CERTIFICATE", &report.certificate),
                    ..msg::AttestationReport::default()
                },
                ..Attest::Response::default()
            },
        });
    }

    pub(super) fn on_verify_attestation(
        &mut self,
        request: VerifyAttestation::Request,
        reply: Reply<VerifyAttestation::Service>,
    ) {
        let judged = (|| {
            if request.report.type_ != DEVICE_IDENTITY {
                return Err("this agent judges reports of a device's identity alone".to_owned());
            }
            let read = report_from_ros(&request.report).zip(nonce(&request.nonce));
            let (report, nonce) = read.ok_or("the report has no nonce of 32 bytes, or no certificate")?;
            let fleet = self.shared.fleet().ok_or(NO_FLEET)?;
            if self.shared.is_revoked(&report.device_id) {
                return Err("the device is revoked".to_owned());
            }
            report.verify(&nonce, &fleet, now()).map_err(|refusal| refusal.to_string())
        })();
        let reason = judged.as_ref().err().cloned().unwrap_or_default();
        reply.send(VerifyAttestation::Response {
            trusted: judged.is_ok(),
            reason,
            ..VerifyAttestation::Response::default()
        });
    }

    /// By the protocol's roles, since each node has its own policy; nothing is used up, so the bearer's name is not asked.
    pub(super) fn on_verify_token(&mut self, request: VerifyToken::Request, reply: Reply<VerifyToken::Service>) {
        let invalid = |error_msg: String| VerifyToken::Response {
            error_code: INVALID,
            error_msg,
            ..VerifyToken::Response::default()
        };
        let permission: Permission = match request.permission.parse() {
            Ok(permission) => permission,
            Err(error) => return reply.send(invalid(format!("{error}"))),
        };
        let Some(bulletins) = &self.shared.bulletins else { return reply.send(invalid(NO_FLEET.into())) };
        let mut verifier = {
            let bulletins = lock(bulletins);
            let mut verifier = Verifier::in_fleet(&request.audience, &request.session, bulletins.anchor());
            verifier.hear(&bulletins);
            verifier
        };
        verifier.any_bearer();
        let presented = Presented { token: &request.token, caller: "", sequence: 0 };
        reply.send(match verifier.examine(&presented, now()) {
            Err(refusal) => VerifyToken::Response { reason: refusal.to_string(), ..VerifyToken::Response::default() },
            Ok(identity) => {
                let decision = Policy::default().decide(&identity, permission);
                VerifyToken::Response {
                    granted: decision.is_allowed(),
                    subject: identity.claims().sub.clone(),
                    reason: decision.to_string(),
                    ..VerifyToken::Response::default()
                }
            }
        });
    }

    pub(super) fn on_issue_token(&mut self, request: IssueToken::Request, reply: Reply<IssueToken::Service>) {
        let asked = TokenRequest {
            caller: request.caller.id,
            sequence: request.caller.sequence,
            stamp: ecps_ros::stamp(&request.caller.stamp),
            audience: request.audience,
            session: request.session,
            capabilities: request.capabilities,
            signature: request.signature,
        };
        let issued = match &mut self.issuer {
            Some(issuer) => issuer.token(&asked, now()).map_err(|error| (code(&error), error.to_string())),
            None => Err((UNAVAILABLE, "this agent is not the fleet's authority".to_owned())),
        };
        let right = format!("token for {}", asked.audience);
        let issued = self.note(&asked.caller, &right, issued);
        reply.send(match issued {
            Ok(issued) => IssueToken::Response {
                token: issued.token,
                expires: ecps_ros::time(issued.expires),
                ..IssueToken::Response::default()
            },
            Err((error_code, error_msg)) => {
                IssueToken::Response { error_code, error_msg, ..IssueToken::Response::default() }
            }
        });
    }

    /// A certificate for a device that the operator has taken into the books; the request's signature shows that it has the key.
    pub(super) fn on_enroll(&mut self, request: Enroll::Request, reply: Reply<Enroll::Service>) {
        let device = device_of(&request.caller.id).to_owned();
        let issued = match &mut self.issuer {
            Some(issuer) => {
                let certified = issuer.certify(&request.request, &device, now());
                let chain = issuer.certificate().to_vec();
                certified
                    .map(|own| pem::block("CERTIFICATE", &own) + &pem::block("CERTIFICATE", &chain))
                    .map_err(|error| (code(&error), error.to_string()))
            }
            None => Err((UNAVAILABLE, "this agent is not the fleet's authority".to_owned())),
        };
        let issued = self.note(&request.caller.id, "certificate", issued);
        reply.send(match issued {
            Ok(certificate_chain) => Enroll::Response { certificate_chain, ..Enroll::Response::default() },
            Err((error_code, error_msg)) => Enroll::Response { error_code, error_msg, ..Enroll::Response::default() },
        });
    }

    /// Whether the caller may change the fleet; only one that shows a token can.
    fn may(&self, caller: &Caller, right: &str) -> Result<(), (u8, String)> {
        if self.issuer.is_none() {
            return Err((UNAVAILABLE, "this agent is not the fleet's authority".to_owned()));
        }
        if !self.asks_for_tokens() {
            let text =
                "parameter 'trust_level' of this agent is below AUTHENTICATED, so that nobody can show who he is";
            return Err((UNAUTHORIZED, text.to_owned()));
        }
        self.door.admit(caller, &[right]).map_err(|refused| (UNAUTHORIZED, refused.to_string()))
    }

    pub(super) fn on_rotate_key(&mut self, request: RotateKey::Request, reply: Reply<RotateKey::Service>) {
        let rotated =
            self.may(&request.caller, "rotate:fleet").and_then(|()| match (&mut self.issuer, request.purpose) {
                (Some(issuer), 2) => issuer.rotate(now()).map_err(|error| (STORAGE, error.to_string())),
                (_, other) => Err((INVALID, format!("purpose {other} has no key here: SIGNING, 2, is rotated"))),
            });
        let rotated = self.note(&request.caller.id, "rotate:fleet", rotated);
        reply.send(match rotated {
            Ok(rotated) => {
                self.announce();
                RotateKey::Response {
                    key_id: rotated.key,
                    previous_key_id: rotated.previous,
                    overlap_until: ecps_ros::time(rotated.until),
                    ..RotateKey::Response::default()
                }
            }
            Err((error_code, error_msg)) => {
                RotateKey::Response { error_code, error_msg, ..RotateKey::Response::default() }
            }
        });
    }

    pub(super) fn on_revoke(&mut self, request: Revoke::Request, reply: Reply<Revoke::Service>) {
        let (what, at) = (request.what.clone(), now());
        // The end of a lockdown is shown by the emergency key, since no token is accepted then.
        let may = if request.kind == 5 { Ok(()) } else { self.may(&request.caller, "revoke:fleet") };
        let revoked = may.and_then(|()| {
            let issuer =
                self.issuer.as_mut().ok_or((UNAVAILABLE, "this agent is not the fleet's authority".to_owned()))?;
            let revoked = match request.kind {
                0 => issuer.revoke(at, |books| Ok(books.revoke_device(&what, at)?)),
                1 => issuer.revoke(at, |books| Ok(books.revoke_key(&what, at)?)),
                2 => issuer.revoke(at, |books| Ok(books.revoke_key(&format!("jti:{what}"), at)?)),
                3 => issuer.revoke(at, |books| {
                    books.revoke_certificate(&what, at);
                    Ok(())
                }),
                4 => issuer.revoke(at, |books| {
                    books.lock_down(true);
                    Ok(())
                }),
                5 => issuer.recover(&request.signature, at),
                other => Err(IssuerError::Invalid(format!("kind {other} is none of 0 to 5"))),
            };
            revoked.map_err(|error| (code(&error), error.to_string()))
        });
        let asked = format!("revoke:fleet {} {}", request.kind, request.what.chars().take(128).collect::<String>());
        let revoked = self.note(&request.caller.id, &asked, revoked);
        reply.send(match revoked {
            Ok(revocation_number) => {
                tracing::warn!("revocation list {revocation_number}: {}", request.reason.escape_debug());
                self.announce();
                Revoke::Response { revocation_number, ..Revoke::Response::default() }
            }
            Err((error_code, error_msg)) => Revoke::Response { error_code, error_msg, ..Revoke::Response::default() },
        });
    }

    /// Records what the authority decided, and tells of it; what cannot be recorded is not handed out.
    fn note<T>(&mut self, caller: &str, asked: &str, outcome: Result<T, (u8, String)>) -> Result<T, (u8, String)> {
        let reason = outcome.as_ref().err().map(|(_, reason)| reason.clone()).unwrap_or_default();
        let caller: String = caller.chars().take(256).collect();
        let subject = if outcome.is_ok() { caller.clone() } else { String::new() };
        let (granted, at) = (outcome.is_ok(), now());
        let asked: String = asked.chars().take(300).collect();
        let mut entry = msg::AuditEntry {
            service: self.shared.name.clone(),
            subject: caller.clone(),
            permission: asked.clone(),
            granted,
            reason: reason.clone(),
            ..msg::AuditEntry::default()
        };
        entry.header.stamp = ecps_ros::time(at);
        self.audit.publish(&entry);
        let Some(decisions) = &mut self.decisions else { return outcome };
        let decision = Decision { caller, subject, chain: Vec::new(), asked: vec![asked], granted, reason };
        let moment = Moment { steady: SystemSteady.now(), wall: at, direction: Direction::Inbound, trace: [0; 16] };
        match decisions.append(&moment, &decision) {
            Ok(()) => outcome,
            Err(error) => outcome.and(Err((STORAGE, format!("the decision could not be recorded: {error}")))),
        }
    }
}

fn code(error: &IssuerError) -> u8 {
    match error {
        IssuerError::Age(_) => EXPIRED,
        IssuerError::Signature(_)
        | IssuerError::Lockdown
        | IssuerError::Books(BooksError::UnknownDevice(_) | BooksError::Revoked(_)) => UNAUTHORIZED,
        IssuerError::Books(_) | IssuerError::Key(_) | IssuerError::Random => UNAVAILABLE,
        _ => INVALID,
    }
}
