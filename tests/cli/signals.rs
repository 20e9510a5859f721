//! Signals, limits and terminals that go away: the program ends as it should and leaves no temporary file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::Pty;
use rustix::process::{Pid, Signal, kill_process};
use vae2x_core::Array;

use crate::support::{entries, text, vae2x, write_safetensors};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// How a process ended, within seconds after what should end it.
#[track_caller]
fn end(child: &mut Child) -> ExitStatus {
    let ended = wait_until(|| child.try_wait().unwrap());
    ended.unwrap_or_else(|| {
        child.kill().unwrap();
        panic!("still running after {PATIENCE:?}")
    })
}

/// The value, as soon as there is one.
fn wait_until<T>(mut value: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Some(value) = value() {
            return Some(value);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

/// Whether a file with this end is in a folder.
fn has(folder: &Path, end: &str) -> bool {
    folder.is_dir() && entries(folder).iter().any(|name| name.ends_with(end))
}

/// A latent that takes long to decode, and the arguments that do it.
fn long_decode(folder: &Path) -> [String; 8] {
    let latent = folder.join("l.safetensors");
    write_safetensors(&latent, "latents", &Array::zeros([1, 16, 40, 32, 32]));
    let out = text(&folder.join("x.npy"));
    [
        "decode",
        &text(&latent),
        "--vae",
        "demo:2x",
        "--latent-space",
        "raw",
        "-o",
        &out,
    ]
    .map(str::to_owned)
}

/// Waits until a decode has begun to write.
#[track_caller]
fn wait_for_writing(folder: &Path) {
    wait_until(|| has(folder, ".tmp").then_some(())).expect("decoding starts");
}

fn quiet(command: &mut Command) -> Child {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null()).spawn().unwrap()
}

/// A small photo, as bytes of a file.
fn photo(folder: &Path) -> Vec<u8> {
    let path = folder.join("photo.png");
    vae2x_media::picture::write_image(&path, &Array::zeros([3, 16, 16]), &Default::default())
        .unwrap();
    std::fs::read(path).unwrap()
}

/// `VAE2X_TEST_SIGNALS` sets how often.
#[test]
fn signals_at_any_moment_leave_no_temporary_file() {
    let tries = std::env::var("VAE2X_TEST_SIGNALS").map_or(60, |tries| tries.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (photos, out) = (folder.path().join("photos"), folder.path().join("out"));
    std::fs::create_dir(&photos).unwrap();
    let photo = photo(folder.path());
    for i in 0..400 {
        std::fs::write(photos.join(format!("{i:03}.png")), &photo).unwrap();
    }
    let mut cut = 0;
    for i in 0..tries {
        let args = [
            "encode",
            &text(&photos),
            "--vae",
            "demo:base",
            "-o",
            &text(&out),
        ];
        let mut child = quiet(vae2x().args(args));
        wait_until(|| has(&out, "").then_some(())).expect("encoding starts");
        // Spread over some files, at other moments of a file each time.
        std::thread::sleep(Duration::from_micros(i * 7919 % 20_011));
        let signal = [Signal::INT, Signal::TERM, Signal::HUP][i as usize % 3];
        send(&child, signal);
        let code = end(&mut child).code();
        cut += usize::from(code == Some(128 + signal.as_raw()));
        assert!(
            code == Some(0) || code == Some(128 + signal.as_raw()),
            "{code:?}"
        );
        let left: Vec<_> = entries(&out)
            .into_iter()
            .filter(|name| !name.ends_with(".latent"))
            .collect();
        assert!(left.is_empty(), "try {i}: {left:?}");
        for name in entries(&out) {
            let latent = vae2x_core::weights::TensorFile::open(&out.join(&name));
            assert!(latent.is_ok(), "try {i}: {name}");
        }
        std::fs::remove_dir_all(&out).unwrap();
    }
    assert!(cut as u64 > tries / 2, "{cut} of {tries} were cut short");
}

#[test]
fn the_exit_code_tells_the_signal() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::XCPU] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = quiet(vae2x().args(long_decode(folder.path())));
        wait_for_writing(folder.path());
        send(&child, signal);
        assert_eq!(end(&mut child).code(), Some(128 + signal.as_raw()));
        assert_eq!(entries(folder.path()), ["l.safetensors"]);
    }
}

#[test]
fn what_is_done_of_a_clip_is_kept_where_it_is_asked_for() {
    for (signal, name) in [
        (Signal::INT, "x.y4m"),
        (Signal::TERM, "x.webp"),
        (Signal::INT, "x.npy"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut args = long_decode(folder.path());
        args[7] = text(&folder.path().join(name));
        let mut child = quiet(vae2x().args(&args).arg("--keep-partial"));
        // The file that shows whether the folder can be written is empty.
        let is_begun = || {
            let files = std::fs::read_dir(folder.path()).unwrap().flatten();
            let lengths = files
                .filter(|file| file.file_name().to_string_lossy().ends_with(".tmp"))
                .filter_map(|file| file.metadata().ok());
            (lengths.map(|found| found.len()).sum::<u64>() > 0).then_some(())
        };
        wait_until(is_begun).expect("decoding starts");
        send(&child, signal);
        assert_eq!(end(&mut child).code(), Some(128 + signal.as_raw()));
        let left = entries(folder.path());
        // The header of an array has the number of frames.
        let Some((stem, extension)) = name.split_once('.').filter(|_| name != "x.npy") else {
            assert_eq!(left, ["l.safetensors"]);
            continue;
        };
        let partial = format!("{stem}.partial.{extension}");
        assert_eq!(left, ["l.safetensors", partial.as_str()]);
        if extension == "y4m" {
            let options = vae2x_media::frames::SourceOptions::default();
            let path = folder.path().join(partial);
            let mut source = vae2x_media::frames::open_source(&path, &options).unwrap();
            let mut frames = 0;
            while let Some(frame) = source.next().unwrap() {
                assert_eq!(frame.pixels.shape(), [3, 512, 512]);
                frames += 1;
            }
            assert!((1..157).contains(&frames), "{frames}");
        }
    }
}

/// As under `nohup`, and as a shell without job control starts commands in the background.
#[test]
fn ignored_signals_stay_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "trap '' HUP INT; exec {} \"$@\"",
        env!("CARGO_BIN_EXE_vae2x")
    );
    let mut child = quiet(
        Command::new("sh")
            .args(["-c", &script, "sh"])
            .args(long_decode(folder.path())),
    );
    wait_for_writing(folder.path());
    for signal in [Signal::HUP, Signal::INT] {
        send(&child, signal);
        std::thread::sleep(Duration::from_millis(100));
        assert!(child.try_wait().unwrap().is_none());
    }
    send(&child, Signal::TERM);
    assert_eq!(end(&mut child).code(), Some(143));
    assert_eq!(entries(folder.path()), ["l.safetensors"]);
}

/// The names of a process that is number 1 in its container are the same every time, were they to follow from that.
#[test]
fn what_a_killed_run_leaves_stands_in_nobodys_way_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    let args = long_decode(folder.path());
    let mut child = quiet(vae2x().args(&args));
    wait_for_writing(folder.path());
    send(&child, Signal::KILL);
    assert_eq!(end(&mut child).code(), None);
    let left: Vec<PathBuf> = entries(folder.path())
        .into_iter()
        .filter(|name| name.ends_with(".tmp"))
        .map(|name| folder.path().join(name))
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");

    // The next run does not know yet that nobody writes it.
    let mut child = quiet(vae2x().args(&args));
    wait_until(|| (entries(folder.path()).len() == 3).then_some(())).expect("both are there");
    send(&child, Signal::INT);
    assert_eq!(end(&mut child).code(), Some(130));
    assert!(left[0].exists());

    let hour = Duration::from_secs(3600);
    let file = File::options().write(true).open(&left[0]).unwrap();
    file.set_modified(std::time::SystemTime::now() - hour)
        .unwrap();
    let weights = text(&folder.path().join("v.safetensors"));
    let convert = [
        "convert",
        "demo:base",
        "--layout",
        "original",
        "-o",
        &weights,
    ];
    crate::support::run(&convert).ok();
    assert_eq!(entries(folder.path()), ["l.safetensors", "v.safetensors"]);
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let latent = folder.path().join("l.safetensors");
    write_safetensors(&latent, "latents", &Array::zeros([1, 16, 3, 8, 8]));
    let script = format!("ulimit -f 40; exec {} \"$@\"", env!("CARGO_BIN_EXE_vae2x"));
    for name in ["x.npy", "x.safetensors"] {
        let out = text(&folder.path().join(name));
        let args = [
            "decode",
            &text(&latent),
            "--vae",
            "demo:2x",
            "--latent-space",
            "raw",
            "-o",
            &out,
        ];
        let mut limited = Command::new("sh");
        limited.args(["-c", &script, "sh"]).args(args);
        let message = crate::support::finish(&mut limited).fails(1);
        assert!(
            message.contains(name) && message.contains("File too large"),
            "{message}"
        );
        assert_eq!(message.matches("error: ").count(), 1, "{message}");
        assert_eq!(entries(folder.path()), ["l.safetensors"]);
    }
}

/// The program's messages fill a pipe that nobody reads.
#[test]
fn a_message_that_nobody_reads_does_not_hold_a_signal_up() {
    let folder = tempfile::tempdir().unwrap();
    let (broken, out) = (folder.path().join("broken"), folder.path().join("out"));
    std::fs::create_dir(&broken).unwrap();
    for i in 0..2000 {
        std::fs::write(broken.join(format!("{i:0>60}.png")), "no").unwrap();
    }
    let args = [
        "upscale",
        &text(&broken),
        "--vae",
        "demo:2x",
        "-o",
        &text(&out),
    ];
    let mut child = vae2x()
        .args(args)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert!(child.try_wait().unwrap().is_none(), "the pipe is full");
    send(&child, Signal::TERM);
    assert_eq!(end(&mut child).code(), Some(143));
}

/// Starts a command that has a terminal.
fn on_terminal(program: &str, args: &[String], size: Size) -> (Child, Pty) {
    let (terminal, end) = pty_process::blocking::open().unwrap();
    terminal.resize(size).unwrap();
    let command = pty_process::blocking::Command::new(program).args(args);
    let command = command.env("TERM", "xterm").env_remove("NO_COLOR");
    (command.spawn(end).unwrap(), terminal)
}

/// What the program prints on a terminal until it ends.
fn screen(mut terminal: Pty) -> String {
    let (mut printed, mut buffer) = (Vec::new(), [0; 4096]);
    // Ends with an error when the last process has closed the terminal.
    while let Ok(n @ 1..) = terminal.read(&mut buffer) {
        printed.extend(&buffer[..n]);
    }
    String::from_utf8(printed).unwrap()
}

#[test]
fn a_closed_terminal_ends_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let args = long_decode(folder.path());
    let (mut child, terminal) = on_terminal(env!("CARGO_BIN_EXE_vae2x"), &args, Size::new(24, 80));
    wait_for_writing(folder.path());
    drop(terminal);
    assert_eq!(end(&mut child).code(), Some(129));
    assert_eq!(entries(folder.path()), ["l.safetensors"]);
}

/// Under `nohup`, or with a shell that has disowned it: all messages go to a terminal that is not there any more.
#[test]
fn a_program_outlives_its_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let mut args = long_decode(folder.path()).to_vec();
    let latent = folder.path().join("l.safetensors");
    write_safetensors(&latent, "latents", &Array::zeros([1, 16, 6, 16, 16]));
    let script = format!("trap '' HUP; exec {} \"$@\"", env!("CARGO_BIN_EXE_vae2x"));
    args.splice(..0, ["-c".into(), script, "sh".into()]);
    let (mut child, terminal) = on_terminal("sh", &args, Size::new(24, 80));
    wait_for_writing(folder.path());
    drop(terminal);
    assert_eq!(end(&mut child).code(), Some(0));
    assert_eq!(entries(folder.path()), ["l.safetensors", "x.npy"]);
}

#[test]
fn terminals_of_any_size_are_left_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let args = long_decode(folder.path());
    let latent = folder.path().join("l.safetensors");
    write_safetensors(&latent, "latents", &Array::zeros([1, 16, 3, 8, 8]));
    for [rows, columns] in [[1, 1], [2, 80], [24, 2], [0, 0], [500, 500]] {
        let size = Size::new(rows, columns);
        let (mut child, terminal) = on_terminal(env!("CARGO_BIN_EXE_vae2x"), &args, size);
        let printed = screen(terminal);
        assert_eq!(end(&mut child).code(), Some(0), "{printed}");
        assert!(!printed.contains("panicked"), "{printed}");
        let last = |mode: &str| printed.rfind(mode);
        assert!(
            last("\x1b[?25l") <= last("\x1b[?25h"),
            "the cursor is hidden: {printed:?}"
        );
        assert!(
            last("\x1b[?1049h") <= last("\x1b[?1049l"),
            "another screen: {printed:?}"
        );
    }
}

#[test]
fn errors_of_the_command_line_on_a_terminal_are_clean_and_coloured() {
    let args = ["decode", "--\x1b]0;owned\x07\nerror: forged"].map(str::to_owned);
    let (mut child, terminal) = on_terminal(env!("CARGO_BIN_EXE_vae2x"), &args, Size::new(24, 120));
    let printed = screen(terminal);
    assert_eq!(end(&mut child).code(), Some(2));
    assert!(
        printed.contains(r"\x1b]0;owned\x07\nerror: forged"),
        "{printed:?}"
    );
    assert!(
        !printed.contains('\x07') && !printed.contains("\x1b]"),
        "{printed:?}"
    );
    assert!(printed.contains("\x1b["), "clap's own colours: {printed:?}");
}

#[cfg(feature = "train")]
mod training {
    use super::*;

    /// The arguments of a run without an end, in `folder/run`.
    fn endless(folder: &Path) -> Vec<String> {
        let config = crate::train::tiny_run(folder);
        let out = text(&folder.join("run"));
        let args = [
            "train",
            "decoder",
            "--config",
            &config,
            "--out",
            &out,
            "--set",
            "train.steps=100000",
            "--set",
            "log.checkpoint_every=100000",
        ];
        args.map(str::to_owned).to_vec()
    }

    #[track_caller]
    fn wait_for_steps(folder: &Path) {
        let log = folder.join("run/log.jsonl");
        let has_steps = || std::fs::read_to_string(&log).is_ok_and(|log| log.lines().count() >= 2);
        wait_until(|| has_steps().then_some(())).expect("steps are done");
    }

    #[track_caller]
    fn assert_stored(folder: &Path) {
        let stored = entries(&folder.join("run/checkpoints"));
        assert!(
            stored.len() == 1 && stored[0].ends_with(".safetensors"),
            "{stored:?}"
        );
    }

    #[test]
    fn a_closed_terminal_stores_a_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let args = endless(folder.path());
        let (mut child, terminal) =
            on_terminal(env!("CARGO_BIN_EXE_vae2x"), &args, Size::new(24, 80));
        wait_for_steps(folder.path());
        drop(terminal);
        // The shell sends it as well.
        send(&child, Signal::HUP);
        assert_eq!(end(&mut child).code(), Some(129));
        assert_stored(folder.path());
    }

    /// As `timeout` sends it: to the process and to its group.
    #[test]
    fn a_termination_that_comes_twice_stores_a_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = quiet(vae2x().args(endless(folder.path())));
        wait_for_steps(folder.path());
        send(&child, Signal::TERM);
        std::thread::sleep(Duration::from_millis(20));
        send(&child, Signal::TERM);
        assert_eq!(end(&mut child).code(), Some(143));
        assert_stored(folder.path());
    }
}
