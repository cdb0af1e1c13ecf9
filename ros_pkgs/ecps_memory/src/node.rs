//! The memory as a ROS node: services `~/put`, `~/get`, `~/query`, `~/delete`, `~/snapshot`, `~/restore`, `~/reanchor` and
//! `~/consolidate`, the topic `~/observe`, standing queries on `~/matches/<name>`, `~/stats` and `~/markers`.
//!
//! The spin thread only hands requests over; the memory's own threads do the work, and a small tokio runtime carries the
//! answers back.

mod convert;
mod markers;
mod parameters;
mod rights;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use ecps_core::budget::MessageKind;
use ecps_core::clock::{RosClock, SteadyClock, SystemSteady};
use ecps_core::id::CallerError;
use ecps_guard::Door;
use ecps_ros::r2r::builtin_interfaces::msg::Time;
use ecps_ros::r2r::ecps_msgs::msg::{Caller, MemoryHit, MemoryRecord, MemoryStats};
use ecps_ros::r2r::ecps_msgs::srv::{
    ConsolidateMemory, DeleteMemory, GetMemory, PutMemory, QueryMemory, ReanchorMemory, RestoreMemory, SnapshotMemory,
};
use ecps_ros::r2r::visualization_msgs::msg::{Marker, MarkerArray};
use ecps_ros::{
    BudgetEvents, BudgetMeter, Managed, Node, NodeClock, ParameterError, Parameters, Publisher, StartError, qos,
};

use crate::{Cause, Consolidation, GraphFile, Likeness, Memory, Options, Query, Record, Stored, uuid_ids};
use convert::{hit_to_ros, query_from_ros, record_from_ros, record_to_ros, transform_from_ros, way_to_ros};
use markers::{Drawing, Layer};

/// Between two looks at where memories are, for `~/markers`.
const MARKERS_EVERY: Duration = Duration::from_secs(5);

/// Outcome codes shared by the four services.
const INVALID: u8 = 1;
const STORAGE: u8 = 2;
const OVERLOADED: u8 = 3;
const EXPIRED: u8 = 4;
const NOT_FOUND: u8 = 6;

/// Messages that wait for the spin thread, which alone may publish; beyond that they are dropped and counted.
const OUTBOX: usize = 1024;
/// How often it looks.
const OUTBOX_EVERY: Duration = Duration::from_millis(10);

/// What answers on their way leave to be published.
enum Outgoing {
    /// A match of the standing query at this place in the list.
    Match(usize, Box<MemoryHit>),
    Draw(Layer, Vec<Marker>),
}

/// The end that answers have.
#[derive(Clone)]
struct Outbox {
    sender: SyncSender<Outgoing>,
    lost: Arc<AtomicU64>,
}

impl Outbox {
    fn leave(&self, message: Outgoing) {
        if self.sender.try_send(message).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Leaves what matches a standing query. What was merged into a record matched when that one came.
    fn leave_matches(&self, standing: &[Query], records: Vec<Record>, stored: &[Stored]) {
        for (mut record, stored) in records.into_iter().zip(stored).filter(|(_, stored)| !stored.merged) {
            record.id.clone_from(&stored.id);
            record.version = stored.version;
            for (place, query) in standing.iter().enumerate() {
                if let Some(hit) = query.matches(&record) {
                    self.leave(Outgoing::Match(place, Box::new(hit_to_ros(hit))));
                }
            }
        }
    }
}

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
    let (sender, outgoing) = sync_channel(OUTBOX);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("mep-answers")
        .build()
        .map_err(StartError::layer)?;

    node.service_once::<PutMemory::Service>("~/put", |request| &request.caller, Server::put)?;
    node.service::<GetMemory::Service>("~/get", Server::get)?;
    node.service::<QueryMemory::Service>("~/query", Server::query)?;
    node.service_once::<DeleteMemory::Service>("~/delete", |request| &request.caller, Server::delete)?;
    node.service_once::<SnapshotMemory::Service>("~/snapshot", |request| &request.caller, Server::snapshot)?;
    node.service_once::<RestoreMemory::Service>("~/restore", |request| &request.caller, Server::restore)?;
    node.service_once::<ReanchorMemory::Service>("~/reanchor", |request| &request.caller, Server::reanchor)?;
    node.service_once::<ConsolidateMemory::Service>("~/consolidate", |request| &request.caller, Server::consolidate)?;
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
        outbox: Outbox { sender, lost: Arc::default() },
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
    /// A refusal for callers that are malformed or too late.
    fn refuse(&self, caller: &Caller, lifetime: Duration) -> Option<(u8, String)> {
        let error = ecps_ros::caller(caller).check(self.clock.now(), lifetime).err()?;
        let code = if matches!(error, CallerError::Expired { .. }) { EXPIRED } else { INVALID };
        Some((code, error.to_string()))
    }

    fn put(&mut self, request: PutMemory::Request, reply: ecps_ros::Reply<PutMemory::Service>) {
        let started = SystemSteady.now();
        let refused = |(error_code, error_msg)| PutMemory::Response { error_code, error_msg, ..Default::default() };
        let namespaces = request.records.iter().map(|record| record.memory_namespace.as_str());
        if let Some(reason) = self.deny(&request.caller, self.put_lifetime, "put", namespaces) {
            return reply.send(refused(reason));
        }
        let records = match request.records.into_iter().map(record_from_ros).collect::<Result<Vec<_>, _>>() {
            Ok(records) => records,
            Err(error) => return reply.send(refused((INVALID, error.to_string()))),
        };
        let watched = if self.standing.is_empty() { Vec::new() } else { records.clone() };
        let (pending, meter) = (self.memory.put(records), self.put_meter.clone());
        let (outbox, standing) = (self.outbox.clone(), self.standing.clone());
        self.runtime.spawn(async move {
            let response = match pending.await {
                Ok(stored) => {
                    outbox.leave_matches(&standing, watched, &stored);
                    let merged = stored.iter().map(|stored| stored.merged).collect();
                    let (ids, versions) = stored.into_iter().map(|s| (s.id, s.version)).unzip();
                    PutMemory::Response { ids, versions, merged, ..Default::default() }
                }
                Err(error) => refused((code(error.cause()), error.to_string())),
            };
            meter.record(started, SystemSteady.now());
            reply.send(response);
        });
    }

    fn get(&mut self, request: GetMemory::Request, reply: ecps_ros::Reply<GetMemory::Service>) {
        let refused = |(error_code, error_msg)| GetMemory::Response { error_code, error_msg, ..Default::default() };
        if let Some(reason) =
            self.deny(&request.caller, self.query_lifetime, "get", [request.memory_namespace.as_str()])
        {
            return reply.send(refused(reason));
        }
        let pending = self.memory.get(&request.memory_namespace, &request.id);
        self.runtime.spawn(async move {
            reply.send(match pending.await {
                Ok(record) => GetMemory::Response { record: record_to_ros(record), ..Default::default() },
                Err(error) => refused((code(error.cause()), error.to_string())),
            });
        });
    }

    fn query(&mut self, request: QueryMemory::Request, reply: ecps_ros::Reply<QueryMemory::Service>) {
        let started = SystemSteady.now();
        let refused = |(error_code, error_msg)| QueryMemory::Response { error_code, error_msg, ..Default::default() };
        if let Some(reason) =
            self.deny(&request.caller, self.query_lifetime, "get", [request.memory_namespace.as_str()])
        {
            return reply.send(refused(reason));
        }
        let query = match query_from_ros(request) {
            Ok(query) => query,
            Err(error) => return reply.send(refused((INVALID, error.to_string()))),
        };
        let (pending, meter) = (self.memory.query(query), self.query_meter.clone());
        let outbox = (self.markers.subscribers() > 0).then(|| self.outbox.clone());
        self.runtime.spawn(async move {
            let response = match pending.await {
                Ok(answer) => {
                    if let Some(outbox) = outbox {
                        outbox.leave(Outgoing::Draw(Layer::Hits, Layer::Hits.markers(&answer)));
                    }
                    QueryMemory::Response {
                        total_matched: answer.total_matched,
                        total_is_lower_bound: answer.total_is_lower_bound,
                        index: way_to_ros(answer.way),
                        recall: answer.recall.unwrap_or(f32::NAN),
                        cut_short: answer.cut_short,
                        hits: answer.hits.into_iter().map(hit_to_ros).collect(),
                        ..Default::default()
                    }
                }
                Err(error) => refused((code(error.cause()), error.to_string())),
            };
            meter.record(started, SystemSteady.now());
            reply.send(response);
        });
    }

    fn delete(&mut self, request: DeleteMemory::Request, reply: ecps_ros::Reply<DeleteMemory::Service>) {
        let refused = |(error_code, error_msg)| DeleteMemory::Response { error_code, error_msg, ..Default::default() };
        if let Some(reason) =
            self.deny(&request.caller, self.put_lifetime, "delete", [request.memory_namespace.as_str()])
        {
            return reply.send(refused(reason));
        }
        let pending = match request.erase {
            true => self.memory.erase(&request.memory_namespace, request.ids),
            false => self.memory.delete(&request.memory_namespace, request.ids),
        };
        self.runtime.spawn(async move {
            reply.send(match pending.await {
                Ok(deleted) => DeleteMemory::Response { deleted, ..Default::default() },
                Err(error) => refused((code(error.cause()), error.to_string())),
            });
        });
    }

    fn snapshot(&mut self, request: SnapshotMemory::Request, reply: ecps_ros::Reply<SnapshotMemory::Service>) {
        let refused =
            |(error_code, error_msg)| SnapshotMemory::Response { error_code, error_msg, ..Default::default() };
        if let Some(reason) = self.deny_whole(&request.caller, self.put_lifetime, "snapshot:memory") {
            return reply.send(refused(reason));
        }
        let pending = self.memory.snapshot(&request.name);
        self.runtime.spawn(async move {
            reply.send(match pending.await {
                Ok(snapshot) => SnapshotMemory::Response {
                    path: snapshot.path.display().to_string(),
                    records: snapshot.records,
                    bytes: snapshot.bytes,
                    ..Default::default()
                },
                Err(error) => refused((code(error.cause()), error.to_string())),
            });
        });
    }

    fn restore(&mut self, request: RestoreMemory::Request, reply: ecps_ros::Reply<RestoreMemory::Service>) {
        let refused = |(error_code, error_msg)| RestoreMemory::Response { error_code, error_msg, ..Default::default() };
        if let Some(reason) = self.deny_whole(&request.caller, self.put_lifetime, "restore:memory") {
            return reply.send(refused(reason));
        }
        let pending = self.memory.restore(&request.name);
        self.runtime.spawn(async move {
            reply.send(match pending.await {
                Ok(records) => RestoreMemory::Response { records, ..Default::default() },
                Err(error) => refused((code(error.cause()), error.to_string())),
            });
        });
    }

    fn reanchor(&mut self, request: ReanchorMemory::Request, reply: ecps_ros::Reply<ReanchorMemory::Service>) {
        let refused =
            |(error_code, error_msg)| ReanchorMemory::Response { error_code, error_msg, ..Default::default() };
        if let Some(reason) =
            self.deny(&request.caller, self.put_lifetime, "reanchor", [request.memory_namespace.as_str()])
        {
            return reply.send(refused(reason));
        }
        let transform = match transform_from_ros(&request.transform) {
            Ok(transform) => transform,
            Err(error) => return reply.send(refused((INVALID, format!("transform: {error}")))),
        };
        let pending = self.memory.reanchor(&request.memory_namespace, &request.frame_id, &request.map_id, transform);
        self.runtime.spawn(async move {
            reply.send(match pending.await {
                Ok(moved) => ReanchorMemory::Response { moved, ..Default::default() },
                Err(error) => refused((code(error.cause()), error.to_string())),
            });
        });
    }

    fn consolidate(&mut self, request: ConsolidateMemory::Request, reply: ecps_ros::Reply<ConsolidateMemory::Service>) {
        let refused =
            |(error_code, error_msg)| ConsolidateMemory::Response { error_code, error_msg, ..Default::default() };
        if let Some(reason) = self.deny(&request.caller, self.put_lifetime, "put", [request.memory_namespace.as_str()])
        {
            return reply.send(refused(reason));
        }
        let set = |time: &Time| Some(ecps_ros::stamp(time)).filter(|stamp| !stamp.is_zero());
        let consolidation = Consolidation {
            not_before: set(&request.not_before),
            not_after: set(&request.not_after),
            namespace: request.memory_namespace,
            model_id: request.model_id,
            min_sim: request.min_sim,
            members: request.members,
        };
        let memory = self.memory.clone();
        // It reads many records, so it is no work for the one thread that carries answers.
        self.runtime.spawn_blocking(move || {
            reply.send(match memory.consolidate(&consolidation).wait() {
                Ok(stored) => ConsolidateMemory::Response {
                    ids: stored.into_iter().map(|s| s.id).collect(),
                    ..Default::default()
                },
                Err(error) => refused((code(error.cause()), error.to_string())),
            });
        });
    }

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
            Err(error) => return lost(&error),
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
            dropped: self.observed_in_vain.load(Ordering::Relaxed) + self.outbox.lost.load(Ordering::Relaxed),
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

fn code(cause: Cause) -> u8 {
    match cause {
        Cause::Invalid => INVALID,
        Cause::NotFound => NOT_FOUND,
        Cause::Overloaded => OVERLOADED,
        Cause::Storage => STORAGE,
    }
}
