//! Three robots of a fleet: provisioned, attested to each other, and one of them revoked, whose commands are refused from then on.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ecps_core::clock::{RosClock as _, SystemRos};
use ecps_ros::r2r::ecps_msgs::msg::TrustState;
use ecps_ros::r2r::ecps_msgs::srv::EnableGate;
use ecps_ros::r2r::std_srvs::srv::Trigger;
use ecps_ros::{CallError, Client, NodeClock};
use ecps_trust::books::{Books, BooksError};
use ecps_trust::provider::Provider;
use ecps_trust::provisioning::{self, KEY_FILE, PASSPHRASE_FILE};

use super::{DemoError, claim, io, progress, stack};
use crate::asking::{self, Last};
use crate::launch::Plan;
use crate::report::Claim;

const ROBOTS: [&str; 3] = ["fleet1", "fleet2", "fleet3"];
/// Within which nodes start, find each other and attest, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);
/// Within which a revocation reaches every robot.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);
/// The service's outcome UNAUTHORIZED.
const UNAUTHORIZED: u8 = 5;

fn missing(error: impl std::fmt::Display) -> DemoError {
    DemoError::Missing(error.to_string())
}

/// A software TPM, for one robot.
struct Swtpm(Child, u16);

impl Swtpm {
    /// None where it is not installed.
    fn start(folder: &Path) -> Result<Option<Swtpm>, DemoError> {
        std::fs::create_dir_all(folder).map_err(io(folder.display().to_string()))?;
        for _ in 0..20 {
            // Its control channel is at the next port, which another process may take in between.
            let first = TcpListener::bind(("127.0.0.1", 0)).map_err(io("a port"))?;
            let port = first.local_addr().map_err(io("a port"))?.port();
            if port == u16::MAX || TcpListener::bind(("127.0.0.1", port + 1)).is_err() {
                continue;
            }
            drop(first);
            let started = Command::new("swtpm")
                .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
                .arg(format!("--tpmstate=dir={}", folder.display()))
                .arg(format!("--server=type=tcp,port={port},bindaddr=127.0.0.1"))
                .arg(format!("--ctrl=type=tcp,port={},bindaddr=127.0.0.1", port + 1))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            let mut tpm = match started {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                started => Swtpm(started.map_err(io("swtpm"))?, port),
            };
            let deadline = Instant::now() + PATIENCE;
            while tpm.0.try_wait().map_err(io("swtpm"))?.is_none() && Instant::now() < deadline {
                if TcpStream::connect(("127.0.0.1", port + 1)).is_ok() {
                    return Ok(Some(tpm));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Err(missing("swtpm found no two ports"))
    }

    fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.1)
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One robot's device, and where its key is.
struct Robot {
    name: &'static str,
    id: String,
    tpm: Option<Swtpm>,
}

fn provision(run: &Path) -> Result<Vec<Robot>, DemoError> {
    let authority = run.join("authority");
    provisioning::authority(&authority, "demo", SystemRos.now()).map_err(missing)?;
    let mut robots = Vec::new();
    for name in ROBOTS {
        let (folder, tpm) = (run.join(name), Swtpm::start(&run.join(name).join("tpm"))?);
        let provider = match &tpm {
            Some(tpm) => Provider::Tpm { tcti: tpm.tcti() },
            None => Provider::Software { key: folder.join(KEY_FILE), passphrase: folder.join(PASSPHRASE_FILE) },
        };
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&folder, private).map_err(io(folder.display().to_string()))?;
        let (id, _) = provisioning::device(&folder, &provider).map_err(missing)?;
        let roles = ["robot_operator".to_owned()];
        provisioning::enrol(&authority, &folder, name, &roles, SystemRos.now()).map_err(missing)?;
        robots.push(Robot { name, id, tpm });
    }
    Ok(robots)
}

/// The authority's agent, each robot's agent, and the executor of the first.
fn plan(run: &Path, robots: &[Robot]) -> Result<Plan, DemoError> {
    let authority = run.join("authority");
    let anchor = authority.join(provisioning::ANCHOR_FILE).display().to_string();
    let books = authority.display().to_string();
    let words = [("namespace", "fleet"), ("authority", books.as_str()), ("trust_anchor", anchor.as_str())];
    let mut plan = stack::shipped("trust_agent.launch.xml", &words, &[])?;
    for robot in robots {
        let peers: Vec<String> = robots
            .iter()
            .filter(|peer| peer.name != robot.name)
            .map(|peer| format!("/{}/trust_agent", peer.name))
            .collect();
        let (provider, tcti) = match &robot.tpm {
            Some(tpm) => ("tpm", tpm.tcti()),
            None => ("software", String::new()),
        };
        let words = [("namespace", robot.name), ("provider", provider), ("trust_anchor", anchor.as_str())];
        let own = [
            format!("folder:={}", run.join(robot.name).display()),
            format!("tcti:='{tcti}'"),
            format!("peers:=[{}]", peers.join(", ")),
            "attest_period:=0.5".to_owned(),
            "authority_node:=/fleet/trust_agent".to_owned(),
            "tokens:=[planner]".to_owned(),
            format!("planner.audience:=/{}/eap_executor", ROBOTS[0]),
        ];
        let own: Vec<(&str, &str)> = own.iter().map(|parameter| ("trust_agent", parameter.as_str())).collect();
        plan.processes.extend(stack::shipped("trust_agent.launch.xml", &words, &own)?.processes);
    }
    let own = [
        format!("trust_anchor:={anchor}"),
        format!("trust_audit:={}", run.join("audit").display()),
        format!("journal:={}", run.join("journal").display()),
        "trust_level:=AUDITED".to_owned(),
        "require_odometry:=false".to_owned(),
        "require_scan:=false".to_owned(),
    ];
    let own: Vec<(&str, &str)> = own.iter().map(|parameter| ("eap_executor", parameter.as_str())).collect();
    let words = [("namespace", ROBOTS[0])];
    plan.processes.extend(stack::shipped("eap_executor.launch.xml", &words, &own)?.processes);
    Ok(plan)
}

/// Asks the first robot's gate to arm.
struct Asking {
    clock: NodeClock,
    enable: Client<EnableGate::Service>,
}

impl Asking {
    fn arm(&self, id: &str, token: &str) -> Result<(u8, String), CallError> {
        let mut caller = asking::caller("ecps_demo", &self.clock);
        (caller.id, caller.token) = (id.to_owned(), token.to_owned());
        let answer = self.enable.call(&EnableGate::Request { caller, enable: true }, asking::PATIENCE)?;
        Ok((answer.error_code, answer.error_msg))
    }
}

fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>, DemoError>,
) -> Result<T, DemoError> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(missing(format!("{what} did not come within {limit:?}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The chapter; its claims.
pub(super) fn run(run: &Path) -> Result<Vec<Claim>, DemoError> {
    progress("provisioning three robots of a fleet, which attest each other");
    let run = run.join("fleet");
    std::fs::create_dir_all(&run).map_err(io(run.display().to_string()))?;
    let robots = provision(&run)?;
    let [first, second, third] = robots.as_slice() else { return Err(missing("there are three robots")) };
    let mut supervisor = stack::start(plan(&run, &robots)?, &run)?;
    let mut node = asking::node("ecps_demo_fleet", false)?;
    let (clock, estop) =
        (node.clock(), node.client::<Trigger::Service>(&format!("/{}/eap_executor/estop", first.name))?);
    let asking = Asking { clock, enable: node.client(&format!("/{}/eap_executor/enable", first.name))? };
    let mut states = Vec::new();
    for robot in &robots {
        states.push(Last::<TrustState>::of(&mut node, &format!("/{}/trust_agent/state", robot.name))?);
    }
    let _spinning = node.spin_in_background(());

    let verdicts = |verdict: u8| {
        let peers = states.iter().filter_map(|state| state.wait(Duration::ZERO)).flat_map(|state| state.peers);
        peers.filter(|peer| peer.verdict == verdict).count()
    };
    let trusted = until("mutual attestation", PATIENCE, || Ok(Some(verdicts(1)).filter(|count| *count == 6)))?;
    let keys = if first.tpm.is_some() { "keys in swtpm" } else { "keys in files: swtpm is not installed" };
    let token = |robot: &Robot| {
        let path = run.join(robot.name).join("tokens/planner");
        until("a token", PATIENCE, || Ok(std::fs::read_to_string(&path).ok()))
    };
    let (theirs, others) = (token(third)?, token(second)?);
    until("a command that is admitted", PATIENCE, || {
        Ok((asking.arm(&third.id, &theirs).map_err(missing)?.0 == 0).then_some(()))
    })?;
    let mut refused = Vec::new();
    for token in ["", others.as_str()] {
        refused.push(asking.arm(&third.id, token).map_err(missing)?);
    }
    let kept_out = refused.iter().filter(|(code, _)| *code == UNAUTHORIZED).count();

    progress("revoking one of them");
    Books::change(&run.join("authority"), |books| books.revoke_device(&third.id, SystemRos.now()))
        .map_err(|error: BooksError| missing(error))?;
    let revoked = Instant::now();
    let reason = until("the refusal of what was revoked", PATIENCE, || {
        let (code, reason) = asking.arm(&third.id, &theirs).map_err(missing)?;
        Ok((code == UNAUTHORIZED).then_some(reason))
    })?;
    let took = revoked.elapsed();
    let admitted = asking.arm(&second.id, &others).map_err(missing)?;
    let seen =
        until("the verdict on what was revoked", PATIENCE, || Ok(Some(verdicts(3)).filter(|count| *count == 2)))?;
    let stopped = estop.call(&Trigger::Request {}, asking::PATIENCE).map_err(missing)?.success;
    supervisor.shutdown();
    let holds = took <= REVOKED_WITHIN && reason.contains("is revoked") && admitted.0 == 0;
    Ok(vec![
        claim("Robots that attested each other", format!("{trusted} of 6; {keys}"), "all", trusted == 6),
        claim(
            "Commands without a token, or with another robot's, refused",
            format!("{kept_out} of 2"),
            "all",
            kept_out == 2,
        ),
        claim(
            "Revoked robot refused",
            format!("{:.2} s: {reason}", took.as_secs_f64()),
            "within 5 s, and it alone",
            holds,
        ),
        claim(
            "Peers that hold it for revoked; anyone may stop",
            format!("{seen} of 2; stop taken: {stopped}"),
            "all",
            seen == 2 && stopped,
        ),
    ])
}
