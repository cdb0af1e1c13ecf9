//! Slowly changing tensors as their difference to a key frame.
//!
//! Every so many tensors one goes whole, as a key; those after it go as the exclusive or of their bytes with the key's,
//! which is mostly zeros where little changed. Deltas refer to the key alone and not to one another, so that a lost one
//! costs nothing but itself; a receiver that lacks the key says so, and the next tensor becomes one. The checksum of the
//! key's bytes travels with each delta, so that no delta is ever applied to another key.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::tensor::{DType, Tensor};

/// Key in `header.metadata`: "key" on a key frame, "SEQUENCE CRC32" of its key on a delta.
pub const DELTA_KEY: &str = "delta";
const IS_KEY: &str = "key";

/// Why a delta became no tensor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeltaError {
    /// The key that it refers to is not here.
    #[error("the tensor is a difference to key frame {0}, which is not here")]
    NoKey(u32),
    /// The key has another checksum, type or shape.
    #[error("the tensor is a difference to another key frame {0} than the one that is here")]
    OtherKey(u32),
    /// Unreadable metadata.
    #[error("the metadata '{DELTA_KEY}' is '{0}', and must be 'key' or a key's number and checksum")]
    Unreadable(String),
}

#[derive(Debug)]
struct Key {
    sequence: u32,
    crc: u32,
    dtype: DType,
    shape: Vec<u32>,
    data: Vec<u8>,
}

impl Key {
    fn of(tensor: &Tensor, sequence: u32) -> Key {
        let (dtype, shape, data) = (tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec());
        Key { sequence, crc: crc32fast::hash(&data), dtype, shape, data }
    }

    fn fits(&self, tensor: &Tensor) -> bool {
        self.dtype == tensor.dtype() && self.shape == tensor.shape()
    }
}

/// The sending side.
#[derive(Debug)]
pub struct DeltaSender {
    every: u32,
    since: u32,
    key: Option<Key>,
}

impl DeltaSender {
    /// One key in `every` tensors.
    pub fn new(every: u32) -> DeltaSender {
        DeltaSender { every, since: 0, key: None }
    }

    /// The next tensor is a key.
    pub fn resynchronise(&mut self) {
        self.key = None;
    }

    /// The tensor as it goes, and the value of [`DELTA_KEY`].
    pub fn prepare(&mut self, mut tensor: Tensor, sequence: u32) -> (Tensor, String) {
        self.since += 1;
        match self.key.as_ref().filter(|key| key.fits(&tensor) && self.since < self.every) {
            Some(key) => {
                tensor.xor(&key.data);
                (tensor, format!("{} {:08x}", key.sequence, key.crc))
            }
            None => {
                self.since = 0;
                self.key = Some(Key::of(&tensor, sequence));
                (tensor, IS_KEY.to_owned())
            }
        }
    }
}

/// The receiving side of one sender's stream.
#[derive(Debug, Default)]
pub struct DeltaReceiver {
    key: Option<Key>,
}

impl DeltaReceiver {
    /// The tensor as it was before [`DeltaSender::prepare`]. What is no delta stream passes.
    ///
    /// # Errors
    /// [`DeltaError`].
    pub fn restore(
        &mut self,
        metadata: &BTreeMap<String, String>,
        mut tensor: Tensor,
        sequence: u32,
    ) -> Result<Tensor, DeltaError> {
        let Some(text) = metadata.get(DELTA_KEY) else { return Ok(tensor) };
        if text == IS_KEY {
            self.key = Some(Key::of(&tensor, sequence));
            return Ok(tensor);
        }
        let parse = || {
            let (sequence, crc) = text.split_once(' ')?;
            Some((sequence.parse::<u32>().ok()?, u32::from_str_radix(crc, 16).ok()?))
        };
        let (wanted, crc) = parse().ok_or_else(|| DeltaError::Unreadable(text.chars().take(64).collect()))?;
        let key = self.key.as_ref().filter(|key| key.sequence == wanted).ok_or(DeltaError::NoKey(wanted))?;
        if key.crc != crc || !key.fits(&tensor) {
            return Err(DeltaError::OtherKey(wanted));
        }
        tensor.xor(&key.data);
        Ok(tensor)
    }

    /// Bytes that the key holds.
    pub fn held_bytes(&self) -> usize {
        self.key.as_ref().map_or(0, |key| key.data.capacity())
    }
}
