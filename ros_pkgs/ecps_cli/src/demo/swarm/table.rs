//! The swarm as a table that lives on a terminal; where there is none, it is printed at the end of each part.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::peer::Heard;

/// Between two pictures.
const PICTURE: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
pub(super) struct Table {
    /// When it was drawn, and how many lines it has, to be drawn over.
    drawn: Option<Instant>,
    lines: usize,
}

impl Table {
    /// Draws it in its place, on a terminal, when it is time.
    pub(super) fn show(&mut self, heard: &Heard, at: Duration, what: &str) {
        let due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= PICTURE);
        if due && std::io::stdout().is_terminal() {
            self.draw(&lines(heard, at, what));
        }
    }

    /// Draws it for good.
    pub(super) fn last(&mut self, heard: &Heard, at: Duration, what: &str) {
        self.draw(&lines(heard, at, what));
        self.keep();
    }

    /// What is drawn stays.
    pub(super) fn keep(&mut self) {
        self.lines = 0;
    }

    fn draw(&mut self, lines: &[String]) {
        let over = if self.lines > 0 { format!("\x1b[{}A\x1b[J", self.lines) } else { String::new() };
        println!("{over}{}", lines.join("\n"));
        // A picture that is late is none; a reader that is gone ends the demo elsewhere.
        let _ = std::io::stdout().flush();
        (self.drawn, self.lines) = (Some(Instant::now()), lines.len());
    }
}

fn lines(heard: &Heard, at: Duration, what: &str) -> Vec<String> {
    let mut lines = vec![format!("  {:5.1} s  {what}", at.as_secs_f64())];
    let Some(agents) = &heard.agents else { return lines };
    lines.push(format!("  {:<8} {:<8} {:>14} {:>14} {:>7}  {}", "robot", "health", "at", "slot", "off by", "task"));
    for peer in &agents.agents {
        let name = &peer.agent.id;
        let place = heard.place(name);
        let slot = heard.slots().find(|(other, _)| other == name).map(|(_, slot)| slot);
        let pair = |point: Option<crate::report::Point>| {
            point.map_or_else(|| "-".to_owned(), |point| format!("({:.2}, {:.2})", point.x, point.y))
        };
        let off =
            place.zip(slot).map_or_else(|| "-".to_owned(), |(place, slot)| format!("{:.2} m", place.distance(slot)));
        let health = ["alive", "suspect", "lost", "left"].get(usize::from(peer.health)).copied().unwrap_or("?");
        lines.push(format!(
            "  {name:<8} {health:<8} {:>14} {:>14} {off:>7}  {}",
            pair(place),
            pair(slot),
            peer.agent.tasks.join(" ")
        ));
    }
    lines
}
