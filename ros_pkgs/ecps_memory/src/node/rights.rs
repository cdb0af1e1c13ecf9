//! What each request takes where `trust_level` asks for tokens: a verb on `memory/<namespace>`, or on the memory as a whole.

use std::time::Duration;

use ecps_guard::Refused;
use ecps_ros::r2r::ecps_msgs::msg::Caller;

use super::Server;

impl Server {
    /// A refusal for callers that are malformed or too late, or may not do this in one of the namespaces.
    pub(super) fn deny<'a>(
        &self,
        caller: &Caller,
        lifetime: Duration,
        verb: &str,
        namespaces: impl IntoIterator<Item = &'a str>,
    ) -> Option<(u8, String)> {
        self.refuse(caller, lifetime).or_else(|| {
            if !self.door.asks_for_tokens() {
                return None;
            }
            let asked: Vec<String> = namespaces.into_iter().map(|name| right(verb, name)).collect();
            let mut asked: Vec<&str> = asked.iter().map(String::as_str).collect();
            asked.sort_unstable();
            asked.dedup();
            // Reading does no harm a second time, and clients ask again where an answer was lost.
            let admitted = match verb {
                "get" => self.door.admit_again(caller, &asked),
                _ => self.door.admit(caller, &asked),
            };
            admitted.err().map(|refused| (Refused::CODE, refused.to_string()))
        })
    }

    /// The same for what concerns every namespace.
    pub(super) fn deny_whole(&self, caller: &Caller, lifetime: Duration, right: &str) -> Option<(u8, String)> {
        let denied = || self.door.admit(caller, &[right]).err().map(|refused| (Refused::CODE, refused.to_string()));
        self.refuse(caller, lifetime).or_else(denied)
    }
}

/// As in `put:memory/kitchen`.
fn right(verb: &str, namespace: &str) -> String {
    format!("{verb}:memory/{}", if namespace.is_empty() { "default" } else { namespace })
}
