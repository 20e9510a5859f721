//! The program as a function, for the binary and for the Python package: arguments become a validated job, which is run. Exit
//! code 0 for success, 2 for an invalid command line, 1 for any other error, 128 and its number after a signal (130 for Ctrl-C),
//! also if a run has saved its state and can be resumed.

mod args;
mod batch;
mod commands;
mod compute;
mod files;
mod finishing;
mod latents;
mod missing;
mod run;
mod signals;
mod ui;
mod visible;
mod work;

use std::ffi::OsString;

use args::{Cli, Command};
#[cfg(feature = "train")]
use args::{DatasetCommand, TrainCommand};
use clap::Parser;
use vae2x::Error;
use visible::visible;

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

/// Runs the program with these arguments, the first of which is its name, and returns its exit code. It takes over the
/// process: signals end it, and panics are printed as messages.
pub fn main(arguments: Vec<OsString>) -> u8 {
    ui::say_panics();
    if let Err(missing) = missing::check(arguments.iter().cloned()) {
        ui::say(format_args!("error: {missing}"));
        return 2;
    }
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    if let Err(e) = signals::listen() {
        ui::warn(format!("Ctrl-C may leave temporary files behind: {e}"));
    }
    match run(cli.command) {
        Ok(()) => success(),
        Err(error) => {
            ui::error(&error);
            if is_bad_request(&error) { 2 } else { 1 }
        }
    }
}

/// The arguments, or the exit code after help or an error has been printed.
fn parse(arguments: Vec<OsString>) -> Result<Cli, u8> {
    let shown: Vec<String> = arguments
        .iter()
        .map(|argument| visible(&argument.to_string_lossy()).into_owned())
        .collect();
    let error = match Cli::try_parse_from(arguments) {
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    // clap's messages have lines and colours of their own around the arguments, so these are made visible before.
    match Cli::try_parse_from(shown) {
        // A terminal that is gone changes nothing.
        Err(shown) if shown.kind() == error.kind() => drop(shown.print()),
        _ => ui::say(error.to_string().lines().next().unwrap_or_default()),
    }
    Err(error.exit_code() as u8)
}

/// The exit code of a command that has done its work.
fn success() -> u8 {
    // What was done is saved, but a command that builds on the result must not run.
    signals::stopping::code().unwrap_or(0)
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
        Command::Roundtrip(args) => commands::roundtrip::roundtrip(&args),
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
