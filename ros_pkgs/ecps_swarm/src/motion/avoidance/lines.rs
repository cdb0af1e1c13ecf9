//! What neighbours and walls rule out, as half-planes of velocities.
//!
//! In single precision and relative to the robot, as RVO2 has it: positions are subtracted before they are rounded.

use nalgebra::Vector2;

use super::walls::WallConstraint;
use super::{MAX_NEIGHBOURS, Options, Robot, program};

pub(super) type Vec2 = Vector2<f32>;

/// The velocities to the left of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    pub(super) point: Vec2,
    /// Of length one.
    pub(super) direction: Vec2,
}

impl Line {
    /// Velocities whose part along the unit vector `normal` is at most `limit`.
    #[inline(always)]
    pub(super) fn at_most(limit: f32, normal: Vec2) -> Line {
        Line { point: normal * limit, direction: Vec2::new(-normal.y, normal.x) }
    }

    /// How far a velocity is from being allowed, m/s; at most zero where it is.
    #[inline(always)]
    pub(super) fn excess(&self, velocity: Vec2) -> f32 {
        self.direction.perp(&(self.point - velocity))
    }
}

/// The robot that decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disc {
    pub(super) velocity: Vec2,
    pub(super) radius: f32,
    pub(super) max_speed: f32,
    /// See [`braking_time`].
    pub(super) braking_time: f32,
}

impl Disc {
    #[inline(always)]
    pub(super) fn new(robot: &Robot, braking: f64) -> Disc {
        Disc {
            velocity: robot.velocity.cast(),
            radius: robot.radius as f32,
            max_speed: robot.max_speed as f32,
            braking_time: braking_time(robot, braking),
        }
    }
}

/// How long a robot takes to stop, seconds.
#[inline(always)]
pub(super) fn braking_time(robot: &Robot, braking: f64) -> f32 {
    (robot.max_speed / braking) as f32
}

/// Neighbours that are computed at once.
const LANES: usize = 8;

/// Neighbours, as seen from the robot: number by number, so that half-planes are made for several at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Neighbours {
    count: usize,
    offset_x: Lanes,
    offset_y: Lanes,
    velocity_x: Lanes,
    velocity_y: Lanes,
    /// Both radii.
    reach: Lanes,
    /// Which part of the way around each other is the robot's.
    share: Lanes,
    /// See [`braking_time`].
    braking_time: Lanes,
}

type Lanes = [[f32; LANES]; MAX_NEIGHBOURS / LANES];

impl Neighbours {
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// One more, unless there are [`MAX_NEIGHBOURS`]. `first` tells two apart that are in one place.
    #[inline(always)]
    pub(super) fn push(
        &mut self,
        offset: Vec2,
        velocity: Vec2,
        reach: f32,
        share: f32,
        braking_time: f32,
        first: bool,
    ) {
        let offset = match offset {
            same if same.norm_squared() < 1e-10 => Vec2::new(if first { 1e-5 } else { -1e-5 }, 0.0),
            offset => offset,
        };
        let fields = [
            (&mut self.offset_x, offset.x),
            (&mut self.offset_y, offset.y),
            (&mut self.velocity_x, velocity.x),
            (&mut self.velocity_y, velocity.y),
            (&mut self.reach, reach),
            (&mut self.share, share),
            (&mut self.braking_time, braking_time),
        ];
        for (lanes, value) in fields {
            if let Some(slot) = lanes.as_flattened_mut().get_mut(self.count) {
                *slot = value;
            }
        }
        self.count = (self.count + 1).min(MAX_NEIGHBOURS);
    }
}

/// Which part of the way around each other is for the robot of rank `mine`.
#[inline(always)]
pub(super) fn share(mine: u8, theirs: u8) -> f32 {
    match mine.cmp(&theirs) {
        std::cmp::Ordering::Less => 0.75,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Greater => 0.25,
    }
}

/// A gap is taken to be smaller by this, metres: more than what rounding to single precision makes of it.
const ROUNDING: f32 = 1e-5;

/// All that constrains one robot's velocity.
#[derive(Debug, Clone)]
pub(super) struct Constraints {
    /// Never relaxed, and satisfied by standing still.
    hard: Vec<Line>,
    /// Relaxed as little as possible where they cannot all hold.
    soft: Vec<Line>,
    /// Room for the linear program.
    room: Vec<Line>,
    per_horizon: f32,
    wall: WallConstraint,
    period: f32,
    braking: f32,
}

impl Constraints {
    pub(super) fn new(options: &Options) -> Constraints {
        Constraints {
            hard: Vec::new(),
            soft: Vec::new(),
            room: Vec::new(),
            per_horizon: 1.0 / options.horizon as f32,
            wall: WallConstraint::new(1.0 / options.wall_horizon as f32),
            period: options.period as f32,
            braking: options.braking as f32,
        }
    }

    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.hard.clear();
        self.soft.clear();
    }

    /// How fast something may be neared of which there are `room` metres. Who nears it so and brakes from the next step on
    /// gets by with the room, and finds each limit in between kept: at v he moves v·period in the step, and v²/(2·braking)
    /// after it, which is less than v times the time it takes to stop.
    #[inline(always)]
    fn nearing(&self, me: &Disc, room: f32) -> f32 {
        room.max(0.0) / (self.period + me.braking_time)
    }

    /// Neighbours: for each the hard limit, and the half-plane of van den Berg et al., which is `share` of the smallest change of
    /// the relative velocity that keeps the discs apart until the horizon. Written without branches, for several at once.
    #[inline(always)]
    pub(super) fn robots(&mut self, me: &Disc, others: &Neighbours) {
        let block = |lanes: &Lanes, number: usize| lanes.get(number).copied().unwrap_or_default();
        for (number, first) in (0..others.count).step_by(LANES).enumerate() {
            let mut planes = Planes::default();
            planes.fill(
                self,
                me,
                &block(&others.offset_x, number),
                &block(&others.offset_y, number),
                &block(&others.velocity_x, number),
                &block(&others.velocity_y, number),
                &block(&others.reach, number),
                &block(&others.share, number),
                &block(&others.braking_time, number),
            );
            planes.push_to(self, me, others.count - first);
        }
    }

    /// A wall between two points, relative to the robot.
    #[inline(always)]
    pub(super) fn wall(&mut self, me: &Disc, from: Vec2, to: Vec2) {
        let nearest = WallConstraint::nearest(from, to);
        let distance = nearest.norm();
        let limit = self.nearing(me, distance - me.radius - ROUNDING);
        if limit < me.max_speed && distance > 0.0 {
            self.hard.push(Line::at_most(limit, nearest / distance));
        }
        self.soft.extend(self.wall.line(me, from, to));
    }

    /// The best velocity for what `preferred` is.
    #[inline(always)]
    pub(super) fn solve(&mut self, me: &Disc, preferred: Vec2) -> Vec2 {
        let mut preferred = keep_right(preferred, &self.soft);
        let hard = self.hard.len();
        self.hard.extend_from_slice(&self.soft);
        // Of the velocities that are within reach until the next step, those around the present one.
        let (mut centre, mut radius) = (Vec2::zeros(), me.max_speed);
        if self.braking.is_finite() {
            (centre, radius) = (me.velocity, self.braking * self.period);
            self.hard.iter_mut().for_each(|line| line.point -= centre);
            preferred -= centre;
        }
        let found = program::solve(&self.hard, hard, radius, preferred, &mut self.room);
        self.hard.truncate(hard);
        // Where the hard limits leave nothing, which takes rounding or a pose that jumped: brake.
        let velocity = found.unwrap_or(-capped(centre, radius)) + centre;
        capped(velocity, me.max_speed)
    }
}

#[inline(always)]
fn capped(velocity: Vec2, limit: f32) -> Vec2 {
    let squared = velocity.norm_squared();
    if squared > limit * limit { velocity * (limit / squared.sqrt()) } else { velocity }
}

/// What is preferred where the way is barred to the right as well, as cosine and sine: 30° to the right. Straight ahead, crowds
/// lock; at 60° and more, robots circle around their goals.
const BARRED: (f32, f32) = (0.866_025_4, 0.5);

/// Half-planes of several neighbours.
#[derive(Debug, Default)]
struct Planes {
    limit: [f32; LANES],
    normal_x: [f32; LANES],
    normal_y: [f32; LANES],
    point_x: [f32; LANES],
    point_y: [f32; LANES],
    direction_x: [f32; LANES],
    direction_y: [f32; LANES],
}

impl Planes {
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "the fields of several neighbours")]
    fn fill(
        &mut self,
        constraints: &Constraints,
        me: &Disc,
        offset_x: &[f32; LANES],
        offset_y: &[f32; LANES],
        velocity_x: &[f32; LANES],
        velocity_y: &[f32; LANES],
        reach: &[f32; LANES],
        share: &[f32; LANES],
        braking_time: &[f32; LANES],
    ) {
        let (mine_x, mine_y) = (me.velocity.x, me.velocity.y);
        let per_period = 1.0 / constraints.period;
        let per_horizon = constraints.per_horizon;
        let nearing = 0.5 / (constraints.period + me.braking_time);
        let lanes =
            offset_x.iter().zip(offset_y).zip(velocity_x).zip(velocity_y).zip(reach).zip(share).zip(braking_time);
        let outputs = self.limit.iter_mut().zip(&mut self.normal_x).zip(&mut self.normal_y);
        let outputs = outputs.zip(&mut self.point_x).zip(&mut self.point_y);
        let outputs = outputs.zip(&mut self.direction_x).zip(&mut self.direction_y);
        for (input, output) in lanes.zip(outputs) {
            let ((((((&x, &y), &other_x), &other_y), &reach), &share), &braking_time) = input;
            let ((((((limit, normal_x), normal_y), point_x), point_y), direction_x), direction_y) = output;
            let squared = x * x + y * y;
            let distance = squared.sqrt();
            let per_distance = 1.0 / distance;
            (*normal_x, *normal_y) = (x * per_distance, y * per_distance);
            // The gap is shared evenly, but for what each needs to stop.
            let mine = (mine_x * *normal_x + mine_y * *normal_y).max(0.0) * me.braking_time;
            let theirs = (-other_x * *normal_x - other_y * *normal_y).max(0.0) * braking_time;
            *limit = (distance - reach - ROUNDING + mine - theirs).max(0.0) * nearing;

            let reach_squared = reach * reach;
            let apart = squared > reach_squared;
            let per_time = if apart { per_horizon } else { per_period };
            // Relative velocity, also from the centre of the cut-off disc.
            let (relative_x, relative_y) = (mine_x - other_x, mine_y - other_y);
            let (from_x, from_y) = (relative_x - x * per_time, relative_y - y * per_time);
            let length_squared = from_x * from_x + from_y * from_y;
            let along = from_x * x + from_y * y;
            // Onto the disc.
            let length = length_squared.sqrt();
            let somewhere = length > 1e-6;
            let per_length = 1.0 / if somewhere { length } else { 1.0 };
            let unit_x = if somewhere { from_x * per_length } else { -*normal_x };
            let unit_y = if somewhere { from_y * per_length } else { -*normal_y };
            let deep = reach * per_time - length;
            // Onto one of the two tangents to the disc from here.
            let leg = (squared - reach_squared).max(0.0).sqrt();
            let side = if x * from_y - y * from_x > 0.0 { 1.0 } else { -1.0 };
            let side_reach = reach * side;
            let scale = side * per_distance * per_distance;
            let (tangent_x, tangent_y) = ((x * leg - y * side_reach) * scale, (x * side_reach + y * leg) * scale);
            let slide = relative_x * tangent_x + relative_y * tangent_y;

            let onto_disc = !apart | ((along < 0.0) & (along * along > reach_squared * length_squared));
            *direction_x = if onto_disc { unit_y } else { tangent_x };
            *direction_y = if onto_disc { -unit_x } else { tangent_y };
            let change_x = if onto_disc { unit_x * deep } else { tangent_x * slide - relative_x };
            let change_y = if onto_disc { unit_y * deep } else { tangent_y * slide - relative_y };
            *point_x = mine_x + change_x * share;
            *point_y = mine_y + change_y * share;
        }
    }

    /// Adds the first `count`.
    #[inline(always)]
    fn push_to(&self, constraints: &mut Constraints, me: &Disc, count: usize) {
        for ((limit, x), y) in self.limit.iter().zip(&self.normal_x).zip(&self.normal_y).take(count) {
            if *limit < me.max_speed {
                constraints.hard.push(Line::at_most(*limit, Vec2::new(*x, *y)));
            }
        }
        let points = self.point_x.iter().zip(&self.point_y);
        let directions = self.direction_x.iter().zip(&self.direction_y);
        constraints.soft.extend(
            points
                .zip(directions)
                .take(count)
                .map(|((x, y), (u, v))| Line { point: Vec2::new(*x, *y), direction: Vec2::new(*u, *v) }),
        );
    }
}

/// Turns to the right that are tried, as cosine and sine: by 15° each, up to 90°.
const TURNS: [(f32, f32); 6] = [
    (0.965_925_8, 0.258_819_04),
    (0.866_025_4, 0.5),
    (std::f32::consts::FRAC_1_SQRT_2, std::f32::consts::FRAC_1_SQRT_2),
    (0.5, 0.866_025_4),
    (0.258_819_04, 0.965_925_8),
    (0.0, 1.0),
];

/// What to prefer where the way is barred: as much to the right as it takes to be free.
#[inline(always)]
fn keep_right(preferred: Vec2, lines: &[Line]) -> Vec2 {
    let barred = |velocity: Vec2| lines.iter().any(|line| line.excess(velocity) > 0.0);
    if !barred(preferred) {
        return preferred;
    }
    let turned = |(cos, sin): (f32, f32)| {
        Vec2::new(preferred.x * cos + preferred.y * sin, preferred.y * cos - preferred.x * sin)
    };
    TURNS.into_iter().map(turned).find(|velocity| !barred(*velocity)).unwrap_or(turned(BARRED))
}
