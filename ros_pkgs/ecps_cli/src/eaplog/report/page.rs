//! The page: one file, nothing from elsewhere, no script.

use std::fmt::Write as _;

use ecps_core::clock::Stamp;
use ecps_journal::Audit;
use ecps_journal::record::kind_name;

use super::super::time_text;
use super::story::{COLUMNS, Story};
use crate::report::{DRAWING_STYLE, PAGE_STYLE, escape, latency_chart};

/// Size of the timeline, pixels.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 120.0;
const RIGHT: f64 = 70.0;
const LANE: f64 = 22.0;
/// Kinds that tell of trouble: a stop, a fault, a dropout.
const TROUBLE: [u16; 3] = [4, 8, 17];

pub(super) fn page(journal: &str, judged: &Audit, story: &Story) -> String {
    let robot = judged.identity.as_ref().map_or("?", |identity| &identity.robot);
    let title = escape(&format!("Journal of {robot}"));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <style>\n{PAGE_STYLE}</style></head>\n<body><main>\n<h1>{title}</h1>\n<p class=\"lead\">{}</p>\n",
        escape(journal)
    );
    facts(&mut html, judged, story);
    verdicts(&mut html, judged);
    if judged.records > 0 {
        html.push_str("<h2>Timeline</h2>\n<div class=\"card\">");
        timeline(&mut html, story);
        html.push_str("</div>\n<p class=\"note\">Records by kind over wall time; the darker, the more. Red: stops, faults, dropouts.</p>\n");
    }
    refusals(&mut html, story);
    let stages = [
        story.ages.stage("velocity command: from its stamp to its record"),
        story.actions.stage("action: from its record to its end"),
    ];
    if stages.iter().any(Option::is_some) {
        html.push_str("<h2>Latencies</h2>\n<div class=\"card\">");
        stages.iter().flatten().for_each(|stage| html.push_str(&latency_chart(stage)));
        html.push_str("</div>\n");
    }
    gaps(&mut html, story);
    html.push_str("</main></body></html>\n");
    html
}

fn facts(html: &mut String, judged: &Audit, story: &Story) {
    let seconds = story.to.nanos_since(story.from) as f64 * 1e-9;
    let refused: u64 = story.refusals.values().sum();
    html.push_str("<dl class=\"facts\">");
    for (label, value) in [
        ("records", judged.records.to_string()),
        ("segments", judged.segments.to_string()),
        ("span", format!("{seconds:.1} s")),
        ("velocities admitted", story.motions.get("ADMITTED").copied().unwrap_or(0).to_string()),
        ("limited", story.motions.get("LIMITED").copied().unwrap_or(0).to_string()),
        ("refused", refused.to_string()),
    ] {
        let _ = write!(html, "<div><dt>{label}</dt><dd>{value}</dd></div>");
    }
    html.push_str("</dl>\n");
    if story.encrypted > 0 {
        let _ = writeln!(html, "<p class=\"note\">{} records are encrypted, and counted only.</p>", story.encrypted);
    }
}

fn verdicts(html: &mut String, judged: &Audit) {
    html.push_str("<h2>Verdicts</h2>\n<div class=\"card\"><table><tbody>");
    let clean = judged.integrity == ecps_journal::Verdict::Clean;
    let signed = judged.authenticity.vouched().is_some();
    for (name, class, text) in [
        ("integrity", if clean { "pass" } else { "fail" }, judged.integrity.to_string()),
        ("authenticity", if signed { "pass" } else { "unchecked" }, judged.authenticity.to_string()),
        (
            "completeness",
            if judged.completeness.is_complete() { "pass" } else { "fail" },
            judged.completeness.to_string(),
        ),
    ] {
        let _ = write!(html, "<tr><td class=\"verdict {class}\">{name}</td><td>{}</td></tr>", escape(&text));
    }
    html.push_str("</tbody></table></div>\n");
}

fn timeline(html: &mut String, story: &Story) {
    let height = 16.0 + LANE * story.lanes.len() as f64 + 30.0;
    let step = (WIDTH - LEFT - RIGHT) / COLUMNS as f64;
    let _ = write!(
        html,
        "<svg class=\"drawing\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"records over time\"><style>{DRAWING_STYLE}</style>"
    );
    for (number, (kind, columns)) in story.lanes.iter().enumerate() {
        let y = 12.0 + LANE * number as f64;
        let name = kind_name(*kind).map_or_else(|| format!("kind {kind}"), str::to_owned);
        let total: u64 = columns.iter().sum();
        let most = columns.iter().copied().max().unwrap_or(1).max(1);
        let middle = y + LANE / 2.0 + 3.0;
        let _ = write!(html, "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{name}</text>", LEFT - 10.0);
        let _ = write!(html, "<text x=\"{}\" y=\"{middle}\">{total}</text>", WIDTH - RIGHT + 8.0);
        let colour = if TROUBLE.contains(kind) { "var(--bad)" } else { "var(--path)" };
        for (column, count) in columns.iter().enumerate().filter(|(_, count)| **count > 0) {
            let opacity = 0.25 + 0.75 * (*count as f64).ln_1p() / (most as f64).ln_1p();
            let _ = write!(
                html,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\" opacity=\"{opacity:.2}\"/>",
                LEFT + step * column as f64,
                y + 3.0,
                step.max(1.5),
                LANE - 6.0
            );
        }
    }
    let y = height - 10.0;
    let middle = Stamp(story.from.0 / 2 + story.to.0 / 2);
    for (x, stamp, anchor) in [
        (LEFT, story.from, "start"),
        ((LEFT + WIDTH - RIGHT) / 2.0, middle, "middle"),
        (WIDTH - RIGHT, story.to, "end"),
    ] {
        let text = time_text(stamp);
        let text = text.split_once('.').map_or(text.as_str(), |(whole, _)| whole);
        let _ = write!(html, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>");
    }
    html.push_str("</svg>");
}

fn refusals(html: &mut String, story: &Story) {
    let mut sorted: Vec<_> = story.refusals.iter().collect();
    sorted.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
    let Some(most) = sorted.first().map(|(_, count)| **count) else { return };
    html.push_str("<h2>Refusals by reason</h2>\n<div class=\"card\"><table><tbody>");
    for (reason, count) in sorted.into_iter().take(30) {
        let share = 100.0 * *count as f64 / most as f64;
        let _ = write!(
            html,
            "<tr><td>{}</td><td class=\"value\">{count}</td><td style=\"width:60%\"><div style=\"width:{share:.1}%;min-width:2px;\
             height:10px;border-radius:5px;background:var(--bad)\"></div></td></tr>",
            escape(reason)
        );
    }
    html.push_str("</tbody></table></div>\n");
}

fn gaps(html: &mut String, story: &Story) {
    if story.gaps.is_empty() {
        return;
    }
    html.push_str("<h2>Longest times without a record</h2>\n<div class=\"card\"><table><tbody>");
    for gap in &story.gaps {
        let _ = write!(
            html,
            "<tr><td>after record {}</td><td class=\"value\">{:.1} s</td><td class=\"limit\">from {}</td></tr>",
            gap.after,
            gap.length as f64 * 1e-9,
            time_text(gap.from)
        );
    }
    html.push_str("</tbody></table></div>\n");
}
