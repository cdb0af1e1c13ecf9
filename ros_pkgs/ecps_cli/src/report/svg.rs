//! Small helpers for SVG and HTML text.

/// The colours and strokes of all drawings, for a page as for a picture that stands alone.
pub(crate) const STYLE: &str = include_str!("drawing.css");

/// `text` for between tags and in quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Milliseconds with three significant digits and a unit that suits them.
pub(super) fn milliseconds(ms: f64) -> String {
    let (value, unit) = match ms.abs() {
        x if x < 0.9995 => (ms * 1000.0, "µs"),
        x if x < 999.5 => (ms, "ms"),
        _ => (ms / 1000.0, "s"),
    };
    let digits = match value.abs() {
        x if x < 9.995 => 2,
        x if x < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (ms, text) in [
            (0.0004, "0.40 µs"),
            (0.25, "250 µs"),
            (1.0, "1.00 ms"),
            (12.345, "12.3 ms"),
            (200.0, "200 ms"),
            (5000.0, "5.00 s"),
        ] {
            assert_eq!(milliseconds(ms), text);
        }
    }
}
