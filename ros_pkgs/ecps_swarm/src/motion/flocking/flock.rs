//! A flock of many agents at once.

use ecps_core::check::CheckError;
use nalgebra::Vector2;

use super::{Agent, Law, Obstacle, Parameters};
use crate::motion::grid::Grid;

/// What [`super::flock`] says for each agent of a flock.
#[derive(Debug, Clone)]
pub struct Flock {
    law: Law,
    obstacles: Vec<Obstacle>,
    grid: Grid,
    sorted: Vec<Agent>,
    accelerations: Vec<Vector2<f64>>,
}

impl Flock {
    /// A flock among obstacles.
    pub fn new(parameters: &Parameters, obstacles: Vec<Obstacle>) -> Result<Flock, CheckError> {
        parameters.check()?;
        Ok(Flock {
            law: Law::new(parameters),
            obstacles,
            grid: Grid::default(),
            sorted: Vec::new(),
            accelerations: Vec::new(),
        })
    }

    /// The acceleration of each agent, m/s².
    pub fn accelerations(&mut self, agents: &[Agent], rendezvous: &Agent) -> Result<&[Vector2<f64>], CheckError> {
        agents.iter().chain([rendezvous]).try_for_each(Agent::check)?;
        self.grid.rebuild(agents.iter().map(|agent| agent.position), self.law.parameters.range);
        self.sorted.clear();
        self.sorted.extend(self.grid.order().iter().filter_map(|number| agents.get(*number as usize)));
        self.accelerations.clear();
        self.accelerations.resize(agents.len(), Vector2::zeros());
        for (place, (me, number)) in self.sorted.iter().zip(self.grid.order()).enumerate() {
            let mut acceleration = self.law.surroundings(me, &self.obstacles, rendezvous);
            for run in self.grid.around(self.grid.cell(&me.position), 1) {
                for (other, at) in self.sorted.get(run.clone()).unwrap_or_default().iter().zip(run) {
                    if at != place {
                        acceleration += self.law.alpha(me, other);
                    }
                }
            }
            if let Some(slot) = self.accelerations.get_mut(*number as usize) {
                *slot = acceleration;
            }
        }
        Ok(&self.accelerations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::flocking::flock;
    use crate::motion::scene::Dice;

    #[test]
    fn together_each_does_as_alone() {
        let mut dice = Dice::new(9);
        let agents: Vec<Agent> = (0..300)
            .map(|_| Agent {
                position: Vector2::new(dice.within(-60.0, 60.0), dice.within(-60.0, 60.0)),
                velocity: Vector2::new(dice.within(-1.0, 1.0), dice.within(-1.0, 1.0)),
            })
            .collect();
        let parameters = Parameters::default();
        let obstacles = vec![Obstacle::Disc { centre: Vector2::zeros(), radius: 5.0 }];
        let mut together = Flock::new(&parameters, obstacles.clone()).unwrap();
        let accelerations = together.accelerations(&agents, &agents[0]).unwrap();
        for (index, acceleration) in accelerations.iter().enumerate() {
            let mut others = agents.clone();
            let me = others.remove(index);
            let alone = flock(&me, &others, &obstacles, &agents[0], &parameters).unwrap();
            assert!((acceleration - alone).norm() < 1e-9, "{index}");
        }
    }
}
