//! Following a leader at a distance.

use nalgebra::Vector2;

use super::capped;

/// How far behind its leader a robot keeps, metres.
pub const OFFSET: f64 = 3.0;
/// How fast an error of the distance is made good, per second.
const GAIN: f64 = 1.5;

/// What a follower knows of itself or of its leader.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pursuit {
    /// Where it is, metres.
    pub place: Vector2<f64>,
    /// How fast, m/s.
    pub velocity: Vector2<f64>,
}

/// The velocity with which `me` follows `leader` at `offset` metres, at most `max_speed` (m/s).
///
/// It is towed, as if by a rope: it moves along the line between the two and keeps its length, so that it swings nowhere when
/// the leader turns, and falls in behind it (the tractrix). Followers in file have the one before them as their leader.
pub fn follow(me: &Pursuit, leader: &Pursuit, offset: f64, max_speed: f64) -> Vector2<f64> {
    let line = leader.place - me.place;
    let distance = line.norm();
    // In one place there is no line: away from where the leader goes.
    let along =
        if distance > 1e-6 { line / distance } else { leader.velocity.try_normalize(1e-6).unwrap_or_else(Vector2::x) };
    capped(along * (leader.velocity.dot(&along) + GAIN * (distance - offset)), max_speed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_follows_its_leader_around_corners() {
        let dt = 0.1;
        let mut file: Vec<Pursuit> = (0..5)
            .map(|number| Pursuit { place: Vector2::new(-4.0 * f64::from(number), 0.0), velocity: Vector2::zeros() })
            .collect();
        for step in 0..1200 {
            let turn = if step < 600 { f64::from(step / 150) * 1.3 } else { 0.0 };
            file[0].velocity = Vector2::new(turn.cos(), turn.sin());
            let velocities: Vec<_> = file.windows(2).map(|pair| follow(&pair[1], &pair[0], OFFSET, 2.0)).collect();
            file[1..].iter_mut().zip(velocities).for_each(|(robot, velocity)| robot.velocity = velocity);
            file.iter_mut().for_each(|robot| robot.place += robot.velocity * dt);
            for pair in file.windows(2) {
                let distance = (pair[1].place - pair[0].place).norm();
                assert!((2.5..4.1).contains(&distance), "{distance} at {step}");
            }
        }
        for pair in file.windows(2) {
            let behind = pair[0].place - pair[1].place;
            assert!((behind - Vector2::new(OFFSET, 0.0)).norm() < 0.05, "{behind}");
        }
    }

    #[test]
    fn from_the_leaders_place_it_falls_back() {
        let at = |x| Pursuit { place: Vector2::zeros(), velocity: Vector2::new(x, 0.0) };
        assert!(follow(&at(0.0), &at(1.0), OFFSET, 2.0).x < 0.0);
        assert!(follow(&at(0.0), &at(0.0), OFFSET, 2.0).norm() > 0.0);
    }
}
