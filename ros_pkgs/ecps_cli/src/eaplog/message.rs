//! Payloads in words, by the schema that the journal itself carries.

use ecps_journal::format::Header;
use ecps_journal::note::hex;
use ecps_journal::record::kind_name;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Map, Value, json};

use super::time_text;

/// Turns payloads to JSON.
pub(super) struct Messages(DescriptorPool);

impl Messages {
    /// With the schema of a superblock; what it does not describe stays without words.
    pub(super) fn new(schema: &[u8]) -> Messages {
        Messages(DescriptorPool::decode(schema).unwrap_or_default())
    }

    /// A message of package `ecps.journal`; none where the schema has none of this name, or the bytes are none.
    pub(super) fn to_json(&self, kind: u16, payload: &[u8]) -> Option<Value> {
        let mut json = self.message(&format!("ecps.journal.{}", kind_name(kind)?), payload)?;
        // An action inside is put into words too.
        if let Value::Object(fields) = &mut json
            && let Some(field) = fields.get_mut("eap")
            && let Some(eap) = self.eap_in(kind, payload)
        {
            *field = eap;
        }
        Some(json)
    }

    fn eap_in(&self, kind: u16, payload: &[u8]) -> Option<Value> {
        use ecps_journal::record::Entry;
        let eap = match Entry::decode(kind, payload).ok()? {
            Entry::Action(action) => action.eap,
            Entry::Imported(imported) => imported.eap,
            _ => return None,
        };
        self.message("ecps.EAP", &eap)
    }

    fn message(&self, name: &str, payload: &[u8]) -> Option<Value> {
        let descriptor = self.0.get_message_by_name(name)?;
        let message = DynamicMessage::decode(descriptor, payload).ok()?;
        let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
        message.serialize_with_options(serde_json::value::Serializer, &options).ok()
    }
}

/// A header's fields, in JSON.
pub(super) fn header_json(segment: u64, header: &Header) -> Map<String, Value> {
    let moment = &header.moment;
    let fields = json!({
        "segment": segment,
        "sequence": header.sequence,
        "kind": header.kind,
        "name": kind_name(header.kind),
        "direction": moment.direction as u8,
        "steady_ns": u64::try_from(moment.steady.0.as_nanos()).unwrap_or(u64::MAX),
        "wall_ns": moment.wall.0,
        "wall": time_text(moment.wall),
        "trace": hex(&moment.trace),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
