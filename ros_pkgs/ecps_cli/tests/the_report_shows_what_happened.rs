//! The report: well-formed, needs nothing from elsewhere, and shows each thing that happened, also when it is many or odd.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path as File;

use ecps_cli::report::{
    Answer, Chapter, Claim, Fact, FloorMap, Formation, Latency, Memory, Path, Point, Recall, RecallVerdict, Refusal,
    Report, Stage, Verdict, map_svg, page,
};

fn p(x: f64, y: f64) -> Point {
    Point { x, y }
}

/// A corridor with three rooms on each side.
fn walls() -> Vec<[Point; 2]> {
    let mut walls = vec![
        [p(0.0, 0.0), p(24.0, 0.0)],
        [p(24.0, 0.0), p(24.0, 12.0)],
        [p(24.0, 12.0), p(0.0, 12.0)],
        [p(0.0, 12.0), p(0.0, 0.0)],
    ];
    for (x, side) in [(0.0, 5.0), (8.0, 5.0), (16.0, 5.0), (0.0, 7.0), (8.0, 7.0), (16.0, 7.0)] {
        walls.extend([[p(x, side), p(x + 3.2, side)], [p(x + 4.8, side), p(x + 8.0, side)]]);
    }
    for x in [8.0, 16.0] {
        walls.extend([[p(x, 0.0), p(x, 5.0)], [p(x, 7.0), p(x, 12.0)]]);
    }
    walls
}

/// Numbers that look random and are the same in every run.
fn noise(index: usize) -> f64 {
    ((index as f64 * 12.9898).sin() * 43_758.545_3).fract().abs()
}

fn stage(name: &str, typical_ms: f64, budget_ms: f64, count: usize) -> Stage {
    let samples = (0..count).map(|i| Latency {
        at_s: i as f64 * 60.0 / count as f64,
        latency_ms: typical_ms * (0.8 + 0.5 * noise(i)) * if noise(i + 7) > 0.985 { 3.0 } else { 1.0 },
    });
    Stage { name: name.into(), budget_ms: Some(budget_ms), samples: samples.collect() }
}

fn sample() -> Report {
    let rooms = [
        ("lab", 4.0, 2.5),
        ("kitchen", 4.0, 9.5),
        ("office", 12.0, 9.5),
        ("archive", 20.0, 9.5),
        ("workshop", 20.0, 2.5),
        ("store", 12.0, 2.5),
    ];
    let mut points = Vec::new();
    for (_, x, y) in rooms {
        points.extend([p(x, 6.0), p(x, y), p(x, 6.0)]);
    }
    let smooth = points.windows(2).flat_map(|w| {
        (0..20).map(move |i| {
            let t = f64::from(i) / 20.0;
            p(
                w[0].x + (w[1].x - w[0].x) * t + 0.08 * (t * 9.0).sin(),
                w[0].y + (w[1].y - w[0].y) * t + 0.05 * (t * 7.0).cos(),
            )
        })
    });
    let recall = |a: usize, b: usize, similarity, verdict| Recall {
        asked_at: p(rooms[a].1 + 0.6, rooms[a].2 - 0.9),
        found_at: p(rooms[b].1, rooms[b].2),
        similarity,
        verdict,
    };
    let claim = |name: &str, value: &str, limit: &str, verdict| Claim {
        name: name.into(),
        value: value.into(),
        limit: limit.into(),
        verdict,
    };
    let fact = |label: &str, value: &str| Fact { label: label.into(), value: value.into() };
    Report {
        title: "ECPS demo".into(),
        subtitle: "A simulated robot drives a tour, remembers each place, recognises it with a fresh scan and drives back through the guarded path.".into(),
        facts: vec![fact("driven", "86.4 m"), fact("places remembered", "6"), fact("scans through LTP", "1,214"), fact("commands accounted for", "3,402"), fact("refused", "5")],
        map: FloorMap {
            walls: walls(),
            paths: vec![Path { name: "robot1".into(), points: smooth.collect() }],
            memories: rooms.iter().map(|(name, x, y)| Memory { at: p(*x, *y), label: (*name).into() }).collect(),
            answers: vec![Answer { question: "near <here>".into(), at: vec![p(12.0, 6.0), p(f64::NAN, 0.0)] }],
            recalls: vec![
                recall(4, 0, 0.73, RecallVerdict::Refuted),
                recall(5, 1, 0.97, RecallVerdict::Confirmed),
                recall(4, 3, 0.94, RecallVerdict::Confirmed),
            ],
            refusals: vec![
                Refusal { at: p(12.0, 6.0), reason: "linear.x is 10 m/s, above the limit of 0.5 m/s".into() },
                Refusal { at: p(12.1, 6.05), reason: "linear.x is NaN".into() },
                Refusal { at: p(12.2, 6.0), reason: "the command is 2.1 s old, older than 0.5 s".into() },
                Refusal { at: p(18.0, 6.0), reason: "angular.z is <inf>".into() },
            ],
            ..FloorMap::default()
        },
        chapters: vec![Chapter {
            title: "A swarm".into(),
            text: "Circle & grid.".into(),
            map: FloorMap {
                paths: (0..6_i32)
                    .map(|number| Path {
                        name: format!("robot{number}"),
                        points: vec![p(f64::from(number), 0.0), p(f64::from(number), 3.0)],
                    })
                    .collect(),
                formations: vec![Formation {
                    name: "<grid>".into(),
                    slots: vec![p(1.0, 3.0), p(f64::NAN, 3.0), p(3.0, 3.0), p(2.0, 1.0)],
                }],
                losses: vec![p(2.0, 2.0), p(0.0, f64::INFINITY)],
                ..FloorMap::default()
            },
        }],
        stages: vec![
            stage("scan → memory record", 9.0, 50.0, 1200),
            stage("query → answer", 0.4, 5.0, 90),
            stage("cmd_vel_in → cmd_vel", 0.9, 3.0, 6000),
        ],
        claims: vec![
            claim("scan to memory record, p99", "13.1 ms", "under 50 ms", Verdict::Passed),
            claim("query over 2,726 places, p99", "0.9 ms", "under 5 ms", Verdict::Passed),
            claim("commands accounted for by the journal", "3,402 of 3,402", "all", Verdict::Passed),
            claim("refused: 10 m/s, NaN & a stale command", "2 of 3", "all", Verdict::Failed),
            claim("query, p99", "12 ms", "budget 5 ms", Verdict::Beyond),
        ],
    }
}

/// Parses what is meant to be XML: the page too, but for its first line and its empty elements.
fn parse(text: &str) -> roxmltree::Document<'_> {
    roxmltree::Document::parse(text).unwrap_or_else(|e| panic!("{e}"))
}

fn count(document: &roxmltree::Document<'_>, class: &str) -> usize {
    document
        .descendants()
        .filter(|node| node.attribute("class").is_some_and(|all| all.split(' ').any(|one| one == class)))
        .count()
}

#[test]
fn the_map_shows_each_thing_that_happened() {
    let report = sample();
    let svg = map_svg(&report.map);
    fs::write(File::new(env!("CARGO_TARGET_TMPDIR")).join("map.svg"), &svg).unwrap();
    let document = parse(&svg);
    // One more of each in the legend.
    for (class, number) in [
        ("memory", 6 + 1),
        ("answer", 1 + 2),
        ("recall", 2 + 1),
        ("refuted", 1 + 1),
        ("refusal", 2 + 1),
        ("path", 1 + 1),
        ("start", 1),
        ("end", 1),
    ] {
        assert_eq!(count(&document, class), number, "{class}");
    }
    let texts: Vec<_> = document.descendants().filter(|node| node.is_text()).map(|node| node.text().unwrap()).collect();
    for expected in ["kitchen", "0.97", "×3", "remembered (6)", "command held back (4)", "recalled, refuted (1)"] {
        assert!(texts.contains(&expected), "{expected}");
    }
    assert!(texts.iter().any(|text| text.contains("linear.x is NaN\nthe command is 2.1 s old")));
    assert!(texts.contains(&"held back:\nangular.z is <inf>"));
}

/// Each robot's way in a colour of its own, slots with the name of their formation, and where a robot was lost.
#[test]
fn a_swarm_is_drawn_in_a_chapter_of_its_own() {
    let report = sample();
    let html = page(&report);
    assert!(html.contains("<h2>A swarm</h2>") && html.contains("Circle &amp; grid."), "{html}");
    let svg = map_svg(&report.chapters[0].map);
    let document = parse(&svg);
    let count = |class: &str| document.descendants().filter(|node| node.attribute("class") == Some(class)).count();
    assert_eq!((count("robot-0"), count("robot-1"), count("robot-4")), (2, 1, 1), "of six");
    assert_eq!(count("slot"), 3 + 1, "those that are places, and the legend's");
    let texts: Vec<&str> = document.descendants().filter_map(|node| node.text()).collect();
    assert!(texts.contains(&"<grid>") && texts.contains(&"lost here") && texts.contains(&"robot killed"), "{texts:?}");
}

#[test]
fn up_is_up_and_all_lies_inside() {
    let map = FloorMap {
        memories: vec![
            Memory { at: p(-3.0, 40.0), label: "north".into() },
            Memory { at: p(5.0, -20.0), label: "south".into() },
        ],
        ..FloorMap::default()
    };
    let svg = map_svg(&map);
    let document = parse(&svg);
    let number = |node: roxmltree::Node<'_, '_>, name| node.attribute(name).unwrap().parse::<f64>().unwrap();
    let dots: Vec<_> =
        document.descendants().filter(|n| n.attribute("class") == Some("memory") && n.has_attribute("cx")).collect();
    assert!(number(dots[0], "cy") < number(dots[1], "cy") && number(dots[0], "cx") < number(dots[1], "cx"));
    let height = number(document.root_element(), "height");
    assert!(
        dots.iter()
            .all(|dot| (0.0..=960.0).contains(&number(*dot, "cx")) && (0.0..=height).contains(&number(*dot, "cy")))
    );
    assert!(height <= 681.0);
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_escapes_what_it_is_given() {
    let mut report = sample();
    report.title = "<script>alert('&')</script>".into();
    let html = page(&report);
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;alert(&#39;&amp;&#39;)"));
    for outside in ["src=", "href=", "@import", "url(http", "<link"] {
        assert!(!html.contains(outside), "{outside}");
    }
    let html = page(&sample());
    fs::write(File::new(env!("CARGO_TARGET_TMPDIR")).join("index.html"), &html).unwrap();
    let xml = html
        .replace("<!doctype html>", "")
        .replace("<meta charset=\"utf-8\">", "")
        .replace("initial-scale=1\">", "initial-scale=1\"/>");
    let document = parse(&xml);
    for (class, number) in [("pass", 3), ("fail", 1), ("beyond", 1), ("stage", 3), ("curve", 3)] {
        assert_eq!(count(&document, class), number, "{class}");
    }
    assert!(html.contains("3 of 4 hold") && html.contains("<b>0</b> of 1200 over 50.0 ms"));
    assert!(html.len() < 200_000, "{} bytes", html.len());
}

#[test]
fn over_budget_is_shown_even_among_very_many_samples() {
    let mut stage = stage("many", 1.0, 100.0, 50_000);
    stage.samples[31_415].latency_ms = 200.0;
    let html = page(&Report { stages: vec![stage], ..Report::default() });
    assert!(html.contains("<span class=\"bad\"><b>1</b> of 50000 over 100 ms</span>"));
    let over = html.split("dots over\" d=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(over.matches('M').count(), 1);
    assert!(html.len() < 60_000, "{} bytes", html.len());
}

#[test]
fn odd_input_is_drawn_without_nonsense() {
    let odd = p(f64::NAN, f64::INFINITY);
    let map = FloorMap {
        walls: vec![[odd, p(1.0, 1.0)], [p(2.0, 2.0), p(2.0, 2.0)]],
        paths: vec![
            Path { name: "none".into(), points: vec![odd] },
            Path { name: "one".into(), points: vec![p(1.0, 2.0)] },
        ],
        memories: vec![Memory { at: odd, label: "nowhere".into() }],
        answers: vec![Answer { question: String::new(), at: vec![odd] }],
        recalls: vec![Recall {
            asked_at: odd,
            found_at: p(0.0, 0.0),
            similarity: f64::NAN,
            verdict: RecallVerdict::Refuted,
        }],
        refusals: vec![Refusal { at: odd, reason: String::new() }],
        formations: vec![Formation { name: String::new(), slots: vec![odd] }],
        losses: vec![odd],
    };
    let samples = vec![Latency { at_s: 1.0, latency_ms: 0.0 }, Latency { at_s: f64::NAN, latency_ms: 1.0 }];
    let stages = vec![
        Stage { name: "zero".into(), budget_ms: Some(0.0), samples },
        Stage { name: "none".into(), budget_ms: None, samples: vec![] },
    ];
    for report in [Report::default(), Report { map, stages, ..Report::default() }] {
        let html = page(&report);
        assert!(!html.contains("NaN") && !html.contains("inf "), "{html}");
    }
    // A recording's worth.
    let many = (0..3000).map(|i| Memory { at: p(noise(i) * 90.0, noise(i + 1) * 4.0), label: format!("{i}") });
    let svg = map_svg(&FloorMap { memories: many.collect(), ..FloorMap::default() });
    assert!(!svg.contains("class=\"label\"") && svg.len() < 600_000, "{} bytes", svg.len());
}
