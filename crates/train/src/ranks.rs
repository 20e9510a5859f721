//! Several devices. Each rank has the whole model, on a device and a thread of its own, and a part of each step's samples. What
//! follows from samples, gradients and losses, is averaged over the ranks in their order; everything else is the same everywhere,
//! so all ranks make the same update and stay equal. N ranks of batch b are one rank of batch N b. The first rank measures, stores
//! and tells.
//!
//! Averages go through the host's memory, whatever the devices are.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use burn::tensor::Device;

use crate::step::{Batch, Learner};
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
    /// What each rank has brought to the present round.
    brought: Vec<Option<Vec<f32>>>,
    /// Of the last round.
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

/// What `draw` makes of a device's random numbers after a seed. Devices of a kind share their numbers, so ranks draw one at a time.
pub fn seeded<T>(device: &Device, seed: u64, draw: impl FnOnce(&Device) -> T) -> T {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    device.seed(seed);
    draw(device)
}

/// A step's number and a rank's part of it.
type Order = (u64, Vec<Batch>);

/// The ranks after the first, each in a thread.
#[derive(Debug, Default)]
pub struct Followers {
    ranks: Vec<(SyncSender<Order>, JoinHandle<Result<()>>)>,
}

impl Followers {
    /// Starts threads that follow the orders of [`Self::order`].
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(learners: Vec<Learner>) -> Result<Self> {
        let start = |(i, learner): (usize, Learner)| {
            let (sender, orders) = sync_channel(1);
            let thread = std::thread::Builder::new().name(format!("rank-{}", i + 1));
            let thread = thread.spawn(move || follow(learner, &orders));
            Ok((
                sender,
                thread.map_err(|e| Error::Rank(format!("no thread for rank {}: {e}", i + 1)))?,
            ))
        };
        Ok(Self {
            ranks: learners
                .into_iter()
                .enumerate()
                .map(start)
                .collect::<Result<_>>()?,
        })
    }

    /// Has every rank do its part of a step. A rank that has ended is noticed by the others when they wait for it.
    pub fn order(&self, step: u64, batches: Vec<Vec<Batch>>) {
        for ((rank, _), batches) in self.ranks.iter().zip(batches) {
            let _ = rank.send((step, batches));
        }
    }

    /// Why a step failed: the error of the rank that ended first, if it was another one. Losses are means over all ranks, so all of
    /// them see one that is not finite, and each knows its own photos: these are told together.
    pub fn explain(self, mut error: Error) -> Error {
        let threads: Vec<_> = self.ranks.into_iter().map(|(_, thread)| thread).collect();
        for (i, thread) in threads.into_iter().enumerate() {
            match (&mut error, thread.join()) {
                (Error::Diverged { names, .. }, Ok(Err(Error::Diverged { names: others, .. }))) => {
                    names.extend(others)
                }
                // It has noticed that another one ended.
                (_, Ok(Ok(()) | Err(Error::Rank(_)))) => (),
                (Error::Rank(_), Ok(Err(ended))) => error = ended,
                (Error::Rank(_), Err(_)) => {
                    error = Error::Rank(format!("rank {} has panicked", i + 1))
                }
                _ => (),
            }
        }
        error
    }
}

fn follow(mut learner: Learner, orders: &Receiver<Order>) -> Result<()> {
    for (step, batches) in orders {
        learner.advance(step, batches)?;
    }
    Ok(())
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
    fn the_error_of_another_rank_explains_the_end() {
        let ended = || Error::Rank("another rank has ended".into());
        let followers = |result: fn() -> Result<()>| {
            let (sender, _orders) = sync_channel(1);
            Followers {
                ranks: vec![(sender, std::thread::spawn(result))],
            }
        };
        let lost = followers(|| Err(Error::Data("a photo".into()))).explain(ended());
        assert!(lost.to_string().contains("a photo"), "{lost}");
        let own =
            followers(|| Err(Error::Data("a photo".into()))).explain(Error::Config("mine".into()));
        assert!(own.to_string().contains("mine"), "{own}");
        fn diverged(name: &str) -> Error {
            let [what, losses] = ["loss is NaN", "loss NaN"].map(String::from);
            Error::Diverged {
                step: 3,
                what,
                names: vec![name.into()],
                losses,
            }
        }
        let told = followers(|| Err(diverged("theirs.png")))
            .explain(diverged("mine.png"))
            .to_string();
        assert!(
            told.contains("the samples were mine.png, theirs.png"),
            "{told}"
        );
        assert!(
            followers(|| Ok(()))
                .explain(ended())
                .to_string()
                .contains("another rank")
        );
    }

    #[test]
    fn a_rank_that_ends_wakes_the_others() {
        let mut members = Member::meet(2);
        let last = members.pop();
        let waiting = std::thread::spawn(move || members[0].mean(vec![1.0]).map(|_| ()));
        std::thread::sleep(std::time::Duration::from_millis(20));
        drop(last);
        assert!(
            waiting
                .join()
                .unwrap()
                .unwrap_err()
                .to_string()
                .contains("ended")
        );
    }
}
