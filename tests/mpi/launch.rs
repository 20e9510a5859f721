//! Runs of the program under `mpirun`, what they leave, and their processes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use vae2x_core::Array;
use vae2x_core::weights::TensorFile;
use vae2x_media::picture::write_image;
use vae2x_testkit::fixture;

/// For what is waited for, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn has_mpirun() -> bool {
    let found = Command::new("mpirun").arg("--version").output();
    found.is_ok_and(|output| output.status.success())
}

/// A run's folder, and the photos and the configuration beside it.
pub struct Run {
    pub folder: PathBuf,
    config: PathBuf,
}

/// `mpirun`, or the program alone.
pub struct Job(Child);

impl Run {
    /// A run called `name` in `folder`. Nothing is started.
    pub fn new(folder: &Path, name: &str) -> Self {
        let config = folder.join("tiny.toml");
        if !config.exists() {
            std::fs::create_dir(folder.join("photos")).unwrap();
            (0..5).for_each(|i| photo(&folder.join(format!("photos/{i}.png")), i));
            std::fs::write(&config, configuration(folder)).unwrap();
        }
        Self {
            folder: folder.join(name),
            config,
        }
    }

    /// The arguments of a new run.
    pub fn new_run(&self, steps: u64, batch: usize) -> Vec<String> {
        let [config, out] = [&self.config, &self.folder].map(|path| path.display().to_string());
        let [steps, batch] = [
            format!("train.steps={steps}"),
            format!("train.batch={batch}"),
        ];
        [
            "--config", &config, "--out", &out, "--set", &steps, "--set", &batch,
        ]
        .map(String::from)
        .to_vec()
    }

    /// The arguments that resume it.
    pub fn resumed(&self, settings: &[&str]) -> Vec<String> {
        let mut arguments = vec!["--resume".to_string(), self.folder.display().to_string()];
        for setting in settings {
            arguments.extend(["--set".to_string(), setting.to_string()]);
        }
        arguments
    }

    /// Starts as many processes, a single one without `mpirun`.
    pub fn start(&self, processes: usize, arguments: &[String]) -> Job {
        let mut command = match processes {
            1 => Command::new(env!("CARGO_BIN_EXE_vae2x")),
            _ => {
                let mut command = mpirun();
                let count = processes.to_string();
                command.args(["-n", &count, env!("CARGO_BIN_EXE_vae2x")]);
                command
            }
        };
        command
            .args(["train", "decoder", "--no-tui"])
            .args(arguments);
        Job::start(command)
    }

    /// Starts two processes with some arguments and a third one with others.
    pub fn start_two_kinds(&self, arguments: &[String], others: &[String]) -> Job {
        let mut command = mpirun();
        for (count, separator, arguments) in [("2", Some(":"), arguments), ("1", None, others)] {
            command
                .args(["-n", count, env!("CARGO_BIN_EXE_vae2x")])
                .args(["train", "decoder", "--no-tui"])
                .args(arguments)
                .args(separator);
        }
        Job::start(command)
    }

    /// The lines of its log so far.
    pub fn log(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.folder.join("log.jsonl")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    fn checkpoints(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.join("checkpoints"));
        let mut paths: Vec<PathBuf> = entries
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
            .collect();
        paths.sort();
        paths
    }

    /// The newest checkpoint.
    pub fn newest(&self) -> TensorFile {
        TensorFile::open(self.checkpoints().last().unwrap()).unwrap()
    }

    /// The step of the newest checkpoint.
    pub fn step(&self) -> u64 {
        let path = self.checkpoints().pop().unwrap();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        stem.strip_prefix("step-").unwrap().parse().unwrap()
    }

    pub fn wait_for_checkpoints(&self, count: usize) {
        wait("checkpoints", || self.checkpoints().len() >= count);
    }

    pub fn wait_for_lines(&self, count: usize) {
        wait("lines of the log", || self.log().len() >= count);
    }

    /// Sends a signal to the process of a rank.
    pub fn signal(&self, rank: usize, name: &str) {
        let variable = format!("OMPI_COMM_WORLD_RANK={rank}");
        let of_rank = |pid: &u32| {
            let variables = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            variables
                .split(|&b| b == 0)
                .any(|v| v == variable.as_bytes())
        };
        let pids: Vec<u32> = self.processes().into_iter().filter(of_rank).collect();
        assert_eq!(pids.len(), 1, "processes of rank {rank}");
        send(pids[0], name);
    }

    /// No process of the run is left.
    pub fn expect_no_process(&self) {
        wait("the end of all processes", || self.processes().is_empty());
    }

    /// The program's processes that name the run's folder.
    fn processes(&self) -> Vec<u32> {
        let folder = self.folder.display().to_string();
        let is_of_run = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut arguments = line.split(|&b| b == 0);
            arguments
                .next()
                .is_some_and(|name| name.ends_with(b"vae2x"))
                && arguments.any(|argument| argument == folder.as_bytes())
        };
        let entries = std::fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(is_of_run).collect()
    }
}

impl Job {
    fn start(mut command: Command) -> Self {
        // As from a shell, whatever started the tests.
        for name in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    pub fn signal(&self, name: &str) {
        send(self.0.id(), name);
    }

    /// Waits for its end.
    pub fn output(self) -> Output {
        self.0.wait_with_output().unwrap()
    }
}

fn mpirun() -> Command {
    let mut command = Command::new("mpirun");
    // Tests may be run by root, and on fewer cores than there are processes.
    command.args([
        "--allow-run-as-root",
        "--oversubscribe",
        "--bind-to",
        "none",
    ]);
    command
}

fn send(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .status();
    assert!(status.unwrap().success(), "kill -{name} {pid}");
}

fn wait(what: &str, is_there: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_there() {
        assert!(start.elapsed() < PATIENCE, "no {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The bits of all tensors of a file, by name.
pub fn tensors(file: &TensorFile) -> Vec<(String, Vec<u32>)> {
    let bits = |name: &String| {
        let values = file.read(name).unwrap().into_data();
        values.into_iter().map(f32::to_bits).collect()
    };
    let names = file.tensors().keys();
    names.map(|name| (name.clone(), bits(name))).collect()
}

/// Waves under noise, so that no two values are equal: where the losses sort or take the largest, rounding must not choose.
fn photo(path: &Path, i: usize) {
    let value = |p: usize| {
        let [x, y] = [p % 64, p / 64].map(|v| v as f32);
        let wave = (x * (0.2 + 0.07 * i as f32)).sin() * (y * (0.05 + 0.04 * i as f32)).cos();
        let hash = ((p * 5 + i) as u32).wrapping_mul(2_654_435_761) >> 8;
        0.7 * wave + 0.6 * (hash as f32 / (1 << 24) as f32 - 0.5)
    };
    let photo = Array::new([3, 64, 64], (0..3 * 64 * 64).map(value).collect()).unwrap();
    write_image(path, &photo, &Default::default()).unwrap();
}

/// All losses, the discriminator and the average.
fn configuration(folder: &Path) -> String {
    format!(
        r#"
model.base = "{0}"
degradation.kind = "blur"
data = {{ photos = ["{1}/photos"], held_out = ["{1}/photos/4.png"], crop = 48, min_sharpness = 0.0, workers = 1, prefetch = 2 }}
train = {{ accumulate = 1, seed = 5 }}
gan = {{ weight = 0.05, start = 1, width = 4, adaptive = true }}
loss = {{ l1 = 1.0, fdl = 0.1, vgg19 = "random:3", vgg_crop = 16, fdl_options = {{ patch = 3, projections = 2, layer_weights = [1.0] }} }}
eval = {{ short_side = 0, size = 48 }}
log = {{ every = 1, eval_every = 5, checkpoint_every = 2, keep = 100000 }}
"#,
        fixture("vae_tiny_base/original.safetensors").display(),
        folder.display()
    )
}
