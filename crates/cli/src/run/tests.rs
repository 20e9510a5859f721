//! The run over a small work that fails on request.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, anyhow};
use vae2x::{Estimate, Progress};

use super::threads::WAITING;
use super::{Failures, Need, Sink, Source, Stage, Work, Written, prepare};

/// Jobs are numbers; each has nine pieces, `10 job + 0, 1, ..`, which are doubled.
#[derive(Default)]
struct Doubling {
    /// Fails on this piece of job 2.
    read: Option<u32>,
    compute: Option<u32>,
    write: Option<u32>,
    /// Job 2 is too large.
    is_large: bool,
    /// Asks the run to stop while this piece of job 2 is computed.
    stop: Option<u32>,
    stopped: AtomicBool,
    /// Parts are kept.
    keeps_part: bool,
    /// Computing waits, so that the reader has the time to get ahead, if it could.
    is_slow: bool,
    /// Pieces that were read and computed so far, and the most by which reading was ahead.
    count: Arc<AtomicUsize>,
    computed: AtomicUsize,
    most_ahead: AtomicUsize,
    /// Jobs that were finished, with their results.
    finished: Mutex<Vec<(u32, Vec<u32>)>>,
    /// Jobs of which a part was kept.
    kept: Mutex<Vec<(u32, Vec<u32>)>>,
}

const PIECES: u32 = 9;

impl Work for Doubling {
    type Job = u32;
    type Piece = u32;
    type Result = u32;

    const LABEL: &'static str = "doubling";
    const UNIT: &'static str = "numbers";

    fn name(&self, job: &u32) -> String {
        format!("job {job}")
    }

    fn units(&self, _: &u32) -> f64 {
        f64::from(PIECES)
    }

    fn keeps_part(&self) -> bool {
        self.keeps_part
    }

    fn need(&self, job: &u32) -> Result<Option<Need>> {
        let weights = match self.is_large && *job == 2 {
            true => usize::MAX / 2,
            false => 0,
        };
        Ok(Some(Need {
            what: "doubling".into(),
            engine: Estimate {
                weights,
                ..Estimate::default()
            },
            piece: 0,
            result: 0,
            is_finished: false,
            allowed: None,
        }))
    }

    fn source(&self, job: &u32) -> Result<Source<u32>> {
        let (job, fails, count) = (*job, self.read, self.count.clone());
        let pieces = (0..PIECES).map(move |i| {
            count.fetch_add(1, SeqCst);
            match job == 2 && fails == Some(i) {
                true => Err(anyhow!("reading fails")),
                false => Ok(10 * job + i),
            }
        });
        Ok(Box::new(pieces))
    }

    fn stage<'a>(&'a self, job: &'a u32) -> Result<Box<dyn Stage<u32, u32> + 'a>> {
        Ok(Box::new(Doubler {
            work: self,
            job: *job,
        }))
    }

    fn sink<'a>(&'a self, job: &'a u32) -> Result<Box<dyn Sink<u32> + 'a>> {
        Ok(Box::new(Collected {
            work: self,
            job: *job,
            results: Vec::new(),
        }))
    }
}

struct Doubler<'a> {
    work: &'a Doubling,
    job: u32,
}

impl Stage<u32, u32> for Doubler<'_> {
    fn step(&mut self, piece: u32, progress: Progress<'_>) -> Result<Vec<u32>> {
        progress(0.5);
        if self.work.is_slow {
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.job == 2 && self.work.stop == Some(piece % 10) {
            self.work.stopped.store(true, SeqCst);
        }
        let ahead = self.work.count.load(SeqCst) - self.work.computed.fetch_add(1, SeqCst);
        self.work.most_ahead.fetch_max(ahead, SeqCst);
        match self.job == 2 && self.work.compute == Some(piece % 10) {
            true => Err(anyhow!("computing fails")),
            false => Ok(vec![2 * piece]),
        }
    }
}

struct Collected<'a> {
    work: &'a Doubling,
    job: u32,
    results: Vec<u32>,
}

impl Sink<u32> for Collected<'_> {
    fn push(&mut self, result: u32) -> Result<()> {
        if self.job == 2 && self.work.write == Some(result / 2 % 10) {
            return Err(anyhow!("writing fails"));
        }
        self.results.push(result);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<Written>> {
        let mut finished = self.work.finished.lock().expect("nobody panics");
        finished.push((self.job, self.results));
        Ok(vec![Written {
            path: format!("{}", self.job).into(),
            note: None,
        }])
    }

    fn keep_part(self: Box<Self>) -> Result<Vec<Written>> {
        let mut kept = self.work.kept.lock().expect("nobody panics");
        kept.push((self.job, self.results));
        Ok(Vec::new())
    }
}

/// Runs jobs 1, 2 and 3; gives those that were finished and the error.
fn finished(work: &Doubling) -> (Vec<u32>, Option<String>) {
    let jobs = [1, 2, 3];
    let error = super::run(work, &jobs, Failures::among(3)).err();
    let finished = work.finished.lock().expect("nobody panics");
    (
        finished.iter().map(|(job, _)| *job).collect(),
        error.map(|e| e.to_string()),
    )
}

#[test]
fn names_are_put_in_front_once() {
    for (text, name, expected) in [
        ("a.png: broken", "a.png", "a.png: broken"),
        ("b/a.png: broken", "a.png", "a.png: b/a.png: broken"),
        ("expected 3 axes", "x", "x: expected 3 axes"),
        ("'x' is no image", "x", "'x' is no image"),
        ("broken", "a.png", "a.png: broken"),
    ] {
        let error = super::named(anyhow!("{text}"), name);
        assert_eq!(format!("{error:#}"), expected);
    }
}

#[test]
fn every_piece_passes_in_order() {
    let work = Doubling::default();
    assert_eq!(finished(&work), (vec![1, 2, 3], None));
    let results = work.finished.lock().unwrap();
    assert_eq!(results[1], (2, (20..20 + PIECES).map(|n| 2 * n).collect()));
}

#[test]
fn an_input_that_fails_does_not_stop_the_others() {
    let failing = |piece: u32| {
        [
            Doubling {
                read: Some(piece),
                ..Doubling::default()
            },
            Doubling {
                compute: Some(piece),
                ..Doubling::default()
            },
            Doubling {
                write: Some(piece),
                ..Doubling::default()
            },
        ]
    };
    for work in [0, 1, 2].into_iter().flat_map(failing) {
        let error = "1 of 3 inputs failed: job 2".to_owned();
        assert_eq!(finished(&work), (vec![1, 3], Some(error)));
    }
}

#[test]
fn what_does_not_fit_is_left_out_before_any_work() {
    let work = Doubling {
        is_large: true,
        ..Doubling::default()
    };
    let error = "1 of 3 inputs failed: job 2".to_owned();
    assert_eq!(finished(&work), (vec![1, 3], Some(error)));
}

#[test]
fn the_error_of_an_only_input_is_kept_whole() {
    for (work, why) in [
        (
            Doubling {
                compute: Some(1),
                ..Doubling::default()
            },
            "computing fails",
        ),
        (
            Doubling {
                write: Some(2),
                ..Doubling::default()
            },
            "writing fails",
        ),
    ] {
        let error = super::run(&work, &[2], Failures::among(1)).err();
        assert!(format!("{:#}", error.unwrap()).contains(why));
    }
    let memory = Doubling {
        is_large: true,
        ..Doubling::default()
    };
    let error = super::run(&memory, &[2], Failures::among(1)).err().unwrap();
    assert!(matches!(
        error.downcast_ref(),
        Some(vae2x::Error::Memory(_))
    ));
}

#[test]
fn inputs_that_cannot_be_looked_at_are_counted() {
    let look = |n: u32| match n {
        2 => Err(anyhow!("there is no 2")),
        n => Ok(n),
    };
    let mut failed = Failures::among(3);
    let jobs = prepare(&mut failed, [1, 2, 3], |n| format!("job {n}"), look);
    assert_eq!(jobs, [1, 3]);
    let error = failed.result().unwrap_err().to_string();
    assert_eq!(error, "1 of 3 inputs failed: job 2");
    let mut failed = Failures::among(1);
    let jobs = prepare(&mut failed, [2], |n| format!("job {n}"), look);
    assert!(jobs.is_empty());
    assert_eq!(failed.result().unwrap_err().to_string(), "there is no 2");
}

#[test]
fn no_more_is_computed_of_what_cannot_be_written() {
    let work = Doubling {
        write: Some(0),
        ..Doubling::default()
    };
    let error = super::run(&work, &[2], Failures::among(1)).err();
    assert_eq!(error.unwrap().to_string(), "writing fails");
    // There is room for those that wait, one to be handed over, and the one that fails.
    assert!(work.computed.load(SeqCst) <= WAITING + 2);
}

#[test]
fn reading_is_one_piece_ahead() {
    let work = Doubling {
        is_slow: true,
        ..Doubling::default()
    };
    assert_eq!(finished(&work), (vec![1, 2, 3], None));
    // One in the reader's hand beside the one that is being computed.
    assert!(work.most_ahead.load(SeqCst) <= 2);
}

/// Runs jobs 1, 2 and 3 until `work.stopped` is set; gives the numbers of those that were finished, and what was kept of others.
fn stopped(work: &Doubling) -> (Vec<u32>, Vec<(u32, Vec<u32>)>) {
    let mut progress = crate::ui::Meter::new("", 1.0, "");
    let mut failed = Failures::among(3);
    let jobs = [&1, &2, &3];
    super::threads::run(work, &jobs, Some(&work.stopped), &mut progress, &mut failed);
    assert!(failed.result().is_ok(), "to stop is no failure");
    let finished = work.finished.lock().expect("nobody panics");
    let finished = finished.iter().map(|(job, _)| *job).collect();
    (finished, work.kept.lock().expect("nobody panics").clone())
}

#[test]
fn a_run_that_is_stopped_keeps_the_part_that_is_done() {
    let work = |stop| Doubling {
        stop: Some(stop),
        ..Doubling::default()
    };
    // The step that is under way is done.
    assert_eq!(
        stopped(&work(3)),
        (vec![1], vec![(2, vec![40, 42, 44, 46])])
    );
    // What is complete is no part.
    assert_eq!(stopped(&work(PIECES - 1)), (vec![1, 2], vec![]));
    let at_once = work(0);
    at_once.stopped.store(true, SeqCst);
    assert_eq!(stopped(&at_once), (vec![], vec![]));
}

#[test]
fn a_job_that_fails_keeps_the_part_that_is_done() {
    for keeps_part in [false, true] {
        let work = Doubling {
            compute: Some(2),
            keeps_part,
            ..Doubling::default()
        };
        let error = "1 of 3 inputs failed: job 2".to_owned();
        assert_eq!(finished(&work), (vec![1, 3], Some(error)));
        let kept = work.kept.lock().expect("nobody panics").clone();
        let expected = keeps_part.then(|| (2, vec![40, 42]));
        assert_eq!(kept, Vec::from_iter(expected));
    }
}
