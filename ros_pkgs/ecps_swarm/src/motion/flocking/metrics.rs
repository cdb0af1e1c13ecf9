//! How well a flock flocks: the paper's four figures (section VIII).

use nalgebra::Vector2;

use super::{Agent, Parameters};
use crate::motion::grid::Grid;

/// Figures of a flock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metrics {
    /// Relative connectivity: rank of the graph's Laplacian to what a connected one has; 1 when all are connected.
    pub connectivity: f64,
    /// Cohesion radius: of the farthest agent from the mean, metres.
    pub cohesion_radius: f64,
    /// Normalised deviation energy: how much edges differ in length from the lattice's, squared and in parts of its distance.
    pub deviation_energy: f64,
    /// Normalised velocity mismatch: kinetic energy relative to the mean for each agent, (m/s)².
    pub velocity_mismatch: f64,
}

impl Metrics {
    /// Of agents with finite positions.
    pub fn of(agents: &[Agent], parameters: &Parameters) -> Metrics {
        let count = agents.len();
        let mean = |sum: Vector2<f64>| sum / count.max(1) as f64;
        let middle = mean(agents.iter().map(|agent| agent.position).sum());
        let drift = mean(agents.iter().map(|agent| agent.velocity).sum());
        let mut groups = Groups((0..count).collect());
        let mut grid = Grid::default();
        grid.rebuild(agents.iter().map(|agent| agent.position), parameters.range);
        let (mut edges, mut deviation, mut joined) = (0_usize, 0.0, 0_usize);
        for (index, agent) in agents.iter().enumerate() {
            let near = grid.around(grid.cell(&agent.position), 1);
            for other in near.flat_map(|run| grid.order().get(run).unwrap_or_default()).map(|other| *other as usize) {
                let Some(neighbour) = agents.get(other).filter(|_| other > index) else { continue };
                let distance = (neighbour.position - agent.position).norm();
                if distance < parameters.range {
                    edges += 1;
                    deviation += (distance - parameters.distance).powi(2);
                    joined += usize::from(groups.join(index, other));
                }
            }
        }
        let kinetic: f64 = agents.iter().map(|agent| (agent.velocity - drift).norm_squared()).sum();
        Metrics {
            connectivity: if count < 2 { 1.0 } else { joined as f64 / (count - 1) as f64 },
            cohesion_radius: agents.iter().map(|agent| (agent.position - middle).norm()).fold(0.0, f64::max),
            deviation_energy: deviation / (edges + 1) as f64 / parameters.distance.powi(2),
            velocity_mismatch: 0.5 * kinetic / count.max(1) as f64,
        }
    }
}

/// Who is connected with whom: for each agent another of its group, up to the group's head (union-find).
struct Groups(Vec<usize>);

impl Groups {
    fn head(&mut self, mut member: usize) -> usize {
        while let Some(above) = self.0.get(member).copied().filter(|above| *above != member) {
            let top = self.0.get(above).copied().unwrap_or(above);
            if let Some(slot) = self.0.get_mut(member) {
                *slot = top;
            }
            member = top;
        }
        member
    }

    /// Whether they were apart.
    fn join(&mut self, one: usize, other: usize) -> bool {
        let (one, other) = (self.head(one), self.head(other));
        if let Some(slot) = self.0.get_mut(one).filter(|_| one != other) {
            *slot = other;
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_groups_of_a_lattice() {
        let parameters = Parameters::default();
        let agent = |x: f64, v: f64| Agent { position: Vector2::new(x, 0.0), velocity: Vector2::new(v, 0.0) };
        let d = parameters.distance;
        let apart = [agent(0.0, 1.0), agent(d, 1.0), agent(100.0, -1.0), agent(100.0 + d, -1.0)];
        let metrics = Metrics::of(&apart, &parameters);
        assert!((metrics.connectivity - 2.0 / 3.0).abs() < 1e-12);
        assert!(metrics.deviation_energy < 1e-20);
        assert!((metrics.velocity_mismatch - 0.5).abs() < 1e-12);
        assert!((metrics.cohesion_radius - (100.0 + d) / 2.0).abs() < 1e-9);
        let metrics = Metrics::of(&apart[..2], &parameters);
        assert_eq!((metrics.connectivity, metrics.velocity_mismatch), (1.0, 0.0));
    }
}
