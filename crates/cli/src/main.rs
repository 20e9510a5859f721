//! The program `vae2x`.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "cuda-llvm")]
    vae2x::restart_for_cuda();
    ExitCode::from(vae2x_cli::main(std::env::args_os().collect()))
}
