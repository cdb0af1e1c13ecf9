//! `ecps-conformance mep-query`: a query of the wire contract against a memory that holds what the answer is made of.
//!
//! The file of expectations holds the memory's tensors. Those with an attribute `similarity` must be the answer, best first
//! and as like as it says; the others are remembered too, and must not be in it.

use std::path::Path;

use ecps_core::check;
use ecps_core::limits::EMBEDDING_ELEMENTS;
use ecps_core::wire::proto::{Ltp, QueryReq};
use ecps_memory::{Likeness, Memory, Options, Query, Record, uuid_ids};
use prost::Message as _;

use crate::delimited::messages;

const MODEL: &str = "conformance";
/// Protocol's defaults, where the request leaves them out.
const K: u32 = 10;
/// Largest embedding after decompression, bytes.
const BYTES: usize = EMBEDDING_ELEMENTS * 8;

/// What does not conform, and how many hits were compared; empty: everything does.
///
/// # Errors
/// A sentence where the files cannot be used.
pub fn mep_query(query: &Path, expected: &Path, tolerance: f64) -> Result<(Vec<String>, usize), String> {
    check::in_range("tolerance", tolerance, 0.0, 2.0).map_err(|e| e.to_string())?;
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let memory =
        Memory::open(&folder.path().join("memory.db"), Options::default(), uuid_ids()).map_err(|e| e.to_string())?;
    let mut wanted = Vec::new();
    for (index, bytes) in messages(expected).map_err(|e| e.to_string())?.iter().enumerate() {
        let at = |e: String| format!("{}, message {index}: {e}", expected.display());
        let tensor = Ltp::decode(bytes.as_slice()).map_err(|e| at(e.to_string()))?;
        let (id, embedding) = (format!("{index:06}"), vector(&tensor).map_err(at)?);
        let record = Record { id: id.clone(), model_id: MODEL.into(), embedding, ..Record::default() };
        memory.put(vec![record]).wait().map_err(|e| at(e.to_string()))?;
        if let Some(similarity) = tensor.attributes.get("similarity") {
            let similarity: f64 = similarity.parse().map_err(|e| at(format!("similarity is '{similarity}': {e}")))?;
            wanted.push((id, check::finite("similarity", similarity).map_err(|e| at(e.to_string()))?));
        }
    }
    let requests = messages(query).map_err(|e| e.to_string())?;
    let [request] = requests.as_slice() else {
        return Err(format!("{} holds {} messages, and must hold one QueryReq", query.display(), requests.len()));
    };
    let request = QueryReq::decode(request.as_slice()).map_err(|e| format!("{}: {e}", query.display()))?;
    let tensor = request.query_embedding.ok_or_else(|| format!("{} has no query_embedding", query.display()))?;
    let likeness = Likeness { model_id: MODEL.into(), embedding: vector(&tensor)? };
    let k = if request.k == 0 { K } else { request.k };
    let min_sim = if request.min_sim == 0.0 { Query::default().min_sim } else { request.min_sim };
    let asked = Query { likeness: Some(likeness), k, min_sim, exact: true, ..Query::default() };
    let answer = memory.query(asked).wait().map_err(|e| e.to_string())?;

    let mut errors = Vec::new();
    if answer.hits.len() != wanted.len() {
        errors.push(format!("{} hits are expected, and {} were found", wanted.len(), answer.hits.len()));
    }
    for (place, (hit, (id, similarity))) in answer.hits.iter().zip(&wanted).enumerate() {
        let found = f64::from(hit.similarity.unwrap_or(f32::NAN));
        if (found - similarity).abs() > tolerance || found.is_nan() {
            errors.push(format!("hit {place} has similarity {found}, and {similarity} ± {tolerance} is expected"));
        }
        // Where two are equally like within the tolerance, either may come first.
        let own = wanted.iter().find(|(other, _)| *other == hit.record.id).map(|(_, own)| *own);
        if hit.record.id != *id && own.is_none_or(|own| (own - similarity).abs() > tolerance) {
            errors.push(format!("hit {place} is message {}, and message {id} is expected", hit.record.id));
        }
    }
    Ok((errors, answer.hits.len()))
}

/// The tensor's elements.
fn vector(tensor: &Ltp) -> Result<Vec<f32>, String> {
    let bytes = zstd::bulk::decompress(&tensor.tensor_zstd, BYTES).map_err(|e| format!("its tensor: {e}"))?;
    let numbers: Vec<f32> = match tensor.dtype.as_str() {
        "f32" => bytes.chunks_exact(4).filter_map(|v| v.try_into().ok().map(f32::from_le_bytes)).collect(),
        "f64" => {
            bytes.chunks_exact(8).filter_map(|v| v.try_into().ok().map(|v| f64::from_le_bytes(v) as f32)).collect()
        }
        other => return Err(format!("its dtype is '{other}', and an embedding is f32 or f64")),
    };
    let elements = tensor.shape.iter().fold(1_u64, |product, extent| product.saturating_mul(u64::from(*extent)));
    if elements != numbers.len() as u64 {
        return Err(format!("its shape {:?} has {elements} elements, and its tensor {}", tensor.shape, numbers.len()));
    }
    Ok(numbers)
}
