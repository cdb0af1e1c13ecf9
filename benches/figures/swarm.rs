//! Robots that act as one: how they move, and who does what.

mod motion;
mod scipy;
mod tasks;

use ecps_testing::{Process, Ros};

use crate::support::Section;

/// Nothing has to run: what is measured is a library.
pub(crate) fn stage(_: &Ros) -> Vec<Process> {
    Vec::new()
}

pub(crate) fn measure() -> Section {
    let mut section = Section::begin(
        "Calls of the library, in one thread, each beside its peer on the same input and in turn with it. Rows are times of \
         whole calls: one assignment, one step of 5,000 robots, one step of 10,000 agents, \
         one allocation.",
    );
    motion::measure(&mut section);
    tasks::measure(&mut section);
    section
}
