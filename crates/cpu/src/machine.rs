//! What work runs on: an instruction set, threads, and scratch memory that is kept between tasks.
//!
//! Engines with the same number of threads share them: a program that loads several models starts one pool.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use rayon::prelude::*;
use vae2x_core::{Cancel, Error, Result};

use crate::buffers::pages::Pages;
use vae2x_kernels::Isa;

/// Threads, instruction set and scratch memory. Clones share threads and memory.
#[derive(Clone)]
pub(crate) struct Machine {
    pub isa: Isa,
    pub threads: usize,
    shared: Arc<Shared>,
    /// Stops what runs here.
    cancel: Cancel,
    /// Where the tasks' times go, which then run one after the other.
    record: Option<Arc<Record>>,
}

/// Times of tasks: one list for each [`Machine::run`].
#[derive(Default)]
pub(crate) struct Record(Mutex<Vec<Vec<f64>>>);

impl Record {
    /// The seconds of all tasks since the last call.
    pub fn take(&self) -> Vec<Vec<f64>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Threads and their memory.
struct Shared {
    pool: rayon::ThreadPool,
    scratch: Mutex<Vec<Scratch>>,
    expanded: Mutex<Vec<Pages>>,
}

/// Memory of one thread, kept between tasks.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Inputs of matrix products.
    pub v: Pages,
    /// Their results.
    pub m: Pages,
}

impl Shared {
    /// The pool of `threads` threads, which is started unless an engine has it already.
    fn get(threads: usize) -> Result<Arc<Self>> {
        static POOLS: Mutex<Vec<(Key, Weak<Shared>)>> = Mutex::new(Vec::new());
        /// The process and the number of threads: a process that was forked has the pools of its parent, without threads.
        type Key = (u32, usize);
        let key = (std::process::id(), threads);
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|(_, pool)| pool.strong_count() > 0);
        let running = pools.iter().find(|(other, _)| *other == key);
        if let Some(shared) = running.and_then(|(_, pool)| pool.upgrade()) {
            return Ok(shared);
        }
        let shared = Arc::new(Self::start(threads)?);
        pools.push((key, Arc::downgrade(&shared)));
        Ok(shared)
    }

    fn start(threads: usize) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("vae2x-cpu-{i}"))
            .build()
            .map_err(|e| Error::Device(format!("threads could not be started: {e}")))?;
        Ok(Self {
            pool,
            scratch: Mutex::default(),
            expanded: Mutex::default(),
        })
    }
}

impl Machine {
    /// `threads` at least 1.
    pub fn new(isa: Isa, threads: usize) -> Result<Self> {
        let shared = Shared::get(threads)?;
        Ok(Self {
            isa,
            threads,
            shared,
            cancel: Cancel::new(),
            record: None,
        })
    }

    /// A machine of one thread that cuts its work as if there were `threads`, and records what each task takes.
    pub fn recording(isa: Isa, threads: usize) -> Result<(Self, Arc<Record>)> {
        let record = Arc::new(Record::default());
        let machine = Self {
            threads,
            record: Some(record.clone()),
            ..Self::new(isa, 1)?
        };
        Ok((machine, record))
    }

    /// The same machine for work that `cancel` can stop.
    pub fn with_cancel(&self, cancel: &Cancel) -> Self {
        Self {
            cancel: cancel.clone(),
            ..self.clone()
        }
    }

    /// Goes on unless the work was asked to stop.
    pub fn check(&self) -> Result<()> {
        self.cancel.check()
    }

    /// Does `work` on one of the threads. What it runs in parallel then starts without waking that thread, so a chain of
    /// small steps belongs in here as a whole.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.shared.pool.install(work)
    }

    /// Runs all tasks, each on one thread, until one fails or the work is asked to stop.
    pub fn run<T: Send>(
        &self,
        tasks: Vec<T>,
        work: impl Fn(T, &mut Scratch) -> Result<()> + Sync,
    ) -> Result<()> {
        let lock = || {
            let scratch = &self.shared.scratch;
            scratch.lock().unwrap_or_else(PoisonError::into_inner)
        };
        let one = |task| {
            self.check()?;
            let mut scratch = lock().pop().unwrap_or_default();
            let done = work(task, &mut scratch);
            lock().push(scratch);
            done
        };
        if let Some(record) = &self.record {
            let mut seconds = Vec::new();
            for task in tasks {
                let start = Instant::now();
                one(task)?;
                seconds.push(start.elapsed().as_secs_f64());
            }
            let mut runs = record.0.lock().unwrap_or_else(PoisonError::into_inner);
            runs.push(seconds);
            return Ok(());
        }
        let run = || tasks.into_par_iter().with_max_len(1).try_for_each(one);
        self.shared.pool.install(run)
    }

    /// Lends memory for expanded weights to `work`; it is kept between calls.
    pub fn with_expanded<R>(&self, work: impl FnOnce(&mut Pages) -> R) -> R {
        let lock = || {
            let expanded = &self.shared.expanded;
            expanded.lock().unwrap_or_else(PoisonError::into_inner)
        };
        let mut memory = lock().pop().unwrap_or_default();
        let result = work(&mut memory);
        lock().push(memory);
        result
    }

    /// Maps in parallel, in order.
    pub fn map<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(&T) -> R + Sync + Send,
    ) -> Vec<R> {
        let map = || items.par_iter().with_max_len(1).map(work).collect();
        self.shared.pool.install(map)
    }
}

/// At least `n` values, of whatever content.
pub(crate) fn at_least(buffer: &mut Pages, n: usize) -> Result<&mut [f32]> {
    if buffer.len() < n {
        // The old memory goes first.
        *buffer = Pages::default();
        *buffer = Pages::large(n)?;
    }
    Ok(&mut buffer[..n])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_of_threads_share_a_pool() {
        // A number that no other test of this process uses.
        const THREADS: usize = 3;
        let [a, b] = [Isa::detect(), Isa::named("scalar").unwrap()]
            .map(|isa| Machine::new(isa, THREADS).unwrap());
        assert!(Arc::ptr_eq(&a.shared, &b.shared));
        let other = Machine::new(Isa::detect(), THREADS + 1).unwrap();
        assert!(!Arc::ptr_eq(&a.shared, &other.shared));
        let pool = Arc::downgrade(&a.shared);
        drop((a, b));
        assert!(pool.upgrade().is_none(), "threads end with the last engine");
    }
}
