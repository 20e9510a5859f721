//! Finding FFmpeg and running it.
//!
//! It reads and writes through pipes. What it says on its error stream is read by a thread of its own, since a pipe that nobody
//! reads would stop it. It runs in a process group of its own, so that Ctrl-C reaches this program alone, which then ends it.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use vae2x_core::{Error, Result};

/// Containers that FFmpeg may open. Playlists are not among them: they would make it open other files.
const DEMUXERS: &str = "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf,gif,ivf,nut,yuv4mpegpipe,apng,webp,\
                        h264,hevc,av1,obu,dv,wav,mp3,flac,aac,aiff,caf";
/// Bytes of its messages that are kept: the last ones.
const KEPT: usize = 8 << 10;

/// An FFmpeg program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ffmpeg {
    path: PathBuf,
    /// The option that keeps frames as they come, whatever their times.
    pass_through: &'static str,
}

impl Ffmpeg {
    /// The program that is named; else `VAE2X_FFMPEG`'s, the one on the search path, or one that the Python package
    /// imageio-ffmpeg has installed.
    ///
    /// # Errors
    /// [`Error::BadRequest`] if the named one is not a file; [`Error::NoProgram`] if there is none.
    pub fn find(named: Option<&Path>) -> Result<Self> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        if let Some(path) = named
            .map(Path::to_path_buf)
            .or_else(|| variable("VAE2X_FFMPEG").map(PathBuf::from))
        {
            return Self::at(path);
        }
        let on_path = variable("PATH").and_then(|path| {
            let name = format!("ffmpeg{}", std::env::consts::EXE_SUFFIX);
            std::env::split_paths(&path)
                .map(|folder| folder.join(&name))
                .find(|file| file.is_file())
        });
        let found = on_path
            .or_else(|| {
                variable("IMAGEIO_FFMPEG_EXE")
                    .map(PathBuf::from)
                    .filter(|file| file.is_file())
            })
            .or_else(|| {
                ["VIRTUAL_ENV", "CONDA_PREFIX"]
                    .into_iter()
                    .filter_map(variable)
                    .find_map(|prefix| in_python(&prefix))
            });
        match found {
            Some(path) => Self::at(path),
            None => Err(Error::NoProgram {
                program: "ffmpeg",
                how: match cfg!(feature = "mp4") {
                    true => {
                        "install it, or name it with --ffmpeg or VAE2X_FFMPEG; .mp4, .y4m and folders of images need none"
                    }
                    false => {
                        "install it, or name it with --ffmpeg or VAE2X_FFMPEG; .y4m and folders of images need none, nor .mp4 in \
                         programs built with `--features mp4`"
                    }
                },
            }),
        }
    }

    /// The program at `path`, which must say that it is FFmpeg.
    fn at(path: PathBuf) -> Result<Self> {
        let refuse = |problem: String| {
            Err(Error::BadRequest(format!(
                "{}: {problem}; expected the path of ffmpeg",
                path.display()
            )))
        };
        let output = match Command::new(&path)
            .arg("-version")
            .stdin(Stdio::null())
            .output()
        {
            Ok(output) => output,
            Err(e) => return refuse(e.to_string()),
        };
        match pass_through(&String::from_utf8_lossy(&output.stdout)) {
            Some(pass_through) => Ok(Self { path, pass_through }),
            None => refuse("it does not say that it is FFmpeg".into()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The option, of one value, that keeps frames as they come.
    pub(super) fn pass_through(&self) -> &'static str {
        self.pass_through
    }

    /// The arguments that name a file to read, which no other file or address can follow from.
    pub(super) fn input(path: &Path) -> Vec<OsString> {
        let mut file = OsString::from("file:");
        file.push(path);
        let options = [
            "-protocol_whitelist",
            "file",
            "-format_whitelist",
            DEMUXERS,
            "-i",
        ];
        options
            .into_iter()
            .map(OsString::from)
            .chain([file])
            .collect()
    }

    /// A command with the arguments that are the same for all.
    pub(super) fn command(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Command {
        let mut command = Command::new(&self.path);
        command.args(["-hide_banner", "-nostdin"]).args(arguments);
        command
            .env_remove("AV_LOG_FORCE_COLOR")
            .env("AV_LOG_FORCE_NOCOLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    /// Starts a command whose streams are as they were set.
    pub(super) fn spawn(&self, mut command: Command) -> Result<Running> {
        let mut live = locked(&LIVE);
        let mut child = command.spawn().map_err(|e| Error::io(&self.path, e))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let errors = child.stderr.take();
        let child = Arc::new(Mutex::new(child));
        live.push(Arc::clone(&child));
        Ok(Running {
            child,
            input,
            output,
            errors,
            messages: None,
        })
    }

    /// Starts a command whose messages are collected.
    pub(super) fn start(&self, mut command: Command) -> Result<Running> {
        command.stderr(Stdio::piped());
        let mut running = self.spawn(command)?;
        let errors = running.errors.take();
        running.messages = errors.map(|stream| std::thread::spawn(move || last_of(stream)));
        Ok(running)
    }
}

/// The option that keeps frames as they come, which was renamed in FFmpeg 5.1; `None` if this is not what FFmpeg says of itself.
fn pass_through(version: &str) -> Option<&'static str> {
    let number = version
        .strip_prefix("ffmpeg version ")?
        .trim_start_matches('n');
    let mut parts = number
        .split(['.', '-', ' '])
        .map_while(|part| part.parse::<u32>().ok());
    Some(match (parts.next(), parts.next().unwrap_or(0)) {
        (Some(major), minor) if (major, minor) < (5, 1) => "-vsync",
        // Builds of the day have other numbers.
        _ => "-fps_mode",
    })
}

/// An imageio-ffmpeg in an environment of Python.
fn in_python(prefix: &OsStr) -> Option<PathBuf> {
    let library = Path::new(prefix).join("lib");
    let versions = std::fs::read_dir(library)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    let packages = versions
        .map(|version| version.join("site-packages"))
        .chain([Path::new(prefix).join("Lib").join("site-packages")]);
    packages
        .filter_map(|folder| std::fs::read_dir(folder.join("imageio_ffmpeg").join("binaries")).ok())
        .find_map(|files| {
            files
                .filter_map(|entry| Some(entry.ok()?.path()))
                .find(|file| {
                    file.file_name()
                        .is_some_and(|name| name.to_string_lossy().starts_with("ffmpeg-"))
                })
        })
}

/// The end of what a stream holds.
fn last_of(mut stream: impl Read) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..read]);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Programs at work, which a signal's thread ends.
static LIVE: Mutex<Vec<Arc<Mutex<Child>>>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends all programs that are at work, and lets no other start. A process that is about to end calls this before it deletes the
/// files that they write.
pub fn end_all() {
    let live = locked(&LIVE);
    for child in live.iter() {
        let mut child = locked(child);
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
    // The list stays locked.
    std::mem::forget(live);
}

/// FFmpeg at work. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct Running {
    child: Arc<Mutex<Child>>,
    /// What it reads, until it is closed.
    pub input: Option<ChildStdin>,
    /// What it writes.
    pub output: Option<ChildStdout>,
    /// What it says, if that is not collected.
    pub errors: Option<ChildStderr>,
    messages: Option<JoinHandle<String>>,
}

impl Running {
    /// Closes its input and waits for its end; `Err` holds what it says if it failed.
    pub fn finish(&mut self) -> Result<(), String> {
        self.input = None;
        self.output = None;
        let status = self.wait();
        let messages = self
            .messages
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(match summary(&messages) {
                Some(said) => said,
                None => format!("it ended with {status}"),
            }),
            Err(e) => Err(e.to_string()),
        }
    }

    /// Waits without holding the lock, which [`end_all`] needs.
    pub fn wait(&self) -> std::io::Result<ExitStatus> {
        const PAUSE: Duration = Duration::from_millis(5);
        loop {
            if let Some(status) = locked(&self.child).try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        {
            let mut child = locked(&self.child);
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        locked(&LIVE).retain(|child| !Arc::ptr_eq(child, &self.child));
    }
}

/// The last lines of its messages as one sentence, without the addresses in front of them.
pub(super) fn summary(messages: &str) -> Option<String> {
    const LINES: usize = 3;
    let mut lines: Vec<&str> = Vec::new();
    for line in messages
        .lines()
        .map(|line| without_source(line.trim()))
        .filter(|line| !line.is_empty())
    {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let last = lines.len().saturating_sub(LINES);
    (!lines.is_empty()).then(|| lines[last..].join("; "))
}

/// `[libx264 @ 0x55d0] text` without what is in brackets.
fn without_source(line: &str) -> &str {
    let rest = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "));
    match rest {
        Some((source, rest)) if source.contains(" @ ") => without_source(rest),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_to_what_says_why() {
        let messages = "[libx264 @ 0x55d0] width not divisible by 2 (129x98)\n[vost#0:0/libx264 @ 0x1] [enc:libx264 @ 0x2] Error while \
                        opening encoder\n\nConversion failed!\nConversion failed!\n";
        let said = summary(messages).unwrap();
        assert_eq!(
            said,
            "width not divisible by 2 (129x98); Error while opening encoder; Conversion failed!"
        );
        assert_eq!(summary(" \n"), None);
        let long = "x".repeat(3 * KEPT) + "end";
        let kept = last_of(long.as_bytes());
        assert_eq!(kept.len(), KEPT);
        assert!(kept.ends_with("end"));
    }

    #[test]
    fn the_name_of_an_option_follows_from_the_version() {
        assert_eq!(
            pass_through("ffmpeg version 4.4.2-0ubuntu0 Copyright"),
            Some("-vsync")
        );
        assert_eq!(
            pass_through("ffmpeg version 5.1.9-0+deb12u1 Copyright"),
            Some("-fps_mode")
        );
        assert_eq!(
            pass_through("ffmpeg version n7.1 Copyright"),
            Some("-fps_mode")
        );
        assert_eq!(
            pass_through("ffmpeg version N-118-gabc Copyright"),
            Some("-fps_mode")
        );
        assert_eq!(pass_through("ls (GNU coreutils) 9.1"), None);
    }

    #[test]
    fn a_named_program_must_exist() {
        let found = Ffmpeg::find(Some(Path::new("no/such/ffmpeg")));
        assert!(matches!(found, Err(Error::BadRequest(_))));
    }
}
