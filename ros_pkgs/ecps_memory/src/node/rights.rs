//! What each request takes where `trust_level` asks for tokens: a verb on `memory/<namespace>`, or on the memory as a whole.

use ecps_guard::Refused;
use ecps_ros::r2r::ecps_msgs::msg::Caller;

use super::Server;

/// The verb of what only reads.
pub(super) const GET: &str = "get";

/// A verb on each of the namespaces, as in `put:memory/kitchen`.
pub(super) fn on<'a>(verb: &str, namespaces: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let right = |name: &str| format!("{verb}:memory/{}", if name.is_empty() { "default" } else { name });
    let mut rights: Vec<String> = namespaces.into_iter().map(right).collect();
    rights.sort_unstable();
    rights.dedup();
    rights
}

/// A verb on all that is remembered.
pub(super) fn on_all(verb: &str) -> Vec<String> {
    vec![format!("{verb}:memory")]
}

impl Server {
    /// Whether the caller has the rights, which nobody needs where no tokens are asked for.
    pub(super) fn permit(&self, caller: &Caller, rights: impl FnOnce() -> Vec<String>) -> Result<(), Refused> {
        if !self.door.asks_for_tokens() {
            return Ok(());
        }
        let rights = rights();
        let asked: Vec<&str> = rights.iter().map(String::as_str).collect();
        // Reading does no harm a second time, and clients ask again where an answer was lost.
        match asked.iter().all(|right| right.split(':').next() == Some(GET)) {
            true => self.door.admit_again(caller, &asked),
            false => self.door.admit(caller, &asked),
        }
    }
}
