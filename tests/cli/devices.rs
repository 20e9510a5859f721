//! Devices by name: those of this build, those that are missing, how much memory they may use.

use vae2x::{Api, is_built};

use crate::support::{finish, fixture, run, vae2x};

#[test]
fn devices_are_listed_and_missing_ones_named() {
    let said = run(&["devices"]).ok();
    for (name, is_built) in [("cpu ", true), ("burn ", cfg!(feature = "burn"))] {
        let is_listed = said
            .lines()
            .any(|line| line.starts_with(name) && line.contains(" GB "));
        assert_eq!(is_listed, is_built, "{name}: {said}");
    }
    for api in Api::ALL {
        let missing = said
            .lines()
            .any(|line| line.starts_with("not in this build") && line.contains(api.name()));
        let listed = said.lines().any(|line| line.starts_with(api.name()));
        assert_eq!(
            (missing, listed),
            (!is_built(api), is_built(api)),
            "{api} in {said}"
        );
    }
}

#[test]
fn every_device_is_checked() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = vae2x();
    command
        .args(["devices", "--check"])
        .env("XDG_CACHE_HOME", cache.path());
    let said = finish(&mut command).ok();
    let right = |name: &str| {
        said.lines()
            .any(|line| line.starts_with(name) && line.contains("right, "))
    };
    assert!(right("cpu "), "{said}");
    assert_eq!(right("burn "), cfg!(feature = "burn"), "{said}");
}

#[test]
fn devices_that_cannot_be_meant_are_refused() {
    let frame = fixture("data/wan_cheesecake_frame0.latent");
    let decode = |extra: &[&str]| {
        run(&[
            &["decode", &frame, "--vae", "demo:base", "-o", "x.png"],
            extra,
        ]
        .concat())
    };
    assert!(decode(&["--device", "tpu"]).fails(2).contains("tpu"));
    let half = decode(&["--device", "cpu", "--dtype", "f16"]).fails(2);
    assert!(half.contains("cpu") && half.contains("f16"), "{half}");
    // Without a GPU, auto is the CPU, whatever software drivers there are.
    if !run(&["devices"]).ok().contains("GPU") {
        assert!(decode(&["--dtype", "f16"]).fails(2).contains("GPU"));
    }
    assert!(decode(&["--memory", "much"]).fails(2).contains("much"));
    for api in Api::ALL.into_iter().filter(|&api| !is_built(api)) {
        let message = decode(&["--device", api.name()]).fails(2);
        assert!(message.contains(&format!("--features {api}")), "{message}");
    }
    for api in Api::ALL.into_iter().filter(|&api| is_built(api)) {
        let message = decode(&["--device", &format!("{api}:99")]).fails(1);
        assert!(message.contains("device"), "{message}");
    }
}
