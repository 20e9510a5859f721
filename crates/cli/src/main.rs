//! The program: arguments become a validated job, which is run. Exit code 0 for success, 2 for an invalid command line, 1 for any
//! other error, 130 after Ctrl-C, also if a run has saved its state and can be resumed.

mod args;
mod commands;
mod compute;
mod files;
mod finishing;
mod latents;
mod missing;
mod run;
mod ui;
mod work;

use std::process::ExitCode;

use args::{Cli, Command};
#[cfg(feature = "train")]
use args::{DatasetCommand, TrainCommand};
use clap::Parser;
use vae2x::Error;

/// The exit code after Ctrl-C that shells use.
const INTERRUPTED: u8 = 130;

/// An invalid command line as a result; the program exits with 2.
fn usage<T>(message: impl Into<String>) -> anyhow::Result<T> {
    Err(Error::BadRequest(message.into()).into())
}

/// Whether the command line itself is at fault, whatever the files hold.
fn is_bad_request(error: &anyhow::Error) -> bool {
    let known = error.chain().filter_map(|cause| cause.downcast_ref());
    known
        .into_iter()
        .any(|error: &Error| matches!(error, Error::BadRequest(_) | Error::Missing { .. }))
}

fn main() -> ExitCode {
    #[cfg(feature = "cuda-llvm")]
    vae2x::restart_for_cuda();
    if let Err(missing) = missing::check(std::env::args_os()) {
        ui::say(format_args!("error: {missing}"));
        return ExitCode::from(2);
    }
    let cli = Cli::parse();
    if let Err(e) = ctrlc::set_handler(interrupted) {
        ui::warn(format!("Ctrl-C may leave temporary files behind: {e}"));
    }
    match run(cli.command) {
        // The state is saved, but a command that builds on the result must not run.
        #[cfg(feature = "train")]
        Ok(()) if commands::training::was_stopped() => ExitCode::from(INTERRUPTED),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::error(&error);
            ExitCode::from(if is_bad_request(&error) { 2 } else { 1 })
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Decode(args) => commands::decode::decode(&args),
        Command::Encode(args) => commands::encode::encode(&args),
        Command::Upscale(args) => commands::upscale::upscale(&args),
        Command::Hires(args) => commands::hires::hires(&args),
        Command::Preview(args) => commands::preview::preview(&args),
        Command::Info(args) => commands::info::info(&args),
        Command::Convert(args) => commands::convert::convert(&args),
        Command::Devices(args) => commands::devices::devices(&args),
        Command::Compare(args) => commands::compare::compare(&args),
        Command::Metrics(args) => commands::metrics::metrics(&args),
        Command::Speckle(args) => commands::speckle::speckle(&args),
        Command::Demo(args) => commands::demo::demo(&args),
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
        ui::say("stopping after this step; press Ctrl-C again to stop at once");
        return;
    }
    vae2x_core::temp::remove_all();
    ui::say("interrupted; no unfinished file is left");
    std::process::exit(INTERRUPTED.into());
}
