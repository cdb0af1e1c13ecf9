//! What is asked of others, on a thread of its own: peers to show who they are; the authority for the next certificate, and for
//! tokens of this robot's nodes before the last ones end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ecps_core::clock::Stamp;
use ecps_ros::r2r::ecps_msgs::msg::{Caller, PeerTrust};
use ecps_ros::r2r::ecps_msgs::srv::{Attest, Enroll, IssueToken};
use ecps_ros::{Client, Node, StartError};

use super::parameters::Wanted;
use super::services::{DEVICE_IDENTITY, report_from_ros};
use super::{Agent, Shared, lock, now};
use crate::attestation::FRESHNESS;
use crate::authority::request;
use crate::fleet::renewal_is_due;
use crate::issuer::TokenRequest;
use crate::provisioning::CERTIFICATE_FILE;
use crate::{pem, secret_file};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at what is due.
const PAUSE: Duration = Duration::from_millis(200);
/// Until something that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// A token is replaced when this much of its life is left.
const RENEW: Duration = Duration::from_secs(1800);

/// A peer of which nothing is known.
pub(super) fn unknown(name: &str) -> PeerTrust {
    PeerTrust { name: name.to_owned(), reason: "not asked yet".to_owned(), ..PeerTrust::default() }
}

struct Rounds {
    shared: Arc<Shared>,
    peers: Vec<(String, Client<Attest::Service>, Instant)>,
    enroll: Option<Client<Enroll::Service>>,
    issue: Option<Client<IssueToken::Service>>,
    tried: Instant,
    /// When each token ends.
    tokens: BTreeMap<String, Stamp>,
    complaint: String,
}

pub(super) fn start(node: &mut Node<Agent>, shared: &Arc<Shared>) -> Result<(), StartError> {
    let begin = Instant::now();
    let mut peers = Vec::new();
    for name in &shared.settings.peers {
        peers.push((name.clone(), node.client(&format!("{name}/attest"))?, begin));
    }
    let authority = &shared.settings.authority_node;
    let asks = !authority.is_empty() && shared.key.is_some();
    let mut rounds = Rounds {
        shared: Arc::clone(shared),
        peers,
        enroll: asks.then(|| node.client(&format!("{authority}/enroll"))).transpose()?,
        issue: asks.then(|| node.client(&format!("{authority}/issue_token"))).transpose()?,
        tried: begin,
        tokens: BTreeMap::new(),
        complaint: String::new(),
    };
    std::thread::Builder::new()
        .name("trust-rounds".into())
        .spawn(move || {
            while !rounds.shared.ended.load(Ordering::Acquire) {
                rounds.round();
                std::thread::sleep(PAUSE);
            }
        })
        .map_err(StartError::layer)?;
    Ok(())
}

impl Rounds {
    fn round(&mut self) {
        if Instant::now() >= self.tried {
            match self.renew().and_then(|()| self.fetch()) {
                Ok(()) => self.complaint.clear(),
                Err(reason) => {
                    if reason != self.complaint {
                        tracing::warn!("{reason}");
                        self.complaint = reason;
                    }
                    self.tried = Instant::now() + RETRY;
                }
            }
        }
        let period = self.shared.settings.period;
        for place in 0..self.peers.len() {
            let Some((name, client, due)) = self.peers.get_mut(place) else { continue };
            let verdict = if Instant::now() >= *due {
                *due = Instant::now() + period;
                let verdict = ask(&self.shared, name, client);
                if verdict.verdict == PeerTrust::VERDICT_UNKNOWN as u8 {
                    *due = Instant::now() + RETRY.min(period);
                }
                Some(verdict)
            } else {
                None
            };
            keep(&self.shared, place, verdict);
        }
    }

    /// Asks for the next certificate while the last one holds.
    fn renew(&mut self) -> Result<(), String> {
        let (Some(client), Some(key)) = (&self.enroll, &self.shared.key) else { return Ok(()) };
        let due = lock(&self.shared.certificate).as_ref().is_none_or(|own| renewal_is_due(own, now()).unwrap_or(true));
        if !due {
            return Ok(());
        }
        let id = key.device_id();
        let request = request(key, &id).map_err(|error| error.to_string())?.to_vec();
        let asked = Enroll::Request { caller: caller(&id), request, ..Enroll::Request::default() };
        let answer = client.call(&asked, PATIENCE).map_err(|error| error.to_string())?;
        if answer.error_code != 0 {
            return Err(format!("no certificate: {}", answer.error_msg));
        }
        let own =
            pem::first(answer.certificate_chain.as_bytes()).ok_or("the authority answered with no certificate")?;
        let path = self.shared.settings.folder.join(CERTIFICATE_FILE);
        secret_file::replace(&path, answer.certificate_chain.as_bytes()).map_err(|error| error.to_string())?;
        *lock(&self.shared.certificate) = Some(own);
        tracing::info!("took a new certificate");
        Ok(())
    }

    /// Asks for tokens whose end is near, and keeps them where this robot's nodes find them.
    fn fetch(&mut self) -> Result<(), String> {
        let (Some(client), Some(key)) = (&self.issue, &self.shared.key) else { return Ok(()) };
        for Wanted { name, audience, caller: bearer } in &self.shared.settings.tokens {
            let left = self.tokens.get(name).map_or(0, |end| end.nanos_since(now()));
            if left > RENEW.as_nanos() as i64 {
                continue;
            }
            let id = key.device_id();
            let who = if bearer.is_empty() { id } else { format!("{id}/{bearer}") };
            let caller = caller(&who);
            let mut asked = TokenRequest {
                caller: who,
                sequence: caller.sequence,
                stamp: ecps_ros::stamp(&caller.stamp),
                audience: audience.clone(),
                ..TokenRequest::default()
            };
            asked.signature = key.sign_raw(&asked.signed()).map_err(|error| error.to_string())?;
            let message = IssueToken::Request {
                caller,
                audience: asked.audience,
                signature: asked.signature,
                ..IssueToken::Request::default()
            };
            let answer = client.call(&message, PATIENCE).map_err(|error| error.to_string())?;
            if answer.error_code != 0 {
                return Err(format!("no token for {audience}: {}", answer.error_msg));
            }
            let path = self.shared.settings.folder.join("tokens").join(name);
            secret_file::replace(&path, answer.token.as_bytes()).map_err(|error| error.to_string())?;
            self.tokens.insert(name.clone(), ecps_ros::stamp(&answer.expires));
        }
        Ok(())
    }
}

fn caller(id: &str) -> Caller {
    let at = now();
    let sequence = u64::try_from(at.0).unwrap_or(1);
    Caller { id: id.to_owned(), sequence, stamp: ecps_ros::time(at), ..Caller::default() }
}

/// Has a peer show who it is.
fn ask(shared: &Shared, name: &str, client: &Client<Attest::Service>) -> PeerTrust {
    let mut trust = unknown(name);
    let verdict = (|| {
        let nonce = crate::attestation::nonce().ok_or("the system gives no random numbers")?;
        let asked = Attest::Request { type_: DEVICE_IDENTITY, nonce: nonce.to_vec() };
        let answer = client.call(&asked, PATIENCE).map_err(|error| error.to_string())?;
        if answer.error_code != 0 {
            return Err(answer.error_msg);
        }
        let fleet = shared.fleet().ok_or("nothing is known of the fleet yet")?;
        trust.device_id = answer.report.device_id.chars().take(64).collect();
        trust.attested = ecps_ros::time(now());
        trust.verdict = PeerTrust::VERDICT_REFUSED as u8;
        let report = report_from_ros(&answer.report).ok_or("its report is malformed")?;
        trust.certificate_expires = ecps_ros::time(crate::fleet::end(&report.certificate).unwrap_or_default());
        if shared.is_revoked(&report.device_id) {
            trust.verdict = PeerTrust::VERDICT_REVOKED as u8;
            return Err("the device is revoked".to_owned());
        }
        report.verify(&nonce, &fleet, now()).map_err(|refusal| refusal.to_string())
    })();
    match verdict {
        Ok(()) => (trust.verdict, trust.reason) = (PeerTrust::VERDICT_TRUSTED as u8, String::new()),
        Err(reason) => trust.reason = reason,
    }
    trust
}

/// Keeps what a peer showed; one that does not answer keeps its last verdict until that is stale, and a revoked one none.
fn keep(shared: &Shared, place: usize, found: Option<PeerTrust>) {
    let (trusted, unknown) = (PeerTrust::VERDICT_TRUSTED as u8, PeerTrust::VERDICT_UNKNOWN as u8);
    let mut peers = lock(&shared.peers);
    let Some(peer) = peers.get_mut(place) else { return };
    match found {
        Some(found) if found.verdict != unknown || peer.verdict == unknown => *peer = found,
        _ => {}
    }
    if peer.verdict == trusted {
        if shared.is_revoked(&peer.device_id) {
            (peer.verdict, peer.reason) = (PeerTrust::VERDICT_REVOKED as u8, "the device is revoked".to_owned());
        } else if now().nanos_since(ecps_ros::stamp(&peer.attested)) >= FRESHNESS.as_nanos() as i64 {
            (peer.verdict, peer.reason) = (PeerTrust::VERDICT_STALE as u8, "it does not answer any more".to_owned());
        }
    }
}
