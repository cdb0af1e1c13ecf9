//! Perception: sensor messages become tensors, tensors become frames that survive lossy links, and scans and images
//! become vectors by which a place is found again. No ROS: the bridge maps topics and parameters onto this.
//!
//! | module | what it holds |
//! |---|---|
//! | [`tensor`] | the dense tensor: element types, shape, strides made compact |
//! | [`compression`] | none, zstd or LZ4, with or without byte shuffle, or whatever measures best |
//! | [`codec`] | tensor to LTP frame (compression, CRC-32) and back, every size checked before it is believed |
//! | [`chunks`] | frames too large to travel whole, cut into chunks |
//! | [`delta`] | slowly changing tensors as their difference to a key frame |
//! | [`outbox`], [`inbox`], [`link`] | the two ends of a stream, reliable or best effort, and what they agree on |
//! | [`lossy`] | a bad link, from a seed, in simulated time |
//! | [`reassembly`] | chunks put together again, out of order, within bounded memory and time |
//! | [`cdr`] | messages as they lie in DDS |
//! | [`npy`] | NumPy files |
//! | [`sensor`] | laser scans, images, point clouds and arrays to tensors and back, without loss |
//! | [`poses`] | where the robot was when, from odometry |
//! | [`embed`] | place descriptor of a scan, appearance descriptor of an image |
//! | [`scan_match`] | whether two scans show the same place, and the motion between them |

pub mod cdr;
pub mod chunks;
pub mod codec;
pub mod compression;
pub mod delta;
pub mod embed;
pub mod inbox;
pub mod link;
pub mod lossy;
#[cfg(feature = "node")]
pub mod node;
pub mod npy;
pub mod outbox;
pub mod poses;
pub mod reassembly;
pub mod scan_match;
pub mod sensor;
pub mod tensor;
