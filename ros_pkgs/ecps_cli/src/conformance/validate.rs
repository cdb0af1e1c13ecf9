//! Whether bytes are an acceptable message of a type.

use ecps_core::clock::Steady;
use ecps_core::limits;
use ecps_core::wire::proto::{
    Ack, CloudEventAttributes, Eap, Ltp, LtpAck, LtpChunk, Mcp, QueryReq, RobotPose, eap::Action,
};
use ecps_core::wire::{self, EAP_SPEC, LTP_HEADER_VERSION, MCP_SPEC};
use ecps_perception::codec::{self, TYPE_ACK};
use ecps_perception::reassembly::{Bounds, Event, Reassembler, Source};
use ecps_perception::tensor::DType;
use prost::Message;

/// Largest message that is read, bytes.
const MESSAGE_BYTES: usize = 16 << 20;

/// The types of the protocol that travel by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs, clippy::upper_case_acronyms)]
pub enum Type {
    #[value(name = "MCP")]
    Mcp,
    #[value(name = "LTP")]
    Ltp,
    #[value(name = "LTPChunk")]
    LtpChunk,
    #[value(name = "LTPAck")]
    LtpAck,
    #[value(name = "EAP")]
    Eap,
    #[value(name = "QueryReq")]
    QueryReq,
    #[value(name = "Ack")]
    Ack,
    #[value(name = "CloudEventAttributes")]
    CloudEventAttributes,
}

/// What is wrong with a message; empty: nothing.
pub fn validate(kind: Type, bytes: &[u8]) -> Vec<String> {
    let mut errors = Errors::default();
    match kind {
        Type::Mcp => mcp(bytes, &mut errors),
        Type::Ltp => drop(errors.take(codec::decode_bytes(bytes))),
        Type::LtpChunk => chunk(bytes, &mut errors),
        Type::LtpAck => ltp_ack(bytes, &mut errors),
        Type::Eap => action(bytes, &mut errors),
        Type::QueryReq => query(bytes, &mut errors),
        Type::Ack => {
            if let Some(ack) = errors.decode::<Ack>(bytes, MESSAGE_BYTES) {
                errors.at_most("message", ack.message.len(), limits::MAP_STRING_BYTES);
            }
        }
        Type::CloudEventAttributes => event(bytes, &mut errors),
    }
    errors.0
}

#[derive(Default)]
struct Errors(Vec<String>);

impl Errors {
    fn add(&mut self, error: impl ToString) {
        self.0.push(error.to_string());
    }

    fn take<T, E: ToString>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    fn decode<M: Message + Default>(&mut self, bytes: &[u8], limit: usize) -> Option<M> {
        self.take(wire::decode::<M>(bytes, limit))
    }

    fn needed(&mut self, field: &str, text: &str) {
        if text.is_empty() {
            self.add(format!("{field} is empty"));
        }
        self.at_most(field, text.len(), limits::NAME_BYTES);
    }

    fn at_most(&mut self, field: &str, found: usize, limit: usize) {
        if found > limit {
            self.add(format!("{field} has {found} bytes, more than the {limit} allowed"));
        }
    }

    fn map<'a>(&mut self, field: &str, entries: impl ExactSizeIterator<Item = (&'a String, &'a String)>) {
        if entries.len() > limits::MAP_ENTRIES {
            self.add(format!("{field} has {} entries, more than the {} allowed", entries.len(), limits::MAP_ENTRIES));
        }
        for (key, value) in entries.take(limits::MAP_ENTRIES) {
            self.at_most(field, key.len().max(value.len()), limits::MAP_STRING_BYTES);
        }
    }

    fn finite(&mut self, field: &str, values: &[f64]) {
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            self.add(format!("{field} has {value}, and must be finite"));
        }
    }
}

fn mcp(bytes: &[u8], errors: &mut Errors) {
    let Some(message) = errors.decode::<Mcp>(bytes, MESSAGE_BYTES) else { return };
    errors.take(wire::check_spec(&message.spec, MCP_SPEC));
    errors.needed("id", &message.id);
    if message.prompt.is_empty() {
        errors.add("prompt is empty");
    }
    errors.at_most("prompt", message.prompt.len(), limits::PROMPT_BYTES);
    if !message.tool_json.is_empty()
        && let Err(error) = serde_json::from_slice::<serde_json::Value>(&message.tool_json)
    {
        errors.add(format!("tool_json is no JSON: {error}"));
    }
    errors.map("meta", message.meta.iter());
}

fn chunk(bytes: &[u8], errors: &mut Errors) {
    let Some(chunk) = errors.decode::<LtpChunk>(bytes, limits::LTP_FRAME_BYTES) else { return };
    let source = Source { sender: "file".into(), stream: "file".into() };
    for event in Reassembler::new(Bounds::default()).chunk(&source, chunk, Steady::default()) {
        if let Event::Refused(refusal) = event {
            errors.add(refusal);
        }
    }
}

fn ltp_ack(bytes: &[u8], errors: &mut Errors) {
    let Some(ack) = errors.decode::<LtpAck>(bytes, limits::LTP_FRAME_BYTES) else { return };
    errors.at_most("message", ack.message.len(), limits::MAP_STRING_BYTES);
    let Some(header) = &ack.header else { return errors.add("the acknowledgement has no header") };
    if (header.version, header.message_type) != (LTP_HEADER_VERSION, TYPE_ACK) {
        let (version, kind) = (header.version, header.message_type);
        errors.add(format!("the header's version is {version} and its type {kind}, and 1 and {TYPE_ACK} are needed"));
    }
    errors.map("metadata", header.metadata.iter());
    let total = header.total_chunks;
    if let Some(index) = ack.missing_chunks.iter().find(|&&index| total > 0 && index >= total) {
        errors.add(format!("chunk {index} is named as missing, and the tensor has {total}"));
    }
    if total > 0 && ack.received_chunks > total {
        errors.add(format!("{} chunks are received of {total}", ack.received_chunks));
    }
    if ack.success && !ack.missing_chunks.is_empty() {
        errors.add(format!("success, with {} chunks missing", ack.missing_chunks.len()));
    }
}

fn action(bytes: &[u8], errors: &mut Errors) {
    let Some(message) = errors.decode::<Eap>(bytes, MESSAGE_BYTES) else { return };
    errors.take(wire::check_spec(&message.spec, EAP_SPEC));
    errors.needed("id", &message.id);
    if !matches!(message.state_sha.len(), 0 | 32) {
        errors.add(format!("state_sha has {} bytes, and must have 0 or 32", message.state_sha.len()));
    }
    errors.map("meta", message.meta.iter());
    match message.action {
        None => errors.add("there is no action"),
        Some(Action::SetPose(target)) => pose("set_pose", Some(&target), errors),
        Some(Action::Navigate(navigate)) => {
            pose("navigate.target_pose", navigate.target_pose.as_ref(), errors);
            errors.finite("navigate", &[navigate.max_velocity.into(), navigate.tolerance.into()]);
        }
        Some(Action::Manipulate(op)) => {
            pose("manipulate.target_pose", op.target_pose.as_ref(), errors);
            errors.finite("manipulate", &[op.approach_distance.into(), op.force_threshold.into()]);
            if !(1..=5).contains(&op.r#type) {
                errors.add(format!("manipulate.type is {}, outside 1 to 5", op.r#type));
            }
        }
        Some(Action::Gripper(op)) => {
            if !(1..=3).contains(&op.command) {
                errors.add(format!("gripper.command is {}, outside 1 to 3", op.command));
            }
            errors.finite("gripper", &[op.position.into(), op.force_limit.into()]);
            if !(0.0..=1.0).contains(&op.position) {
                errors.add(format!("gripper.position is {}, outside 0 to 1", op.position));
            }
        }
        Some(Action::Cloud(op)) => {
            errors.needed("cloud.api_name", &op.api_name);
            errors.needed("cloud.method_name", &op.method_name);
        }
        Some(Action::Sim(op)) => errors.finite("sim.duration_s", &[op.duration_s]),
    }
}

fn pose(field: &str, pose: Option<&RobotPose>, errors: &mut Errors) {
    let Some(pose) = pose else { return errors.add(format!("{field} is missing")) };
    let rotation = [pose.qx, pose.qy, pose.qz, pose.qw];
    errors.finite(field, &[pose.x, pose.y, pose.z]);
    errors.finite(field, &rotation);
    let norm = rotation.iter().map(|part| part * part).sum::<f64>().sqrt();
    if (norm - 1.0).abs() > ecps_core::check::QUATERNION_TOLERANCE {
        errors.add(format!("{field}'s rotation has norm {norm}, and must be a unit quaternion"));
    }
    errors.at_most(field, pose.frame_id.len(), limits::NAME_BYTES);
}

fn query(bytes: &[u8], errors: &mut Errors) {
    let Some(query) = errors.decode::<QueryReq>(bytes, MESSAGE_BYTES) else { return };
    let embedding: Option<Ltp> = query.query_embedding;
    match embedding.map(codec::decode) {
        None => errors.add("query_embedding is missing"),
        Some(Err(error)) => errors.add(format!("query_embedding: {error}")),
        Some(Ok(tensor)) => {
            if tensor.dtype() == DType::F32
                && let Some(values) = errors.take(tensor.to_f32())
            {
                let values: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
                errors.finite("query_embedding", &values);
            }
            let elements = tensor.data().len() / tensor.dtype().bytes();
            if !(1..=limits::EMBEDDING_ELEMENTS).contains(&elements) {
                errors.add(format!(
                    "query_embedding has {elements} elements, outside 1 to {}",
                    limits::EMBEDDING_ELEMENTS
                ));
            }
        }
    }
    if !(-1.0..=1.0).contains(&query.min_sim) {
        errors.add(format!("min_sim is {}, outside -1 to 1", query.min_sim));
    }
}

fn event(bytes: &[u8], errors: &mut Errors) {
    let Some(event) = errors.decode::<CloudEventAttributes>(bytes, MESSAGE_BYTES) else { return };
    errors.needed("id", &event.id);
    errors.needed("source", &event.source);
    if event.specversion != "1.0" {
        errors.add(format!("specversion is '{}', and must be '1.0'", event.specversion));
    }
    const TYPES: [&str; 5] =
        ["ecps.mcp.prompt", "ecps.ltp.tensor", "ecps.eap.action", "ecps.mep.ack", "ecps.mep.query"];
    if !TYPES.contains(&event.r#type.as_str()) {
        errors.add(format!("type is '{}', and must be one of {}", event.r#type, TYPES.join(", ")));
    }
    if let Some(time) = event.time
        && !(0..1_000_000_000).contains(&time.nanos)
    {
        errors.add(format!("time has {} nanoseconds, outside 0 to 999999999", time.nanos));
    }
    errors.map("extensions", event.extensions.iter());
}
