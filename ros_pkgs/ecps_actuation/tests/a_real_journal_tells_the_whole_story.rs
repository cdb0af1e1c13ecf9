//! The executor on a journal on disk: what it did is what is read back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::time::Duration;

use ecps_actuation::{Executive, GateConfig, StopCause, VelocityCommand};
use ecps_core::clock::Stamp;
use ecps_journal::record::Entry;
use ecps_journal::{Durable, Identity, Journal, Reader, Verdict};
use support::{CEILING, PLANNER, Shared, at, config, navigate, pose, twist};

#[test]
fn commands_refusals_actions_and_stops_are_read_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity { robot: "r1".into(), session: [1; 16], boot: [2; 16] };
    let (journal, _) = Journal::open(folder.path(), identity, Stamp(1)).unwrap();
    let durability = journal.durability();
    let mut executive = Executive::new(config(GateConfig::new(CEILING)), journal, Shared::default(), at(0)).unwrap();
    executive.enable(PLANNER, at(0)).unwrap();
    executive.on_state("odom", pose(0.0, 0.0, 0.0), at(0)).unwrap();
    executive.on_velocity(&twist(0.05, 0.0), at(100));
    executive.on_velocity(&twist(10.0, 0.0), at(110));
    executive.on_velocity(&twist(10.0, 0.0), at(120));
    executive.on_velocity(&VelocityCommand { stamp: Some(Stamp(7)), ..twist(0.1, 0.0) }, at(130));
    let goal = executive.submit(PLANNER, &navigate("a", 1.0, 0.0), at(140)).unwrap().goal;
    durability.wait(goal.0, Duration::from_secs(20)).unwrap();
    assert_eq!(durability.of(goal.0), Durable::OnDisk);
    executive.tick(at(150));
    executive.stop(StopCause::Shutdown, "SIGTERM", at(160));
    drop(executive);

    let mut reader = Reader::open(folder.path()).unwrap();
    let mut story = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        story.push(match record.entry().unwrap() {
            Entry::Motion(m) => format!("{} {:?} {} {:?}", m.source, m.verdict(), m.reason, m.stamp_ns),
            Entry::Action(a) => format!("action of {} {}", a.caller, a.error_code),
            Entry::Outcome(o) => format!("outcome of {} {}", o.action_sequence, o.error_code),
            Entry::Stop(s) => format!("stop {} {}", s.cause, s.detail),
            Entry::Arming(a) => format!("{} enabled: {}", a.caller, a.armed),
            Entry::Refusals(r) => format!("{} more {}", r.count, r.reason),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(reader.verdict(), &Verdict::Clean);
    assert_eq!(
        story,
        [
            "/planner enabled: true",
            "cmd_vel_in Admitted  None",
            "cmd_vel_in Refused unreasonable None",
            "cmd_vel_in Refused stale Some(7)",
            "action of /planner 0",
            "execute Admitted  None",
            "outcome of 5 5",
            "stop shutdown SIGTERM",
            "1 more unreasonable",
        ]
    );
}
