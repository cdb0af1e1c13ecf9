//! Who signs checkpoints. A key in a file for now; a TPM's or HSM's is another [`Signer`].

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signer as _, SigningKey};
use thiserror::Error;

use crate::note::{Checkpoint, NoteError, VerifierKey, signed};

/// Longest key file, bytes.
const KEY_FILE_BYTES: u64 = 4096;
/// How the text of a private key begins.
const PRIVATE: &str = "PRIVATE+KEY+";

/// Signs checkpoints. It may take its time: whoever appends records does not wait for it.
pub trait Signer: Send {
    /// The key that checks what this signs.
    fn verifier(&self) -> &VerifierKey;
    /// The raw signature over `text`, of the verifier's algorithm.
    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// A signer did not sign.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the checkpoint could not be signed: {0}")]
pub struct SignError(
    /// What the signer said.
    pub String,
);

/// Makes a signed note of a checkpoint.
pub(crate) fn note(signer: &dyn Signer, checkpoint: &Checkpoint) -> Result<String, SignError> {
    let text = checkpoint.text();
    Ok(signed(&text, signer.verifier(), &signer.sign(text.as_bytes())?))
}

/// Why a key file cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The system refused.
    #[error("key {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read it.
    #[error("key {}: mode {mode:03o} lets others read it; run chmod 600 on it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Not a key.
    #[error("key {}: it does not hold {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// A name that no key can have.
    #[error(transparent)]
    Name(#[from] NoteError),
}

/// Writes a new file that only its owner can read.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Reads a file that only its owner can read.
pub(crate) fn read_secret(path: &Path) -> Result<String, KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Open { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(KEY_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// An Ed25519 key in this process's memory.
pub struct SoftwareSigner {
    key: SigningKey,
    verifier: VerifierKey,
}

impl std::fmt::Debug for SoftwareSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SoftwareSigner").field(&self.verifier.name()).finish()
    }
}

impl SoftwareSigner {
    /// From 32 random bytes. The name becomes the origin of the checkpoints: give each robot its own.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<SoftwareSigner, NoteError> {
        let key = SigningKey::from_bytes(seed);
        Ok(SoftwareSigner { verifier: VerifierKey::ed25519(name, key.verifying_key())?, key })
    }

    /// Makes a key from the system's randomness and keeps it in a new file of mode 0600.
    pub fn generate(name: &str, path: &Path) -> Result<SoftwareSigner, KeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|error| KeyError::Io { path: path.to_owned(), source: io::Error::other(error.to_string()) })?;
        let signer = SoftwareSigner::from_seed(name, &seed)?;
        let data = BASE64.encode([&[1], seed.as_slice()].concat());
        write_secret(path, &format!("{PRIVATE}{name}+{data}\n"))?;
        Ok(signer)
    }

    /// Reads the key in `path`, or makes it where there is no such file, and the folder where that is missing.
    pub fn load_or_generate(name: &str, path: &Path) -> Result<SoftwareSigner, KeyError> {
        if path.exists() {
            return SoftwareSigner::load(path);
        }
        if let Some(folder) = path.parent() {
            let failed = |source| KeyError::Io { path: folder.to_owned(), source };
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        SoftwareSigner::generate(name, path)
    }

    /// Reads a file that [`SoftwareSigner::generate`] made. One that others may read is refused.
    pub fn load(path: &Path) -> Result<SoftwareSigner, KeyError> {
        let malformed = || KeyError::Malformed { path: path.to_owned(), expected: "an Ed25519 private key" };
        let text = read_secret(path)?;
        let (name, data) = text.trim().strip_prefix(PRIVATE).and_then(|t| t.split_once('+')).ok_or_else(malformed)?;
        let data = BASE64.decode(data).map_err(|_| malformed())?;
        let Some((1, seed)) = data.split_first() else { return Err(malformed()) };
        Ok(SoftwareSigner::from_seed(name, &seed.try_into().map_err(|_| malformed())?)?)
    }
}

impl Signer for SoftwareSigner {
    fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.key.sign(text).to_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::Note;
    use ecps_core::clock::Stamp;

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/r1.key");
        let made = SoftwareSigner::load_or_generate("r1", &path).unwrap();
        let found = SoftwareSigner::load_or_generate("r1", &path).unwrap();
        assert_eq!(made.verifier().to_string(), found.verifier().to_string());
        assert_eq!(std::fs::metadata(folder.path().join("keys")).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_checkpoint_is_what_its_key_signed_and_nothing_else_is() {
        let signer = SoftwareSigner::from_seed("r1", &[7; 32]).unwrap();
        let checkpoint =
            Checkpoint { origin: "r1".into(), size: 9, root: [3; 32], time: Stamp(-4), index: Some((2, [5; 32])) };
        let text = note(&signer, &checkpoint).unwrap();
        let key = VerifierKey::parse(&signer.verifier().to_string()).unwrap();
        assert_eq!(Note::parse(&text).unwrap().verify(&key), Ok(&checkpoint));
        assert_eq!(Note::parse(&text).unwrap().text(), text);
        let forged = Note::parse(&text.replace("\n9\n", "\n8\n")).unwrap();
        assert_eq!(forged.verify(&key), Err(NoteError::Signature { name: "r1".into() }));
        let other = SoftwareSigner::from_seed("r1", &[8; 32]).unwrap();
        let unsigned = Err(NoteError::Unsigned { name: "r1".into() });
        assert_eq!(Note::parse(&text).unwrap().verify(other.verifier()), unsigned);
        let theirs = Checkpoint { origin: "r2".into(), ..checkpoint };
        assert!(Note::parse(&note(&signer, &theirs).unwrap()).unwrap().verify(&key).is_err(), "a foreign origin");
    }

    #[test]
    fn a_key_file_is_the_owners_alone_and_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = SoftwareSigner::generate("r1", &path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SoftwareSigner::load(&path).unwrap().verifier(), made.verifier());
        assert!(matches!(SoftwareSigner::generate("r1", &path), Err(KeyError::Io { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(SoftwareSigner::load(&path), Err(KeyError::Open { mode: 0o640, .. })));
        assert!(!format!("{made:?}").contains(&BASE64.encode(made.key.to_bytes())));
    }
}
