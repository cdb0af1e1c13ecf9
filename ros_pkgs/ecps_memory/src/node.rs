//! The memory as a ROS node: services `~/put`, `~/get`, `~/query`, `~/delete`, `~/snapshot`, `~/restore`, `~/reanchor` and
//! `~/consolidate`, the topic `~/observe`, standing queries on `~/matches/<name>`, `~/stats` and `~/markers`.
//!
//! The spin thread only hands requests over; the memory's own threads do the work, and a small tokio runtime carries the
//! answers back.

mod convert;
mod markers;
mod outbox;
mod parameters;
mod rights;
mod services;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use ecps_core::budget::MessageKind;
use ecps_core::clock::{RosClock, SteadyClock, SystemSteady};
use ecps_guard::Door;
use ecps_ros::r2r::ecps_msgs::msg::{MemoryHit, MemoryRecord, MemoryStats};
use ecps_ros::r2r::visualization_msgs::msg::MarkerArray;
use ecps_ros::{
    BudgetEvents, BudgetMeter, Managed, Node, NodeClock, ParameterError, Parameters, Publisher, StartError, qos,
};

use crate::{GraphFile, Likeness, Memory, Options, Query, uuid_ids};
use convert::record_from_ros;
use markers::{Drawing, Layer};
use outbox::{Outbox, Outgoing};

/// Between two looks at where memories are, for `~/markers`.
const MARKERS_EVERY: Duration = Duration::from_secs(5);
/// How often the spin thread looks for what answers left to be published.
const OUTBOX_EVERY: Duration = Duration::from_millis(10);

/// The node's state.
pub struct Server {
    door: Door,
    memory: Arc<Memory>,
    runtime: tokio::runtime::Runtime,
    clock: NodeClock,
    put_meter: BudgetMeter,
    query_meter: BudgetMeter,
    put_lifetime: Duration,
    query_lifetime: Duration,
    observed_in_vain: Arc<AtomicU64>,
    standing: Arc<Vec<Query>>,
    matches: Vec<Publisher<MemoryHit>>,
    stats: Publisher<MemoryStats>,
    markers: Publisher<MarkerArray>,
    drawing: Drawing,
    outbox: Outbox,
    outgoing: Receiver<Outgoing>,
    most_markers: u32,
}

impl Managed for Server {
    const NAME: &'static str = "mep_server";

    fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
        parameters::declare(parameters)
    }

    fn configure(node: &mut Node<Server>) -> Result<Server, StartError> {
        configure(node)
    }
}

fn configure(node: &mut Node<Server>) -> Result<Server, StartError> {
    let profile = parameters::profile(node.parameters())?;
    let clock = node.clock();
    let options = Options { clock: Arc::new(clock.clone()), ..parameters::options(node.parameters(), profile)? };
    let database = parameters::database(node.parameters())?;
    let memory = Memory::open(&database, options, uuid_ids()).map_err(StartError::layer)?;
    for damage in memory.damages() {
        tracing::error!(
            "row {} ('{}' in '{}') is not served: {}",
            damage.row,
            damage.id,
            damage.namespace,
            damage.reason
        );
    }
    if let GraphFile::Unusable(reason) = memory.graph_file() {
        tracing::warn!("the graph is built anew, and everything is scanned meanwhile: {reason}");
    }
    tracing::info!("{} records in {}", memory.stats().records, database.display());
    let (standing, matches) = standing(node, &memory)?;
    let (outbox, outgoing) = Outbox::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("mep-answers")
        .build()
        .map_err(StartError::layer)?;

    services::offer(node)?;
    node.subscribe("~/observe", qos::reliable(100), Server::observe)?;
    node.steady_timer(Duration::from_secs(1), |server| server.publish_stats());
    node.steady_timer(OUTBOX_EVERY, Server::publish_outgoing);
    node.steady_timer(MARKERS_EVERY, |server| server.publish_markers());

    let budgets = BudgetEvents::new(node, profile)?;
    Ok(Server {
        door: Door::open(node)?,
        memory: Arc::new(memory),
        runtime,
        clock,
        put_meter: budgets.meter(node, MessageKind::MepPut),
        query_meter: budgets.meter(node, MessageKind::MepQuery),
        put_lifetime: MessageKind::MepPut.budget(profile).timeout,
        query_lifetime: MessageKind::MepQuery.budget(profile).timeout,
        observed_in_vain: Arc::default(),
        standing: Arc::new(standing),
        matches,
        stats: node.publisher("~/stats", qos::default())?,
        markers: node.publisher("~/markers", qos::latched())?,
        drawing: Drawing::default(),
        outbox,
        outgoing,
        most_markers: node.parameters().integer("markers")?.clamp(0, 1000) as u32,
    })
}

/// The standing queries, and where the matches of each go.
fn standing(node: &mut Node<Server>, memory: &Memory) -> Result<(Vec<Query>, Vec<Publisher<MemoryHit>>), StartError> {
    let (mut queries, mut matches) = (Vec::new(), Vec::new());
    for name in node.parameters().strings("standing")? {
        let (mut query, like) = parameters::standing(node.parameters(), &name)?;
        if !like.is_empty() {
            let told = |e| StartError::layer(format!("standing query '{name}': {e}"));
            let record = memory.get(&query.namespace, &like).wait().map_err(told)?;
            query.likeness = Some(Likeness { model_id: record.model_id, embedding: record.embedding });
        }
        queries.push(query);
        matches.push(node.publisher(&format!("~/matches/{name}"), qos::reliable(100))?);
    }
    Ok((queries, matches))
}

impl Server {
    /// Telemetry: nobody waits for an answer, so a record that cannot be kept is counted.
    fn observe(&mut self, message: MemoryRecord) {
        let started = SystemSteady.now();
        let (in_vain, meter) = (Arc::clone(&self.observed_in_vain), self.put_meter.clone());
        let lost = move |reason: &dyn std::fmt::Display| {
            let count = in_vain.fetch_add(1, Ordering::Relaxed) + 1;
            if count % 100 == 1 {
                tracing::warn!("an observation was not kept ({count} so far): {reason}");
            }
        };
        if self.door.asks_for_tokens() {
            return lost(&"an observation carries no token, and trust_level asks for one: put it");
        }
        let record = match record_from_ros(message) {
            Ok(record) => record,
            Err(error) => {
                self.memory.note_refusal(&error);
                return lost(&error);
            }
        };
        let watched = if self.standing.is_empty() { Vec::new() } else { vec![record.clone()] };
        let (pending, outbox, standing) = (self.memory.put(vec![record]), self.outbox.clone(), self.standing.clone());
        self.runtime.spawn(async move {
            match pending.await {
                Ok(stored) => {
                    meter.record(started, SystemSteady.now());
                    outbox.leave_matches(&standing, watched, &stored);
                }
                Err(error) => lost(&error),
            }
        });
    }

    fn publish_stats(&mut self) {
        let stats = self.memory.stats();
        let ms = |meter: &BudgetMeter| meter.monitor().last().as_secs_f64() * 1e3;
        let (put_latency_ms, query_latency_ms) = (ms(&self.put_meter), ms(&self.query_meter));
        self.stats.publish(&MemoryStats {
            stamp: ecps_ros::time(self.clock.now()),
            records: stats.records,
            bytes: stats.bytes,
            damaged: stats.damaged,
            puts: stats.puts,
            merged: stats.merged,
            expired: stats.expired,
            evicted: stats.evicted,
            indexed: stats.indexed,
            unindexed: stats.unindexed,
            rebuilds: stats.rebuilds,
            recall: stats.recall.unwrap_or(f32::NAN),
            recall_samples: stats.recall_samples,
            refused: stats.refused,
            queries: stats.queries,
            deletes: stats.deletes,
            last_refusal: stats.last_refusal,
            dropped: self.observed_in_vain.load(Ordering::Relaxed) + self.outbox.lost(),
            put_latency_ms,
            query_latency_ms,
            budget_violations: self.put_meter.monitor().violations() + self.query_meter.monitor().violations(),
        });
    }

    fn publish_outgoing(&mut self) {
        for message in self.outgoing.try_iter() {
            match message {
                Outgoing::Draw(layer, markers) => {
                    self.drawing.replace(layer, markers);
                    self.markers.publish(&self.drawing.message());
                }
                Outgoing::Match(place, hit) => {
                    if let Some(publisher) = self.matches.get(place) {
                        publisher.publish(&hit);
                    }
                }
            }
        }
    }

    /// The newest memories, where somebody looks.
    fn publish_markers(&mut self) {
        if self.most_markers == 0 || self.markers.subscribers() == 0 {
            return;
        }
        let newest = Query { k: self.most_markers, heads_only: true, ..Query::default() };
        let (pending, outbox) = (self.memory.query(newest), self.outbox.clone());
        self.runtime.spawn(async move {
            if let Ok(answer) = pending.await {
                outbox.leave(Outgoing::Draw(Layer::Memories, Layer::Memories.markers(&answer)));
            }
        });
    }
}
