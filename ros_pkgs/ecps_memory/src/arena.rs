//! The vectors of one model in one namespace, side by side, with what filters ask for.

use std::collections::HashMap;

use ecps_core::clock::Stamp;

use crate::best::{Best, Candidate};
use crate::query::SIMILARITY_TOLERANCE;
use crate::vector::{Block, blocks, dot};

/// What filters read first, 48 bytes a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) time: Stamp,
    pub(crate) place: Option<Placed>,
}

/// A position (metres) in a frame (by number).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) frame: u32,
    pub(crate) at: [f64; 3],
}

/// What is read of the few that passed.
#[derive(Debug)]
pub(crate) struct Details {
    pub(crate) row: i64,
    pub(crate) id: Box<str>,
    /// Label numbers.
    pub(crate) labels: Box<[u32]>,
}

/// A query's conditions in the arena's terms.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) not_before: Stamp,
    pub(crate) not_after: Stamp,
    /// Centre and squared radius.
    pub(crate) place: Option<(Placed, f64)>,
    pub(crate) labels: Vec<u32>,
}

impl Filter {
    fn passes(&self, facts: &Facts, labels: &[u32]) -> bool {
        let in_time = self.not_before <= facts.time && facts.time <= self.not_after;
        let in_place = || match (&self.place, &facts.place) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((centre, radius_squared)), Some(place)) => {
                let squared: f64 = centre.at.iter().zip(&place.at).map(|(a, b)| (a - b) * (a - b)).sum();
                centre.frame == place.frame && squared <= *radius_squared
            }
        };
        in_time && in_place() && self.labels.iter().all(|label| labels.contains(label))
    }
}

/// Unit vectors contiguous, the rest in parallel arrays. Order means nothing: what is removed is replaced by the last.
#[derive(Debug)]
pub(crate) struct Arena {
    dimension: usize,
    vectors: Vec<Block>,
    facts: Vec<Facts>,
    details: Vec<Details>,
    slots: HashMap<i64, usize>,
}

impl Arena {
    pub(crate) fn new(dimension: usize) -> Self {
        Arena { dimension, vectors: Vec::new(), facts: Vec::new(), details: Vec::new(), slots: HashMap::new() }
    }

    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    pub(crate) fn len(&self) -> usize {
        self.facts.len()
    }

    /// Adds a record; `vector` has the arena's dimension.
    pub(crate) fn add(&mut self, vector: &[Block], facts: Facts, details: Details) {
        self.slots.insert(details.row, self.facts.len());
        self.vectors.extend_from_slice(vector);
        self.facts.push(facts);
        self.details.push(details);
    }

    /// Takes a record out.
    pub(crate) fn remove(&mut self, row: i64) -> Option<(Facts, Details)> {
        let slot = self.slots.remove(&row)?;
        let width = blocks(self.dimension);
        let kept = self.vectors.len().checked_sub(width)?;
        if slot * width < kept {
            self.vectors.copy_within(kept.., slot * width);
        }
        self.vectors.truncate(kept);
        let removed = (self.facts.swap_remove(slot), self.details.swap_remove(slot));
        if let Some(moved) = self.details.get(slot) {
            self.slots.insert(moved.row, slot);
        }
        Some(removed)
    }

    /// Offers every record that passes and is like enough. Filters come first: they cost far less than a dot product.
    pub(crate) fn scan<'a>(&'a self, filter: &Filter, like: Option<(&[Block], f32)>, best: &mut Best<'a>) {
        let vectors = self.vectors.chunks_exact(blocks(self.dimension));
        for ((facts, details), vector) in self.facts.iter().zip(&self.details).zip(vectors) {
            if !filter.passes(facts, &details.labels) {
                continue;
            }
            let similarity = match like {
                None => 0.0,
                Some((query, min_sim)) => {
                    let similarity = dot(query, vector).clamp(-1.0, 1.0);
                    if similarity < min_sim - SIMILARITY_TOLERANCE {
                        continue;
                    }
                    similarity
                }
            };
            best.offer(Candidate { similarity, time: facts.time, id: &details.id, row: details.row });
        }
    }
}
