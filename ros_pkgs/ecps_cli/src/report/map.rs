//! The floor plan with what happened on it.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::model::{Answer, FloorMap, Formation, Memory, Path, Point, Recall, RecallVerdict, Refusal};
use super::svg::{STYLE, escape};

/// Width of the drawing, pixels.
const WIDTH: f64 = 960.0;
/// Largest height of the plan without legend, pixels.
const HEIGHT: f64 = 640.0;
/// Around the plan, pixels.
const MARGIN: f64 = 28.0;
/// Height of the legend, pixels.
const LEGEND: f64 = 40.0;
/// Up to how many memories are written out.
const FEW_MEMORIES: usize = 24;
/// Up to how many recalls are written out; beyond, they are drawn thinner.
const FEW_RECALLS: usize = 16;
/// Refusals nearer than this to one another share a mark, pixels.
const CLUSTER: f64 = 18.0;

/// The floor plan as a picture that stands alone, for light and dark ground.
pub fn map_svg(map: &FloorMap) -> String {
    let frame = Frame::around(map);
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" class="drawing" viewBox="0 0 {WIDTH} {:.0}" width="{WIDTH}" height="{:.0}" role="img" aria-label="Floor plan with path, memories, recalls and refusals">"#,
        frame.height + LEGEND,
        frame.height + LEGEND,
    );
    // Writing to a String does not fail; so below.
    let _ = write!(svg, "<style>{STYLE}</style>{MARKERS}");
    let _ = write!(svg, r#"<rect class="ground" width="{WIDTH}" height="{:.0}" rx="12"/>"#, frame.height + LEGEND);
    frame.grid(&mut svg);
    frame.walls(&mut svg, &map.walls);
    map.formations.iter().for_each(|formation| frame.formation(&mut svg, formation));
    map.paths.iter().enumerate().for_each(|(number, path)| frame.path(&mut svg, number, path));
    frame.recalls(&mut svg, &map.recalls);
    frame.answers(&mut svg, &map.answers);
    frame.memories(&mut svg, &map.memories);
    frame.refusals(&mut svg, &map.refusals);
    frame.losses(&mut svg, &map.losses);
    frame.legend(&mut svg, map);
    svg.push_str("</svg>\n");
    svg
}

const MARKERS: &str = concat!(
    r#"<defs><marker id="good" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">"#,
    r#"<path class="recall-head" d="M0 0L8 4L0 8z"/></marker><marker id="refuted" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" "#,
    r#"markerUnits="userSpaceOnUse" orient="auto"><path class="refuted-head" d="M0 0L8 4L0 8z"/></marker></defs>"#,
);

/// From metres to pixels.
struct Frame {
    left: f64,
    top: f64,
    /// Pixels per metre.
    scale: f64,
    height: f64,
}

impl Frame {
    fn around(map: &FloorMap) -> Self {
        let points = map.walls.iter().flatten().copied();
        let points = points.chain(map.paths.iter().flat_map(|path| path.points.iter().copied()));
        let points = points.chain(map.memories.iter().map(|memory| memory.at));
        let points = points.chain(map.recalls.iter().flat_map(|recall| [recall.asked_at, recall.found_at]));
        let points = points.chain(map.formations.iter().flat_map(|formation| formation.slots.iter().copied()));
        let points = points.chain(map.refusals.iter().map(|refusal| refusal.at)).filter(|point| point.is_finite());
        let bounds = points.fold(None, |bounds: Option<[f64; 4]>, p| {
            let [left, bottom, right, top] = bounds.unwrap_or([p.x, p.y, p.x, p.y]);
            Some([left.min(p.x), bottom.min(p.y), right.max(p.x), top.max(p.y)])
        });
        let [left, bottom, right, top] = bounds.unwrap_or([0.0, 0.0, 1.0, 1.0]);
        let (wide, high) = ((right - left).max(1.0), (top - bottom).max(1.0));
        let scale = ((WIDTH - 2.0 * MARGIN) / wide).min((HEIGHT - 2.0 * MARGIN) / high);
        // In the middle when the height decides.
        let space = (WIDTH - wide * scale) / 2.0 / scale;
        Self { left: left - space, top: top + MARGIN / scale, scale, height: high * scale + 2.0 * MARGIN }
    }

    fn at(&self, point: Point) -> (f64, f64) {
        ((point.x - self.left) * self.scale, (self.top - point.y) * self.scale)
    }

    /// The part of `d` of a path through these points.
    fn line(&self, points: impl Iterator<Item = Point>) -> String {
        let mut d = String::new();
        for point in points.filter(|point| point.is_finite()) {
            let (x, y) = self.at(point);
            let _ = write!(d, "{}{x:.1} {y:.1}", if d.is_empty() { 'M' } else { 'L' });
        }
        d
    }

    /// A square grid whose lines are at least 28 pixels apart, and its step.
    fn step(&self) -> f64 {
        let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
        steps.into_iter().find(|step| step * self.scale >= 28.0).unwrap_or(200.0)
    }

    fn grid(&self, svg: &mut String) {
        let (step, mut d) = (self.step(), String::new());
        let mut x = (self.left / step).ceil() * step;
        while (x - self.left) * self.scale < WIDTH {
            let _ = write!(d, "M{:.1} 0V{:.1}", (x - self.left) * self.scale, self.height);
            x += step;
        }
        let mut y = (self.top / step).floor() * step;
        while (self.top - y) * self.scale < self.height {
            let _ = write!(d, "M0 {:.1}H{WIDTH}", (self.top - y) * self.scale);
            y -= step;
        }
        let _ = write!(svg, r#"<path class="grid" d="{d}"/>"#);
    }

    fn walls(&self, svg: &mut String, walls: &[[Point; 2]]) {
        let d: String = walls.iter().map(|wall| self.line(wall.iter().copied())).collect();
        let _ = write!(svg, r#"<path class="walls" d="{d}"/>"#);
    }

    fn path(&self, svg: &mut String, number: usize, path: &Path) {
        let mut points = path.points.iter().copied().filter(|point| point.is_finite());
        let (Some(first), name) = (points.clone().next(), escape(&path.name)) else { return };
        let length: f64 = points.clone().zip(points.clone().skip(1)).map(|(a, b)| a.distance(b)).sum();
        // Each robot has a colour of its own.
        let _ = write!(
            svg,
            r#"<g class="robot-{}"><path class="path" d="{}"><title>{name}: {length:.1} m</title></path>"#,
            number % 5,
            self.line(points.clone())
        );
        let (start, end) = (self.at(first), self.at(points.next_back().unwrap_or(first)));
        let _ = write!(
            svg,
            r#"<circle class="start" cx="{:.1}" cy="{:.1}" r="6"><title>{name} starts</title></circle>"#,
            start.0, start.1
        );
        let _ = write!(
            svg,
            r#"<circle class="end" cx="{:.1}" cy="{:.1}" r="6"><title>{name} ends</title></circle></g>"#,
            end.0, end.1
        );
    }

    /// Its slots, and its name above them.
    fn formation(&self, svg: &mut String, formation: &Formation) {
        let name = escape(&formation.name);
        let slots: Vec<Point> = formation.slots.iter().copied().filter(|slot| slot.is_finite()).collect();
        for (x, y) in slots.iter().map(|slot| self.at(*slot)) {
            let _ =
                write!(svg, r#"<circle class="slot" cx="{x:.1}" cy="{y:.1}" r="10"><title>{name}</title></circle>"#);
        }
        let middle = slots.iter().map(|slot| self.at(*slot).0).sum::<f64>() / slots.len().max(1) as f64;
        let top = slots.iter().map(|slot| self.at(*slot).1).fold(f64::INFINITY, f64::min);
        if !top.is_finite() {
            return;
        }
        let _ = write!(
            svg,
            r#"<text class="label" text-anchor="middle" x="{:.1}" y="{:.1}">{name}</text>"#,
            middle,
            top - 18.0
        );
    }

    fn losses(&self, svg: &mut String, losses: &[Point]) {
        for (x, y) in losses.iter().filter(|at| at.is_finite()).map(|at| self.at(*at)) {
            let cross = format!("M{:.1} {:.1}l16 16m0-16l-16 16", x - 8.0, y - 8.0);
            let _ = write!(
                svg,
                r#"<g><title>lost here</title><path class="halo" d="{cross}"/><path class="refusal" d="{cross}"/></g>"#
            );
        }
    }

    fn recalls(&self, svg: &mut String, recalls: &[Recall]) {
        let few = recalls.len() <= FEW_RECALLS;
        let gap = if few { 7.0 } else { 3.0 };
        for recall in recalls.iter().filter(|recall| recall.asked_at.is_finite() && recall.found_at.is_finite()) {
            let ((x1, y1), (x2, y2)) = (self.at(recall.asked_at), self.at(recall.found_at));
            // Bent to one side, so that it does not lie on the path, and ended before the mark of the place.
            let (bx, by) = ((x1 + x2) / 2.0 + (y2 - y1) * 0.16, (y1 + y2) / 2.0 - (x2 - x1) * 0.16);
            let reach = (x2 - bx).hypot(y2 - by).max(1e-9);
            let short = (gap / reach).min(0.5);
            let (x2, y2) = (x2 - (x2 - bx) * short, y2 - (y2 - by) * short);
            let (class, marker, verdict, text) = match recall.verdict {
                RecallVerdict::Confirmed => ("recall", "good", "confirmed", "good-text"),
                RecallVerdict::Refuted => ("refuted", "refuted", "refuted", ""),
            };
            let dense = if few { "" } else { " dense" };
            let _ = write!(
                svg,
                r#"<path class="{class}{dense}" marker-end="url(#{marker})" d="M{x1:.1} {y1:.1}Q{bx:.1} {by:.1} {x2:.1} {y2:.1}"><title>asked at ({:.1}, {:.1}), recalled ({:.1}, {:.1}): similarity {:.3}, {verdict}</title></path>"#,
                recall.asked_at.x, recall.asked_at.y, recall.found_at.x, recall.found_at.y, recall.similarity,
            );
            let _ =
                write!(svg, r#"<circle class="{class}-head" cx="{x1:.1}" cy="{y1:.1}" r="{:.1}"/>"#, gap / 2.0 - 0.3);
            if few {
                let (x, y) = ((x1 + x2) / 4.0 + bx / 2.0, (y1 + y2) / 4.0 + by / 2.0);
                let _ = write!(
                    svg,
                    r#"<text class="label {text}" text-anchor="middle" x="{x:.1}" y="{y:.1}">{:.2}</text>"#,
                    recall.similarity
                );
            }
        }
    }

    /// A ring around each memory that was found, wider for each question.
    fn answers(&self, svg: &mut String, answers: &[Answer]) {
        for (index, answer) in answers.iter().enumerate() {
            let (radius, question) = (6.0 + 3.5 * index as f64, escape(&answer.question));
            for at in answer.at.iter().filter(|at| at.is_finite()) {
                let (x, y) = self.at(*at);
                let _ = write!(
                    svg,
                    r#"<circle class="answer" cx="{x:.1}" cy="{y:.1}" r="{radius}"><title>found {question}</title></circle>"#
                );
            }
        }
    }

    fn memories(&self, svg: &mut String, memories: &[Memory]) {
        let few = memories.len() <= FEW_MEMORIES;
        let radius = if few { 5.5 } else { 2.6 };
        for memory in memories.iter().filter(|memory| memory.at.is_finite()) {
            let ((x, y), label) = (self.at(memory.at), escape(&memory.label));
            let _ = write!(
                svg,
                r#"<circle class="memory" cx="{x:.1}" cy="{y:.1}" r="{radius}"><title>remembered: {label}, at ({:.1}, {:.1})</title></circle>"#,
                memory.at.x, memory.at.y
            );
            if few {
                let _ = write!(svg, r#"<text class="label" x="{:.1}" y="{:.1}">{label}</text>"#, x + 9.0, y - 7.0);
            }
        }
    }

    fn refusals(&self, svg: &mut String, refusals: &[Refusal]) {
        // Where on the drawing, and how often for each reason.
        type Cluster<'a> = ((f64, f64), BTreeMap<&'a str, usize>);
        let mut clusters: Vec<Cluster<'_>> = Vec::new();
        for refusal in refusals.iter().filter(|refusal| refusal.at.is_finite()) {
            let (x, y) = self.at(refusal.at);
            match clusters.iter_mut().find(|((cx, cy), _)| (cx - x).hypot(cy - y) < CLUSTER) {
                Some((_, reasons)) => *reasons.entry(&refusal.reason).or_default() += 1,
                None => clusters.push(((x, y), BTreeMap::from([(refusal.reason.as_str(), 1)]))),
            }
        }
        for ((x, y), reasons) in clusters {
            let cross = format!("M{:.1} {:.1}l12 12m0-12l-12 12", x - 6.0, y - 6.0);
            let count: usize = reasons.values().sum();
            let line = |(reason, times): (&&str, &usize)| match times {
                1 => (*reason).to_owned(),
                _ => format!("{reason} × {times}"),
            };
            let mut listed: Vec<String> = reasons.iter().map(line).collect();
            let more = listed.len().saturating_sub(12);
            listed.truncate(12);
            let more = if more > 0 { format!("\nand {more} reasons more") } else { String::new() };
            let title = format!("held back:\n{}{more}", listed.join("\n"));
            let _ = write!(
                svg,
                r#"<g><title>{}</title><path class="halo" d="{cross}"/><path class="refusal" d="{cross}"/>"#,
                escape(&title)
            );
            if count > 1 {
                let _ = write!(
                    svg,
                    r#"<text class="label bad-text" x="{:.1}" y="{:.1}">×{count}</text>"#,
                    x + 11.0,
                    y + 5.0
                );
            }
            svg.push_str("</g>");
        }
    }

    /// What the marks mean, of those that occur, and a scale.
    fn legend(&self, svg: &mut String, map: &FloorMap) {
        let y = self.height + LEGEND / 2.0 - 2.0;
        let count = |verdict| map.recalls.iter().filter(|recall| recall.verdict == verdict).count();
        let (confirmed, refuted) = (count(RecallVerdict::Confirmed), count(RecallVerdict::Refuted));
        let entries = [
            (!map.paths.is_empty(), r#"<path class="path" d="M-10 0H10"/>"#, "driven".to_owned()),
            (
                !map.memories.is_empty(),
                r#"<circle class="memory" r="5.5"/>"#,
                format!("remembered ({})", map.memories.len()),
            ),
            (
                !map.answers.is_empty(),
                r#"<circle class="answer" r="6"/><circle class="answer" r="9.5"/>"#,
                format!("found by {} questions", map.answers.len()),
            ),
            (
                confirmed > 0,
                r#"<path class="recall" marker-end="url(#good)" d="M-11 3Q0-6 11 2"/>"#,
                format!("recalled, confirmed ({confirmed})"),
            ),
            (
                refuted > 0,
                r#"<path class="refuted" marker-end="url(#refuted)" d="M-11 3Q0-6 11 2"/>"#,
                format!("recalled, refuted ({refuted})"),
            ),
            (
                !map.refusals.is_empty(),
                r#"<path class="refusal" d="M-5-5l10 10m0-10l-10 10"/>"#,
                format!("command held back ({})", map.refusals.len()),
            ),
            (!map.formations.is_empty(), r#"<circle class="slot" r="8"/>"#, "slot of a formation".to_owned()),
            (
                !map.losses.is_empty(),
                r#"<path class="refusal" d="M-6-6l12 12m0-12l-12 12"/>"#,
                "robot killed".to_owned(),
            ),
        ];
        let shown: Vec<_> = entries.iter().filter(|(occurs, ..)| *occurs).collect();
        let letters: usize = shown.iter().map(|(.., text)| text.chars().count()).sum();
        // All in one row, whatever the reader's font is.
        let letter = ((WIDTH - 2.0 * MARGIN - 46.0 * shown.len() as f64) / letters.max(1) as f64).min(6.6);
        let mut x = MARGIN;
        for (_, mark, text) in shown {
            let long = letter * text.chars().count() as f64;
            let _ = write!(
                svg,
                r#"<g transform="translate({:.0} {y:.1})">{mark}<text x="18" y="4.5" textLength="{long:.0}" lengthAdjust="spacingAndGlyphs">{text}</text></g>"#,
                x + 10.0
            );
            x += 46.0 + long;
        }
        let (step, right, y) = (self.step(), WIDTH - MARGIN, self.height - 9.0);
        let left = right - step * self.scale;
        let _ = write!(svg, r#"<path class="axis" d="M{left:.1} {:.1}v5H{right:.1}v-5"/>"#, y - 5.0);
        let _ = write!(svg, r#"<text text-anchor="end" x="{:.1}" y="{y:.1}">{step} m</text>"#, left - 8.0);
    }
}
