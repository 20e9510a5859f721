//! A run of the program in a folder of its own, under limits of memory and time, and what is always wrong with one.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::trace;

/// The program: the one that was built with the tests, or another build of it.
pub static PROGRAM: LazyLock<String> =
    LazyLock::new(|| std::env::var("VAE2X_PROGRAM").unwrap_or(env!("CARGO_BIN_EXE_vae2x").into()));
/// Address space of a process, in KiB.
const ADDRESS_SPACE: u64 = 2 << 20;
/// A run that computes longer, on all cores together, is slow: ten seconds of two cores. It does not grow with the load.
const CPU_TIME: Duration = Duration::from_secs(20);
/// A run that computes longer has no end.
const NO_END: Duration = Duration::from_secs(60);
/// A run that has computed nothing for so long waits for ever.
const IDLE: Duration = Duration::from_secs(30);
/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(3);

/// A folder of a case, in which the program runs, and a home beside it.
pub struct Room {
    folder: tempfile::TempDir,
    home: tempfile::TempDir,
}

impl Room {
    pub fn new() -> Self {
        let folder = || tempfile::tempdir().expect("a temporary folder");
        Self {
            folder: folder(),
            home: folder(),
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets other users in.
    pub fn open(&self) {
        use std::os::unix::fs::PermissionsExt;
        for folder in [self.folder.path(), self.home.path()] {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
                .expect("a mode");
        }
    }

    /// Writes a file, and the folders that it lies in.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
        std::fs::write(path, bytes).expect("the file is written");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_default()
    }

    /// Runs the program with `args`.
    pub fn run(&self, args: &[&str]) -> Outcome {
        self.launch(args, &Setting::default())
    }

    /// Runs the program, which must succeed; what it printed.
    pub fn ok(&self, args: &[&str]) -> Result<Vec<u8>, String> {
        let outcome = self.run(args);
        if outcome.code == Some(0) && outcome.faults().is_empty() {
            return Ok(outcome.stdout);
        }
        Err(format!(
            "{}\n{}",
            outcome.faults().join("; "),
            outcome.describe()
        ))
    }

    /// Runs the program with `args` in a `setting`.
    pub fn launch(&self, args: &[&str], setting: &Setting) -> Outcome {
        let (mut out, mut err) = (scratch(), scratch());
        let trace = trace::Trace::wanted(self.home.path());
        let mut script = String::new();
        if cfg!(target_os = "linux") {
            script += &format!(
                "ulimit -v {}; ",
                setting.address_space.unwrap_or(ADDRESS_SPACE)
            );
        }
        let tracer = trace.as_ref().map(trace::Trace::prefix).unwrap_or_default();
        let run = format!("{tracer}\"$0\" \"$@\" {}", setting.redirected);
        script += &setting.before;
        // Replaced by the program, the shell's process can be watched and ended.
        script += &if setting.after.is_empty() {
            format!("exec {run}")
        } else {
            format!("{run}; code=$?; {}; exit $code", setting.after)
        };
        let shell = [&setting.within[..], &["bash", "-c", &script, &PROGRAM]].concat();
        let mut command = Command::new(shell[0]);
        command
            .args(&shell[1..])
            .args(args)
            .current_dir(self.folder.path());
        for name in ["HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "RUST_BACKTRACE"] {
            command.env_remove(name);
        }
        command
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", self.home.path().join("hf"))
            .env("HOME", self.home.path())
            .env("TMPDIR", self.home.path())
            .envs(setting.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a file"))
            .stderr(err.try_clone().expect("a file"));
        // A group of its own is ended whole.
        let child = command.process_group(0).spawn().expect("the shell starts");
        let mut meanwhile = setting.meanwhile;
        let mut outcome = watch(child, || {
            if meanwhile.is_some_and(|act| act(self.folder.path())) {
                meanwhile = None;
            }
        });
        outcome.args = args.iter().map(OsString::from).collect();
        outcome.stdout = contents(&mut out);
        outcome.stderr = contents(&mut err);
        if let Some(trace) = trace {
            let allowed = [self.folder.path(), self.home.path()];
            outcome.touched = trace.outside(self.folder.path(), &allowed);
        }
        outcome
    }
}

/// How a run differs from the usual one.
#[derive(Default)]
pub struct Setting {
    /// A program and its arguments that run the shell, such as `unshare -rm`.
    pub within: Vec<&'static str>,
    /// Shell commands before it, each with a `;`.
    pub before: String,
    /// Shell commands after it.
    pub after: String,
    /// Redirections of a shell.
    pub redirected: String,
    /// Environment variables.
    pub env: Vec<(String, OsString)>,
    /// KiB of address space.
    pub address_space: Option<u64>,
    /// Called with the folder again and again while the program runs, until it returns true.
    pub meanwhile: Option<fn(&Path) -> bool>,
}

fn scratch() -> File {
    tempfile::tempfile().expect("a temporary file")
}

fn contents(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .expect("the output can be read");
    bytes
}

/// What became of a run.
#[derive(Default)]
pub struct Outcome {
    pub args: Vec<OsString>,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Largest resident memory, in MiB, as far as it was seen.
    pub peak: u64,
    /// Time on all cores, as far as it was seen.
    pub cpu: Duration,
    pub wall: Duration,
    pub hung: bool,
    /// Paths elsewhere that it changed, if that was watched.
    pub touched: Vec<String>,
}

fn watch(mut child: Child, mut meanwhile: impl FnMut()) -> Outcome {
    let started = Instant::now();
    let (mut outcome, mut worked) = (Outcome::default(), started);
    // Where the system does not tell how long a process computed, time alone must do.
    let told = Path::new("/proc/self/stat").exists();
    let idle = if told { IDLE } else { NO_END };
    let status = loop {
        let folders = processes(child.id());
        let peak = folders.iter().map(|folder| peak(folder)).max();
        outcome.peak = outcome.peak.max(peak.unwrap_or(0));
        let cpu = folders.iter().map(|folder| cpu_time(folder)).sum();
        if cpu > outcome.cpu {
            (outcome.cpu, worked) = (cpu, Instant::now());
        }
        if let Some(status) = child.try_wait().expect("the program can be waited for") {
            break status;
        }
        meanwhile();
        if (worked.elapsed() > idle || outcome.cpu > NO_END) && !outcome.hung {
            outcome.hung = true;
            let group = format!("-{}", child.id());
            let ended = Command::new("kill").args(["-KILL", "--", &group]).status();
            assert!(ended.expect("kill runs").success());
        }
        std::thread::sleep(POLL);
    };
    outcome.wall = started.elapsed();
    outcome.code = status.code();
    outcome.signal = status.signal();
    outcome
}

/// Folders of `/proc` of a process and of those that it started.
fn processes(id: u32) -> Vec<String> {
    let folder = format!("/proc/{id}");
    let children = std::fs::read_to_string(format!("{folder}/task/{id}/children"));
    let children = children.unwrap_or_default();
    let ids = children.split_whitespace().filter_map(|id| id.parse().ok());
    let mut folders: Vec<String> = ids.flat_map(processes).collect();
    folders.push(folder);
    folders
}

/// Peak memory of a process so far, in MiB; zero where the system does not tell.
fn peak(folder: &str) -> u64 {
    // Until it becomes another program, a new process is seen with the memory of this one.
    let program = |folder: &str| std::fs::read_link(format!("{folder}/exe")).ok();
    if program(folder) == program("/proc/self") {
        return 0;
    }
    let status = std::fs::read_to_string(format!("{folder}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) >> 10
}

/// User and system time of a process so far; zero where the system does not tell.
fn cpu_time(folder: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("{folder}/stat")).unwrap_or_default();
    let ticks = || -> Option<u64> {
        // The name is in parentheses and may have spaces; user and system time are the 12th and 13th field behind it.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
    };
    Duration::from_millis(ticks().unwrap_or(0) * 10)
}

impl Outcome {
    pub fn text(&self) -> String {
        let both = [&self.stdout[..], &self.stderr].concat();
        String::from_utf8_lossy(&both).into_owned()
    }

    /// What must not be of any run, whatever its input.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.hung {
            faults.push("hangs".into());
        } else if let Some(signal) = self.signal {
            faults.push(format!("ended by signal {signal}"));
        } else if !matches!(self.code, Some(0..=2)) {
            faults.push(format!("exit code {:?}", self.code));
        }
        if self.cpu > CPU_TIME && !self.hung {
            faults.push(format!("slow: {:.1} s of CPU time", self.cpu.as_secs_f64()));
        }
        let text = self.text();
        if text.contains("panicked at") {
            faults.push("panics".into());
        }
        if text.contains("memory allocation of") {
            faults.push("aborts for lack of memory".into());
        }
        if matches!(self.code, Some(1 | 2)) && !text.contains("error: ") {
            faults.push("fails without a word".into());
        }
        let controls = control_characters(&text);
        if !controls.is_empty() {
            faults.push(format!("prints control characters: {controls:x?}"));
        }
        if !self.touched.is_empty() {
            faults.push(format!("touches {}", self.touched.join(", ")));
        }
        faults
    }

    /// A line on the run, its end printable.
    pub fn describe(&self) -> String {
        let text = self.text();
        let tail: String = text.chars().rev().take(600).collect();
        let tail: String = tail.chars().rev().collect();
        let args: Vec<_> = self
            .args
            .iter()
            .map(|a| a.to_string_lossy().escape_debug().to_string())
            .collect();
        format!(
            "vae2x {}\n  code {:?}, {:.1} s, {:.1} s of CPU, {} MiB\n  {}",
            args.join(" ").chars().take(300).collect::<String>(),
            self.code,
            self.wall.as_secs_f64(),
            self.cpu.as_secs_f64(),
            self.peak,
            tail.trim_end()
                .escape_debug()
                .to_string()
                .replace("\\n", "\n  ")
        )
    }
}

/// Control characters other than the newline and the tab, and marks that change the direction of text.
pub fn control_characters(text: &str) -> Vec<u32> {
    let hostile = |c: &char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut found: Vec<u32> = text.chars().filter(hostile).map(u32::from).collect();
    found.sort_unstable();
    found.dedup();
    found
}
