//! `ecps trust`: a fleet's keys from the factory to the field. What concerns the authority works on its folder, beside a
//! running agent, which makes changes known within a second.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use ecps_core::clock::{RosClock as _, Stamp, SystemRos};
use ecps_ros::r2r::ecps_msgs::msg::{Caller, TrustState};
use ecps_ros::r2r::ecps_msgs::srv::{Attest, IssueToken, VerifyAttestation, VerifyToken};
use ecps_ros::{CallError, StartError};
use ecps_trust::books::{Books, BooksError};
use ecps_trust::issuer::TokenRequest;
use ecps_trust::provider::{Missing, Provider, ProviderError};
use ecps_trust::provisioning::{self, Done, KEY_FILE, PASSPHRASE_FILE, ProvisioningError, Step};
use ecps_trust::secret_file::{self, SecretFileError};
use thiserror::Error;

use crate::asking::{self, Last, PATIENCE};
use crate::say::say;

const NODE: &str = "ecps_trust";
/// `AttestationReport.DEVICE_IDENTITY`.
const DEVICE_IDENTITY: u8 = 2;

/// What `ecps trust` is told.
#[derive(Debug, Args)]
pub struct Trust {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a fleet's authority, or a device's key; goes on where it stopped
    #[command(subcommand)]
    Provision(Provision),
    /// Take a device into the fleet, or give it other roles, and certify it
    Enroll {
        /// Folder of the authority
        #[arg(long)]
        authority: PathBuf,
        /// Folder of the device
        #[arg(long)]
        folder: PathBuf,
        /// Name of the robot
        #[arg(long)]
        name: String,
        /// What it may do, by roles of the policy
        #[arg(long = "role")]
        roles: Vec<String>,
    },
    /// Have one agent show who its device is, and another one judge that
    Attest {
        /// Name of the agent that shows it, as in /robot1/trust_agent
        agent: String,
        /// Name of the agent that judges
        #[arg(long)]
        judge: String,
    },
    /// Ask the authority for a token, in the name of a device whose key is in a file
    Token {
        /// Folder of the device
        #[arg(long)]
        folder: PathBuf,
        /// Name of the agent that is the authority
        #[arg(long)]
        agent: String,
        /// Name of the node that is to accept it
        #[arg(long)]
        audience: String,
        /// The new file for it
        #[arg(long)]
        out: PathBuf,
    },
    /// Tell whether a token would let its bearer do something, and which rule says so
    Verify {
        /// File with the token
        token: PathBuf,
        /// Name of the node that accepts it
        #[arg(long)]
        audience: String,
        /// As in move:robot
        #[arg(long)]
        permission: String,
        /// Name of the agent that judges
        #[arg(long)]
        agent: String,
    },
    /// Have the authority sign tokens with a new key
    Rotate {
        /// Folder of the authority
        #[arg(long)]
        authority: PathBuf,
    },
    /// Take trust away, in the whole fleet
    Revoke {
        /// Folder of the authority
        #[arg(long)]
        authority: PathBuf,
        /// What
        kind: Kind,
        /// Its id; of a certificate its number in hex
        what: String,
    },
    /// Let nobody be believed until `recover`
    Lockdown {
        /// Folder of the authority
        #[arg(long)]
        authority: PathBuf,
    },
    /// End a lockdown with the emergency key
    Recover {
        /// Folder of the authority, with root/ in it
        #[arg(long)]
        authority: PathBuf,
    },
    /// Tell what the books say, or whom an agent trusts
    Status {
        /// Folder of the authority
        #[arg(long, required_unless_present = "agent")]
        authority: Option<PathBuf>,
        /// Name of an agent
        #[arg(long, conflicts_with = "authority")]
        agent: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum Provision {
    /// Root, emergency key and authority of a new fleet
    Authority {
        /// Its folder
        #[arg(long)]
        folder: PathBuf,
        /// Name of the fleet
        #[arg(long)]
        fleet: String,
    },
    /// A device's key, and its request for a certificate
    Device {
        /// Its folder
        #[arg(long)]
        folder: PathBuf,
        /// Keep the key in the TPM there, as in device:/dev/tpmrm0, instead of a file
        #[arg(long)]
        tpm: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Device,
    Key,
    Token,
    Certificate,
}

/// Why it did not work. One line.
#[derive(Debug, Error)]
pub enum TrustError {
    /// ROS.
    #[error(transparent)]
    Ros(#[from] StartError),
    /// Nobody answered.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The books.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// A step.
    #[error(transparent)]
    Provisioning(#[from] ProvisioningError),
    /// A key.
    #[error(transparent)]
    Key(#[from] ProviderError),
    /// A file.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The agent said no.
    #[error("{0}")]
    Refused(String),
}

fn now() -> Stamp {
    SystemRos.now()
}

/// Runs `ecps trust`.
///
/// # Errors
/// [`TrustError`], one line.
pub fn run(options: &Trust) -> Result<ExitCode, TrustError> {
    match &options.verb {
        Verb::Provision(Provision::Authority { folder, fleet }) => {
            tell(&provisioning::authority(folder, fleet, now())?);
            say!("every node's trust_anchor: {}", folder.join(provisioning::ANCHOR_FILE).display());
            say!("take {} offline", folder.join(provisioning::ROOT_FOLDER).display());
        }
        Verb::Provision(Provision::Device { folder, tpm }) => {
            let (id, steps) = provisioning::device(folder, &provider(folder, tpm.as_deref()))?;
            tell(&steps);
            say!("device {id}");
        }
        Verb::Enroll { authority, folder, name, roles } => {
            say!("device {} is {name}", provisioning::enrol(authority, folder, name, roles, now())?);
        }
        Verb::Attest { agent, judge } => return attest(agent, judge),
        Verb::Token { folder, agent, audience, out } => token(folder, agent, audience, out)?,
        Verb::Verify { token, audience, permission, agent } => return verify(token, audience, permission, agent),
        Verb::Rotate { authority } => {
            Books::change(authority, |books| {
                books.rotations += 1;
                Ok::<_, BooksError>(())
            })?;
            say!("the authority's agent takes a new key within a second, if it runs; if not, when it starts");
        }
        Verb::Revoke { authority, kind, what } => {
            let number = Books::change(authority, |books| {
                match kind {
                    Kind::Device => books.revoke_device(what, now())?,
                    Kind::Key => books.revoke_key(what, now())?,
                    Kind::Token => books.revoke_key(&format!("jti:{what}"), now())?,
                    Kind::Certificate => books.revoke_certificate(what, now()),
                }
                Ok::<_, BooksError>(books.list_number)
            })?;
            say!("revoked, in list {number}");
        }
        Verb::Lockdown { authority } => {
            let number = Books::change(authority, |books| {
                books.lock_down(true);
                Ok::<_, BooksError>(books.list_number)
            })?;
            say!("locked down, in list {number}; robots can be stopped and nothing else");
        }
        Verb::Recover { authority } => say!("recovered, in list {}", provisioning::recover(authority)?),
        Verb::Status { authority: Some(authority), .. } => books(authority)?,
        Verb::Status { agent, .. } => state(agent.as_deref().unwrap_or_default())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn provider(folder: &Path, tpm: Option<&str>) -> Provider {
    match tpm {
        Some(tcti) => Provider::Tpm { tcti: tcti.to_owned() },
        None => Provider::Software { key: folder.join(KEY_FILE), passphrase: folder.join(PASSPHRASE_FILE) },
    }
}

fn tell(steps: &[Step]) {
    for (what, done) in steps {
        say!("{} {what}", if *done == Done::Now { "made  " } else { "is there" });
    }
}

fn attest(agent: &str, judge: &str) -> Result<ExitCode, TrustError> {
    let mut node = asking::node(NODE, false)?;
    let asked = node.client::<Attest::Service>(&format!("{agent}/attest"))?;
    let judging = node.client::<VerifyAttestation::Service>(&format!("{judge}/verify_attestation"))?;
    let _spinning = node.spin_in_background(());
    let nonce = ecps_trust::attestation::nonce().ok_or(ProvisioningError::Random)?.to_vec();
    let shown = asked.call(&Attest::Request { type_: DEVICE_IDENTITY, nonce: nonce.clone() }, PATIENCE)?;
    if shown.error_code != 0 {
        return Err(TrustError::Refused(format!("{agent}: {}", shown.error_msg)));
    }
    let device = shown.report.device_id.clone();
    let verdict = judging.call(&VerifyAttestation::Request { report: shown.report, nonce }, PATIENCE)?;
    say!("device {device} {}", if verdict.trusted { "is trusted" } else { "is refused" });
    if verdict.trusted {
        return Ok(ExitCode::SUCCESS);
    }
    say!("{}", verdict.reason);
    Ok(ExitCode::FAILURE)
}

fn token(folder: &Path, agent: &str, audience: &str, out: &Path) -> Result<(), TrustError> {
    let mut key = provider(folder, None).open(Missing::Refuse)?;
    let mut node = asking::node(NODE, false)?;
    let client = node.client::<IssueToken::Service>(&format!("{agent}/issue_token"))?;
    let _spinning = node.spin_in_background(());
    let (id, stamp) = (key.device_id(), now());
    let sequence = u64::try_from(stamp.0).unwrap_or(1);
    let mut asked =
        TokenRequest { caller: id.clone(), sequence, stamp, audience: audience.to_owned(), ..TokenRequest::default() };
    asked.signature = key.sign(&asked.signed())?;
    let message = IssueToken::Request {
        caller: Caller { id, sequence, stamp: ecps_ros::time(stamp), ..Caller::default() },
        audience: asked.audience,
        signature: asked.signature,
        ..IssueToken::Request::default()
    };
    let answer = client.call(&message, PATIENCE)?;
    if answer.error_code != 0 {
        return Err(TrustError::Refused(format!("no token: {}", answer.error_msg)));
    }
    Ok(secret_file::replace(out, answer.token.as_bytes())?)
}

fn verify(token: &Path, audience: &str, permission: &str, agent: &str) -> Result<ExitCode, TrustError> {
    let mut node = asking::node(NODE, false)?;
    let client = node.client::<VerifyToken::Service>(&format!("{agent}/verify_token"))?;
    let _spinning = node.spin_in_background(());
    let token = String::from_utf8_lossy(&secret_file::read_up_to(token, 8192)?).trim().to_owned();
    let asked = VerifyToken::Request {
        token,
        audience: audience.to_owned(),
        permission: permission.to_owned(),
        ..VerifyToken::Request::default()
    };
    let answer = client.call(&asked, PATIENCE)?;
    if answer.error_code != 0 {
        return Err(TrustError::Refused(answer.error_msg));
    }
    say!("{}", answer.reason);
    Ok(if answer.granted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn books(authority: &Path) -> Result<(), TrustError> {
    let books = Books::read(authority)?;
    say!("revocation list {}{}", books.list_number, if books.lockdown { ", locked down" } else { "" });
    for (id, member) in &books.devices {
        let revoked = if books.revoked_devices.contains(id) { "  revoked" } else { "" };
        say!("{id}  {}  {}{revoked}", member.name, member.roles.join(", "));
    }
    Ok(())
}

fn state(agent: &str) -> Result<(), TrustError> {
    let mut node = asking::node(NODE, false)?;
    let topic = format!("{agent}/state");
    let last = Last::<TrustState>::of(&mut node, &topic)?;
    let _spinning = node.spin_in_background(());
    let silent = || TrustError::Refused(format!("nothing came on {topic} within {PATIENCE:?}"));
    let state = last.wait(PATIENCE).ok_or_else(silent)?;
    say!("device {}, trust level {}", state.identity.device_id, state.level);
    say!("revocation list {}, {:.0} s old", state.revocation_number, state.revocation_age);
    for peer in &state.peers {
        let verdict = match peer.verdict {
            1 => "trusted",
            2 => "refused",
            3 => "revoked",
            4 => "stale",
            _ => "unknown",
        };
        say!("{}  {}  {verdict}  {}", peer.name, peer.device_id, peer.reason);
    }
    Ok(())
}
