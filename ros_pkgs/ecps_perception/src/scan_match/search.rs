//! Correlative search: the pose in a window at which most points fall onto the reference, by branch and bound.

use std::f64::consts::TAU;

use nalgebra::{Isometry2, Vector2};

use super::points::ScanPoints;

/// How far apart the two scans may have been taken along each axis, metres.
const REACH: f64 = 1.6;
/// Side of a cell, metres.
const CELL: f64 = 0.1;
/// Rotations tried: one each 3°. The refinement does the rest.
const ROTATIONS: usize = 120;
/// Halvings of a block; the largest has 2⁴ cells = 1.6 m a side.
const LEVELS: usize = 4;
/// Points farther away take no part in the search: a step of 3° moves them too far.
const FARTHEST: f64 = 12.0;
/// Least share of the points that must come to lie near the reference.
const LEAST_SCORE: f64 = 0.45;

/// The best pose of the query in the reference's frame, if any is good enough.
pub(super) fn search(field: &Field, query: &ScanPoints) -> Option<Isometry2<f64>> {
    let near = query.sparse.iter().filter(|point| point.coords.norm() < FARTHEST).collect::<Vec<_>>();
    let mut rotated = Vec::with_capacity(ROTATIONS);
    for rotation in 0..ROTATIONS {
        let (sin, cos) = angle(rotation).sin_cos();
        let cells = near.iter().map(|p| field.cell(cos * p.x - sin * p.y, sin * p.x + cos * p.y));
        rotated.push(cells.collect::<Vec<(i32, i32)>>());
    }
    let block = 1 << LEVELS;
    let mut best = Node { bound: (LEAST_SCORE * 255.0 * near.len() as f64) as u32, rotation: 0, x: 0, y: 0, level: 0 };
    let mut found = false;
    let mut open = Vec::new();
    for (rotation, cells) in rotated.iter().enumerate() {
        for (x, y) in [(-block, -block), (-block, 0), (0, -block), (0, 0)] {
            let bound = field.score(LEVELS, cells, x, y);
            if bound > best.bound {
                open.push(Node { bound, rotation, x, y, level: LEVELS });
            }
        }
    }
    open.sort_by_key(|node| node.bound);
    // Depth first, the most promising child last on the stack and so first off it.
    while let Some(node) = open.pop() {
        if node.bound <= best.bound {
            continue;
        }
        if node.level == 0 {
            (best, found) = (node, true);
            continue;
        }
        let Some(cells) = rotated.get(node.rotation) else { continue };
        let level = node.level - 1;
        let half = 1 << level;
        let mut children = [(0, 0), (half, 0), (0, half), (half, half)].map(|(dx, dy)| {
            let (x, y) = (node.x + dx, node.y + dy);
            Node { bound: field.score(level, cells, x, y), rotation: node.rotation, x, y, level }
        });
        children.sort_by_key(|child| child.bound);
        open.extend(children.into_iter().filter(|child| child.bound > best.bound));
    }
    let shift = Vector2::new(f64::from(best.x), f64::from(best.y)) * CELL;
    found.then(|| Isometry2::new(shift, angle(best.rotation)))
}

fn angle(rotation: usize) -> f64 {
    TAU * rotation as f64 / ROTATIONS as f64
}

/// A rotation and a block of `2^level` by `2^level` translations, and the most that any of them can score.
#[derive(Clone, Copy)]
struct Node {
    bound: u32,
    rotation: usize,
    x: i32,
    y: i32,
    level: usize,
}

/// How near each cell is to the reference's surfaces (255 on them), and the greatest value in the blocks from each cell on.
#[derive(Debug)]
pub(super) struct Field {
    width: i32,
    height: i32,
    origin: (f64, f64),
    levels: Vec<Vec<u8>>,
}

/// Value of a cell by its distance from a point in cells: a bell of about 0.15 m.
const BELL: [[u8; 3]; 3] = [[255, 200, 80], [200, 150, 60], [80, 60, 20]];

impl Field {
    pub(super) fn new(reference: &ScanPoints) -> Option<Field> {
        // Blocks that start outside must not reach a filled cell, hence a margin of a block and the bell.
        let margin = (1 << LEVELS) as f64 + BELL.len() as f64 + 1.0;
        let points = || reference.points.iter().map(|point| point.at).filter(|at| at.coords.norm() < FARTHEST + REACH);
        let fold = |pick: fn(f64, f64) -> f64, axis: fn(&nalgebra::Point2<f64>) -> f64| {
            points().map(|at| axis(&at) / CELL).reduce(pick)
        };
        let (left, right) = (fold(f64::min, |p| p.x)? - margin, fold(f64::max, |p| p.x)? + margin);
        let (bottom, top) = (fold(f64::min, |p| p.y)? - margin, fold(f64::max, |p| p.y)? + margin);
        let (width, height) = ((right - left).ceil() as i32, (top - bottom).ceil() as i32);
        let mut field = Field { width, height, origin: (left, bottom), levels: Vec::with_capacity(LEVELS + 1) };
        let mut cells = vec![0_u8; width as usize * height as usize];
        for at in points() {
            let (x, y) = field.cell(at.x, at.y);
            for (dy, row) in (-2..=2_i32).map(|dy| (dy, BELL.get(dy.unsigned_abs() as usize))) {
                for dx in -2..=2_i32 {
                    let value = row.and_then(|row| row.get(dx.unsigned_abs() as usize)).copied().unwrap_or(0);
                    if let Some(cell) = field.index(x + dx, y + dy).and_then(|index| cells.get_mut(index)) {
                        *cell = value.max(*cell);
                    }
                }
            }
        }
        field.levels.push(cells);
        for level in 1..=LEVELS {
            let finer = field.levels.last()?;
            let wider = pooled(finer, width as usize, 1 << (level - 1));
            field.levels.push(wider);
        }
        Some(field)
    }

    fn cell(&self, x: f64, y: f64) -> (i32, i32) {
        ((x / CELL - self.origin.0).floor() as i32, (y / CELL - self.origin.1).floor() as i32)
    }

    fn index(&self, x: i32, y: i32) -> Option<usize> {
        let inside = (0..self.width).contains(&x) && (0..self.height).contains(&y);
        inside.then_some((y * self.width + x) as usize)
    }

    /// Sum over the cells, moved by (x, y), of the greatest value in their blocks.
    fn score(&self, level: usize, cells: &[(i32, i32)], x: i32, y: i32) -> u32 {
        let Some(values) = self.levels.get(level) else { return 0 };
        let value = |&(cx, cy): &(i32, i32)| {
            self.index(cx + x, cy + y).and_then(|index| values.get(index)).map_or(0, |&value| u32::from(value))
        };
        cells.iter().map(value).sum()
    }
}

/// The greatest of the four cells `step` apart, from each cell on; outside is 0.
fn pooled(cells: &[u8], width: usize, step: usize) -> Vec<u8> {
    let mut across = cells.to_vec();
    for (row, source) in across.chunks_mut(width).zip(cells.chunks(width)) {
        for (cell, &other) in row.iter_mut().zip(source.iter().skip(step)) {
            *cell = other.max(*cell);
        }
    }
    let mut both = across.clone();
    for (cell, &other) in both.iter_mut().zip(across.iter().skip(step * width)) {
        *cell = other.max(*cell);
    }
    both
}
