//! Training in several processes, through the program and a real `mpirun`, on this machine. Every test is shown as ignored where there
//! is no `mpirun`; `tools/mpi.sh` installs it, and builds the program with its feature `mpi`.

mod launch;

use std::path::Path;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

use launch::{Run, has_mpirun, tensors};

/// How far losses and weights of several processes may be from those of one: they are the same sums, in another order.
const SAME: f64 = 1e-5;

fn main() {
    let is_missing = !has_mpirun();
    let test = |name: &str, run: fn() -> Result<(), Failed>| {
        Trial::test(name, run).with_ignored_flag(is_missing)
    };
    let tests = vec![
        test("processes_are_one_with_all_samples", one_with_all_samples),
        test("a_killed_rank_ends_all_and_the_run_resumes", killed),
        test("a_rank_that_fails_ends_all", failed),
        test("losses_that_explode_are_reported_once", exploded),
        test("a_signal_to_one_rank_stops_all_after_the_step", stopped),
        test("signals_to_mpirun_stop_all", stopped_by_mpirun),
        test("what_cannot_be_is_refused", refused),
    ];
    let mut arguments = Arguments::from_args();
    // Each of them uses all cores.
    arguments.test_threads = Some(1);
    if is_missing {
        eprintln!("mpirun is missing: all tests are ignored");
    }
    libtest_mimic::run(&arguments, tests).exit();
}

/// Ten steps of 1, 2 and 4 processes, all with 4 samples a step; 2 processes are 2 devices of one process, to the bit.
fn one_with_all_samples() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let of = |processes: usize, batch: usize| {
        let run = Run::new(folder.path(), &format!("{processes}-processes"));
        let output = run.start(processes, &run.new_run(10, batch)).output();
        assert!(output.status.success(), "{output:?}");
        run
    };
    let one = of(1, 4);
    for (processes, batch) in [(2, 2), (4, 1)] {
        let several = of(processes, batch);
        compare_logs(&one, &several);
        for part in ["generator.", "average.", "discriminator."] {
            let error = distance(&one, &several, part);
            println!("{processes} processes, {part}*: {error:.1e}");
            assert!(error <= SAME, "{processes} processes, {part}*: {error:e}");
        }
    }
    let devices = Run::new(folder.path(), "devices");
    let mut arguments = devices.new_run(10, 2);
    arguments.extend(["--device".into(), "cpu,cpu".into()]);
    assert!(devices.start(1, &arguments).output().status.success());
    let two = Run::new(folder.path(), "2-processes");
    assert_eq!(tensors(&devices.newest()), tensors(&two.newest()));
    Ok(())
}

/// The relative distance of tensors whose names begin so.
fn distance(one: &Run, other: &Run, part: &str) -> f64 {
    let (one, other) = (tensors(&one.newest()), tensors(&other.newest()));
    assert_eq!(one.len(), other.len());
    let (mut square, mut error, mut count) = (0.0, 0.0, 0);
    for ((name, values), (other_name, others)) in one.iter().zip(&other) {
        assert_eq!((name, values.len()), (other_name, others.len()));
        if name.starts_with(part) {
            for (bits, other) in values.iter().zip(others) {
                let [a, b] = [*bits, *other].map(|bits| f64::from(f32::from_bits(bits)));
                (square, error, count) = (square + a * a, error + (a - b).powi(2), count + 1);
            }
        }
    }
    assert!(count > 0, "{part}");
    (error / square).sqrt()
}

/// Every number of every line of the log but the speed.
fn compare_logs(one: &Run, other: &Run) {
    let (one, other) = (one.log(), other.log());
    assert_eq!(one.len(), other.len());
    let mut worst = (0.0, String::new());
    for (one, other) in one
        .iter()
        .zip(&other)
        .filter(|(line, _)| line["kind"] == "train")
    {
        let numbers = one.as_object().unwrap().iter();
        for (name, value) in numbers.filter(|(name, _)| *name != "images_per_second") {
            let Some(value) = value.as_f64() else {
                continue;
            };
            let found = other[name].as_f64().unwrap();
            let error = (found - value).abs() / value.abs().max(1e-3);
            if !(error <= worst.0) {
                worst = (
                    error,
                    format!("{name} of step {}: {value} {found}", one["step"]),
                );
            }
        }
    }
    println!("losses: {:.1e}, {}", worst.0, worst.1);
    assert!(worst.0 <= SAME, "{worst:?}");
}

fn killed() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for (name, rank) in [("the first", 0), ("another", 2)] {
        let run = Run::new(folder.path(), name);
        let job = run.start(3, &run.new_run(100_000, 1));
        run.wait_for_checkpoints(2);
        run.signal(rank, "KILL");
        let start = Instant::now();
        let output = job.output();
        let took = start.elapsed();
        assert!(
            !output.status.success() && took < Duration::from_secs(10),
            "{took:?}"
        );
        run.expect_no_process();
        println!(
            "killed {name} rank: all ended after {:.1} s",
            took.as_secs_f64()
        );
        // It goes on with another number of processes.
        for processes in [2, 1] {
            let step = run.step();
            let steps = format!("train.steps={}", step + 2);
            let output = run.start(processes, &run.resumed(&[&steps])).output();
            assert!(output.status.success(), "{output:?}");
            assert_eq!(run.step(), step + 2);
        }
    }
    Ok(())
}

/// One of three processes is told a device that it does not have.
fn failed() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let run = Run::new(folder.path(), "run");
    let arguments = run.new_run(100_000, 1);
    let mut other = arguments.clone();
    other.extend(["--device".into(), "libtorch:7".into()]);
    let start = Instant::now();
    let output = run.start_two_kinds(&arguments, &other).output();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{errors}");
    assert!(start.elapsed() < Duration::from_secs(20), "{errors}");
    assert!(
        errors.contains("error: rank 2 of 3") && errors.contains("libtorch"),
        "{errors}"
    );
    run.expect_no_process();
    Ok(())
}

/// All of them see losses that explode. It is reported once, with the photos of all.
fn exploded() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let run = Run::new(folder.path(), "run");
    let arguments = [run.new_run(5, 1), set(&["train.lr=1e30"])].concat();
    let output = run.start(2, &arguments).output();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{errors}");
    let told: Vec<&str> = errors
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert!(
        told.len() == 1 && told[0].contains("rank 0 of 2"),
        "{errors}"
    );
    assert_eq!(told[0].matches(".png").count(), 2, "{errors}");
    run.expect_no_process();
    Ok(())
}

fn stopped() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let whole = Run::new(folder.path(), "whole");
    let stopped = Run::new(folder.path(), "stopped");
    // No checkpoint is due.
    let never = "log.checkpoint_every=1000000";
    let job = stopped.start(2, &[stopped.new_run(100_000, 1), set(&[never])].concat());
    stopped.wait_for_lines(3);
    stopped.signal(1, "TERM");
    let output = job.output();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(128 + 15), "{told}");
    let step = stopped.step();
    assert!(
        step >= 3 && told.contains("2 processes train together"),
        "{told}"
    );
    // Only the first process prints.
    assert_eq!(told.matches("photos to train on").count(), 1, "{told}");
    let steps = format!("train.steps={}", step + 3);
    let settings = [steps.as_str(), "log.checkpoint_every=1000000"];
    assert!(
        stopped
            .start(2, &stopped.resumed(&settings))
            .output()
            .status
            .success()
    );
    let arguments = [whole.new_run(step + 3, 1), set(&[never])].concat();
    assert!(whole.start(2, &arguments).output().status.success());
    assert_eq!(tensors(&whole.newest()), tensors(&stopped.newest()));
    Ok(())
}

/// SIGUSR1, which `mpirun` passes on. SIGTERM ends the processes a second later, whatever they do; what they have stored stays.
fn stopped_by_mpirun() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for (signal, code) in [("USR1", Some(128 + 10)), ("TERM", None)] {
        let run = Run::new(folder.path(), signal);
        let job = run.start(2, &run.new_run(100_000, 1));
        run.wait_for_checkpoints(1);
        let start = Instant::now();
        job.signal(signal);
        let output = job.output();
        assert!(start.elapsed() < Duration::from_secs(10), "{output:?}");
        assert!(code.is_none() || output.status.code() == code, "{output:?}");
        run.expect_no_process();
        let steps = format!("train.steps={}", run.step() + 1);
        assert!(
            run.start(2, &run.resumed(&[&steps]))
                .output()
                .status
                .success()
        );
    }
    Ok(())
}

fn refused() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let run = Run::new(folder.path(), "run");
    let with = |more: &[&str]| {
        let more = more.iter().map(|text| text.to_string());
        let arguments: Vec<String> = run.new_run(2, 1).into_iter().chain(more).collect();
        let output = run.start(2, &arguments).output();
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let told = with(&["--device", "cpu,cpu,cpu"]);
    assert!(told.contains("3 devices for 2 processes"), "{told}");
    let told = with(&["--set", "train.steps=0"]);
    assert!(told.contains("must be 1 or more"), "{told}");
    assert!(!Path::new(&run.folder).exists());
    Ok(())
}

fn set(settings: &[&str]) -> Vec<String> {
    let both = settings.iter().flat_map(|setting| ["--set", setting]);
    both.map(String::from).collect()
}
