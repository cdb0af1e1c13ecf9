//! The nodes under the demo: started from the shipped launch files, with a journal and a memory of their own.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::{DemoError, io};
use crate::launch::{Assignment, Plan, plan};
use crate::supervise::{Event, GRACE, Supervisor};
use crate::up::this_world;

/// Makes the plan of one of the shipped launch files, with `extra` arguments for the nodes named.
pub(super) fn shipped(file: &str, words: &[(&str, &str)], extra: &[(&str, &str)]) -> Result<Plan, DemoError> {
    let world = this_world().map_err(io("this program"))?;
    let path = world.packages.share("ecps")?.join("launch").join(file);
    let arguments: Vec<Assignment> =
        words.iter().map(|(name, value)| Assignment { name: (*name).to_owned(), value: (*value).to_owned() }).collect();
    let mut plan = plan(&path, &arguments, &world)?;
    for process in &mut plan.processes {
        for (node, parameter) in extra {
            if process.label.ends_with(node) {
                process.arguments.extend(["-p".to_owned(), (*parameter).to_owned()]);
            }
        }
    }
    Ok(plan)
}

/// Starts the plans' processes; what they say goes to `nodes.log`.
pub(super) fn start(plan: Plan, run: &Path) -> Result<Supervisor, DemoError> {
    let path = run.join("nodes.log");
    let log = Mutex::new(File::create(&path).map_err(io(path.display().to_string()))?);
    let sink = Arc::new(move |event: Event<'_>| {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not end the demo in the middle; its claims will tell.
        let _ = match event {
            Event::Started { label, .. } => writeln!(log, "[{label}] started"),
            Event::Line { label, text, .. } => writeln!(log, "[{label}] {text}"),
            Event::Ended { label, exit } => writeln!(log, "[{label}] ended: {exit:?}"),
        };
    });
    Ok(Supervisor::start(plan, &std::env::current_exe().map_err(io("this program"))?, GRACE, sink)?)
}
