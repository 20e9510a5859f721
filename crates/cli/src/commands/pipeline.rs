//! Reading and writing beside computing: while one input is computed, a thread reads the next and another writes the last.

use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::anyhow;

/// Passes every job, in order, through the three stages; `compute` stays on this thread. At most one job waits before it and one
/// is written after it.
///
/// # Errors
/// That of the first job that fails; later ones are not written.
pub fn run<J: Sync, I: Send, O: Send>(
    jobs: &[J],
    read: impl Fn(&J) -> anyhow::Result<I> + Send,
    mut compute: impl FnMut(&J, I) -> anyhow::Result<O>,
    mut write: impl FnMut(&J, O) -> anyhow::Result<()> + Send,
) -> anyhow::Result<()> {
    thread::scope(|scope| {
        // Without room in the channels, only what a stage has in hand is in memory.
        let (to_compute, inputs) = sync_channel(0);
        let (to_write, outputs) = sync_channel(0);
        scope.spawn(move || jobs.iter().try_for_each(|job| to_compute.send(read(job))));
        let writer = scope.spawn(move || {
            outputs
                .iter()
                .zip(jobs)
                .try_for_each(|(output, job)| write(job, output))
        });
        let computed = jobs.iter().try_for_each(|job| {
            let input = inputs
                .recv()
                .map_err(|_| anyhow!("reading has stopped"))??;
            to_write
                .send(compute(job, input)?)
                .map_err(|_| anyhow!("writing has stopped"))
        });
        drop(to_write);
        writer
            .join()
            .map_err(|_| anyhow!("the thread that writes has panicked"))?
            .and(computed)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[test]
    fn every_job_passes_in_order() {
        let mut written = Vec::new();
        let write = |job: &u32, output| {
            written.push((*job, output));
            Ok(())
        };
        run(
            &[1, 2, 3],
            |job| Ok(job * 10),
            |_, input| Ok(input + 1),
            write,
        )
        .expect("nothing fails");
        assert_eq!(written, [(1, 11), (2, 21), (3, 31)]);
    }

    #[test]
    fn the_first_failure_ends_it() {
        let refuse = |stage: &'static str| {
            let written = AtomicUsize::new(0);
            let fails = |here: &str, job: &u32| match stage == here && *job == 2 {
                true => Err(anyhow!("{here} fails")),
                false => Ok(()),
            };
            let write =
                |job: &u32, ()| fails("write", job).inspect(|()| _ = written.fetch_add(1, SeqCst));
            let result = run(
                &[1, 2, 3, 4],
                |job| fails("read", job),
                |job, ()| fails("compute", job),
                write,
            );
            (
                result.expect_err("a stage fails").to_string(),
                written.into_inner(),
            )
        };
        for stage in ["read", "compute", "write"] {
            assert_eq!(refuse(stage), (format!("{stage} fails"), 1));
        }
    }

    #[test]
    fn reading_is_one_job_ahead() {
        let (read, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let compute = |job: &usize, ()| {
            // The reader has the time to run away, if it could.
            thread::sleep(std::time::Duration::from_millis(5));
            most.fetch_max(read.load(SeqCst) - job, SeqCst);
            Ok(())
        };
        let count = |_: &usize| Ok(_ = read.fetch_add(1, SeqCst));
        run(&[1, 2, 3, 4, 5], count, compute, |_, ()| Ok(())).expect("nothing fails");
        assert!(most.into_inner() <= 1);
    }
}
