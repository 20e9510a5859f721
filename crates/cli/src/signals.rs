//! Signals that end the program: Ctrl-C (SIGINT), SIGTERM, SIGHUP of a terminal that is closed, SIGXCPU of a limit on time.
//!
//! A thread waits for them, deletes the temporary files and ends the process with 128 and the signal's number. A run that
//! can be stopped between steps is asked to store its state first. What was ignored when the program started stays ignored,
//! as `nohup` and shells promise. SIGXFSZ does nothing, so that a file beyond its limit is an error of writing.

use std::sync::mpsc;
use std::time::Duration;

use crate::ui;

/// What is added to a signal's number, as shells do.
const SIGNALLED: u8 = 128;
const SIGINT: i32 = 2;

/// Starts to wait for signals, before there is anything that they must not interrupt.
///
/// # Errors
/// If the system refuses: the program works, but a signal may leave temporary files behind.
pub fn listen() -> std::io::Result<()> {
    system::listen(Listener::default())
}

/// The state of the thread that waits.
#[derive(Default)]
struct Listener {
    /// When a run was asked to store its state and stop.
    asked: Option<std::time::Instant>,
}

impl Listener {
    fn receive(&mut self, signal: i32) {
        match stopping::answer(signal, self.asked.map(|asked| asked.elapsed())) {
            stopping::Answer::Nothing => return,
            stopping::Answer::Ask if stopping::ask(exit_code(signal)) => {
                self.asked = Some(std::time::Instant::now());
                tell(
                    "stopping after this step, and keeping what is done; press Ctrl-C again to stop at once",
                );
                return;
            }
            stopping::Answer::Ask | stopping::Answer::End => (),
        }
        // First those who write to temporary files.
        vae2x_media::video::end_all();
        vae2x_core::temp::remove_all();
        tell("interrupted; no unfinished file is left");
        system::exit(exit_code(signal));
    }
}

fn exit_code(signal: i32) -> u8 {
    SIGNALLED + u8::try_from(signal).unwrap_or(SIGINT as u8)
}

/// Prints a line, but does not wait for a terminal that has stopped or a reader that does not read.
fn tell(text: &'static str) {
    const PATIENCE: Duration = Duration::from_secs(1);
    let (done, told) = mpsc::channel();
    let print = move || {
        ui::note(text);
        // Nobody may wait any more.
        let _ = done.send(());
    };
    if std::thread::Builder::new().spawn(print).is_ok() {
        let _ = told.recv_timeout(PATIENCE);
    }
}

/// Runs that are stopped between steps.
pub mod stopping {
    use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
    use std::time::Duration;

    /// Whether a run is under way that can be stopped between steps.
    static RUNNING: AtomicBool = AtomicBool::new(false);
    /// Asks that run to stop.
    static STOP: AtomicBool = AtomicBool::new(false);
    /// The exit code of a run that was asked to stop; 0 if none was.
    static CODE: AtomicU8 = AtomicU8::new(0);

    /// What a signal does.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) enum Answer {
        /// Asks the run to store its state and stop.
        Ask,
        /// Nothing more than the signal before.
        Nothing,
        /// Ends the process.
        End,
    }

    /// What `signal` does, so long after a run was asked to stop. A closed terminal is reported by the system and by the
    /// shell, `timeout` and other parents pass on what their group has got already: that is no wish to lose the state.
    pub(super) fn answer(signal: i32, since_asked: Option<Duration>) -> Answer {
        const SIGHUP: i32 = 1;
        const ONCE: Duration = Duration::from_millis(500);
        match since_asked {
            None => Answer::Ask,
            Some(since) if signal == SIGHUP || since < ONCE => Answer::Nothing,
            Some(_) => Answer::End,
        }
    }

    /// Asks the run to store its state and end, with this exit code. `false` if there is none.
    pub(super) fn ask(code: u8) -> bool {
        let is_running = RUNNING.load(Ordering::SeqCst);
        if is_running {
            CODE.store(code, Ordering::SeqCst);
            STOP.store(true, Ordering::SeqCst);
        }
        is_running
    }

    /// Takes on the exit code of another process that was asked to stop, and has stopped this one.
    #[cfg(feature = "mpi")]
    pub fn adopt(code: u8) {
        CODE.fetch_max(code, Ordering::SeqCst);
    }

    /// The exit code for the signal that stopped a run, if one did.
    pub fn code() -> Option<u8> {
        Some(CODE.load(Ordering::SeqCst)).filter(|&code| code > 0)
    }

    /// Runs `work`, which a signal can ask to stop through the flag that it is called with.
    pub fn stoppable<T>(work: impl FnOnce(&'static AtomicBool) -> T) -> T {
        RUNNING.store(true, Ordering::SeqCst);
        let result = work(&STOP);
        RUNNING.store(false, Ordering::SeqCst);
        result
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn only_a_later_signal_of_a_person_loses_the_state() {
            let ms = |ms| Some(Duration::from_millis(ms));
            let cases = [
                (1, None, Answer::Ask),
                (2, None, Answer::Ask),
                (15, None, Answer::Ask),
                (1, ms(10), Answer::Nothing),
                (15, ms(10), Answer::Nothing),
                (1, ms(60_000), Answer::Nothing),
                (2, ms(600), Answer::End),
                (15, ms(600), Answer::End),
            ];
            for (signal, since, expected) in cases {
                assert_eq!(answer(signal, since), expected, "{signal} {since:?}");
            }
        }
    }
}

#[cfg(unix)]
mod system {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXCPU, SIGXFSZ};
    #[cfg(feature = "mpi")]
    use signal_hook::consts::{SIGUSR1, SIGUSR2};
    use signal_hook::iterator::Signals;

    use super::Listener;

    pub fn listen(mut listener: Listener) -> std::io::Result<()> {
        // A handler that only sets a flag: by default the process dies, and setting it to be ignored is unsafe.
        signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        let ignored = ignored();
        let ending = [
            SIGINT,
            SIGTERM,
            SIGHUP,
            SIGXCPU,
            // What `mpirun` passes on to all processes, whereas it gives them a second to end after SIGTERM.
            #[cfg(feature = "mpi")]
            SIGUSR1,
            #[cfg(feature = "mpi")]
            SIGUSR2,
        ];
        let mut signals = Signals::new(
            ending
                .into_iter()
                .filter(|signal| !ignored.contains(signal)),
        )?;
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                signals
                    .forever()
                    .for_each(|signal| listener.receive(signal))
            })?;
        Ok(())
    }

    /// Ends the process now. Other threads still compute, and what libraries would do at the end waits for some of them.
    pub fn exit(code: u8) -> ! {
        signal_hook::low_level::exit(code.into())
    }

    /// Signals that were ignored when the program started.
    #[cfg(target_os = "linux")]
    fn ignored() -> Vec<i32> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        ignored_in(&status)
    }

    /// The bits of `SigIgn` in a file `/proc/PID/status`; the lowest is signal 1.
    #[cfg(target_os = "linux")]
    fn ignored_in(status: &str) -> Vec<i32> {
        let mask = status
            .lines()
            .find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok())
            .unwrap_or(0);
        (1..=64).filter(|n| mask >> (n - 1) & 1 == 1).collect()
    }

    /// Other systems tell it only to unsafe code. Without a terminal, which is how `nohup` runs a program, there is no
    /// SIGHUP to expect.
    #[cfg(not(target_os = "linux"))]
    fn ignored() -> Vec<i32> {
        use std::io::IsTerminal;
        let has_terminal = std::io::stdin().is_terminal()
            || std::io::stdout().is_terminal()
            || std::io::stderr().is_terminal();
        match has_terminal {
            true => Vec::new(),
            false => vec![SIGHUP],
        }
    }

    #[cfg(all(test, target_os = "linux"))]
    mod tests {
        use super::*;

        #[test]
        fn ignored_signals_are_bits() {
            let status =
                "Name:\tx\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\nSigCgt:\t02\n";
            assert_eq!(ignored_in(status), [SIGHUP, 13]);
            assert!(ignored_in("").is_empty());
        }
    }
}

#[cfg(not(unix))]
mod system {
    use super::Listener;

    pub fn listen(mut listener: Listener) -> std::io::Result<()> {
        ctrlc::set_handler(move || listener.receive(super::SIGINT)).map_err(std::io::Error::other)
    }

    pub fn exit(code: u8) -> ! {
        std::process::exit(code.into())
    }
}
