//! The claims as a table in the terminal.

use super::model::{Claim, Verdict};

/// Whether to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// ANSI colours, for a terminal.
    On,
    /// None, for files and pipes.
    Off,
}

/// One line per claim, aligned, with a heading and a sum; ends with a line break.
pub fn claims_table(claims: &[Claim], colour: Colour) -> String {
    let heading = ["claim", "measured", "limit"];
    let widths = [0, 1, 2].map(|column| {
        let cells = claims.iter().filter_map(|claim| cells(claim).get(column).map(|cell| width(cell)));
        cells.chain(heading.get(column).map(|cell| width(cell))).max().unwrap_or_default()
    });
    let rule: String = widths.iter().map(|width| "─".repeat(*width) + "──").collect::<String>() + &"─".repeat(8);
    let row = |cells: [&str; 3], verdict: &str| {
        let cells: String =
            cells.iter().zip(widths).map(|(cell, w)| format!("{cell}{}  ", " ".repeat(w - width(cell)))).collect();
        format!(" {cells}{verdict}").trim_end().to_owned() + "\n"
    };
    let mut table = paint(&row(heading, ""), "2", colour) + &format!(" {rule}\n");
    for claim in claims {
        let (text, code) = match claim.verdict {
            Verdict::Passed => ("✓ holds", "32"),
            Verdict::Failed => ("✗ FAILS", "1;31"),
            Verdict::Within => ("· within", "2"),
            Verdict::Beyond => ("! beyond", "33"),
        };
        table += &row(cells(claim), &paint(text, code, colour));
    }
    let (passed, all) = Claim::tally(claims);
    table + &format!(" {rule}\n {passed} of {all} claims hold\n")
}

fn cells(claim: &Claim) -> [&str; 3] {
    [&claim.name, &claim.value, &claim.limit]
}

/// In columns, taking every character for one.
fn width(text: &str) -> usize {
    text.chars().count()
}

fn paint(text: &str, code: &str, colour: Colour) -> String {
    match colour {
        Colour::On => format!(
            "\x1b[{code}m{}\x1b[0m{}",
            text.trim_end_matches('\n'),
            if text.ends_with('\n') { "\n" } else { "" }
        ),
        Colour::Off => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_failures_stand_out() {
        let claim = |name: &str, value: &str, limit: &str, verdict| Claim {
            name: name.into(),
            value: value.into(),
            limit: limit.into(),
            verdict,
        };
        let claims = [
            claim("scan → memory record, p99", "12.3 ms", "< 50 ms", Verdict::Passed),
            claim("refused", "2 of 3", "all", Verdict::Failed),
            claim("query, p99", "3 ms", "budget 1 ms", Verdict::Beyond),
        ];
        let rule = "─".repeat(58);
        let expected = [
            " claim                      measured  limit",
            &format!(" {rule}"),
            " scan → memory record, p99  12.3 ms   < 50 ms      ✓ holds",
            " refused                    2 of 3    all          ✗ FAILS",
            " query, p99                 3 ms      budget 1 ms  ! beyond",
            &format!(" {rule}"),
            " 1 of 2 claims hold\n",
        ]
        .join("\n");
        assert_eq!(claims_table(&claims, Colour::Off), expected);
        assert!(claims_table(&claims, Colour::On).contains("\x1b[1;31m✗ FAILS\x1b[0m\n"));
    }
}
