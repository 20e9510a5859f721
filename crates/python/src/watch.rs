//! Work that Python waits for: on a thread of its own, without Python's lock, while the calling thread looks several times a second
//! whether a signal came, the callback for progress stops it, or an event is set.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use vae2x::{Cancel, Error, Result};

use crate::errors::{OrRaise, raised};

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// What Python passes to watch work with.
pub struct Watch {
    /// Called with the completed fraction; `False` stops the work, and so does an exception.
    progress: Option<Py<PyAny>>,
    /// Like `threading.Event`: once it is set, the work stops.
    cancel: Option<Py<PyAny>>,
}

/// The completed fraction of the work.
#[derive(Default)]
pub struct Report {
    done: AtomicU32,
    /// What was passed on last.
    told: AtomicU32,
}

impl Report {
    /// Reports a fraction.
    pub fn set(&self, fraction: f32) {
        self.done.store(fraction.to_bits(), Relaxed);
    }

    /// The fraction, if it was not told before.
    fn news(&self) -> Option<f32> {
        let done = self.done.load(Relaxed);
        (self.told.swap(done, Relaxed) != done).then(|| f32::from_bits(done))
    }
}

impl Watch {
    /// Watches with a callback and an event.
    pub fn new(progress: Option<Py<PyAny>>, cancel: Option<Py<PyAny>>) -> Self {
        Self { progress, cancel }
    }

    /// Runs `work`, which ends soon with [`Error::Cancelled`] when `cancel` is set, and waits for its end.
    ///
    /// # Errors
    /// The work's, or what stopped it: `KeyboardInterrupt`, the callback's exception, `Cancelled`.
    pub fn run<T: Send>(
        &self,
        py: Python<'_>,
        cancel: &Cancel,
        work: impl FnOnce(&Report) -> Result<T> + Send,
    ) -> PyResult<T> {
        let value = self.wait(py, cancel, &Report::default(), work)?;
        self.tell(py, 1.0)?;
        Ok(value)
    }

    /// As [`Self::run`], for a part of the work: what was reported last is passed on in the end, however soon that comes.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_part<T: Send>(
        &self,
        py: Python<'_>,
        cancel: &Cancel,
        work: impl FnOnce(&Report) -> Result<T> + Send,
    ) -> PyResult<T> {
        let report = Report::default();
        let value = self.wait(py, cancel, &report, work)?;
        self.look(py, &report)?;
        Ok(value)
    }

    fn wait<T: Send>(
        &self,
        py: Python<'_>,
        cancel: &Cancel,
        report: &Report,
        work: impl FnOnce(&Report) -> Result<T> + Send,
    ) -> PyResult<T> {
        self.look(py, report)?;
        let (ended, end) = channel::<()>();
        let end = Mutex::new(end);
        let (result, stopped) = thread::scope(|scope| {
            let working = move || {
                // Dropped in the end, even in a panic.
                let _ended = ended;
                work(report)
            };
            let worker = match named().spawn_scoped(scope, working) {
                Ok(worker) => worker,
                Err(e) => return (Ok(Err(not_started(&e))), None),
            };
            let mut stopped = None;
            while py.detach(|| is_running(&end)) {
                if stopped.is_none() {
                    stopped = self.look(py, report).err();
                    if stopped.is_some() {
                        cancel.cancel();
                    }
                }
            }
            (py.detach(|| worker.join()), stopped)
        });
        let result = result.unwrap_or_else(|panic| resume_unwind(panic));
        if let Some(stopped) = stopped {
            return Err(stopped);
        }
        // A signal may be the reason, as FFmpeg gets it too on Windows.
        py.check_signals()?;
        result.or_raise(py)
    }

    /// Runs `work` that cannot be stopped: what stops it is raised at once, and it is left alone.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_and_leave<T: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Report) -> Result<T> + Send + 'static,
    ) -> PyResult<T> {
        let report = Arc::new(Report::default());
        self.look(py, &report)?;
        let (ended, end) = channel();
        let end = Mutex::new(end);
        let theirs = report.clone();
        let working = move || {
            // Nobody may wait any more.
            let _ = ended.send(work(&theirs));
        };
        named()
            .spawn(working)
            .map_err(|e| raised(py, &not_started(&e)))?;
        loop {
            let result = py.detach(|| {
                let end = end.lock().unwrap_or_else(PoisonError::into_inner);
                end.recv_timeout(PAUSE)
            });
            match result {
                Ok(result) => return result.or_raise(py),
                Err(RecvTimeoutError::Timeout) => self.look(py, &report)?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Device("opening failed".into())).or_raise(py);
                }
            }
        }
    }

    /// Fails if the work is to stop; passes progress on.
    fn look(&self, py: Python<'_>, report: &Report) -> PyResult<()> {
        py.check_signals()?;
        if let Some(event) = &self.cancel
            && event.call_method0(py, "is_set")?.is_truthy(py)?
        {
            return Err(raised(py, &Error::Cancelled));
        }
        match report.news() {
            Some(done) => self.tell(py, done),
            None => Ok(()),
        }
    }

    fn tell(&self, py: Python<'_>, done: f32) -> PyResult<()> {
        let Some(progress) = &self.progress else {
            return Ok(());
        };
        let answer = progress.call1(py, (done,))?;
        match answer.extract::<bool>(py) {
            Ok(false) => Err(raised(py, &Error::Cancelled)),
            _ => Ok(()),
        }
    }
}

fn named() -> thread::Builder {
    thread::Builder::new().name("vae2x".into())
}

fn not_started(error: &std::io::Error) -> Error {
    Error::Device(format!("a thread could not be started: {error}"))
}

/// Waits for a while for the end of the work; true if it still goes on.
fn is_running(end: &Mutex<Receiver<()>>) -> bool {
    let end = end.lock().unwrap_or_else(PoisonError::into_inner);
    end.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout)
}
