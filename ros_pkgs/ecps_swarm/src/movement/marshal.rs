//! The leader's part of a formation: who belongs to it, and who has which slot.

use std::time::Duration;

use ecps_core::clock::Steady;
use nalgebra::{Isometry2, Vector2};
use thiserror::Error;

use super::order::{Behavior, Movement, MovementError};
use super::table::{Current, Plan};
use crate::motion::CONTROL_PERIOD;
use crate::motion::formation::{Formation, FormationError, Settings};

/// How often the others are told how far a formation is that moves, so that their clocks run together and a robot that comes late
/// knows where to be.
const TELLING: Duration = Duration::from_secs(1);
/// What is made good at a time after a pause.
const LONGEST: f64 = 2.0;

/// Why a formation is not planned.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum MarshalError {
    /// What was set is none.
    #[error(transparent)]
    Movement(#[from] MovementError),
    /// It cannot be formed.
    #[error(transparent)]
    Formation(#[from] FormationError),
}

/// The leader's plans during one epoch of its leadership.
///
/// It runs the formation, and what it decides becomes true by way of the log: its state is put there when somebody comes or goes and when
/// slots are assigned, and every second while anything moves. Whoever leads next goes on from there.
#[derive(Debug, Clone)]
pub struct Marshal {
    epoch: u64,
    settings: Settings,
    formed: Option<Formed>,
}

#[derive(Debug, Clone)]
struct Formed {
    number: u64,
    formation: Formation<String>,
    /// The same, as those go on with it who were told last.
    told: Option<Formation<String>>,
    told_at: Steady,
    last: Steady,
}

/// Lets time pass in steps of a control period or less.
pub(super) fn steps(from: Steady, now: Steady) -> impl Iterator<Item = f64> {
    let seconds = now.since(from).as_secs_f64().min(LONGEST);
    let count = (seconds / CONTROL_PERIOD).ceil().max(1.0);
    std::iter::repeat_n(seconds / count, count as usize)
}

impl Marshal {
    /// Of the leader of `epoch`. Of the settings, scale and separation are the movement's.
    pub fn new(epoch: u64, settings: Settings) -> Marshal {
        Marshal { epoch, settings, formed: None }
    }

    /// Its leader's epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What is to be put into the log now, where the movement is a formation. `members` are those that can take part, with their places;
    /// `since` is when `current` began to count here.
    ///
    /// # Errors
    /// Where the formation cannot be. A robot for which it has no slot only stays out.
    pub fn plan(
        &mut self,
        current: &Current,
        members: &[(String, Vector2<f64>)],
        since: Steady,
        now: Steady,
    ) -> Result<Option<Plan>, MarshalError> {
        let movement = &current.movement;
        if movement.behavior() != Behavior::Formation {
            self.formed = None;
            return Ok(None);
        }
        let mut formed = match self.formed.take() {
            Some(formed) if formed.number == current.number => formed,
            Some(mut formed) => {
                send(&mut formed.formation, movement)?;
                Formed { number: current.number, told: None, ..formed }
            }
            None => match self.begin(current, members, since, now)? {
                Some(formed) => formed,
                None => return Ok(None),
            },
        };
        let gone: Vec<String> =
            formed.formation.members().filter(|id| !members.iter().any(|(other, _)| other == *id)).cloned().collect();
        gone.iter().for_each(|id| formed.formation.leave(id));
        for (id, place) in members {
            // One for which there is no slot stays where it is; the others go on.
            let _ = formed.formation.see(id.clone(), *place);
        }
        for seconds in steps(formed.last, now) {
            formed.formation.advance(seconds);
            formed.told.iter_mut().for_each(|told| told.follow(seconds));
        }
        formed.last = now;
        let state = formed.formation.state();
        let moves = !(formed.formation.is_settled() && formed.formation.route().is_done());
        let due = formed.told.as_ref().is_none_or(|told| state.differs(&told.state()))
            || (moves && now.since(formed.told_at) >= TELLING);
        let plan = due.then_some(Plan { epoch: self.epoch, number: current.number, state });
        if due {
            (formed.told, formed.told_at) = (Some(formed.formation.clone()), now);
        }
        self.formed = Some(formed);
        Ok(plan)
    }

    /// The latest plan is not in the log: it is made again.
    pub fn was_not_told(&mut self) {
        self.formed.iter_mut().for_each(|formed| formed.told = None);
    }

    /// Goes on with what there is, or begins where the robots are.
    fn begin(
        &self,
        current: &Current,
        members: &[(String, Vector2<f64>)],
        since: Steady,
        now: Steady,
    ) -> Result<Option<Formed>, MarshalError> {
        let (number, movement) = (current.number, &current.movement);
        let shape = movement.shape()?;
        if let Some(state) = &current.state {
            let mut formation = Formation::restore(shape, state)?;
            if current.planned != number {
                formation.replan();
                send(&mut formation, movement)?;
            }
            return Ok(Some(Formed { number, formation, told: None, told_at: now, last: since }));
        }
        if members.is_empty() {
            return Ok(None);
        }
        let middle = members.iter().map(|(_, place)| place).sum::<Vector2<f64>>() / members.len() as f64;
        let settings = Settings { scale: movement.scale, separation: movement.separation, ..self.settings };
        let mut formation = Formation::new(settings, shape, &Isometry2::new(middle, movement.heading))?;
        send(&mut formation, movement)?;
        Ok(Some(Formed { number, formation, told: None, told_at: now, last: now }))
    }
}

/// Gives a formation the shape and the way of a movement.
fn send(formation: &mut Formation<String>, movement: &Movement) -> Result<(), MarshalError> {
    formation.set_size(movement.scale, movement.separation)?;
    formation.set_shape(movement.shape()?)?;
    formation.stay();
    for point in &movement.path {
        formation.go((*point).into(), crate::motion::route::Heading::Along)?;
    }
    Ok(())
}
