//! Who may command: each source has a priority and a timeout, as in twist_mux. While a source is heard, those of lower
//! priority are not; of two of the same priority the newest command wins.

use std::time::Duration;

use ecps_core::check::{self, CheckError};
use ecps_core::clock::Steady;
use ecps_core::limits::NAME_BYTES;
use thiserror::Error;

use crate::watchdog::{TimeoutError, Watchdog};

/// Most sources of a gate.
pub const SOURCES: usize = 16;

/// One who may command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its topic, or the name of a part of this executor; 1 to 256 bytes.
    pub name: String,
    /// The higher is heard.
    pub priority: u8,
    /// Silence after which the output is zero and others are heard; more than 0, at most 1 s.
    pub timeout: Duration,
}

/// Why sources make no gate.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SourceError {
    /// No name, too long a name, or too many sources.
    #[error(transparent)]
    Invalid(#[from] CheckError),
    /// A timeout that is no protection.
    #[error(transparent)]
    Timeout(#[from] TimeoutError),
    /// Two of one name.
    #[error("source '{0}' is there twice")]
    Twice(String),
}

/// Which source; only [`Sources::find`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceId(usize);

/// All that may command, and when each was heard last.
#[derive(Debug, Clone)]
pub struct Sources {
    list: Vec<(Source, Watchdog)>,
    /// Whose command is being carried out.
    driving: Option<SourceId>,
}

impl Sources {
    /// At most [`SOURCES`], with different names.
    pub fn new(sources: &[Source]) -> Result<Sources, SourceError> {
        check::at_most("sources", sources.len(), SOURCES, "entries")?;
        let mut list: Vec<(Source, Watchdog)> = Vec::with_capacity(sources.len());
        for source in sources {
            check::name("source", &source.name, NAME_BYTES)?;
            if list.iter().any(|(other, _)| other.name == source.name) {
                return Err(SourceError::Twice(source.name.clone()));
            }
            list.push((source.clone(), Watchdog::new("the timeout of a source", source.timeout)?));
        }
        Ok(Sources { list, driving: None })
    }

    /// The source of that name.
    pub fn find(&self, name: &str) -> Option<SourceId> {
        self.list.iter().position(|(source, _)| source.name == name).map(SourceId)
    }

    fn priority(&self, id: SourceId) -> Option<u8> {
        self.list.get(id.0).map(|(source, _)| source.priority)
    }

    /// The source that is heard in place of `id` at present.
    pub fn outranked(&self, id: SourceId, now: Steady) -> Option<&str> {
        let mine = self.priority(id);
        let heard = |(source, watchdog): &&(Source, Watchdog)| Some(source.priority) > mine && !watchdog.expired(now);
        self.list.iter().find(heard).map(|(source, _)| source.name.as_str())
    }

    /// Whether `id` has a higher priority than `other`.
    pub fn outranks(&self, id: SourceId, other: SourceId) -> bool {
        self.priority(id) > self.priority(other)
    }

    /// A command of `id` is carried out.
    pub fn heard(&mut self, id: SourceId, now: Steady) {
        if let Some((_, watchdog)) = self.list.get_mut(id.0) {
            watchdog.feed(now);
            self.driving = Some(id);
        }
    }

    /// Whether whoever commanded last has been silent for too long.
    pub fn silent(&self, now: Steady) -> bool {
        self.driving.and_then(|id| self.list.get(id.0)).is_none_or(|(_, watchdog)| watchdog.expired(now))
    }

    /// Who commanded last, unless it is silent.
    pub fn driving(&self, now: Steady) -> Option<&str> {
        let (source, watchdog) = self.list.get(self.driving?.0)?;
        (!watchdog.expired(now)).then_some(source.name.as_str())
    }

    /// Nobody commands any more.
    pub fn silence(&mut self) {
        self.driving = None;
        self.list.iter_mut().for_each(|(_, watchdog)| watchdog.starve());
    }

    /// As they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.list.iter().map(|(source, _)| source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, priority: u8, ms: u64) -> Source {
        Source { name: name.into(), priority, timeout: Duration::from_millis(ms) }
    }

    fn at(ms: u64) -> Steady {
        Steady(Duration::from_millis(ms))
    }

    #[test]
    fn the_higher_priority_is_heard_until_its_own_timeout() {
        let mut sources =
            Sources::new(&[source("nav", 10, 500), source("web", 10, 500), source("joy", 100, 200)]).unwrap();
        let [nav, web, joy] = ["nav", "web", "joy"].map(|name| sources.find(name).unwrap());
        assert!(sources.silent(at(0)), "nobody was heard");
        sources.heard(nav, at(0));
        assert_eq!((sources.outranked(web, at(1)), sources.outranked(joy, at(1))), (None, None));
        sources.heard(joy, at(10));
        assert_eq!(sources.outranked(nav, at(210)), Some("joy"));
        assert_eq!(sources.driving(at(210)), Some("joy"));
        assert_eq!(sources.outranked(nav, at(211)), None, "its timeout is 200 ms");
        assert!(sources.silent(at(211)), "though nav was heard within 500 ms: its command is no longer carried out");
        assert!(sources.outranks(joy, nav) && !sources.outranks(nav, web));
        sources.heard(joy, at(300));
        sources.silence();
        assert_eq!((sources.outranked(nav, at(300)), sources.silent(at(300))), (None, true));
    }

    #[test]
    fn what_protects_nothing_is_refused() {
        let refused = |list: &[Source]| Sources::new(list).unwrap_err().to_string();
        assert!(refused(&[source("a", 1, 0)]).contains("cannot be turned off"));
        assert!(refused(&[source("a", 1, 1001)]).contains("1.001s"));
        assert!(refused(&[source("a", 1, 500), source("a", 2, 500)]).contains("'a' is there twice"));
        assert!(refused(&[source("", 1, 500)]).contains("empty"));
        let many: Vec<_> = (0..17).map(|i| source(&i.to_string(), i, 500)).collect();
        assert!(refused(&many).contains("17 entries"));
    }
}
