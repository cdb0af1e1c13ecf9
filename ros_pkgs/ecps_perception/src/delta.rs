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

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(value: u8) -> Tensor {
        Tensor::new("t", DType::U8, vec![100], vec![value; 100]).unwrap()
    }

    fn over(
        receiver: &mut DeltaReceiver,
        (tensor, delta): (Tensor, String),
        sequence: u32,
    ) -> Result<Tensor, DeltaError> {
        receiver.restore(&BTreeMap::from([(DELTA_KEY.to_owned(), delta)]), tensor, sequence)
    }

    #[test]
    fn a_delta_is_applied_to_its_own_key_alone() {
        let (mut sender, mut receiver) = (DeltaSender::new(3), DeltaReceiver::default());
        assert_eq!(over(&mut receiver, sender.prepare(tensor(1), 1), 1), Ok(tensor(1)));
        let delta = sender.prepare(tensor(2), 2);
        assert_eq!(delta.0, tensor(1 ^ 2));
        assert_eq!(over(&mut receiver, delta.clone(), 2), Ok(tensor(2)));

        // The same number, and another key: of a sender that counts anew.
        let mut other = DeltaReceiver::default();
        assert_eq!(over(&mut other, delta.clone(), 2), Err(DeltaError::NoKey(1)));
        over(&mut other, DeltaSender::new(3).prepare(tensor(9), 1), 1).unwrap();
        assert_eq!(over(&mut other, delta.clone(), 2), Err(DeltaError::OtherKey(1)));
        // The right key, and another shape.
        let shape = Tensor::new("t", DType::U8, vec![10, 10], vec![3; 100]).unwrap();
        assert_eq!(over(&mut receiver, (shape, delta.1), 2), Err(DeltaError::OtherKey(1)));
        let unreadable = over(&mut receiver, (tensor(0), "1".into()), 3);
        assert_eq!(unreadable, Err(DeltaError::Unreadable("1".into())));

        // Three tensors later, or when asked, there is a key again.
        assert_ne!(sender.prepare(tensor(3), 3).1, "key");
        assert_eq!(sender.prepare(tensor(4), 4).1, "key");
        sender.resynchronise();
        assert_eq!(sender.prepare(tensor(5), 5).1, "key");
    }
}
