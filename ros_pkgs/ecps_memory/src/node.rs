//! The memory as a ROS node: services `~/put`, `~/get`, `~/query`, `~/delete`, the topic `~/observe`, and `~/stats`.
//!
//! The spin thread only hands requests over; the memory's own threads do the work, and a small tokio runtime carries the
//! answers back.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ecps_core::budget::{MessageKind, Profile};
use ecps_core::clock::{RosClock, Stamp, SteadyClock, SystemSteady};
use ecps_core::id::CallerError;
use ecps_ros::r2r::ecps_msgs::msg::{Caller, MemoryHit, MemoryRecord, MemoryStats};
use ecps_ros::r2r::ecps_msgs::srv::{DeleteMemory, GetMemory, PutMemory, QueryMemory};
use ecps_ros::{
    BudgetEvents, BudgetMeter, Managed, Node, NodeClock, ParameterError, Parameters, Publisher, Spec, StartError, qos,
};
use nalgebra::Point3;

use crate::query::Place;
use crate::record::InvalidError;
use crate::{Cause, Hit, Likeness, Memory, Options, Query, Record, pose_from_parts, uuid_ids};

/// Outcome codes shared by the four services.
const INVALID: u8 = 1;
const STORAGE: u8 = 2;
const OVERLOADED: u8 = 3;
const EXPIRED: u8 = 4;
const NOT_FOUND: u8 = 6;

fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
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
    ] {
        parameters.declare(spec)?;
    }
    Ok(())
}

/// The node's state.
pub struct Server {
    memory: Arc<Memory>,
    runtime: tokio::runtime::Runtime,
    clock: NodeClock,
    put_meter: BudgetMeter,
    query_meter: BudgetMeter,
    put_lifetime: Duration,
    query_lifetime: Duration,
    observed_in_vain: Arc<AtomicU64>,
    stats: Publisher<MemoryStats>,
}

impl Managed for Server {
    const NAME: &'static str = "mep_server";

    fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
        declare(parameters)
    }

    fn configure(node: &mut Node<Server>) -> Result<Server, StartError> {
        configure(node)
    }
}

fn configure(node: &mut Node<Server>) -> Result<Server, StartError> {
    let profile: Profile = node.parameters().string("profile")?.parse().map_err(StartError::layer)?;
    let options = Options {
        waiting: node.parameters().size("waiting")?,
        readers: node.parameters().size("readers")?,
        ..Options::default()
    };
    let database = database_path(&node.parameters().string("database")?)?;
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
    tracing::info!("{} records in {}", memory.stats().records, database.display());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("mep-answers")
        .build()
        .map_err(StartError::layer)?;

    node.service_once::<PutMemory::Service>("~/put", |request| &request.caller, Server::put)?;
    node.service::<GetMemory::Service>("~/get", Server::get)?;
    node.service::<QueryMemory::Service>("~/query", Server::query)?;
    node.service_once::<DeleteMemory::Service>("~/delete", |request| &request.caller, Server::delete)?;
    node.subscribe("~/observe", qos::reliable(100), Server::observe)?;
    node.steady_timer(Duration::from_secs(1), |server| server.publish_stats());

    let budgets = BudgetEvents::new(node, profile)?;
    Ok(Server {
        memory: Arc::new(memory),
        runtime,
        clock: node.clock(),
        put_meter: budgets.meter(node, MessageKind::MepPut),
        query_meter: budgets.meter(node, MessageKind::MepQuery),
        put_lifetime: MessageKind::MepPut.budget(profile).timeout,
        query_lifetime: MessageKind::MepQuery.budget(profile).timeout,
        observed_in_vain: Arc::default(),
        stats: node.publisher("~/stats", qos::default())?,
    })
}

fn database_path(parameter: &str) -> Result<PathBuf, StartError> {
    if !parameter.is_empty() {
        return Ok(PathBuf::from(parameter));
    }
    let home = std::env::var("HOME")
        .map_err(|_| StartError::layer("parameter 'database' is empty, and HOME is not set: name a file"))?;
    Ok(PathBuf::from(home).join(".ros/ecps/memory.db"))
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
        if let Some(reason) = self.refuse(&request.caller, self.put_lifetime) {
            return reply.send(refused(reason));
        }
        let records = match request.records.into_iter().map(record_from_ros).collect::<Result<Vec<_>, _>>() {
            Ok(records) => records,
            Err(error) => return reply.send(refused((INVALID, error.to_string()))),
        };
        let (pending, meter) = (self.memory.put(records), self.put_meter.clone());
        self.runtime.spawn(async move {
            let response = match pending.await {
                Ok(stored) => {
                    let (ids, versions) = stored.into_iter().map(|s| (s.id, s.version)).unzip();
                    PutMemory::Response { ids, versions, ..Default::default() }
                }
                Err(error) => refused((code(error.cause()), error.to_string())),
            };
            meter.record(started, SystemSteady.now());
            reply.send(response);
        });
    }

    fn get(&mut self, request: GetMemory::Request, reply: ecps_ros::Reply<GetMemory::Service>) {
        let refused = |(error_code, error_msg)| GetMemory::Response { error_code, error_msg, ..Default::default() };
        if let Some(reason) = self.refuse(&request.caller, self.query_lifetime) {
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
        if let Some(reason) = self.refuse(&request.caller, self.query_lifetime) {
            return reply.send(refused(reason));
        }
        let (pending, meter) = (self.memory.query(query_from_ros(request)), self.query_meter.clone());
        self.runtime.spawn(async move {
            let response = match pending.await {
                Ok(answer) => QueryMemory::Response {
                    hits: answer.hits.into_iter().map(hit_to_ros).collect(),
                    total_matched: answer.total_matched,
                    ..Default::default()
                },
                Err(error) => refused((code(error.cause()), error.to_string())),
            };
            meter.record(started, SystemSteady.now());
            reply.send(response);
        });
    }

    fn delete(&mut self, request: DeleteMemory::Request, reply: ecps_ros::Reply<DeleteMemory::Service>) {
        let refused = |(error_code, error_msg)| DeleteMemory::Response { error_code, error_msg, ..Default::default() };
        if let Some(reason) = self.refuse(&request.caller, self.put_lifetime) {
            return reply.send(refused(reason));
        }
        let pending = self.memory.delete(&request.memory_namespace, request.ids);
        self.runtime.spawn(async move {
            reply.send(match pending.await {
                Ok(deleted) => DeleteMemory::Response { deleted, ..Default::default() },
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
        let record = match record_from_ros(message) {
            Ok(record) => record,
            Err(error) => return lost(&error),
        };
        let pending = self.memory.put(vec![record]);
        self.runtime.spawn(async move {
            match pending.await {
                Ok(_) => meter.record(started, SystemSteady.now()),
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
            puts: stats.puts,
            refused: stats.refused,
            queries: stats.queries,
            deletes: stats.deletes,
            last_refusal: stats.last_refusal,
            dropped: self.observed_in_vain.load(Ordering::Relaxed),
            put_latency_ms,
            query_latency_ms,
            budget_violations: self.put_meter.monitor().violations() + self.query_meter.monitor().violations(),
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

fn record_from_ros(message: MemoryRecord) -> Result<Record, InvalidError> {
    let (p, q) = (&message.pose.position, &message.pose.orientation);
    let pose = if message.has_pose { Some(pose_from_parts([p.x, p.y, p.z], [q.x, q.y, q.z, q.w])?) } else { None };
    Ok(Record {
        id: message.id,
        namespace: message.memory_namespace,
        model_id: message.model_id,
        embedding: message.embedding,
        time: ecps_ros::stamp(&message.header.stamp),
        frame_id: message.header.frame_id,
        pose,
        labels: message.labels,
        robot: message.robot,
        topic: message.topic,
        payload_type: message.payload_type,
        payload: message.payload,
        version: 0,
    })
}

fn record_to_ros(record: Record) -> MemoryRecord {
    let mut message = MemoryRecord {
        id: record.id,
        memory_namespace: record.namespace,
        model_id: record.model_id,
        embedding: record.embedding,
        has_pose: record.pose.is_some(),
        labels: record.labels,
        robot: record.robot,
        topic: record.topic,
        payload_type: record.payload_type,
        payload: record.payload,
        version: record.version,
        ..MemoryRecord::default()
    };
    message.header.stamp = ecps_ros::time(record.time);
    message.header.frame_id = record.frame_id;
    message.pose.orientation.w = 1.0;
    if let Some(pose) = record.pose {
        message.pose.position.x = pose.translation.x;
        message.pose.position.y = pose.translation.y;
        message.pose.position.z = pose.translation.z;
        message.pose.orientation.x = pose.rotation.i;
        message.pose.orientation.y = pose.rotation.j;
        message.pose.orientation.z = pose.rotation.k;
        message.pose.orientation.w = pose.rotation.w;
    }
    message
}

fn query_from_ros(request: QueryMemory::Request) -> Query {
    let set = |stamp: Stamp| (!stamp.is_zero()).then_some(stamp);
    let likeness = (!request.embedding.is_empty())
        .then_some(Likeness { model_id: request.model_id, embedding: request.embedding });
    let centre = Point3::new(request.center.x, request.center.y, request.center.z);
    let place = (request.radius != 0.0).then_some(Place { frame_id: request.frame_id, centre, radius: request.radius });
    Query {
        namespace: request.memory_namespace,
        likeness,
        k: request.k,
        min_sim: request.min_sim,
        not_before: set(ecps_ros::stamp(&request.not_before)),
        not_after: set(ecps_ros::stamp(&request.not_after)),
        place,
        labels: request.labels,
    }
}

fn hit_to_ros(hit: Hit) -> MemoryHit {
    MemoryHit { record: record_to_ros(hit.record), similarity: hit.similarity.unwrap_or(f32::NAN) }
}
