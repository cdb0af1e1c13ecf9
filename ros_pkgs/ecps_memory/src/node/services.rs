//! The services: the spin thread checks who asks and converts the request, and the answer goes back from the runtime.

use std::fmt::Display;
use std::time::Duration;

use ecps_core::clock::{RosClock, SteadyClock, SystemSteady};
use ecps_core::id::CallerError;
use ecps_guard::Refused;
use ecps_ros::r2r::ecps_msgs::msg::Caller;
use ecps_ros::r2r::ecps_msgs::srv::{
    ConsolidateMemory, DeleteMemory, GetMemory, PutMemory, QueryMemory, ReanchorMemory, RestoreMemory, SnapshotMemory,
};
use ecps_ros::{Node, Reply, Service, StartError};

use super::Server;
use super::convert::{hit_to_ros, query_from_ros, record_from_ros, record_to_ros, set, transform_from_ros, way_to_ros};
use super::markers::Layer;
use super::outbox::Outgoing;
use super::rights::{self, GET};
use crate::error::{DeleteError, GetError, KeepError, PutError, QueryError};
use crate::{Answer, Cause, Consolidation, Unavailable};

/// Outcome codes shared by the services.
const INVALID: u8 = 1;
const STORAGE: u8 = 2;
const OVERLOADED: u8 = 3;
const EXPIRED: u8 = 4;
const NOT_FOUND: u8 = 6;

/// A response that can say why there is nothing in it.
trait Refusable {
    fn refusal(error_code: u8, error_msg: String) -> Self;
}

macro_rules! refusable {
    ($($service:ident),*) => {$(
        impl Refusable for $service::Response {
            fn refusal(error_code: u8, error_msg: String) -> Self {
                $service::Response { error_code, error_msg, ..Default::default() }
            }
        }
    )*};
}

refusable!(
    ConsolidateMemory,
    DeleteMemory,
    GetMemory,
    PutMemory,
    QueryMemory,
    ReanchorMemory,
    RestoreMemory,
    SnapshotMemory
);

/// An error of the memory, which says what can be done about it.
trait Caused: Display {
    fn cause(&self) -> Cause;
}

macro_rules! caused {
    ($($error:ident),*) => {$(
        impl Caused for $error {
            fn cause(&self) -> Cause {
                $error::cause(self)
            }
        }
    )*};
}

caused!(DeleteError, GetError, KeepError, PutError, QueryError);

fn code(cause: Cause) -> u8 {
    match cause {
        Cause::Invalid => INVALID,
        Cause::NotFound => NOT_FOUND,
        Cause::Overloaded => OVERLOADED,
        Cause::Storage => STORAGE,
    }
}

pub(super) fn offer(node: &mut Node<Server>) -> Result<(), StartError> {
    node.service_once::<PutMemory::Service>("~/put", |request| &request.caller, Server::put)?;
    node.service::<GetMemory::Service>("~/get", Server::get)?;
    node.service::<QueryMemory::Service>("~/query", Server::query)?;
    node.service_once::<DeleteMemory::Service>("~/delete", |request| &request.caller, Server::delete)?;
    node.service_once::<SnapshotMemory::Service>("~/snapshot", |request| &request.caller, Server::snapshot)?;
    node.service_once::<RestoreMemory::Service>("~/restore", |request| &request.caller, Server::restore)?;
    node.service_once::<ReanchorMemory::Service>("~/reanchor", |request| &request.caller, Server::reanchor)?;
    node.service_once::<ConsolidateMemory::Service>("~/consolidate", |request| &request.caller, Server::consolidate)
}

impl Server {
    /// Gives the reply back for a caller that is well-formed, in time, and has the rights; else refuses.
    fn admit<S>(
        &self,
        caller: &Caller,
        lifetime: Duration,
        rights: impl FnOnce() -> Vec<String>,
        reply: Reply<S>,
    ) -> Option<Reply<S>>
    where
        S: Service<Response: Refusable>,
    {
        if let Err(error) = ecps_ros::caller(caller).check(self.clock.now(), lifetime) {
            let code = if matches!(error, CallerError::Expired { .. }) { EXPIRED } else { INVALID };
            self.refuse(reply, code, &error);
            return None;
        }
        if let Err(refused) = self.permit(caller, rights) {
            self.refuse(reply, Refused::CODE, &refused);
            return None;
        }
        Some(reply)
    }

    /// Refuses what the memory is not even asked for.
    fn refuse<S>(&self, reply: Reply<S>, code: u8, reason: &dyn Display)
    where
        S: Service<Response: Refusable>,
    {
        self.memory.note_refusal(reason);
        reply.send(S::Response::refusal(code, reason.to_string()));
    }

    /// Answers when the memory has.
    fn answer<S, T, E>(
        &self,
        reply: Reply<S>,
        pending: crate::Reply<T, E>,
        respond: impl FnOnce(T) -> S::Response + Send + 'static,
    ) where
        S: Service<Response: Refusable>,
        T: Send + 'static,
        E: Caused + From<Unavailable> + Send + 'static,
    {
        self.runtime.spawn(async move { reply.send(response(pending.await, respond)) });
    }

    fn put(&mut self, request: PutMemory::Request, reply: Reply<PutMemory::Service>) {
        let started = SystemSteady.now();
        let rights = || rights::on("put", request.records.iter().map(|record| record.memory_namespace.as_str()));
        let Some(reply) = self.admit(&request.caller, self.put_lifetime, rights, reply) else { return };
        let convert = |(index, message)| record_from_ros(message).map_err(|error| format!("records[{index}].{error}"));
        let records = match request.records.into_iter().enumerate().map(convert).collect::<Result<Vec<_>, _>>() {
            Ok(records) => records,
            Err(reason) => return self.refuse(reply, INVALID, &reason),
        };
        let watched = if self.standing.is_empty() { Vec::new() } else { records.clone() };
        let (meter, outbox, standing) = (self.put_meter.clone(), self.outbox.clone(), self.standing.clone());
        self.answer(reply, self.memory.put(records), move |stored| {
            outbox.leave_matches(&standing, watched, &stored);
            let merged = stored.iter().map(|stored| stored.merged).collect();
            let (ids, versions) = stored.into_iter().map(|s| (s.id, s.version)).unzip();
            meter.record(started, SystemSteady.now());
            PutMemory::Response { ids, versions, merged, ..Default::default() }
        });
    }

    fn get(&mut self, request: GetMemory::Request, reply: Reply<GetMemory::Service>) {
        let rights = || rights::on(GET, [request.memory_namespace.as_str()]);
        let Some(reply) = self.admit(&request.caller, self.query_lifetime, rights, reply) else { return };
        self.answer(reply, self.memory.get(&request.memory_namespace, &request.id), |record| GetMemory::Response {
            record: record_to_ros(record),
            ..Default::default()
        });
    }

    fn query(&mut self, request: QueryMemory::Request, reply: Reply<QueryMemory::Service>) {
        let started = SystemSteady.now();
        let rights = || rights::on(GET, [request.memory_namespace.as_str()]);
        let Some(reply) = self.admit(&request.caller, self.query_lifetime, rights, reply) else { return };
        let query = match query_from_ros(request) {
            Ok(query) => query,
            Err(error) => return self.refuse(reply, INVALID, &error),
        };
        let meter = self.query_meter.clone();
        let outbox = (self.markers.subscribers() > 0).then(|| self.outbox.clone());
        self.answer(reply, self.memory.query(query), move |answer: Answer| {
            if let Some(outbox) = outbox {
                outbox.leave(Outgoing::Draw(Layer::Hits, Layer::Hits.markers(&answer)));
            }
            let response = QueryMemory::Response {
                total_matched: answer.total_matched,
                total_is_lower_bound: answer.total_is_lower_bound,
                index: way_to_ros(answer.way),
                recall: answer.recall.unwrap_or(f32::NAN),
                cut_short: answer.cut_short,
                hits: answer.hits.into_iter().map(hit_to_ros).collect(),
                ..Default::default()
            };
            meter.record(started, SystemSteady.now());
            response
        });
    }

    fn delete(&mut self, request: DeleteMemory::Request, reply: Reply<DeleteMemory::Service>) {
        let rights = || rights::on("delete", [request.memory_namespace.as_str()]);
        let Some(reply) = self.admit(&request.caller, self.put_lifetime, rights, reply) else { return };
        let pending = match request.erase {
            true => self.memory.erase(&request.memory_namespace, request.ids),
            false => self.memory.delete(&request.memory_namespace, request.ids),
        };
        self.answer(reply, pending, |deleted| DeleteMemory::Response { deleted, ..Default::default() });
    }

    fn snapshot(&mut self, request: SnapshotMemory::Request, reply: Reply<SnapshotMemory::Service>) {
        let rights = || rights::on_all("snapshot");
        let Some(reply) = self.admit(&request.caller, self.put_lifetime, rights, reply) else { return };
        self.answer(reply, self.memory.snapshot(&request.name), |snapshot| SnapshotMemory::Response {
            path: snapshot.path.display().to_string(),
            records: snapshot.records,
            bytes: snapshot.bytes,
            ..Default::default()
        });
    }

    fn restore(&mut self, request: RestoreMemory::Request, reply: Reply<RestoreMemory::Service>) {
        let rights = || rights::on_all("restore");
        let Some(reply) = self.admit(&request.caller, self.put_lifetime, rights, reply) else { return };
        self.answer(reply, self.memory.restore(&request.name), |records| RestoreMemory::Response {
            records,
            ..Default::default()
        });
    }

    fn reanchor(&mut self, request: ReanchorMemory::Request, reply: Reply<ReanchorMemory::Service>) {
        let rights = || rights::on("reanchor", [request.memory_namespace.as_str()]);
        let Some(reply) = self.admit(&request.caller, self.put_lifetime, rights, reply) else { return };
        let transform = match transform_from_ros(&request.transform) {
            Ok(transform) => transform,
            Err(error) => return self.refuse(reply, INVALID, &format!("transform: {error}")),
        };
        let pending = self.memory.reanchor(&request.memory_namespace, &request.frame_id, &request.map_id, transform);
        self.answer(reply, pending, |moved| ReanchorMemory::Response { moved, ..Default::default() });
    }

    fn consolidate(&mut self, request: ConsolidateMemory::Request, reply: Reply<ConsolidateMemory::Service>) {
        let rights = || rights::on("put", [request.memory_namespace.as_str()]);
        let Some(reply) = self.admit(&request.caller, self.put_lifetime, rights, reply) else { return };
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
            reply.send(response(memory.consolidate(&consolidation).wait(), |stored| ConsolidateMemory::Response {
                ids: stored.into_iter().map(|s| s.id).collect(),
                ..Default::default()
            }));
        });
    }
}

/// What the memory found, or its refusal.
fn response<T, E: Caused, R: Refusable>(outcome: Result<T, E>, respond: impl FnOnce(T) -> R) -> R {
    match outcome {
        Ok(found) => respond(found),
        Err(error) => R::refusal(code(error.cause()), error.to_string()),
    }
}
