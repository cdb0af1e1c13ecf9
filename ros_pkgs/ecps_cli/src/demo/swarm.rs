//! Five simulated robots form a circle, a line and a grid; one is killed at its task, which another one does, and the formation closes
//! up.

mod peer;
mod table;

use std::path::Path;
use std::time::{Duration, Instant};

use ecps_sim::robot::BaseConfig;

use self::peer::{Heard, Peer};
use self::table::Table;
use super::{DemoError, claim, progress, stack};
use crate::report::{Chapter, Claim, FloorMap, Formation, Path as DrawnPath, Point};

const ROBOTS: usize = 5;
/// Whom the swarm is asked through; all others may be killed.
const VIA: &str = "robot1";
/// By which name the task goes, and where it is done: so far ahead of the grid that the ways there meet only beyond who is killed.
const TASK: &str = "fetch";
const THERE: Point = Point { x: 18.0, y: 3.0 };
/// How far from its slot a robot is killed, metres.
const GONE: f64 = 0.8;
/// Least distance of slots, metres: so much that robots of this size pass each other on their ways.
const SEPARATION: f64 = 2.0;
/// Shapes by SetFormation's numbers, sizes, and where the centre goes.
const SHAPES: [(&str, u8, f64, Point); 3] = [
    ("circle", 2, 2.0, Point { x: 9.0, y: 3.0 }),
    ("line", 1, 8.0, Point { x: 10.0, y: 3.0 }),
    ("grid", 3, 4.0, AT_LAST),
];
const AT_LAST: Point = Point { x: 11.0, y: 3.0 };
/// How near to its slot a robot counts as there, metres.
const REACHED: f64 = 0.1;
/// How long it stays there before that is believed.
const STAYS: Duration = Duration::from_millis(500);
/// How long a formation, or a task, may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two parts in the picture, metres.
const BESIDE: f64 = 11.0;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// The chapter of the report, and what was claimed.
pub(super) fn run(run: &Path) -> Result<(Chapter, Vec<Claim>), DemoError> {
    println!("Five robots: formations, a task, and a robot that is killed.");
    let names: Vec<String> = (1..=ROBOTS).map(|number| format!("robot{number}")).collect();
    let folder = |what: &str, name: &str| run.join("swarm").join(name).join(what).display().to_string();
    let mut extra = Vec::new();
    for name in &names {
        extra.push((format!("{name}/swarm_coordinator"), format!("folder:={}", folder("log", name))));
        extra.push((format!("{name}/eap_executor"), format!("journal:={}", folder("journal", name))));
    }
    let extra: Vec<(&str, &str)> = extra.iter().map(|(node, value)| (node.as_str(), value.as_str())).collect();
    let robots = ROBOTS.to_string();
    let plan = stack::shipped("swarm.launch.xml", &[("robots", &robots), ("log_level", "info")], &extra)?;
    let inner = run.join("swarm");
    std::fs::create_dir_all(&inner).map_err(super::io(inner.display().to_string()))?;
    let mut nodes = stack::start(plan, &inner)?;
    let starts = [4.0, 6.0, 8.0, 10.0, 12.0].map(|x| Point { x, y: 3.0 });
    let starts = names.iter().cloned().zip(starts).collect();
    let mut story = Story {
        peer: Peer::start(VIA, starts)?,
        table: Table::default(),
        began: Instant::now(),
        names: names.clone(),
        parts: Vec::new(),
    };
    story.wait("everybody, and a leader", |heard| heard.complete(ROBOTS).then_some(()))?;
    let mut claims = Vec::new();
    for (name, shape, scale, at) in SHAPES {
        story.peer.form(shape, scale, SEPARATION, at)?;
        let (off, took) = story.formed(name, ROBOTS, at)?;
        claims.push(reached(&format!("Swarm: {name} of five, farthest from its slot"), off, took));
    }

    // The nearest, which has nobody before it.
    let killed = story.wait("slots", |heard| heard.nearest(THERE, VIA))?;
    story.peer.submit(TASK, THERE, &killed)?;
    let first = story.wait("the task to be under way", |heard| {
        let task = heard.task(TASK)?;
        let gone = heard.place(&killed)?.distance(heard.slot_before(&killed)?);
        (task.state == peer::RUNNING && task.agent == killed && gone > GONE).then(|| task.clone())
    })?;
    progress(format!("killing {killed} on its way to its task"));
    for node in ["swarm_coordinator", "eap_executor"] {
        nodes.kill(&format!("{killed}/{node}"))?;
    }
    let since = Instant::now();
    let second = story.wait("another robot to have the task", |heard| {
        heard.task(TASK).filter(|task| task.agent != killed && task.award > first.award).cloned()
    })?;
    let moved = since.elapsed();
    progress(format!("{} has the task, {:.1} s later", second.agent, moved.as_secs_f64()));
    let ended = story
        .wait("the end of the task", |heard| heard.task(TASK).filter(|task| task.state > peer::RUNNING).cloned())?;
    let (off, took) = story.formed("closed up", ROBOTS - 1, AT_LAST)?;
    claims.push(reached("Swarm: closed up to four, farthest from its slot", off, took));
    progress("stopping the robots");
    nodes.shutdown();

    let heard = story.peer.heard();
    let counts = heard.counts();
    claims.push(claim(
        "Swarm: the task of the killed robot",
        format!("{} completed, {} failed; award {} after {}", counts[4], counts[5], ended.award, first.award),
        "done by another one, reported once",
        ended.state == peer::COMPLETED && ended.agent != killed && counts[4] == 1 && counts[5] == 0,
    ));
    let radius = BaseConfig::default().radius;
    claims.push(claim(
        "Swarm: least distance of any two robots",
        format!("{:.2} m, over {:.0} m of ways", heard.least_distance, heard.way()),
        format!("more than two radii, {:.2} m", 2.0 * radius),
        heard.least_distance > 2.0 * radius && heard.way() > 20.0,
    ));
    let lost = heard.lost_at(&killed);
    let map = map(&heard, &names, &story.parts, lost);
    let text = "The robots agree on who has which slot through the replicated log; each moves by what it hears of its neighbours. \
                One is killed on its way to a task: another one leaves the formation and does it, and the others close up."
        .to_owned();
    Ok((Chapter { title: "Five robots".to_owned(), text, map }, claims))
}

fn reached(name: &str, off: f64, took: Duration) -> Claim {
    claim(name, format!("{off:.3} m, after {:.1} s", took.as_secs_f64()), format!("within {REACHED} m"), off <= REACHED)
}

/// What happens, as it is told.
struct Story {
    peer: Peer,
    table: Table,
    began: Instant,
    names: Vec<String>,
    parts: Vec<Part>,
}

/// A formation that was taken up.
struct Part {
    name: String,
    around: Point,
    slots: Vec<Point>,
    /// How many points each robot's way had by then.
    ends: Vec<usize>,
}

impl Story {
    /// Looks, and shows the table, until `found` finds something.
    fn wait<T>(&mut self, what: &str, found: impl Fn(&Heard) -> Option<T>) -> Result<T, DemoError> {
        let begun = Instant::now();
        loop {
            let heard = self.peer.heard();
            let thing = found(&heard);
            self.table.show(&heard, self.began.elapsed(), what);
            drop(heard);
            match thing {
                Some(thing) => {
                    self.table.keep();
                    return Ok(thing);
                }
                None if begun.elapsed() > PATIENCE => {
                    return Err(DemoError::Missing(format!("waited {PATIENCE:?} in vain for {what}")));
                }
                None => std::thread::sleep(LOOK),
            }
        }
    }

    /// Waits until `count` robots are in their slots around a place and stay there: how far the farthest was by then, and how long it took.
    fn formed(&mut self, name: &str, count: usize, around: Point) -> Result<(f64, Duration), DemoError> {
        let begun = Instant::now();
        let mut since = None;
        loop {
            let what = format!("{name}: robots in their slots");
            let off = self.wait(&what, |heard| heard.farthest(count, around))?;
            match since {
                _ if off > REACHED => since = None,
                None => since = Some(Instant::now()),
                Some(since) if since.elapsed() >= STAYS => {
                    let took = begun.elapsed();
                    self.table.last(&self.peer.heard(), self.began.elapsed(), name);
                    let heard = self.peer.heard();
                    self.parts.push(Part {
                        name: name.to_owned(),
                        around,
                        slots: heard.slots().map(|(_, slot)| slot).collect(),
                        ends: self.names.iter().map(|name| heard.path(name).len()).collect(),
                    });
                    return Ok((off, took));
                }
                Some(_) => {}
            }
            if begun.elapsed() > PATIENCE {
                return Err(DemoError::Missing(format!(
                    "the formation is not {name} after {PATIENCE:?}: one robot is {off:.2} m off"
                )));
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Part by part, beside each other: the ways that robots went in it, and the slots at its end.
fn map(heard: &Heard, names: &[String], parts: &[Part], lost: Option<Point>) -> FloorMap {
    let mut map = FloorMap::default();
    let mut begun = vec![0; names.len()];
    for (number, part) in (0_u32..).zip(parts) {
        let aside = |at: Point| Point { x: at.x - part.around.x + BESIDE * f64::from(number), y: at.y - part.around.y };
        for ((name, begun), end) in names.iter().zip(&mut begun).zip(&part.ends) {
            let way = heard.path(name).get(*begun..*end).unwrap_or_default();
            map.paths.push(DrawnPath { name: name.clone(), points: way.iter().copied().map(aside).collect() });
            // Where one part ends the next one begins.
            *begun = end.saturating_sub(1);
        }
        map.formations
            .push(Formation { name: part.name.clone(), slots: part.slots.iter().copied().map(aside).collect() });
        if number as usize + 1 == parts.len() {
            map.losses = lost.into_iter().map(aside).collect();
        }
    }
    map
}
