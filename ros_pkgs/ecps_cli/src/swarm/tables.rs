//! The tables of `ecps swarm`.

use ecps_ros::r2r::ecps_msgs::msg::{SwarmAgents, SwarmLeader, SwarmSlots, SwarmTasks};

fn word(words: &[&'static str], number: u8) -> &'static str {
    words.get(usize::from(number)).copied().unwrap_or("?")
}

pub(super) fn agents(leader: &SwarmLeader, agents: &SwarmAgents) -> Vec<String> {
    let led = match leader.mode {
        0 if leader.leader.is_empty() => "nobody leads yet".to_owned(),
        0 => format!("{} leads, term {}", leader.leader, leader.term),
        1 => format!("cut off from a quorum: {}", leader.reason),
        _ => "starting".to_owned(),
    };
    let mut lines = vec![format!(
        "{led}; {} of {} voters are reachable: {}",
        leader.reachable.len(),
        leader.voters.len(),
        leader.reachable.join(", ")
    )];
    lines.push(format!(
        "{:<16} {:<8} {:<12} {:>6} {:>8} {:>6} {:>6} {:>18}  {}",
        "agent", "health", "state", "epoch", "silence", "load", "phi", "at", "tasks"
    ));
    for peer in &agents.agents {
        let (agent, at) = (&peer.agent, &peer.agent.pose.position);
        lines.push(format!(
            "{:<16} {:<8} {:<12} {:>6} {:>6.1} s {:>5.0}% {:>6.1} {:>18}  {}",
            agent.id,
            word(&["alive", "suspect", "lost", "left"], peer.health),
            word(&["discovering", "forming", "coordinating", "executing", "completed", "failed"], agent.state),
            agent.epoch,
            peer.silence,
            agent.load * 100.0,
            peer.phi,
            format!("({:.2}, {:.2})", at.x, at.y),
            agent.tasks.join(" ")
        ));
    }
    for (reason, count) in agents.refusal_reasons.iter().zip(&agents.refusal_counts) {
        lines.push(format!("{count} messages refused: {reason}"));
    }
    lines
}

const STATES: [&str; 7] = ["blocked", "waiting", "awarded", "running", "completed", "failed", "cancelled"];

pub(super) fn tasks(tasks: &SwarmTasks) -> Vec<String> {
    let counts: Vec<String> = STATES
        .iter()
        .zip(&tasks.counts)
        .filter(|(_, count)| **count > 0)
        .map(|(state, n)| format!("{n} {state}"))
        .collect();
    let mut lines = vec![if counts.is_empty() { "no tasks".to_owned() } else { counts.join(", ") }];
    lines.push(format!(
        "{:<24} {:<12} {:<10} {:<10} {:<16} {:>6}  {}",
        "task", "kind", "priority", "state", "agent", "award", "why"
    ));
    for task in &tasks.tasks {
        lines.push(format!(
            "{:<24} {:<12} {:<10} {:<10} {:<16} {:>6}  {}",
            task.task.id,
            task.task.kind,
            word(&["normal", "critical", "high", "normal", "low", "background"], task.task.priority),
            word(&STATES, task.state),
            task.agent,
            task.award,
            task.reason
        ));
    }
    lines
}

/// Nothing where nothing is formed.
pub(super) fn slots(slots: &SwarmSlots, agents: &SwarmAgents) -> Vec<String> {
    if slots.agents.is_empty() {
        return Vec::new();
    }
    let centre = &slots.centre.position;
    let mut lines =
        vec![format!("{}, {:.2} m, around ({:.2}, {:.2})", slots.formation, slots.scale, centre.x, centre.y)];
    lines.push(format!("{:<16} {:>18} {:>10}", "agent", "slot", "off by"));
    for (name, slot) in slots.agents.iter().zip(&slots.slots) {
        let at = agents.agents.iter().find(|peer| peer.agent.id == *name).map(|peer| &peer.agent.pose.position);
        let off = at.map_or_else(String::new, |at| format!("{:.2} m", (at.x - slot.x).hypot(at.y - slot.y)));
        lines.push(format!("{name:<16} {:>18} {off:>10}", format!("({:.2}, {:.2})", slot.x, slot.y)));
    }
    lines
}
