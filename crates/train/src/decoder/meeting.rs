//! Where ranks meet: averages over what each of them brings, summed in their order. Averages go through the host's memory, whatever the
//! devices are.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{Error, Result};

/// A rank's place among its peers.
#[derive(Debug)]
pub struct Member {
    /// Counted from 0.
    pub rank: usize,
    meeting: Arc<Meeting>,
}

/// Where ranks meet.
#[derive(Debug)]
struct Meeting {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Averages made.
    round: u64,
    /// The values of each rank in the present round.
    brought: Vec<Option<Vec<f32>>>,
    /// The mean of the last round.
    mean: Arc<Vec<f32>>,
    /// A rank has ended.
    is_broken: bool,
}

impl Member {
    /// Ranks that meet each other.
    pub fn meet(count: usize) -> Vec<Self> {
        let state = State {
            round: 0,
            brought: vec![None; count],
            mean: Arc::default(),
            is_broken: false,
        };
        let meeting = Arc::new(Meeting {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        (0..count)
            .map(|rank| Self {
                rank,
                meeting: meeting.clone(),
            })
            .collect()
    }

    /// Number of ranks.
    pub fn count(&self) -> usize {
        self.state().brought.len()
    }

    /// The mean of what every rank brings, summed in the order of ranks. Waits for all.
    ///
    /// # Errors
    /// [`Error::Rank`] if one has ended.
    pub fn mean(&self, values: Vec<f32>) -> Result<Arc<Vec<f32>>> {
        let mut state = self.state();
        let round = state.round;
        state.brought[self.rank] = Some(values);
        if state.brought.iter().all(Option::is_some) {
            state.finish_round();
            self.meeting.changed.notify_all();
        }
        while state.round == round {
            if state.is_broken {
                return Err(Error::Rank("another rank has ended".into()));
            }
            state = self
                .meeting
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok(state.mean.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.meeting
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.state().is_broken = true;
        self.meeting.changed.notify_all();
    }
}

impl State {
    fn finish_round(&mut self) {
        let share = 1.0 / self.brought.len() as f32;
        let sum = self
            .brought
            .iter_mut()
            .filter_map(Option::take)
            .reduce(|mut sum, values| {
                sum.iter_mut()
                    .zip(values)
                    .for_each(|(sum, value)| *sum += value);
                sum
            });
        let mut mean = sum.unwrap_or_default();
        mean.iter_mut().for_each(|value| *value *= share);
        self.mean = Arc::new(mean);
        self.round += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rank_gets_the_mean_of_each_round() {
        let means = |member: Member| {
            let mean = |round: usize| {
                member
                    .mean(vec![member.rank as f32, round as f32])
                    .unwrap()
                    .to_vec()
            };
            (0..50).map(mean).collect::<Vec<_>>()
        };
        let threads: Vec<_> = Member::meet(3)
            .into_iter()
            .map(|m| std::thread::spawn(move || means(m)))
            .collect();
        let want: Vec<_> = (0..50).map(|round| vec![1.0, round as f32]).collect();
        threads
            .into_iter()
            .for_each(|thread| assert_eq!(thread.join().unwrap(), want));
    }

    #[test]
    fn a_rank_that_ends_wakes_the_others() {
        let mut members = Member::meet(2);
        let last = members.pop();
        let waiting = std::thread::spawn(move || members[0].mean(vec![1.0]).map(|_| ()));
        std::thread::sleep(std::time::Duration::from_millis(20));
        drop(last);
        assert!(matches!(waiting.join().unwrap(), Err(Error::Rank(_))));
    }
}
