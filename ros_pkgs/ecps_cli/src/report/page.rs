//! The page: one file, nothing from elsewhere, no script.

use std::fmt::Write;

use super::chart;
use super::map::map_svg;
use super::model::{Chapter, Claim, Report, Verdict};
use super::svg::escape;

pub(crate) const STYLE: &str = include_str!("page.css");

/// The whole page.
pub fn page(report: &Report) -> String {
    let (title, subtitle) = (escape(&report.title), escape(&report.subtitle));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <style>\n{STYLE}</style></head>\n<body><main>\n<h1>{title}</h1>\n<p class=\"lead\">{subtitle}</p>\n"
    );
    if !report.facts.is_empty() {
        html.push_str("<dl class=\"facts\">");
        for fact in &report.facts {
            let _ = write!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escape(&fact.label), escape(&fact.value));
        }
        html.push_str("</dl>\n");
    }
    let _ = writeln!(html, "<div class=\"card\">{}</div>", map_svg(&report.map));
    for Chapter { title, text, map } in &report.chapters {
        let (title, text) = (escape(title), escape(text));
        let _ = writeln!(html, "<h2>{title}</h2>\n<p>{text}</p>\n<div class=\"card\">{}</div>", map_svg(map));
    }
    if !report.claims.is_empty() {
        html.push_str(&claims(&report.claims));
    }
    if !report.stages.is_empty() {
        html.push_str("<h2>Latency</h2>\n<div class=\"card\">");
        report.stages.iter().for_each(|stage| html.push_str(&chart::stage(stage)));
        html.push_str(
            "</div>\n<p class=\"note\">Scales of time are logarithmic. Left: each sample over the run; right: the share of \
             samples within a latency. The dashed red line is the budget.</p>\n",
        );
    }
    html.push_str("</main></body></html>\n");
    html
}

fn claims(claims: &[Claim]) -> String {
    let (passed, all) = Claim::tally(claims);
    let mut html = format!(
        "<h2>Claims <span class=\"tally\">{passed} of {all} hold</span></h2>\n<div class=\"card\"><table><thead><tr>\
         <th>Claim</th><th>Measured</th><th>Limit</th><th></th></tr></thead><tbody>"
    );
    for claim in claims {
        let (class, verdict) = match claim.verdict {
            Verdict::Passed => ("pass", "✓ holds"),
            Verdict::Failed => ("fail", "✗ fails"),
            Verdict::Within => ("measured", "within"),
            Verdict::Beyond => ("beyond", "beyond"),
        };
        let _ = write!(
            html,
            "<tr><td>{}</td><td class=\"value\">{}</td><td class=\"limit\">{}</td><td class=\"verdict {class}\">{verdict}</td></tr>",
            escape(&claim.name),
            escape(&claim.value),
            escape(&claim.limit)
        );
    }
    html.push_str("</tbody></table></div>\n");
    html
}
