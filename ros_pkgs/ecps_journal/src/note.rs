//! Checkpoints: signed notes (<https://c2sp.org/signed-note>) over the head of the journal's tree
//! (<https://c2sp.org/tlog-checkpoint>), and the keys that check them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ecps_core::clock::Stamp;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::format::Digest;

/// Longest note, bytes.
pub const NOTE_BYTES: usize = 16 << 10;
/// Most signatures of one note.
const SIGNATURES: usize = 16;
/// Signature type of Ed25519 in a signed note.
const ED25519: u8 = 1;

/// Why a note or key says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoteError {
    /// Not a signed note, or its text is no checkpoint.
    #[error("this is no signed checkpoint: {0}")]
    Malformed(&'static str),
    /// Not a verifier key.
    #[error("this is no verifier key of the form name+hash+base64: {0}")]
    Key(&'static str),
    /// No signature by the key.
    #[error("the checkpoint has no signature by the key '{name}'")]
    Unsigned {
        /// Name of the key.
        name: String,
    },
    /// A signature that is not what the key would make.
    #[error("the signature by the key '{name}' is not over this checkpoint")]
    Signature {
        /// Name of the key.
        name: String,
    },
}

/// A public key with a name, as text `name+hash+base64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl VerifierKey {
    /// An Ed25519 key. A name has 1 to 256 bytes, without white space and `+`.
    pub fn ed25519(name: &str, key: VerifyingKey) -> Result<VerifierKey, NoteError> {
        if name.is_empty() || name.len() > ecps_core::limits::NAME_BYTES {
            return Err(NoteError::Key("its name must have 1 to 256 bytes"));
        }
        if name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+') {
            return Err(NoteError::Key("its name must be without white space and '+'"));
        }
        let hash =
            Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(key.as_bytes()).finalize();
        let [a, b, c, d, ..] = <Digest>::from(hash);
        Ok(VerifierKey { name: name.to_owned(), id: [a, b, c, d], key })
    }

    /// From its text.
    pub fn parse(text: &str) -> Result<VerifierKey, NoteError> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(hash), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key("it must have three parts"));
        };
        let data = BASE64.decode(data).map_err(|_| NoteError::Key("its last part is not base64"))?;
        let Some((&ED25519, key)) = data.split_first() else {
            return Err(NoteError::Key("its algorithm is not Ed25519, the only one known here"));
        };
        let key = <[u8; 32]>::try_from(key).map_err(|_| NoteError::Key("an Ed25519 key has 32 bytes"))?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| NoteError::Key("it is no point of the curve"))?;
        let key = VerifierKey::ed25519(name, key)?;
        if hex(&key.id) == hash { Ok(key) } else { Err(NoteError::Key("its hash does not fit its name and key")) }
    }

    /// Its name, which is also the origin of the checkpoints it signs.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn check(&self, text: &str, signature: &[u8]) -> Result<(), NoteError> {
        let bad = || NoteError::Signature { name: self.name.clone() };
        let signature = Signature::from_slice(signature).map_err(|_| bad())?;
        self.key.verify_strict(text.as_bytes(), &signature).map_err(|_| bad())
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let data = [&[ED25519], self.key.as_bytes().as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, hex(&self.id), BASE64.encode(data))
    }
}

/// Lower-case hexadecimal digits of bytes.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a checkpoint says: that a journal had this tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which journal: the name of its key.
    pub origin: String,
    /// Records in the tree: all up to the one with this sequence.
    pub size: u64,
    /// Its head.
    pub root: Digest,
    /// Wall time of the last of those records.
    pub time: Stamp,
    /// Number of a segment that ends with those records, and the SHA-256 of its index; only in footers.
    pub index: Option<(u64, Digest)>,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        let Checkpoint { origin, size, root, time, index } = self;
        let mut text = format!("{origin}\n{size}\n{}\ntime {}\n", BASE64.encode(root), time.0);
        if let Some((segment, digest)) = index {
            text.push_str(&format!("index {segment} {}\n", BASE64.encode(digest)));
        }
        text
    }

    fn parse(text: &str) -> Result<Checkpoint, NoteError> {
        let malformed = NoteError::Malformed;
        let digest = |text: &str| {
            let bytes = BASE64.decode(text).map_err(|_| malformed("a digest is not base64"))?;
            Digest::try_from(bytes.as_slice()).map_err(|_| malformed("a digest has other than 32 bytes"))
        };
        let mut lines = text.lines();
        let origin = lines.next().filter(|line| !line.is_empty()).ok_or(malformed("it names no origin"))?.to_owned();
        let size = lines.next().filter(|line| *line == "0" || !line.starts_with(['0', '+']));
        let size = size.and_then(|line| line.parse().ok()).ok_or(malformed("its second line is no size"))?;
        let root = digest(lines.next().ok_or(malformed("it has no root"))?)?;
        let mut checkpoint = Checkpoint { origin, size, root, time: Stamp(0), index: None };
        for line in lines {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["time", time] => {
                    checkpoint.time = Stamp(time.parse().map_err(|_| malformed("its time is no number"))?);
                }
                ["index", segment, sha] => {
                    let segment = segment.parse().map_err(|_| malformed("its index names no segment"))?;
                    checkpoint.index = Some((segment, digest(sha)?));
                }
                // Extension lines of newer writers.
                _ => {}
            }
        }
        Ok(checkpoint)
    }
}

/// A checkpoint with its signatures, none of which has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    checkpoint: Checkpoint,
    signatures: Vec<(String, [u8; 4], Vec<u8>)>,
}

impl Note {
    /// From its text.
    pub fn parse(note: &str) -> Result<Note, NoteError> {
        if note.len() > NOTE_BYTES {
            return Err(NoteError::Malformed("it is longer than 16 KiB"));
        }
        let Some((text, lines)) = note.rsplit_once("\n\n") else {
            return Err(NoteError::Malformed("it has no signatures"));
        };
        let text = format!("{text}\n");
        let mut signatures = Vec::new();
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed("its last line does not end"))?;
        for line in lines.split('\n') {
            let parts = line.strip_prefix("— ").and_then(|rest| rest.split_once(' '));
            let (name, data) = parts.ok_or(NoteError::Malformed("a signature line does not begin with '— name '"))?;
            let data = BASE64.decode(data).map_err(|_| NoteError::Malformed("a signature is not base64"))?;
            let (id, signature) =
                data.split_first_chunk().ok_or(NoteError::Malformed("a signature is shorter than its key's id"))?;
            if signatures.len() >= SIGNATURES {
                return Err(NoteError::Malformed("it has more than 16 signatures"));
            }
            signatures.push((name.to_owned(), *id, signature.to_vec()));
        }
        Ok(Note { checkpoint: Checkpoint::parse(&text)?, text, signatures })
    }

    /// All of it, as it is kept.
    pub fn text(&self) -> String {
        let line = |(name, id, signature): &(String, [u8; 4], Vec<u8>)| {
            format!("— {name} {}\n", BASE64.encode([id.as_slice(), signature].concat()))
        };
        format!("{}\n{}", self.text, self.signatures.iter().map(line).collect::<String>())
    }

    /// What it says, if the signature by `key` is good. Others' signatures are passed over.
    pub fn verify(&self, key: &VerifierKey) -> Result<&Checkpoint, NoteError> {
        let ours = self.signatures.iter().find(|(name, id, _)| *name == key.name && *id == key.id);
        let (_, _, signature) = ours.ok_or_else(|| NoteError::Unsigned { name: key.name.clone() })?;
        key.check(&self.text, signature)?;
        if self.checkpoint.origin != key.name {
            return Err(NoteError::Malformed("its origin is not the name of its key"));
        }
        Ok(&self.checkpoint)
    }

    /// What it says, whoever says so.
    pub fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

/// Puts a signature under a text.
pub(crate) fn signed(text: &str, key: &VerifierKey, signature: &[u8]) -> String {
    let data = BASE64.encode([key.id.as_slice(), signature].concat());
    format!("{text}\n— {} {data}\n", key.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example key and note of Go's golang.org/x/mod/sumdb/note, which the C2SP specification was taken from.
    #[test]
    fn a_key_and_a_signature_that_other_software_made_are_understood() {
        let key = VerifierKey::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
        assert_eq!(key.name(), "PeterNeumann");
        assert_eq!(key.to_string(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
        let text =
            "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let line = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
        let data = BASE64.decode(line).unwrap();
        assert_eq!(data[..4], key.id);
        assert_eq!(key.check(text, &data[4..]), Ok(()));
        assert!(key.check(&text.replace("answer", "Answer"), &data[4..]).is_err());
    }

    #[test]
    fn what_is_no_key_and_no_note_is_refused() {
        for text in
            ["", "a", "a+b", "a+00000000+!", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"]
        {
            assert!(VerifierKey::parse(text).is_err(), "{text}");
        }
        let root = BASE64.encode([1; 32]);
        let good = format!("o\n7\n{root}\ntime 5\nnews\n\n— o AAAAAAAA\n");
        assert_eq!(Note::parse(&good).unwrap().unverified().size, 7);
        for bad in [
            String::new(),
            good.replace("\n7\n", "\n07\n"),
            good.replace("\n7\n", "\n-7\n"),
            good.replace(&root, "AAAA"),
            good.replace("— ", "- "),
            good.replace("AAAAAAAA", "AA"),
            good.replace("time 5", "time x"),
            good.trim_end().to_owned(),
            format!("{good}{}", "— o AAAAAAAA\n".repeat(20)),
            good.replace("news", &"x".repeat(20_000)),
        ] {
            assert!(Note::parse(&bad).is_err(), "{bad}");
        }
    }
}
