//! The linear program in the plane: the velocity nearest to a preferred one within half-planes and a disc.
//!
//! Incremental, as in de Berg et al., "Computational Geometry", chapter 4, and in RVO2. Where the half-planes leave nothing, the
//! soft ones are relaxed all by the same amount, the least that will do: a linear program in three dimensions.

use super::lines::{Line, Vec2};

/// Lines whose directions' cross product is below this count as parallel.
const PARALLEL: f32 = 1e-5;

/// What is optimised.
#[derive(Debug, Clone, Copy)]
enum Aim {
    /// To be near to this.
    Point(Vec2),
    /// To be far out in this direction, of length one.
    Direction(Vec2),
}

/// The velocity nearest to `preferred` and at most `radius` long. The first `hard` of the lines are never relaxed; `None`
/// where they leave nothing.
#[inline(always)]
pub(super) fn solve(lines: &[Line], hard: usize, radius: f32, preferred: Vec2, room: &mut Vec<Line>) -> Option<Vec2> {
    match within(lines, radius, Aim::Point(preferred)) {
        Ok(velocity) => Some(velocity),
        Err((failed, _)) if failed < hard => None,
        Err((failed, velocity)) => Some(relaxed(lines, hard, failed, radius, velocity, room)),
    }
}

/// The best within all lines, or which line leaves nothing and the best before it.
#[inline(always)]
fn within(lines: &[Line], radius: f32, aim: Aim) -> Result<Vec2, (usize, Vec2)> {
    let mut best = match aim {
        Aim::Direction(direction) => direction * radius,
        Aim::Point(point) => {
            let squared = point.norm_squared();
            if squared > radius * radius { point * (radius / squared.sqrt()) } else { point }
        }
    };
    for (number, line) in lines.iter().enumerate() {
        if line.excess(best) > 0.0 {
            let before = lines.get(..number).unwrap_or_default();
            best = on_line(line, before, radius, aim).ok_or((number, best))?;
        }
    }
    Ok(best)
}

/// The best on a line's border and within those before it.
#[inline(always)]
fn on_line(line: &Line, before: &[Line], radius: f32, aim: Aim) -> Option<Vec2> {
    let along = line.point.dot(&line.direction);
    let discriminant = along * along + radius * radius - line.point.norm_squared();
    if discriminant < 0.0 {
        return None;
    }
    let half = discriminant.sqrt();
    let (mut least, mut most) = (-along - half, -along + half);
    for other in before {
        let across = line.direction.perp(&other.direction);
        let offset = other.direction.perp(&(line.point - other.point));
        if across.abs() <= PARALLEL {
            if offset < 0.0 {
                return None;
            }
            continue;
        }
        let at = offset / across;
        if across > 0.0 {
            most = most.min(at);
        } else {
            least = least.max(at);
        }
        if least > most {
            return None;
        }
    }
    let at = match aim {
        Aim::Direction(direction) => {
            if direction.dot(&line.direction) > 0.0 {
                most
            } else {
                least
            }
        }
        Aim::Point(point) => line.direction.dot(&(point - line.point)).max(least).min(most),
    };
    Some(line.point + line.direction * at)
}

/// The velocity that exceeds the soft lines by the least amount, where not all can hold.
fn relaxed(lines: &[Line], hard: usize, failed: usize, radius: f32, best: Vec2, room: &mut Vec<Line>) -> Vec2 {
    let mut best = best;
    let mut excess = 0.0;
    for (number, line) in lines.iter().enumerate().skip(failed) {
        if line.excess(best) <= excess {
            continue;
        }
        // Where each line before is exceeded by as much as this one.
        room.clear();
        room.extend_from_slice(lines.get(..hard).unwrap_or_default());
        for other in lines.get(hard..number).unwrap_or_default() {
            let across = line.direction.perp(&other.direction);
            let point = if across.abs() <= PARALLEL {
                if line.direction.dot(&other.direction) > 0.0 {
                    continue;
                }
                (line.point + other.point) * 0.5
            } else {
                line.point + line.direction * (other.direction.perp(&(line.point - other.point)) / across)
            };
            let bisector = other.direction - line.direction;
            room.push(Line { point, direction: bisector / bisector.norm() });
        }
        // To fail here takes rounding: the best so far is within these lines. It stays.
        let inward = Vec2::new(-line.direction.y, line.direction.x);
        if let Ok(better) = within(room, radius, Aim::Direction(inward)) {
            best = better;
        }
        excess = line.excess(best);
    }
    best
}
