//! Running the program, and the small files that tests feed it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use vae2x_core::Array;
use vae2x_core::weights::TensorFile;
use vae2x_core::weights::write::write_arrays;

/// Ends the tests at Ctrl-C as ever. A signal with a handler, unlike one that is ignored, is as by default in a child process.
#[cfg(unix)]
fn heed_interrupts() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let always = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGINT, 130, always)
            .unwrap();
    });
}

/// A finished run.
pub struct Run {
    output: Output,
}

/// The program, ready to be given arguments. It sees no hub settings of the developer's, and ends at Ctrl-C even if the tests run in
/// the background of a script, where shells have it ignored.
pub fn vae2x() -> Command {
    #[cfg(unix)]
    heed_interrupts();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vae2x"));
    for name in [
        "HF_HOME",
        "HF_HUB_CACHE",
        "HF_ENDPOINT",
        "HF_TOKEN",
        "HF_HUB_OFFLINE",
        "HF_HUB_DOWNLOAD_TIMEOUT",
        "HF_TOKEN_PATH",
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "SSL_CERT_FILE",
    ] {
        command.env_remove(name);
    }
    command
}

/// The program where no FFmpeg is found.
pub fn without_ffmpeg() -> Command {
    let mut command = vae2x();
    for name in [
        "VAE2X_FFMPEG",
        "IMAGEIO_FFMPEG_EXE",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
    ] {
        command.env_remove(name);
    }
    command.env("PATH", "");
    command
}

/// The arguments that decode a clip of the fixtures, of 5 frames of 32x48 pixels, to `out`.
pub fn decode_clip(out: &Path) -> Vec<String> {
    let latent = fixture("vae_tiny_up2x/cases.safetensors");
    let out = text(out);
    let arguments = [
        "decode",
        &latent,
        "--key",
        "decode.clip2.latent",
        "--latent-space",
        "raw",
        "--vae",
        "demo:base",
        "-o",
        &out,
    ];
    arguments.map(String::from).to_vec()
}

/// Runs the program with `args`.
pub fn run<S: AsRef<OsStr>>(args: &[S]) -> Run {
    finish(vae2x().args(args))
}

/// Runs the program with `args`, and kills it if it hangs. What it prints must fit into a pipe.
#[cfg(feature = "train")]
#[track_caller]
pub fn run_soon<S: AsRef<OsStr>>(args: &[S]) -> Run {
    use std::process::Stdio;
    use std::time::{Duration, Instant};
    const LONGEST: Duration = Duration::from_secs(60);
    let mut command = vae2x();
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let started = Instant::now();
    while child.try_wait().expect("it can be waited for").is_none() {
        if started.elapsed() > LONGEST {
            let _ = child.kill();
            panic!("it hangs: {command:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Run {
        output: child.wait_with_output().expect("it can be read"),
    }
}

/// Runs a prepared command.
pub fn finish(command: &mut Command) -> Run {
    Run {
        output: command.output().expect("the program starts"),
    }
}

impl Run {
    /// Standard output of a run that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(
            self.output.status.success(),
            "{:?}: {}",
            self.output.status,
            self.stderr()
        );
        String::from_utf8(self.output.stdout).expect("UTF-8")
    }

    /// Standard error of a run that must have succeeded.
    #[track_caller]
    pub fn ok_stderr(self) -> String {
        assert!(
            self.output.status.success(),
            "{:?}: {}",
            self.output.status,
            self.stderr()
        );
        self.stderr()
    }

    /// Standard error of a run that must have failed with `code` and words rather than a panic.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        let text = self.stderr();
        assert_eq!(self.output.status.code(), Some(code), "{text}");
        assert!(
            text.contains("error: ") && !text.contains("panicked"),
            "{text}"
        );
        text
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}

/// Names in a folder, hidden ones too.
pub fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder can be read")
        .map(|e| {
            e.expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// Writes one `f32` tensor as a safetensors file.
pub fn write_safetensors(path: &Path, name: &str, array: &Array) {
    write_arrays(path, &[(name, array)], &Default::default()).expect("the file is written");
}

/// Reads a tensor of a file.
pub fn read(path: &Path, name: &str) -> Array {
    TensorFile::open(path)
        .and_then(|f| f.read(name))
        .unwrap_or_else(|e| panic!("{e}"))
}

/// A path as text.
pub fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// A file of the fixture folder, as text.
pub fn fixture(path: &str) -> String {
    text(&vae2x_testkit::fixture(path))
}

/// Copies a fixture file into `folder`, writable.
pub fn copy_fixture(path: &str, folder: &Path, name: &str) -> PathBuf {
    let target = folder.join(name);
    std::fs::write(
        &target,
        std::fs::read(vae2x_testkit::fixture(path)).expect("readable"),
    )
    .expect("writable");
    target
}
