//! The node's parameters, and what they say.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ecps_core::budget::{MessageKind, Profile};
use ecps_ros::{ParameterError, Parameters, Spec, StartError};

use crate::record::{ID_BYTES, needed_text};
use crate::{Durability, Merge, Options, Place, Policy, Query, Quota, Retention, Shape};

pub(super) fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
    for spec in [
        Spec::string(
            "database",
            "",
            "File of the memories; empty: $HOME/.ros/ecps/memory.db. Made with mode 0600 where it is missing.",
        ),
        Spec::string("profile", "standard", "Timing budgets and limits.").choices(&[
            "edge-lite",
            "standard",
            "cloud-fleet",
        ]),
        Spec::integer("waiting", 256, "Requests that may wait; beyond that they are refused as overloaded.")
            .range(1.0, 65536.0),
        Spec::integer("readers", 2, "Threads that answer queries.").range(1.0, 16.0),
        Spec::string(
            "durability",
            "full",
            "What an acknowledged put survives: full, a loss of power; process, the end of this process.",
        )
        .choices(&["full", "process"]),
        Spec::integer("graph_from", 20_000, "Memories of one model from which on a graph is built beside the scan.")
            .range(1000.0, 1e9),
        Spec::integer("graph_threads", 1, "Threads that build a graph.").range(1.0, 64.0),
    ] {
        parameters.declare(spec)?;
    }
    limits("", 0.0, 0, 0).into_iter().try_for_each(|spec| parameters.declare(spec))?;
    for spec in [
        Spec::strings(
            "namespaces",
            &[],
            "Namespaces with limits of their own: NAME.retention, NAME.max_records and NAME.max_bytes.",
        ),
        Spec::double(
            "merge_similarity",
            0.0,
            "Likeness from which on a memory put without id is another sighting of one; 0: nothing is merged.",
        )
        .range(0.0, 1.0),
        Spec::double("merge_within", 60.0, "Longest time since the last sighting for that.").unit("s").range(0.0, 1e9),
        Spec::double("merge_distance", 0.5, "Longest way between the two places for that.").unit("m").range(0.0, 1e6),
        Spec::integer("markers", 1000, "Most memories shown on ~/markers; 0: none.").range(0.0, 1000.0),
        Spec::strings(
            "standing",
            &[],
            "Names of standing queries: what is put and matches is published on ~/matches/<name>.",
        ),
    ] {
        parameters.declare(spec)?;
    }
    ecps_guard::declare(parameters)?;
    for name in parameters.strings("namespaces")? {
        // What is not given is as in every other namespace.
        let (retention, records) = (parameters.double("retention")?, parameters.integer("max_records")?);
        let own = limits(&format!("{name}."), retention, records, parameters.integer("max_bytes")?);
        own.into_iter().try_for_each(|spec| parameters.declare(spec))?;
    }
    for name in parameters.strings("standing")? {
        let own = |field: &str| format!("{name}.{field}");
        for spec in [
            Spec::string(own("memory_namespace"), "", "Namespace; empty: default."),
            Spec::string(own("like"), "", "Id of a memory that a match is like; empty: no matter."),
            Spec::double(own("min_sim"), 0.7, "Least likeness to it.").range(-1.0, 1.0),
            Spec::strings(own("labels"), &[], "Labels that a match carries."),
            Spec::string(own("text"), "", "Words that a match holds."),
            Spec::string(own("robot"), "", "Robot that a match comes from; empty: any."),
            Spec::string(own("frame_id"), "", "Frame of the place; empty: no matter where."),
            Spec::doubles(own("corners"), &[], "Corners x1, y1, x2, y2, ... of the place, a polygon.")
                .unit("m")
                .range(-1e6, 1e6),
        ] {
            parameters.declare(spec)?;
        }
    }
    Ok(())
}

/// How long memories of a namespace live and how many there may be.
fn limits(prefix: &str, retention: f64, records: i64, bytes: i64) -> [Spec; 3] {
    let own = |field: &str| format!("{prefix}{field}");
    [
        Spec::double(own("retention"), retention, "Time after which a memory without expiry is forgotten; 0: never.")
            .unit("s")
            .range(0.0, 1e9),
        Spec::integer(
            own("max_records"),
            records,
            "Most memories of a namespace; 0: no limit. The least recently found go.",
        )
        .range(0.0, 1e12),
        Spec::integer(own("max_bytes"), bytes, "Most bytes of a namespace's memories; 0: no limit.")
            .unit("B")
            .range(0.0, 1e15),
    ]
}

/// What they say.
fn retention(parameters: &Parameters, prefix: &str) -> Result<Retention, ParameterError> {
    let limit = |field: &str| -> Result<u64, ParameterError> {
        let value = parameters.integer(&format!("{prefix}{field}"))?;
        Ok(if value == 0 { u64::MAX } else { value.unsigned_abs() })
    };
    let quota = Quota { records: limit("max_records")?, bytes: limit("max_bytes")? };
    let lifetime = parameters.seconds(&format!("{prefix}retention"))?;
    Ok(Retention { quota, lifetime: Some(lifetime).filter(|lifetime| *lifetime > Duration::ZERO) })
}

pub(super) fn profile(parameters: &Parameters) -> Result<Profile, StartError> {
    parameters.string("profile")?.parse().map_err(StartError::layer)
}

/// How the memory is served, but for its clock.
pub(super) fn options(parameters: &Parameters, profile: Profile) -> Result<Options, StartError> {
    let similarity = parameters.double("merge_similarity")? as f32;
    let merge = Merge {
        similarity,
        within: parameters.seconds("merge_within")?,
        distance: parameters.double("merge_distance")?,
    };
    let mut namespaces = BTreeMap::new();
    for name in parameters.strings("namespaces")? {
        needed_text("namespaces", &name, ID_BYTES).map_err(|e| StartError::layer(format!("parameter {e}")))?;
        let own = retention(parameters, &format!("{name}."))?;
        namespaces.insert(name, own);
    }
    Ok(Options {
        waiting: parameters.size("waiting")?,
        readers: parameters.size("readers")?,
        durability: if parameters.string("durability")? == "full" { Durability::Full } else { Durability::Process },
        policy: Policy {
            retention: retention(parameters, "")?,
            namespaces,
            merge: (similarity > 0.0).then_some(merge),
        },
        query_limit: MessageKind::MepQuery.budget(profile).latency,
        graph_from: parameters.size("graph_from")?,
        graph_threads: parameters.size("graph_threads")?,
        ..Options::default()
    })
}

pub(super) fn database(parameters: &Parameters) -> Result<PathBuf, StartError> {
    let parameter = parameters.string("database")?;
    if !parameter.is_empty() {
        return Ok(PathBuf::from(parameter));
    }
    let home = std::env::var("HOME")
        .map_err(|_| StartError::layer("parameter 'database' is empty, and HOME is not set: name a file"))?;
    Ok(PathBuf::from(home).join(".ros/ecps/memory.db"))
}

/// A standing query, and the id of the memory that gives it its likeness.
pub(super) fn standing(parameters: &Parameters, name: &str) -> Result<(Query, String), StartError> {
    let own = |field: &str| format!("{name}.{field}");
    let frame_id = parameters.string(&own("frame_id"))?;
    let numbers = parameters.doubles(&own("corners"))?;
    let (corners, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() || frame_id.is_empty() != corners.is_empty() {
        let count = numbers.len();
        return Err(StartError::layer(format!(
            "parameter '{name}.corners' has {count} numbers, and needs x and y of each corner beside '{name}.frame_id'"
        )));
    }
    let shape = Shape::Polygon(corners.to_vec());
    let place = (!frame_id.is_empty()).then_some(Place { frame_id, map_id: String::new(), shape });
    let query = Query {
        namespace: parameters.string(&own("memory_namespace"))?,
        min_sim: parameters.double(&own("min_sim"))? as f32,
        labels: parameters.strings(&own("labels"))?,
        text: parameters.string(&own("text"))?,
        robot: parameters.string(&own("robot"))?,
        place,
        ..Query::default()
    };
    query.validate().map_err(|e| StartError::layer(format!("standing query '{name}': {e}")))?;
    Ok((query, parameters.string(&own("like"))?))
}
