//! The demo's result: a page that needs no network, its floor plan as a picture, and its claims as a table in the terminal.
//!
//! ```
//! use ecps_cli::report::{Claim, Colour, FloorMap, Latency, Path, Point, Report, Stage, Verdict, claims_table, map_svg, page};
//!
//! let report = Report {
//!     title: "Demo".into(),
//!     subtitle: "one robot, one office".into(),
//!     facts: vec![],
//!     map: FloorMap {
//!         walls: vec![[Point { x: 0.0, y: 0.0 }, Point { x: 4.0, y: 0.0 }]],
//!         paths: vec![Path { name: "robot1".into(), points: vec![Point { x: 1.0, y: 1.0 }, Point { x: 3.0, y: 1.5 }] }],
//!         ..FloorMap::default()
//!     },
//!     chapters: vec![],
//!     stages: vec![Stage {
//!         name: "query".into(),
//!         budget_ms: Some(1000.0),
//!         samples: vec![Latency { at_s: 0.5, latency_ms: 1.25 }],
//!     }],
//!     claims: vec![Claim {
//!         name: "a query takes".into(),
//!         value: "1.25 ms".into(),
//!         limit: "under 5 ms".into(),
//!         verdict: Verdict::Passed,
//!     }],
//! };
//! assert!(page(&report).starts_with("<!doctype html>"));
//! assert!(map_svg(&report.map).starts_with("<svg"));
//! print!("{}", claims_table(&report.claims, Colour::Off));
//! ```

mod chart;
mod map;
mod model;
mod page;
mod svg;
mod terminal;

pub(crate) use chart::stage as latency_chart;
pub use map::map_svg;
pub use model::{
    Answer, Chapter, Claim, Fact, FloorMap, Formation, Latency, Memory, Path, Point, Recall, RecallVerdict, Refusal,
    Report, Stage, Verdict,
};
pub(crate) use page::STYLE as PAGE_STYLE;
pub use page::page;
pub(crate) use svg::{STYLE as DRAWING_STYLE, escape};
pub use terminal::{Colour, claims_table};
