//! Latencies over time and as a distribution, on a common logarithmic scale, with the budget.

use std::fmt::Write;

use super::model::{Latency, Stage, quantile};
use super::svg::{escape, milliseconds};

/// Size of a plot with its axes, pixels.
const WIDTH: f64 = 470.0;
const HEIGHT: f64 = 210.0;
/// Room for the axes, pixels.
const LEFT: f64 = 56.0;
const RIGHT: f64 = 28.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 34.0;
/// Most columns of dots: beyond, a column shows its lowest and its highest.
const COLUMNS: usize = 400;
/// Points of a distribution's curve.
const QUANTILES: u32 = 240;

/// Milliseconds on a logarithmic axis of whole decades.
struct Decades {
    low: f64,
    high: f64,
}

impl Decades {
    /// That hold all of `sorted`, and the budget.
    fn around(sorted: &[f64], budget: Option<f64>) -> Self {
        let (low, high) = (sorted.first().copied().unwrap_or(1.0), sorted.last().copied().unwrap_or(1.0));
        let budget = budget.filter(|budget| budget.is_finite() && *budget > 0.0).unwrap_or(high);
        let low = log(low.min(budget)).floor();
        Self { low, high: log(high.max(budget) * 1.05).ceil().max(low + 1.0) }
    }

    /// From 0 for the lowest to 1 for the highest.
    fn share(&self, ms: f64) -> f64 {
        ((log(ms) - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Where the lines are, with their text.
    fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        let decades = (self.high - self.low) as i32;
        let (low, step) = (self.low as i32, 1 + decades / 6);
        (0..=decades).step_by(step.unsigned_abs() as usize).map(move |decade| {
            let ms = 10f64.powi(low + decade);
            let text = milliseconds(ms).replace(".00", "").replace(".0 ", " ");
            (f64::from(decade) / f64::from(decades), text)
        })
    }
}

/// Nothing takes less than a nanosecond.
fn log(ms: f64) -> f64 {
    ms.max(1e-6).log10()
}

/// Both plots of a stage, side by side where there is room, with their figures above.
pub(crate) fn stage(stage: &Stage) -> String {
    let sorted = stage.sorted_ms();
    let mut html = format!("<section class=\"stage\"><h3>{}</h3>", escape(&stage.name));
    let (Some(p50), Some(p99), Some(max)) = (quantile(&sorted, 0.5), quantile(&sorted, 0.99), sorted.last()) else {
        html.push_str("<p class=\"note\">No sample.</p></section>");
        return html;
    };
    let figure = |name: &str, value: String| format!("<span><b>{value}</b> {name}</span>");
    let mut figures =
        figure("median", milliseconds(p50)) + &figure("p99", milliseconds(p99)) + &figure("max", milliseconds(*max));
    if let Some(budget) = stage.budget_ms {
        let over = sorted.iter().filter(|ms| **ms > budget).count();
        let class = if over == 0 { "" } else { " class=\"bad\"" };
        figures += &format!("<span{class}><b>{over}</b> of {} over {}</span>", sorted.len(), milliseconds(budget));
    } else {
        figures += &figure("samples", sorted.len().to_string());
    }
    let decades = Decades::around(&sorted, stage.budget_ms);
    let _ = write!(
        html,
        "<p class=\"figures\">{figures}</p><div class=\"plots\">{}{}</div></section>",
        timeline(stage, &decades),
        distribution(stage, &sorted, &decades)
    );
    html
}

fn open(title: &str) -> String {
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" class="drawing" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{}</title>"#,
        escape(title)
    )
}

fn text(svg: &mut String, anchor: &str, x: f64, y: f64, text: &str) {
    let _ = write!(svg, r#"<text class="small" text-anchor="{anchor}" x="{x:.1}" y="{y:.1}">{text}</text>"#);
}

fn timeline(stage: &Stage, decades: &Decades) -> String {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let mut svg = open(&format!("{}: latency of each, over the run", stage.name));
    let y = |share: f64| bottom - share * (bottom - TOP);
    for (share, label) in decades.ticks() {
        let _ = write!(svg, r#"<path class="grid" d="M{LEFT} {:.1}H{right}"/>"#, y(share));
        text(&mut svg, "end", LEFT - 8.0, y(share) + 4.0, &label);
    }
    let from = stage.finite().map(|sample| sample.at_s).fold(f64::INFINITY, f64::min);
    let to = stage.finite().map(|sample| sample.at_s).fold(f64::NEG_INFINITY, f64::max);
    let span = (to - from).max(1e-9);
    let x = |at_s: f64| LEFT + (at_s - from) / span * (right - LEFT);
    let (mut within, mut over) = (String::new(), String::new());
    for sample in thinned(stage, from, span) {
        let dots =
            if stage.budget_ms.is_some_and(|budget| sample.latency_ms > budget) { &mut over } else { &mut within };
        // A line without length, with round ends.
        let _ = write!(dots, "M{:.1} {:.1}h0", x(sample.at_s), y(decades.share(sample.latency_ms)));
    }
    let _ = write!(svg, r#"<path class="dots" d="{within}"/><path class="dots over" d="{over}"/>"#);
    if let Some(budget) = stage.budget_ms {
        let _ = write!(svg, r#"<path class="budget" d="M{LEFT} {:.1}H{right}"/>"#, y(decades.share(budget)));
    }
    let _ = write!(svg, r#"<path class="axis" d="M{LEFT} {bottom}H{right}"/>"#);
    let digits = if span < 10.0 { 2 } else { 0 };
    text(&mut svg, "start", LEFT, bottom + 18.0, &format!("{from:.digits$} s"));
    text(&mut svg, "middle", (LEFT + right) / 2.0, bottom + 18.0, "time");
    text(&mut svg, "end", right, bottom + 18.0, &format!("{to:.digits$} s"));
    svg.push_str("</svg>");
    svg
}

/// All samples, or of each of many columns of time the lowest and the highest.
fn thinned(stage: &Stage, from: f64, span: f64) -> Vec<Latency> {
    let all: Vec<Latency> = stage.finite().copied().collect();
    if all.len() <= 2 * COLUMNS {
        return all;
    }
    let mut columns: Vec<Option<(Latency, Latency)>> = vec![None; COLUMNS];
    for sample in all {
        let column = ((sample.at_s - from) / span * COLUMNS as f64) as usize;
        if let Some(column) = columns.get_mut(column.min(COLUMNS - 1)) {
            let (low, high) = column.get_or_insert((sample, sample));
            *low = if sample.latency_ms < low.latency_ms { sample } else { *low };
            *high = if sample.latency_ms > high.latency_ms { sample } else { *high };
        }
    }
    columns.into_iter().flatten().flat_map(|(low, high)| [low, high]).collect()
}

fn distribution(stage: &Stage, sorted: &[f64], decades: &Decades) -> String {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let mut svg = open(&format!("{}: share of samples within a latency", stage.name));
    let x = |ms: f64| LEFT + decades.share(ms) * (right - LEFT);
    let y = |share: f64| bottom - share * (bottom - TOP);
    for (share, label) in decades.ticks() {
        let x = LEFT + share * (right - LEFT);
        let _ = write!(svg, r#"<path class="grid" d="M{x:.1} {TOP}V{bottom}"/>"#);
        text(&mut svg, "middle", x, bottom + 18.0, &label);
    }
    for percent in [0, 50, 100] {
        let y = y(f64::from(percent) / 100.0);
        let _ = write!(svg, r#"<path class="grid" d="M{LEFT} {y:.1}H{right}"/>"#);
        text(&mut svg, "end", LEFT - 8.0, y + 4.0, &format!("{percent} %"));
    }
    let mut curve = String::new();
    for step in 0..=QUANTILES {
        let share = f64::from(step) / f64::from(QUANTILES);
        if let Some(ms) = quantile(sorted, share) {
            let _ = write!(curve, "{}{:.1} {:.1}", if step == 0 { 'M' } else { 'L' }, x(ms), y(share));
        }
    }
    if let Some(p99) = quantile(sorted, 0.99) {
        let _ = write!(svg, r#"<path class="mark" d="M{:.1} {bottom}V{:.1}"/>"#, x(p99), y(0.99));
        text(&mut svg, "end", x(p99) - 5.0, bottom - 6.0, "p99");
    }
    let _ = write!(svg, r#"<path class="curve" d="{curve}"/>"#);
    if let Some(budget) = stage.budget_ms {
        let x = x(budget);
        let _ = write!(svg, r#"<path class="budget" d="M{x:.1} {TOP}V{bottom}"/>"#);
        let _ = write!(
            svg,
            r#"<text class="small bad-text" text-anchor="end" x="{:.1}" y="{:.1}">budget</text>"#,
            x - 5.0,
            bottom - 22.0
        );
    }
    svg.push_str("</svg>");
    svg
}
