//! Ranks that are processes, joined by MPI: the library that the program was built with, over whatever connects the machines.
//!
//! A mean travels twice: each rank gets its piece of everybody's values, averages it, and sends the mean to all. That is as little
//! traffic as there can be, and unlike MPI's own sums it has the order of ranks, so the bits are those of devices in one process.
//!
//! Waiting ranks ask MPI now and then and sleep in between, as the others may need the cores. A process that ends before [`Mpi::finish`]
//! ends the whole job: by MPI's abort here, by the launcher where it was killed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::{self, Threading, Universe};
use mpi::request::{Request, Scope, scope};
use mpi::traits::*;

use super::collective::{Collective, mean_in_order};
use crate::{Error, Result};

/// What an exchange is about; told before each, so that ranks that have lost each other notice.
const VALUES: u64 = 1;
const BYTES: u64 = 2;

/// This process among those that a launcher such as `mpirun` has started.
#[derive(Debug)]
pub struct Mpi {
    connection: Mutex<Connection>,
    rank: usize,
    count: usize,
    local: Local,
}

/// The processes of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// This process among them, counted from 0.
    pub rank: usize,
    /// Their number.
    pub count: usize,
    /// Whether all of them may run on the same cores; otherwise the launcher has given each its own.
    pub shares_cores: bool,
}

impl Local {
    fn new(rank: usize, machines: &[Vec<u8>], cores: &[Vec<u8>]) -> Self {
        let is_here = |other: &usize| machines[*other] == machines[rank];
        let here: Vec<usize> = (0..machines.len()).filter(is_here).collect();
        Self {
            rank: here.iter().filter(|other| **other < rank).count(),
            count: here.len(),
            shares_cores: here.iter().all(|&other| cores[other] == cores[rank]),
        }
    }
}

/// The name of the MPI library.
fn library() -> String {
    let text = environment::library_version().unwrap_or_default();
    let end = text.find([',', '\0', '\n']).unwrap_or(text.len());
    text[..end].to_string()
}

/// The cores that this process may run on, as Linux lists them; elsewhere nothing, as processes are not bound to any.
fn allowed_cores() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = |line: &str| line.strip_prefix("Cpus_allowed_list:").map(str::to_string);
    status.lines().find_map(list).unwrap_or_default()
}

struct Connection {
    universe: Universe,
    is_finished: bool,
}

impl Mpi {
    /// Joins the `expected` processes that the launcher has started.
    ///
    /// # Errors
    /// [`Error::Rank`] if MPI finds another number of processes, has been started before, or cannot be called from threads.
    pub fn start(expected: usize) -> Result<Self> {
        let level = Threading::Serialized;
        let Some((universe, found)) = environment::initialize_with_threading(level) else {
            return Err(Error::Rank("MPI has been started before".into()));
        };
        let world = universe.world();
        let [rank, count] = [world.rank(), world.size()].map(|n| usize::try_from(n).unwrap_or(0));
        let mut mpi = Self {
            connection: Mutex::new(Connection {
                universe,
                is_finished: false,
            }),
            rank,
            count,
            local: Local {
                rank: 0,
                count: 1,
                shares_cores: true,
            },
        };
        if count != expected {
            mpi.connection().is_finished = true;
            return Err(Error::Rank(format!(
                "the launcher has started {expected} processes, but MPI finds {count}; \
                 expected a launcher of the MPI library that this program was built with ({})",
                library()
            )));
        }
        if found < level {
            mpi.connection().is_finished = true;
            return Err(Error::Rank(
                "this MPI library cannot be called from threads (MPI_THREAD_SERIALIZED)".into(),
            ));
        }
        let machine = environment::processor_name().unwrap_or_default();
        let machines = mpi.gather(machine.into_bytes())?;
        let cores = mpi.gather(allowed_cores().into_bytes())?;
        mpi.local = Local::new(rank, &machines, &cores);
        Ok(mpi)
    }

    /// This process among those of its machine.
    pub fn local(&self) -> Local {
        self.local
    }

    /// Waits until all processes are done, so that none of them takes the end of another one for a failure. Returns the largest of
    /// their exit codes.
    ///
    /// # Errors
    /// If a process does something else.
    pub fn finish(&self, code: u8) -> Result<u8> {
        let code = self.largest(code)?;
        self.connection().is_finished = true;
        Ok(code)
    }

    /// Ends all processes of the job.
    pub fn abort(&self, code: u8) -> ! {
        self.connection().universe.world().abort(code.into())
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.count
    }

    fn mean(&self, mut values: Vec<f32>) -> Result<Arc<Vec<f32>>> {
        let connection = self.connection();
        connection.agree(VALUES, values.len(), self.rank)?;
        if values.is_empty() {
            return Ok(Arc::new(values));
        }
        let pieces = Pieces::new(&pieces_of(values.len(), self.count))?;
        // Everybody's values of this rank's piece.
        let length = pieces.counts[self.rank];
        let mut own = vec![0.0f32; length as usize * self.count];
        let places = Pieces::new(&vec![length as usize; self.count])?;
        let world = connection.universe.world();
        let sent = Partition::new(&values[..], &pieces.counts[..], &pieces.starts[..]);
        let mut got = PartitionMut::new(&mut own[..], &places.counts[..], &places.starts[..]);
        scope(|scope| wait(world.immediate_all_to_all_varcount_into(scope, &sent, &mut got)));
        let (sum, others) = own.split_at_mut(length as usize);
        if length > 0 {
            let others: Vec<&[f32]> = others.chunks(length as usize).collect();
            mean_in_order(sum, &others);
        }
        let sum = &*sum;
        let mut all = PartitionMut::new(&mut values[..], &pieces.counts[..], &pieces.starts[..]);
        scope(|scope| wait(world.immediate_all_gather_varcount_into(scope, sum, &mut all)));
        Ok(Arc::new(values))
    }

    fn gather(&self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let connection = self.connection();
        let lengths = connection.told(BYTES, bytes.len(), self.count)?;
        let pieces = Pieces::new(&lengths)?;
        let mut all = vec![0u8; lengths.iter().sum()];
        // Open MPI takes it for an error if there is nothing to gather.
        if all.is_empty() {
            return Ok(vec![Vec::new(); self.count]);
        }
        let mut got = PartitionMut::new(&mut all[..], &pieces.counts[..], &pieces.starts[..]);
        let world = connection.universe.world();
        scope(|scope| wait(world.immediate_all_gather_varcount_into(scope, &bytes[..], &mut got)));
        let mut rest = &all[..];
        Ok(lengths
            .into_iter()
            .map(|length| {
                let (own, others) = rest.split_at(length);
                rest = others;
                own.to_vec()
            })
            .collect())
    }
}

impl Connection {
    /// How much each rank brings, given that all of them are about to do the same.
    fn told(&self, kind: u64, length: usize, count: usize) -> Result<Vec<usize>> {
        let mut all = vec![0u64; 2 * count];
        let own = [kind, length as u64];
        let world = self.universe.world();
        scope(|scope| wait(world.immediate_all_gather_into(scope, &own[..], &mut all[..])));
        let (kinds, lengths): (Vec<u64>, Vec<usize>) = all
            .chunks(2)
            .map(|told| (told[0], told[1] as usize))
            .unzip();
        match kinds.iter().position(|other| *other != kind) {
            Some(other) => Err(Error::Rank(format!(
                "rank {other} is in another part of the step"
            ))),
            None => Ok(lengths),
        }
    }

    /// As [`Self::told`], where all must bring the same.
    fn agree(&self, kind: u64, length: usize, rank: usize) -> Result<()> {
        let count = usize::try_from(self.universe.world().size()).unwrap_or(0);
        let lengths = self.told(kind, length, count)?;
        match lengths.iter().position(|other| *other != length) {
            Some(other) => Err(Error::Rank(format!(
                "rank {rank} brings {length} values to average, rank {other} {}",
                lengths[other]
            ))),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // MPI's own end would wait for the others, who may wait for this one.
        if !self.is_finished {
            self.universe.world().abort(1);
        }
    }
}

/// The pieces of a buffer, as MPI counts.
struct Pieces {
    counts: Vec<i32>,
    starts: Vec<i32>,
}

impl Pieces {
    fn new(lengths: &[usize]) -> Result<Self> {
        // All of a buffer is counted in 32 bits.
        let number = |n: usize| {
            i32::try_from(n)
                .map_err(|_| Error::Rank(format!("{n} values are too many for one message of MPI")))
        };
        number(lengths.iter().sum())?;
        let mut start = 0;
        let mut pieces = Self {
            counts: Vec::new(),
            starts: Vec::new(),
        };
        for &length in lengths {
            pieces.counts.push(number(length)?);
            pieces.starts.push(number(start)?);
            start += length;
        }
        Ok(pieces)
    }
}

/// Lengths of `count` pieces that differ by at most 1.
fn pieces_of(length: usize, count: usize) -> Vec<usize> {
    (0..count)
        .map(|i| length / count + usize::from(i < length % count))
        .collect()
}

/// Waits for a request, at first without sleeping.
fn wait<'a, D: ?Sized, S: Scope<'a>>(mut request: Request<'a, D, S>) {
    const EAGER: Duration = Duration::from_millis(2);
    const PAUSE: Duration = Duration::from_micros(50);
    let start = Instant::now();
    loop {
        match request.test() {
            Ok(_) => return,
            Err(unfinished) => request = unfinished,
        }
        match start.elapsed() < EAGER {
            true => std::thread::yield_now(),
            false => std::thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_a_machine_are_counted() {
        let machines = ["a", "b", "a", "a"].map(Vec::from);
        let local = |rank, cores: [&str; 4]| Local::new(rank, &machines, &cores.map(Vec::from));
        let found = local(2, ["0-3"; 4]);
        assert_eq!((found.rank, found.count, found.shares_cores), (1, 3, true));
        assert!(!local(0, ["0", "0", "1", "2"]).shares_cores);
        let alone = local(1, ["0", "1", "2", "3"]);
        assert_eq!((alone.rank, alone.count, alone.shares_cores), (0, 1, true));
    }

    #[test]
    fn pieces_are_the_whole() {
        for (length, count, want) in [
            (10, 4, vec![3, 3, 2, 2]),
            (2, 3, vec![1, 1, 0]),
            (0, 2, vec![0, 0]),
        ] {
            assert_eq!(pieces_of(length, count), want);
        }
        let pieces = Pieces::new(&[3, 0, 2]).unwrap();
        assert_eq!(
            (pieces.counts, pieces.starts),
            (vec![3, 0, 2], vec![0, 3, 3])
        );
        assert!(matches!(Pieces::new(&[1 << 31]), Err(Error::Rank(_))));
        assert!(matches!(
            Pieces::new(&[1 << 30, 1 << 30, 1]),
            Err(Error::Rank(_))
        ));
    }
}
