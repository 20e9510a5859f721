//! Several devices. Each rank has the whole model, on a device of its own, and a part of each step's samples. What follows from
//! samples, gradients and losses, is averaged over the ranks in their order ([`Collective`](super::collective::Collective));
//! everything else is the same everywhere, so all ranks make the same update and stay equal. N ranks of batch b are one rank of
//! batch N b. The first rank measures, stores and reports.
//!
//! Ranks are the threads of one process, here, or processes of one device each, which all run [`train`](super::train()).

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::batch::Batch;
use super::learner::Learner;
use crate::{Error, Result};

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
                thread.map_err(|e| {
                    Error::Rank(format!("cannot start a thread for rank {}: {e}", i + 1))
                })?,
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

    /// Why a step failed: the error of the rank that ended first, if it was another one.
    pub fn explain(self, mut error: Error) -> Error {
        let threads: Vec<_> = self.ranks.into_iter().map(|(_, thread)| thread).collect();
        for (i, thread) in threads.into_iter().enumerate() {
            match (&error, thread.join()) {
                // It has noticed that another one ended.
                (_, Ok(Ok(()) | Err(Error::Rank(_)))) => (),
                (Error::Rank(_), Ok(Err(ended))) => error = ended,
                (Error::Rank(_), Err(_)) => error = Error::Rank(format!("rank {} panicked", i + 1)),
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
    fn the_error_of_another_rank_explains_the_end() {
        let ended = || Error::Rank("another rank has ended".into());
        let followers = |result: fn() -> Result<()>| {
            let (sender, _orders) = sync_channel(1);
            Followers {
                ranks: vec![(sender, std::thread::spawn(result))],
            }
        };
        let lost = followers(|| Err(Error::Data("a photo".into()))).explain(ended());
        assert!(
            matches!(&lost, Error::Data(why) if why == "a photo"),
            "{lost:?}"
        );
        let own =
            followers(|| Err(Error::Data("a photo".into()))).explain(Error::Config("mine".into()));
        assert!(
            matches!(&own, Error::Config(why) if why == "mine"),
            "{own:?}"
        );
        assert!(matches!(
            followers(|| Ok(())).explain(ended()),
            Error::Rank(_)
        ));
    }
}
