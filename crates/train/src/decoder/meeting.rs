//! Ranks in the threads of one process meet here. What they bring goes through the host's memory, whatever the devices are; the one
//! that comes last makes the result, on all cores, while the others wait.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::collective::{Collective, mean_in_order};
use crate::{Error, Result};

/// A rank's place among its peers. The others notice when it is dropped.
#[derive(Debug)]
pub struct Member {
    rank: usize,
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
    /// Results made.
    round: u64,
    /// What each rank has brought in the present round.
    brought: Vec<Option<Brought>>,
    /// The last round's.
    result: Shared,
    /// A rank has ended.
    is_broken: bool,
}

#[derive(Debug)]
enum Brought {
    Values(Vec<f32>),
    Bytes(Vec<u8>),
}

/// What all ranks get.
#[derive(Clone, Debug)]
enum Shared {
    Mean(Arc<Vec<f32>>),
    Bytes(Arc<Vec<Vec<u8>>>),
    /// They brought what does not go together.
    Mismatch(Arc<str>),
}

impl Member {
    /// Ranks that meet each other.
    pub fn meet(count: usize) -> Vec<Self> {
        let state = State {
            round: 0,
            brought: (0..count).map(|_| None).collect(),
            result: Shared::Bytes(Arc::default()),
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

    fn exchange(&self, own: Brought) -> Result<Shared> {
        let mut state = self.state();
        let round = state.round;
        state.brought[self.rank] = Some(own);
        if state.brought.iter().all(Option::is_some) {
            let brought = state.brought.iter_mut().filter_map(Option::take).collect();
            // All others wait for this round's end.
            drop(state);
            let result = Shared::of(brought);
            state = self.state();
            state.result = result;
            state.round += 1;
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
        match &state.result {
            Shared::Mismatch(what) => Err(Error::Rank(what.to_string())),
            result => Ok(result.clone()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.meeting
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collective for Member {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.state().brought.len()
    }

    fn mean(&self, values: Vec<f32>) -> Result<Arc<Vec<f32>>> {
        match self.exchange(Brought::Values(values))? {
            Shared::Mean(mean) => Ok(mean),
            _ => Err(Error::Rank("no rank has brought values".into())),
        }
    }

    fn gather(&self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        match self.exchange(Brought::Bytes(bytes))? {
            Shared::Bytes(bytes) => Ok(Arc::unwrap_or_clone(bytes)),
            _ => Err(Error::Rank("no rank has brought bytes".into())),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.state().is_broken = true;
        self.meeting.changed.notify_all();
    }
}

impl Shared {
    /// The result of a round.
    fn of(brought: Vec<Brought>) -> Self {
        let (mut values, mut bytes) = (Vec::new(), Vec::new());
        let count = brought.len();
        for one in brought {
            match one {
                Brought::Values(of_rank) => values.push(of_rank),
                Brought::Bytes(of_rank) => bytes.push(of_rank),
            }
        }
        if bytes.len() == count {
            return Self::Bytes(Arc::new(bytes));
        }
        let lengths: Vec<usize> = values.iter().map(Vec::len).collect();
        match values.split_first_mut() {
            Some((sum, others))
                if lengths.len() == count && others.iter().all(|o| o.len() == sum.len()) =>
            {
                let others: Vec<&[f32]> = others.iter().map(Vec::as_slice).collect();
                mean_in_order(sum, &others);
                Self::Mean(Arc::new(std::mem::take(sum)))
            }
            _ => Self::Mismatch(
                format!("{count} ranks brought {lengths:?} values to average").into(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `work` returns on each of three ranks.
    fn on_three<T: Send>(work: impl Fn(&Member) -> T + Sync) -> Vec<T> {
        let members = Member::meet(3);
        std::thread::scope(|scope| {
            let threads: Vec<_> = members
                .iter()
                .map(|member| scope.spawn(|| work(member)))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        })
    }

    #[test]
    fn every_rank_gets_the_mean_of_each_round() {
        let means = |member: &Member| {
            let mean = |round: usize| {
                member
                    .mean(vec![member.rank as f32, round as f32])
                    .unwrap()
                    .to_vec()
            };
            (0..50).map(mean).collect::<Vec<_>>()
        };
        let want: Vec<_> = (0..50).map(|round| vec![1.0, round as f32]).collect();
        assert_eq!(on_three(means), vec![want; 3]);
    }

    #[test]
    fn every_rank_gets_what_all_bring_and_the_first_ones_word() {
        let all = on_three(|member| {
            let rank = member.rank as u8;
            let gathered = member.gather(vec![rank; member.rank]).unwrap();
            let largest = member.largest(rank % 2).unwrap();
            (
                gathered,
                largest,
                member.broadcast(vec![7 + rank, 8]).unwrap(),
            )
        });
        let want = (vec![vec![], vec![1], vec![2, 2]], 1, vec![7, 8]);
        assert_eq!(all, vec![want; 3]);
    }

    #[test]
    fn what_does_not_go_together_is_an_error_on_every_rank() {
        let lengths = on_three(|member| {
            let values = vec![0.0; 2 + member.rank / 2];
            member.mean(values).map(|mean| mean.to_vec())
        });
        let kinds = on_three(|member| match member.rank {
            1 => member.gather(vec![1]).map(|_| Vec::new()),
            _ => member.mean(vec![1.0]).map(|mean| mean.to_vec()),
        });
        for result in lengths.into_iter().chain(kinds) {
            assert!(matches!(result, Err(Error::Rank(_))), "{result:?}");
        }
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
