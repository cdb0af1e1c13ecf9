//! Latency over size as a picture, both axes logarithmic.

use std::fmt::Write as _;
use std::path::Path;

const WIDTH: f64 = 790.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 280.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 50.0;
/// Of colour-blind people's palette (Okabe and Ito 2008).
const COLOURS: [&str; 5] = ["#d55e00", "#0072b2", "#56b4e9", "#009e73", "#999999"];

/// Draws a curve for each name: bytes and milliseconds.
pub(super) fn write(path: &Path, names: &[&str], curves: &[Vec<(usize, f64)>]) {
    let all = || curves.iter().flatten().filter(|(_, ms)| ms.is_finite() && *ms > 0.0);
    let (from, to) = (5e4_f64.log10(), 1e7_f64.log10());
    let least = all().map(|(_, ms)| *ms).fold(f64::INFINITY, f64::min).log10().floor();
    let most = all().map(|(_, ms)| *ms).fold(0.01, f64::max).log10().ceil();
    let x = |bytes: f64| LEFT + (bytes.log10() - from) / (to - from) * (WIDTH - LEFT - RIGHT);
    let y = |ms: f64| HEIGHT - BOTTOM - (ms.log10() - least) / (most - least) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    for power in least as i32..=most as i32 {
        let (ms, at) = (10_f64.powi(power), y(10_f64.powi(power)));
        let right = WIDTH - RIGHT;
        writeln!(svg, "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>").unwrap();
        writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{ms} ms</text>", LEFT - 8.0, at + 4.0).unwrap();
    }
    for (bytes, text) in [(1e5, "100 KB"), (1e6, "1 MB"), (1e7, "10 MB")] {
        let (at, bottom) = (x(bytes), HEIGHT - BOTTOM);
        writeln!(svg, "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/>").unwrap();
        writeln!(svg, "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>", bottom + 20.0).unwrap();
    }
    writeln!(svg, "<text x=\"{LEFT}\" y=\"18\">one way between two processes, median</text>").unwrap();
    for (curve, colour) in curves.iter().zip(COLOURS) {
        let points: Vec<(f64, f64)> =
            curve.iter().filter(|(_, ms)| ms.is_finite()).map(|(bytes, ms)| (x(*bytes as f64), y(*ms))).collect();
        let line: String = points.iter().map(|(x, y)| format!("{x:.1},{y:.1} ")).collect();
        writeln!(svg, "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>").unwrap();
        for (x, y) in &points {
            writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>").unwrap();
        }
    }
    // The legend, in the order of the last points.
    let mut order: Vec<usize> = (0..names.len()).collect();
    let last = |index: usize| curves[index].last().map_or(f64::NAN, |(_, ms)| *ms);
    order.sort_by(|a, b| last(*b).total_cmp(&last(*a)));
    for (row, index) in order.into_iter().enumerate() {
        let at = TOP + 20.0 + 24.0 * row as f64;
        let left = WIDTH - RIGHT + 14.0;
        writeln!(svg, "<circle cx=\"{left}\" cy=\"{}\" r=\"5\" fill=\"{}\"/>", at - 4.0, COLOURS[index]).unwrap();
        writeln!(svg, "<text x=\"{}\" y=\"{at}\">{}</text>", left + 12.0, names[index]).unwrap();
    }
    svg.push_str("</svg>\n");
    std::fs::write(path, svg).unwrap();
}
