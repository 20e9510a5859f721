//! Reading and writing while computing: the only place where the program starts reader and writer threads.

use std::any::Any;
use std::panic::resume_unwind;
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Result, anyhow};

use super::{Clock, Failures, Sink, Stage, Work, Written, named, timed};
use crate::ui;

/// Results that may wait to be written: neither side idles, and memory grows by no more than these.
pub const WAITING: usize = 2;

/// A message of the reader.
enum Read<I> {
    Piece(I),
    /// The input is complete, or could not be read.
    End(Result<()>),
}

/// A message to the writer.
enum Computed<O> {
    Result(O),
    /// The input is complete.
    End,
    /// The run was asked to stop before the input was complete.
    Stopped,
    /// The input has failed: nothing of it is kept that is not yet a file.
    Failed(anyhow::Error),
}

/// Jobs of which no more is read or computed, since they have failed: all up to this number.
struct Skipped(AtomicUsize);

impl Skipped {
    fn skip(&self, index: usize) {
        self.0.fetch_max(index + 1, Relaxed);
    }

    fn is_skipped(&self, index: usize) -> bool {
        self.0.load(Relaxed) > index
    }
}

/// Passes every job, in order, through its source, its stage and its sink. Errors of jobs go to `failed` as they end. `stop`
/// ends the run between two steps.
pub fn run<W: Work>(
    work: &W,
    jobs: &[&W::Job],
    stop: Option<&AtomicBool>,
    progress: &mut ui::Meter,
    failed: &mut Failures,
) -> (Vec<Written>, Clock) {
    let skipped = Skipped(AtomicUsize::new(0));
    thread::scope(|scope| {
        // Without room in the channel, only what the reader has in hand is in memory.
        let (pieces, from_reader) = sync_channel(0);
        let (to_writer, results) = sync_channel(WAITING);
        let skip = &skipped;
        scope.spawn(move || read(work, jobs, skip, &pieces));
        let writer = scope.spawn(move || write(work, jobs, skip, &results, failed));
        let mut computing = Computing {
            work,
            from_reader,
            to_writer,
            skipped: skip,
            stop,
            progress,
            clock: Clock::default(),
            done: 0.0,
        };
        for (index, job) in jobs.iter().enumerate() {
            computing.job(index, job);
        }
        let mut clock = computing.finish();
        let saved = writer.join().unwrap_or_else(|panic| rethrow(panic));
        clock.save_s = saved.save_s;
        (saved.written, clock)
    })
}

fn rethrow(panic: Box<dyn Any + Send>) -> ! {
    resume_unwind(panic)
}

/// The reader thread.
fn read<W: Work>(
    work: &W,
    jobs: &[&W::Job],
    skipped: &Skipped,
    pieces: &SyncSender<Read<W::Piece>>,
) {
    for (index, job) in jobs.iter().enumerate() {
        let result = read_job(work, job, || skipped.is_skipped(index), pieces);
        // The other side is gone only when the program ends.
        if pieces.send(Read::End(result)).is_err() {
            return;
        }
    }
}

fn read_job<W: Work>(
    work: &W,
    job: &W::Job,
    is_skipped: impl Fn() -> bool,
    pieces: &SyncSender<Read<W::Piece>>,
) -> Result<()> {
    for piece in work.source(job)? {
        if is_skipped() {
            return Ok(());
        }
        let sent = pieces.send(Read::Piece(piece?));
        sent.map_err(|_| anyhow!("computing has stopped"))?;
    }
    Ok(())
}

/// The result of the writer thread.
struct Saved {
    /// All files.
    written: Vec<Written>,
    save_s: f64,
}

/// The writer thread, which sees the end of every job, and so notes those that failed.
fn write<W: Work>(
    work: &W,
    jobs: &[&W::Job],
    skipped: &Skipped,
    results: &Receiver<Computed<W::Result>>,
    failed: &mut Failures,
) -> Saved {
    let mut saved = Saved {
        written: Vec::new(),
        save_s: 0.0,
    };
    for (index, job) in jobs.iter().enumerate() {
        let fail = || skipped.skip(index);
        let result = write_job(work, job, results, fail, &mut saved.save_s);
        let files = failed.note(&work.name(job), result);
        saved.written.extend(files.into_iter().flatten());
    }
    saved
}

/// Writes one job; `fail` is called as soon as that cannot be done, so that no more of it is computed.
fn write_job<W: Work>(
    work: &W,
    job: &W::Job,
    results: &Receiver<Computed<W::Result>>,
    fail: impl Fn(),
    save_s: &mut f64,
) -> Result<Vec<Written>> {
    let mut sink = None;
    let mut failure = None;
    loop {
        match results.recv() {
            Ok(Computed::Result(result)) if failure.is_none() => {
                let pushed = timed(save_s, || {
                    let sink = match &mut sink {
                        Some(sink) => sink,
                        None => sink.insert(work.sink(job)?),
                    };
                    sink.push(result)
                });
                failure = pushed.inspect_err(|_| fail()).err();
            }
            // Results after a failure are dropped, so that computing does not wait.
            Ok(Computed::Result(_)) => {}
            Ok(Computed::End) => break,
            Ok(Computed::Stopped) => {
                return match failure {
                    Some(error) => Err(error),
                    None => timed(save_s, || keep_part(sink)),
                };
            }
            // If both fail, writing did so first: the error of computing only follows from it.
            Ok(Computed::Failed(error)) => {
                if failure.is_none() && work.keeps_part() {
                    let kept = timed(save_s, || keep_part(sink))?;
                    work.report(&kept).iter().for_each(ui::note);
                }
                return Err(failure.unwrap_or(error));
            }
            Err(_) => return Err(failure.unwrap_or_else(|| anyhow!("computing has stopped"))),
        }
    }
    match (failure, sink) {
        (Some(error), _) => Err(error),
        (None, Some(sink)) => timed(save_s, || sink.finish()),
        (None, None) => Err(anyhow!("nothing was computed")),
    }
}

fn keep_part<O>(sink: Option<Box<dyn Sink<O> + '_>>) -> Result<Vec<Written>> {
    sink.map_or(Ok(Vec::new()), |sink| sink.keep_part())
}

/// How the computing of a job ends, if not in an error.
#[derive(PartialEq, Eq)]
enum End {
    Complete,
    Stopped,
}

/// The computing side.
struct Computing<'a, W: Work> {
    work: &'a W,
    from_reader: Receiver<Read<W::Piece>>,
    to_writer: SyncSender<Computed<W::Result>>,
    skipped: &'a Skipped,
    stop: Option<&'a AtomicBool>,
    progress: &'a mut ui::Meter,
    clock: Clock,
    /// Units of the jobs before this one.
    done: f64,
}

impl<W: Work> Computing<'_, W> {
    /// Runs one job, and sends the writer its end.
    fn job(&mut self, index: usize, job: &W::Job) {
        let mut ended = false;
        let result = self.pieces(index, job, &mut ended);
        if !matches!(result, Ok(End::Complete)) {
            self.skipped.skip(index);
        }
        // The reader goes on to the next job only when the rest of this one has been taken.
        while !ended {
            match self.from_reader.recv() {
                Ok(Read::Piece(_)) => {}
                Ok(Read::End(_)) | Err(_) => ended = true,
            }
        }
        self.done += self.work.units(job);
        let end = match result {
            Ok(End::Complete) => Computed::End,
            Ok(End::Stopped) => Computed::Stopped,
            Err(error) => Computed::Failed(named(error, &self.work.name(job))),
        };
        // A writer that is gone has panicked, which joining it tells.
        let _ = self.to_writer.send(end);
    }

    /// Computes all pieces of a job; `ended` becomes true when the reader has sent the last one.
    fn pieces(&mut self, index: usize, job: &W::Job, ended: &mut bool) -> Result<End> {
        let work = self.work;
        if self.is_stopped() {
            return Ok(End::Stopped);
        }
        let mut stage = timed(&mut self.clock.load_s, || work.stage(job))?;
        let mut units = 0.0;
        loop {
            let piece = match self.from_reader.recv() {
                Ok(Read::Piece(piece)) => piece,
                Ok(Read::End(result)) => {
                    *ended = true;
                    result?;
                    let last = timed(&mut self.clock.compute_s, || stage.finish())?;
                    self.hand_over(last)?;
                    return Ok(End::Complete);
                }
                Err(_) => return Err(anyhow!("reading stopped")),
            };
            if self.skipped.is_skipped(index) {
                return Err(anyhow!("writing has stopped"));
            }
            if self.is_stopped() {
                return Ok(End::Stopped);
            }
            let size = work.piece_units(&piece);
            let results = self.step(&mut *stage, piece, units, size)?;
            units += size;
            self.hand_over(results)?;
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_some_and(|stop| stop.load(SeqCst))
    }

    /// One step of a stage, with progress.
    fn step(
        &mut self,
        stage: &mut dyn Stage<W::Piece, W::Result>,
        piece: W::Piece,
        units: f64,
        size: f64,
    ) -> Result<Vec<W::Result>> {
        let (progress, done) = (&mut *self.progress, self.done + units);
        let mut show = |part: f32| progress.set(done + size * f64::from(part));
        let results = timed(&mut self.clock.compute_s, || stage.step(piece, &mut show))?;
        self.progress.set(done + size);
        Ok(results)
    }

    fn hand_over(&mut self, results: Vec<W::Result>) -> Result<()> {
        for result in results {
            self.clock.pixels += self.work.pixels(&result);
            let sent = self.to_writer.send(Computed::Result(result));
            sent.map_err(|_| anyhow!("writing stopped"))?;
        }
        Ok(())
    }

    /// Ends the writer's input.
    fn finish(self) -> Clock {
        self.clock
    }
}
