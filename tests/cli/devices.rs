//! Devices by name: those of this build, those that are missing, how much memory they may use.

use std::path::Path;

use vae2x_nn::device::Api;
use vae2x_testkit::compare::assert_close;
use vae2x_testkit::tolerance;

use crate::support::{read, run, shared, text};

#[test]
fn devices_are_listed_and_missing_ones_named() {
    let said = run(&["devices"]).ok();
    for name in ["cpu ", "burn "] {
        assert!(said.lines().any(|line| line.starts_with(name) && line.contains(" GB ")), "{said}");
    }
    for api in Api::ALL {
        let missing = said.lines().any(|line| line.starts_with("not in this program") && line.contains(api.name()));
        let listed = said.lines().any(|line| line.starts_with(api.name()));
        assert_eq!((missing, listed), (!api.is_built(), api.is_built()), "{api} in {said}");
    }
}

#[test]
fn devices_that_cannot_be_meant_are_refused() {
    let frame = shared("data/wan_cheesecake_frame0.latent");
    let decode = |extra: &[&str]| run(&[&["decode", &frame, "--vae", "demo:base", "-o", "x.png"], extra].concat());
    assert!(decode(&["--device", "tpu"]).fails(2).contains("expected auto, cpu"));
    assert!(decode(&["--device", "cpu", "--dtype", "f16"]).fails(2).contains("f32 or bf16"));
    // Without a GPU, auto is the processor, whatever software drivers there are.
    if !run(&["devices"]).ok().contains("GPU") {
        assert!(decode(&["--dtype", "f16"]).fails(2).contains("no GPU"));
    }
    assert!(decode(&["--memory", "much"]).fails(2).contains("4GiB"));
    for api in Api::ALL.into_iter().filter(|api| !api.is_built()) {
        let message = decode(&["--device", api.name()]).fails(2);
        assert!(message.contains(&format!("--features {api}")), "{message}");
    }
    for api in Api::ALL.into_iter().filter(|api| api.is_built()) {
        let message = decode(&["--device", &format!("{api}:99")]).fails(1);
        assert!(message.contains("device"), "{message}");
    }
}

#[test]
fn little_memory_means_bands_or_an_estimate() {
    let folder = tempfile::tempdir().unwrap();
    let frame = shared("data/wan_cheesecake_frame0.latent");
    let decode = |device: &str, memory: &str| {
        let out = folder.path().join(format!("{memory}.npy"));
        let run =
            run(&["decode", &frame, "--vae", "demo:2x", "--device", device, "--memory", memory, "-o", &text(&out)]);
        (run, out)
    };
    let pixels = |(run, out): (crate::support::Run, std::path::PathBuf)| {
        run.ok();
        read(Path::new(&out), "")
    };
    let whole = pixels(decode("burn", "16GiB"));
    assert_close("in bands", &pixels(decode("burn", "48MiB")), &whole, tolerance::BANDS_F32);
    let message = decode("burn", "4MiB").0.fails(1);
    assert!(message.contains("64x40") && message.contains("MB"), "{message}");
    let message = decode("cpu", "4MiB").0.fails(1);
    assert!(message.contains("MB are available"), "{message}");
}
