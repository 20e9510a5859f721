//! The command line: arguments, a validated job, the run. Exit code 0 for success, 2 for a wrong command line, 1 for the rest,
//! 130 after Ctrl-C, also where a run has stored what it had and can be resumed.

mod args;
mod commands;
mod demo_assets;
mod memory;
mod missing;
mod timings;
mod ui;
mod weights;

use std::process::ExitCode;

use args::{Cli, Command};
#[cfg(feature = "train")]
use args::{DatasetCommand, TrainCommand};
use clap::Parser;

/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// A command line that cannot be meant; reported with exit code 2.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A [`Usage`] error as a result.
fn usage<T>(message: impl Into<String>) -> anyhow::Result<T> {
    Err(Usage(message.into()).into())
}

fn main() -> ExitCode {
    if let Err(missing) = missing::check(std::env::args_os()) {
        ui::say(format_args!("error: {missing}"));
        return ExitCode::from(2);
    }
    let cli = Cli::parse();
    if let Err(e) = ctrlc::set_handler(interrupted) {
        ui::warn(format!("Ctrl-C may leave temporary files behind: {e}"));
    }
    match run(cli.command) {
        // What was done is stored, but a command that builds on it must not go on.
        #[cfg(feature = "train")]
        Ok(()) if commands::training::was_stopped() => ExitCode::from(INTERRUPTED),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::say(format_args!("error: {}", told_once(&error)));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// The error and its causes in one line; a cause that the text before it already tells is left out.
fn told_once(error: &anyhow::Error) -> String {
    let mut causes = error.chain().map(ToString::to_string);
    let first = causes.next().unwrap_or_default();
    causes.fold(first, |text, cause| {
        if text.contains(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Decode(args) => commands::decode::run(&args),
        Command::Encode(args) => commands::encode::run(&args),
        Command::Upscale(args) => commands::upscale::run(&args),
        Command::Hires(args) => commands::hires::run(&args),
        Command::Preview(args) => commands::preview::run(&args),
        Command::Info(args) => commands::info::run(&args),
        Command::Convert(args) => commands::convert::run(&args),
        Command::Devices => commands::devices::run(),
        Command::Compare(args) => commands::compare::run(&args),
        Command::Metrics(args) => commands::metrics::run(&args),
        Command::Speckle(args) => commands::speckle::run(&args),
        Command::Demo(args) => commands::demo::run(&args),
        #[cfg(feature = "train")]
        Command::Train(TrainCommand::Decoder(args)) => commands::train::run(&args),
        #[cfg(feature = "train")]
        Command::Train(TrainCommand::Degradation(args)) => commands::train_degradation::run(&args),
        #[cfg(feature = "train")]
        Command::Train(TrainCommand::Flow(args)) => commands::train_flow::run(&args),
        #[cfg(feature = "train")]
        Command::Degrade(args) => commands::degrade::run(&args),
        #[cfg(feature = "train")]
        Command::Sdedit(args) => commands::sdedit::run(&args),
        #[cfg(feature = "text")]
        Command::EmbedText(args) => commands::embed_text::run(&args),
        #[cfg(feature = "train")]
        Command::Spectrum(args) => commands::spectrum::run(&args),
        #[cfg(feature = "train")]
        Command::Dataset(DatasetCommand::Scan(args)) => commands::dataset::run(&args),
        #[cfg(feature = "train")]
        Command::Export(args) => commands::export::run(&args),
    }
}

/// Runs on the signal handler's own thread.
fn interrupted() {
    #[cfg(feature = "train")]
    if commands::training::stop_softly() {
        ui::say("stopping after this step; once more to stop at once");
        return;
    }
    vae2x_core::temp::remove_all();
    ui::say("interrupted; no unfinished file is left");
    std::process::exit(INTERRUPTED.into());
}
