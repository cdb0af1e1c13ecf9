//! Reads the journal back and counts what it says.

use std::collections::BTreeMap;
use std::path::Path;

use ecps_journal::audit::Authenticity;
use ecps_journal::record::{Entry, Verdict};
use ecps_journal::{Expectations, Reader, Signer as _, SoftwareSigner, audit};

use super::DemoError;

/// What a journal accounts for.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Velocities admitted and limited, from the topic alone.
    pub(super) admitted: u64,
    pub(super) limited: u64,
    /// Refusals by reason, of velocities.
    pub(super) refused: BTreeMap<String, u64>,
    /// Actions accepted, refused, ended.
    pub(super) actions: u64,
    pub(super) actions_refused: u64,
    pub(super) outcomes: u64,
    pub(super) stops: u64,
    pub(super) resets: u64,
    pub(super) records: u64,
    /// The verdicts in words, and whether it is whole and all of it signed.
    pub(super) verdict: String,
    pub(super) believed: bool,
}

/// Reads all of it, and holds it against the key of its executor.
pub(super) fn account(folder: &Path, key: &Path) -> Result<Account, DemoError> {
    let failed = |e: &dyn std::fmt::Display| DemoError::Missing(format!("journal {}: {e}", folder.display()));
    let mut reader = Reader::open(folder).map_err(|e| failed(&e))?;
    let mut account = Account::default();
    while let Some(record) = reader.read().map_err(|e| failed(&e))? {
        account.records += 1;
        match record.entry().map_err(|e| failed(&e))? {
            Entry::Motion(motion) if motion.source == "cmd_vel_in" => match motion.verdict() {
                Verdict::Admitted => account.admitted += 1,
                Verdict::Limited => account.limited += 1,
                Verdict::Refused => *account.refused.entry(motion.reason).or_default() += 1,
                _ => {}
            },
            Entry::Refusals(more) => *account.refused.entry(more.reason).or_default() += more.count,
            Entry::Action(action) if action.verdict() == Verdict::Admitted => account.actions += 1,
            Entry::Action(_) => account.actions_refused += 1,
            Entry::Outcome(_) => account.outcomes += 1,
            Entry::Stop(stop) if stop.cause == "requested" => account.stops += 1,
            Entry::Reset(_) => account.resets += 1,
            _ => {}
        }
    }
    let key = SoftwareSigner::load(key).map_err(|e| failed(&e))?.verifier().clone();
    let found =
        audit(folder, &Expectations { keys: vec![key], ..Expectations::default() }, 1).map_err(|e| failed(&e))?;
    let signed = matches!(found.authenticity, Authenticity::Signed { after: 0, .. });
    account.believed = found.exit_code() == 0 && found.completeness.is_complete() && signed;
    account.verdict = match signed {
        true => format!("{}, all signed", found.integrity),
        false => format!("{}, {}", found.integrity, found.authenticity),
    };
    Ok(account)
}
