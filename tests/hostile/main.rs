//! Hostile files, names and surroundings: the program answers each with an error or a result, in little time and memory.
//!
//! A case makes its files, runs the program under limits of memory and time, and says what is right. Each is a test of its own, so
//! that `cargo test --test hostile -- torch` runs a class, and any words of a case's name choose it. Expected is what is right, not
//! what the program did when a case was written. The limits are Linux's; other systems run without them.

#[cfg(unix)]
mod case;
#[cfg(unix)]
mod determinism;
#[cfg(unix)]
mod html;
#[cfg(unix)]
mod images;
#[cfg(unix)]
mod make;
#[cfg(unix)]
mod npy;
#[cfg(unix)]
mod outputs;
#[cfg(unix)]
mod room;
#[cfg(unix)]
mod safetensors;
#[cfg(unix)]
mod surroundings;
#[cfg(unix)]
mod terminal;
#[cfg(unix)]
mod torch;
#[cfg(unix)]
mod trace;
#[cfg(all(unix, feature = "train"))]
mod training;
#[cfg(unix)]
mod weights;

#[cfg(unix)]
fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let classes = vec![
        safetensors::cases(),
        weights::cases(),
        torch::cases(),
        npy::cases(),
        images::cases(),
        outputs::cases(),
        surroundings::cases(),
        terminal::cases(),
        html::cases(),
        determinism::cases(),
        #[cfg(feature = "train")]
        training::cases(),
    ];
    libtest_mimic::run(&arguments, classes.into_iter().flatten().collect()).exit();
}

#[cfg(not(unix))]
fn main() {
    println!("skipped: the hostile cases need a Unix shell");
}
