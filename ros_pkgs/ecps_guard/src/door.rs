//! The one question, as a node asks it: its parameters, what it hears of the fleet's authority, and the answer.
//!
//! Times are the system's also where ROS time is simulated: tokens end in the world's time.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ecps_core::clock::{RosClock as _, SystemRos};
use ecps_identity::bulletin::{ANCHOR_BYTES, Anchor, BulletinRefusal, Bulletins, Revocations, SigningKeys, Taken};
use ecps_identity::guard::Guard;
pub use ecps_identity::guard::TrustLevel;
use ecps_identity::permission::Permission;
use ecps_identity::policy::{POLICY_BYTES, Policy};
use ecps_identity::verifier::{Presented, Verifier};
use ecps_ros::r2r::ecps_msgs::msg::{self, Caller};
use ecps_ros::{Health, Node, ParameterError, Parameters, Report, Spec, StartError};

use crate::known::Known;
use crate::message::{heard, keys_from_ros, list_from_ros};
use crate::record::Decisions;

/// A request is not acted upon; why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

impl Refused {
    /// The outcome code of services, UNAUTHORIZED.
    pub const CODE: u8 = 5;
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// The parameters of every node that has a door.
pub fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
    for spec in [
        Spec::string("trust_level", "NONE", "What is asked of requests: a token, rights, a record of the decision.")
            .choices(&["NONE", "ENCRYPTION", "AUTHENTICATED", "AUTHORIZED", "AUDITED"]),
        Spec::string("trust_anchor", "", "PEM file with the certificate of the fleet's root; from AUTHENTICATED on."),
        Spec::string(
            "trust_policy",
            "",
            "YAML file of roles and their permissions; empty: the protocol's three roles.",
        ),
        Spec::string("trust_topics", "/fleet", "Namespace of the fleet's topics signing_keys and revocations."),
        Spec::string(
            "trust_audit",
            "",
            "Folder of the journal of decisions; empty: $HOME/.ros/ecps/audit/<node>. From AUTHENTICATED on.",
        ),
    ] {
        parameters.declare(spec)?;
    }
    Ok(())
}

struct Inside {
    guard: Guard,
    bulletins: Bulletins,
    /// Revocations that came before the keys, and with them the authority's certificate.
    early: Option<Revocations>,
    known: Known,
    session: String,
    granted: u64,
    refused: u64,
    last: String,
}

impl Inside {
    fn take_list(&mut self, list: &Revocations) -> Result<Taken, BulletinRefusal> {
        let taken = self.bulletins.take_list(list, SystemRos.now())?;
        if taken == Taken::New {
            self.known.keep(list.number);
        }
        Ok(taken)
    }
}

/// Who may come in. Clones are handles to the same.
#[derive(Clone)]
pub struct Door {
    level: TrustLevel,
    inside: Option<Arc<Mutex<Inside>>>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Door({:?})", self.level)
    }
}

impl Door {
    /// As the node's parameters say. Where tokens are asked for it listens to the fleet's topics, in every state.
    pub fn open<S: 'static>(node: &mut Node<S>) -> Result<Door, StartError> {
        let parameters = node.parameters();
        let level = level(&parameters.string("trust_level")?);
        if level >= TrustLevel::Encryption && std::env::var("ROS_SECURITY_ENABLE").as_deref() != Ok("true") {
            tracing::warn!(
                "trust_level asks for an encrypted transport, and ROS_SECURITY_ENABLE is not true: others read along"
            );
        }
        if level < TrustLevel::Authenticated {
            return Ok(Door { level, inside: None });
        }
        let anchor = parameters.string("trust_anchor")?;
        if anchor.is_empty() {
            let text = "parameter 'trust_anchor' is empty, and 'trust_level' asks for tokens: name the fleet's root";
            return Err(StartError::layer(text));
        }
        let named = |what: &str, path: &str, error: &dyn fmt::Display| {
            StartError::layer(format!("parameter '{what}': {path}: {error}"))
        };
        let pem = read(&anchor, ANCHOR_BYTES as u64).map_err(|error| named("trust_anchor", &anchor, &error))?;
        let root = Anchor::read(&pem).map_err(|error| named("trust_anchor", &anchor, &error))?;
        let policy = match parameters.string("trust_policy")? {
            none if none.is_empty() => Policy::default(),
            path => {
                let refused = |error: &dyn fmt::Display| named("trust_policy", &path, error);
                let text = read(&path, POLICY_BYTES as u64).map_err(|error| refused(&error))?;
                Policy::parse(&String::from_utf8_lossy(&text)).map_err(|error| refused(&error))?
            }
        };
        let (topics, name) = (parameters.string("trust_topics")?, node.fully_qualified_name().to_owned());
        let folder = folder(parameters, &name)?;
        let decisions = Decisions::open(&folder, &name)?;
        let mut beside = folder.into_os_string();
        beside.push(".revocations");
        let known = Known::of(beside.as_ref());
        let least = known.number().map_err(StartError::layer)?;
        let session = uuid::Uuid::now_v7().to_string();
        let verifier = Verifier::in_fleet(&name, &session, &root);
        let guard = match level {
            TrustLevel::Audited => Guard::audited(verifier, policy, Box::new(decisions)),
            TrustLevel::Authorized => Guard::authorizing(verifier, policy).recording_refusals(Box::new(decisions)),
            _ => Guard::authenticating(verifier).recording_refusals(Box::new(decisions)),
        };
        let inside = Inside {
            guard,
            bulletins: Bulletins::new(root, least),
            early: None,
            known,
            session,
            granted: 0,
            refused: 0,
            last: String::new(),
        };
        let door = Door { level, inside: Some(Arc::new(Mutex::new(inside))) };
        door.listen(node, &topics)?;
        Ok(door)
    }

    fn listen<S: 'static>(&self, node: &mut Node<S>, topics: &str) -> Result<(), StartError> {
        let (keys, list, shown) = (self.clone(), self.clone(), self.clone());
        node.in_any_state(|node| {
            node.subscribe(&format!("{topics}/signing_keys"), heard(), move |_: &mut S, message: msg::SigningKeys| {
                told("signing keys", &keys.hear_keys(&keys_from_ros(message)));
            })?;
            node.subscribe(&format!("{topics}/revocations"), heard(), move |_: &mut S, message: msg::Revocations| {
                told("revocations", &list.hear_list(&list_from_ros(message)));
            })
        })?;
        node.diagnose("trust", move |_: &S, report| shown.report(report));
        Ok(())
    }

    /// What it asks for.
    pub fn level(&self) -> TrustLevel {
        self.level
    }

    /// Whether requests need a token, so that what comes without a `Caller` is refused.
    pub fn asks_for_tokens(&self) -> bool {
        self.inside.is_some()
    }

    /// Takes signing keys, from whomever they come.
    pub fn hear_keys(&self, keys: &SigningKeys) -> Result<Taken, BulletinRefusal> {
        self.with(Ok(Taken::Known), |inside| {
            let taken = inside.bulletins.take_keys(keys, SystemRos.now())?;
            if let Some(early) = inside.early.take() {
                told("revocations", &inside.take_list(&early));
            }
            inside.guard.verifier_mut().hear(&inside.bulletins);
            Ok(taken)
        })
    }

    /// Takes revocations.
    pub fn hear_list(&self, list: &Revocations) -> Result<Taken, BulletinRefusal> {
        self.with(Ok(Taken::Known), |inside| match inside.take_list(list) {
            // They come again to whoever knows the authority by then.
            Err(BulletinRefusal::NoAuthority) => {
                if inside.early.as_ref().is_none_or(|early| early.number < list.number) {
                    inside.early = Some(list.clone());
                }
                Ok(Taken::Known)
            }
            taken => {
                inside.guard.verifier_mut().hear(&inside.bulletins);
                taken
            }
        })
    }

    /// Whether the caller may do all that is `asked`, as in `move:robot`. Each request is admitted once.
    pub fn admit(&self, caller: &Caller, asked: &[&str]) -> Result<(), Refused> {
        self.ask(caller, asked, Guard::admit)
    }

    /// The same for requests that may come again: they only read, or their receiver knows that it acted already.
    pub fn admit_again(&self, caller: &Caller, asked: &[&str]) -> Result<(), Refused> {
        self.ask(caller, asked, Guard::admit_again)
    }

    fn ask<I, E: fmt::Display>(
        &self,
        caller: &Caller,
        asked: &[&str],
        admit: impl FnOnce(&mut Guard, &Presented<'_>, &[Permission], ecps_core::clock::Stamp) -> Result<I, E>,
    ) -> Result<(), Refused> {
        self.with(Ok(()), |inside| {
            let presented = Presented { token: &caller.token, caller: &caller.id, sequence: caller.sequence };
            let asked: Result<Vec<Permission>, _> = asked.iter().map(|text| text.parse()).collect();
            let answer = match asked {
                Ok(asked) => admit(&mut inside.guard, &presented, &asked, SystemRos.now()).map_err(|e| e.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match answer {
                Ok(_) => {
                    inside.granted += 1;
                    Ok(())
                }
                Err(reason) => {
                    inside.refused += 1;
                    tracing::warn!("a request of '{}' is refused: {reason}", caller.id.escape_debug());
                    inside.last.clone_from(&reason);
                    Err(Refused(reason))
                }
            }
        })
    }

    /// Requests that were admitted, and that were refused.
    pub fn counts(&self) -> (u64, u64) {
        self.with((0, 0), |inside| (inside.granted, inside.refused))
    }

    fn with<T>(&self, without: T, run: impl FnOnce(&mut Inside) -> T) -> T {
        match &self.inside {
            Some(inside) => run(&mut inside.lock().unwrap_or_else(PoisonError::into_inner)),
            None => without,
        }
    }

    fn report(&self, report: &mut Report) {
        self.with((), |inside| {
            match (inside.bulletins.keys(), inside.bulletins.list()) {
                (None, _) => {
                    report.is(Health::Warn, "no signing keys of the fleet were heard: every request is refused")
                }
                (_, None) => {
                    report.is(Health::Warn, "no revocations of the fleet were heard: every request is refused")
                }
                (Some(keys), Some(list)) => {
                    report.is(Health::Ok, "knows whom to believe");
                    report.add("signing keys", keys.number);
                    report.add("revocations", list.number);
                }
            }
            report.add("session", &inside.session);
            report.add("granted", inside.granted);
            report.add("refused", inside.refused);
            report.add("last refusal", &inside.last);
        });
    }
}

fn told(what: &str, taken: &Result<Taken, BulletinRefusal>) {
    match taken {
        Ok(Taken::New) => tracing::info!("took the fleet's {what}"),
        Ok(Taken::Known) => {}
        Err(refusal) => tracing::warn!("did not take {what}: {refusal}"),
    }
}

fn level(name: &str) -> TrustLevel {
    match name {
        "ENCRYPTION" => TrustLevel::Encryption,
        "AUTHENTICATED" => TrustLevel::Authenticated,
        "AUTHORIZED" => TrustLevel::Authorized,
        "AUDITED" => TrustLevel::Audited,
        _ => TrustLevel::None,
    }
}

fn read(path: &str, limit: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    // One more than is allowed tells what is too long.
    std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn folder(parameters: &Parameters, node: &str) -> Result<PathBuf, StartError> {
    let given = parameters.string("trust_audit")?;
    if !given.is_empty() {
        return Ok(PathBuf::from(given));
    }
    let home = std::env::var("HOME")
        .map_err(|_| StartError::layer("parameter 'trust_audit' is empty, and HOME is not set: name a folder"))?;
    Ok(PathBuf::from(home).join(".ros/ecps/audit").join(node.trim_matches('/').replace('/', "_")))
}
