//! What was decided, in a journal of its own, which anybody can read with `eaplog`.

use std::path::Path;

use ecps_core::clock::{RosClock as _, SteadyClock as _, SystemRos, SystemSteady};
use ecps_identity::guard::{Audit, Refusal};
use ecps_identity::permission::Permission;
use ecps_identity::verifier::Identity;
use ecps_journal::record::Decision;
use ecps_journal::{Direction, Journal, Moment, Options, SoftwareSigner};
use ecps_ros::StartError;

/// Most that is kept: about half a million decisions. The oldest go, or a flood of refused requests would fill the disk.
const RETAINED: u64 = 128 << 20;
/// Of one segment.
const SEGMENT: u64 = 16 << 20;
/// Longest name of a caller that is kept; others are cut.
const NAME: usize = 256;

/// A journal of decisions.
#[derive(Debug)]
pub struct Decisions(Journal);

impl Decisions {
    /// Opens the journal in `folder`, whose checkpoints a key beside it signs.
    pub fn open(folder: &Path, node: &str) -> Result<Decisions, StartError> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot = uuid::Uuid::parse_str(boot.trim()).unwrap_or_default().into_bytes();
        let session = uuid::Uuid::now_v7().into_bytes();
        let identity = ecps_journal::Identity { robot: node.to_owned(), session, boot };
        let mut key = folder.as_os_str().to_owned();
        key.push(".key");
        let signer = SoftwareSigner::load_or_generate(node, Path::new(&key)).map_err(StartError::layer)?;
        let options = Options {
            signer: Some(Box::new(signer)),
            retain_bytes: Some(RETAINED),
            segment_bytes: SEGMENT,
            ..Options::default()
        };
        let (journal, _) = Journal::open_with(folder, identity, SystemRos.now(), options).map_err(StartError::layer)?;
        Ok(Decisions(journal))
    }

    /// Records one decision; it is in the kernel then.
    pub fn append(&mut self, moment: &Moment, decision: &Decision) -> Result<(), String> {
        self.0.append(moment, decision).map(drop).map_err(|error| error.to_string())
    }
}

impl Audit for Decisions {
    fn record(
        &mut self,
        caller: &str,
        asked: &[Permission],
        outcome: &Result<Identity, Refusal>,
    ) -> Result<(), String> {
        let claims = outcome.as_ref().ok().map(Identity::claims);
        let decision = Decision {
            caller: caller.chars().take(NAME).collect(),
            subject: claims.map(|claims| claims.sub.clone()).unwrap_or_default(),
            chain: claims.iter().flat_map(|claims| claims.chain()).map(|actor| actor.sub.clone()).collect(),
            asked: asked.iter().map(ToString::to_string).collect(),
            granted: outcome.is_ok(),
            reason: outcome.as_ref().err().map(ToString::to_string).unwrap_or_default(),
        };
        let moment =
            Moment { steady: SystemSteady.now(), wall: SystemRos.now(), direction: Direction::Inbound, trace: [0; 16] };
        self.append(&moment, &decision)
    }
}
