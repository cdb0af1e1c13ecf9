//! Sizes that bind (source: the protocol's "Version strings and limits"). Each is checked before anything is allocated.

/// Largest LTP frame on the wire, bytes. Larger tensors travel as chunks.
pub const LTP_FRAME_BYTES: usize = 1 << 20;
/// What an LTP chunk leaves free for its header, bytes: chunk payload = largest chunk − this.
pub const LTP_CHUNK_HEADROOM_BYTES: usize = 1024;
/// Largest tensor after decompression, bytes.
pub const TENSOR_BYTES: usize = 256 << 20;
/// Most dimensions of a tensor.
pub const TENSOR_DIMENSIONS: usize = 16;
/// Most entries of a metadata map.
pub const MAP_ENTRIES: usize = 64;
/// Longest key or value of a metadata map, bytes.
pub const MAP_STRING_BYTES: usize = 1024;
/// Longest name or id, bytes.
pub const NAME_BYTES: usize = 256;
/// Longest access token, bytes.
pub const TOKEN_BYTES: usize = 8192;
/// Longest prompt, bytes of UTF-8; longer ones are refused, never cut.
pub const PROMPT_BYTES: usize = 16384;
/// Most elements of an embedding.
pub const EMBEDDING_ELEMENTS: usize = 4096;
/// Largest payload of a memory, bytes.
pub const MEMORY_PAYLOAD_BYTES: usize = 1 << 20;
