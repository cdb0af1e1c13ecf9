//! The JSON header of versions 1.1 to 2.1.

use std::time::{Duration, UNIX_EPOCH};

use ecps_core::clock::Stamp;
use serde_json::{Value, json};
use thiserror::Error;

use super::Version;
use crate::note::hex;

/// Why a header cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// A version that has no header, or that nobody knows.
    #[error("the header names version '{0}', and those with a header are 1.1, 2.0 and 2.1")]
    Version(String),
}

/// The header of an old file.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    version: Version,
    fields: Value,
}

impl Header {
    /// A new header. `created` is wall time.
    pub fn new(version: Version, created: Stamp, robot: &str, session: [u8; 16]) -> Header {
        let created = UNIX_EPOCH + Duration::from_nanos(u64::try_from(created.0).unwrap_or(0));
        let fields = json!({
            "magic": "EAPLOG",
            "version": version.name(),
            "created_at": humantime::format_rfc3339_seconds(created).to_string(),
            "sdk_version": concat!("ecps_journal ", env!("CARGO_PKG_VERSION")),
            "robot_id": robot,
            "session_id": hex(&session),
            "compression": "none",
            "encryption": "none",
            "checksum_type": "crc32",
            "metadata": {},
        });
        Header { version, fields }
    }

    /// From the bytes after the length; none where they are no header.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
        let Ok(fields @ Value::Object(_)) = serde_json::from_slice::<Value>(bytes) else { return Ok(None) };
        if fields.get("magic").and_then(Value::as_str) != Some("EAPLOG") {
            return Ok(None);
        }
        let name = fields.get("version").and_then(Value::as_str).unwrap_or_default();
        let version = name.parse().ok().filter(|version| (Version::V1_1..=Version::V2_1).contains(version));
        let version = version.ok_or_else(|| HeaderError::Version(name.chars().take(32).collect()))?;
        Ok(Some(Header { version, fields }))
    }

    /// The version it names.
    pub fn version(&self) -> Version {
        self.version
    }

    /// A field that is a string; none where it is missing or something else.
    pub fn text_field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    /// The same header, of another version; all else stays, also what is not known here.
    #[must_use]
    pub fn with_version(mut self, version: Version) -> Header {
        self.version = version;
        if let Value::Object(fields) = &mut self.fields {
            fields.insert("version".into(), version.name().into());
        }
        self
    }

    /// With an entry in `metadata`.
    #[must_use]
    pub fn with_metadata(mut self, key: &str, value: &str) -> Header {
        if let Value::Object(fields) = &mut self.fields {
            let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
            if let Value::Object(metadata) = metadata {
                metadata.insert(key.into(), value.into());
            }
        }
        self
    }

    /// As it is written.
    pub fn text(&self) -> String {
        self.fields.to_string()
    }
}
