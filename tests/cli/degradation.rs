//! `train degradation`, `degrade`, and a decoder's training with the proxy.

use std::path::Path;

use vae2x_core::Array;
use vae2x_core::weights::TensorFile;
use vae2x_core::weights::formula;
use vae2x_core::weights::write::write_arrays;

use crate::support::{entries, read, run, shared, text};

fn latent(name: &str, channels: usize) -> Array {
    Array::new([channels, 8, 8], formula::unit(name, channels * 64).collect()).unwrap()
}

/// Three pairs, the degraded latent being half the clean one, and a configuration for two steps.
fn pairs(folder: &Path, channels: usize) -> [String; 2] {
    let pairs = folder.join("pairs");
    std::fs::create_dir_all(&pairs).unwrap();
    let time = Array::new([1], vec![0.1]).unwrap();
    for i in 0..3 {
        let clean = latent(&format!("clean.{i}"), channels);
        let degraded = Array::new(clean.shape(), clean.data().iter().map(|v| v / 2.0).collect()).unwrap();
        let arrays = [("a.clean", &clean), ("a.degraded", &degraded), ("a.t", &time)];
        write_arrays(&pairs.join(format!("{i}.safetensors")), &arrays, &Default::default()).unwrap();
    }
    let config = folder.join("proxy.toml");
    std::fs::write(&config, "width = 4\nblocks = 1\nsteps = 2\nbatch = 2\ncrop = 8\nlog_every = 1\n").unwrap();
    [text(&pairs), text(&config)]
}

/// Trains a proxy and gives its file.
fn proxy(folder: &Path, channels: usize) -> String {
    let ([pairs, config], out) = (pairs(folder, channels), text(&folder.join("run")));
    let said = run(&["train", "degradation", "--pairs", &pairs, "--config", &config, "--out", &out]).ok();
    assert!(said.contains("error on held-out pairs"), "{said}");
    assert_eq!(
        entries(&folder.join("run")),
        [".lock", "checkpoint.safetensors", "config.toml", "log.jsonl", "proxy.safetensors"]
    );
    let log = std::fs::read_to_string(folder.join("run/log.jsonl")).unwrap();
    let kinds: Vec<serde_json::Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(kinds.iter().map(|l| l["kind"].as_str().unwrap()).collect::<Vec<_>>(), ["train", "train", "eval"]);
    let again = run(&["train", "degradation", "--pairs", &pairs, "--config", &config, "--out", &out]).fails(1);
    assert!(again.contains("holds a run already"), "{again}");
    assert!(run(&["train", "degradation", "--resume", &out]).ok().contains("error on held-out pairs"));
    text(&folder.join("run/proxy.safetensors"))
}

#[test]
fn a_trained_proxy_softens_latents() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = proxy(folder.path(), 16);
    let clip = shared("data/wan_cheesecake_normalized.safetensors");
    let degrade = |t: &str, out: &Path| {
        run(&["degrade", &clip, "--proxy", &proxy, "--t", t, "-o", &text(out), "--latent-space", "normalized"]).ok();
        read(out, "latents")
    };
    let still = degrade("0", &folder.path().join("0.safetensors"));
    let clean = TensorFile::open(Path::new(&clip)).unwrap().read("latents").unwrap();
    vae2x_testkit::compare::assert_close("t = 0", &still, &clean, 1e-6);
    let soft = degrade("0.08", &folder.path().join("1.safetensors"));
    assert!(vae2x_testkit::compare::relative_l2(soft.data(), clean.data()) > 1e-5);
    let comfy = folder.path().join("a.latent");
    let said = run(&["degrade", &clip, "--proxy", &proxy, "--t", "0.08", "-o", &text(&comfy)]).ok();
    assert!(said.contains("(raw)") && comfy.exists());
}

#[test]
fn what_will_not_do_is_said_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let other = proxy(folder.path(), 4);
    let out = text(&folder.path().join("out.safetensors"));
    let clip = shared("data/wan_cheesecake_frame0.latent");
    let fails =
        |proxy: &str, t: &str, code| run(&["degrade", &clip, "--proxy", proxy, "--t", t, "-o", &out]).fails(code);
    let channels = fails(&other, "0.1", 1);
    assert!(channels.contains("latents of 4 channels") && channels.contains("have 16"), "{channels}");
    let model = shared("fixtures/vae_tiny_base/original.safetensors");
    assert!(fails(&model, "0.1", 1).contains("no degradation proxy"));
    assert!(fails("nowhere.safetensors", "0.1", 1).contains("nowhere.safetensors"));
    let output = run(&["degrade", &clip, "--proxy", &other, "--t", "0.1", "-o", "out.png"]).fails(2);
    assert!(output.contains(".latent"), "{output}");
    assert!(!Path::new(&out).exists());

    let [pairs, config] = pairs(folder.path(), 4);
    let train = |pairs: &str, config: &str| {
        let run_at = text(&folder.path().join("other"));
        run(&["train", "degradation", "--pairs", pairs, "--config", config, "--out", &run_at]).fails(1)
    };
    assert!(train("nowhere", &config).contains("nowhere"));
    let empty = text(&folder.path().join("run"));
    assert!(train(&empty, &config).contains("no pairs"));
    let bad = text(&folder.path().join("bad.toml"));
    std::fs::write(&bad, "widht = 4\n").unwrap();
    assert!(train(&pairs, &bad).contains("widht"));
    assert!(run(&["train", "degradation", "--resume", "nowhere"]).fails(1).contains("nowhere"));
}

#[test]
fn a_decoder_is_trained_behind_the_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let config = crate::train::tiny_run(folder.path());
    let (proxy, out) = (proxy(folder.path(), 16), text(&folder.path().join("decoder")));
    let train = |proxy: &str| {
        let set = format!("degradation.proxy={proxy}");
        let kind = ["--set", "degradation.kind=proxy", "--set", &set, "--set", "train.steps=1"];
        run(&[&["train", "decoder", "--config", &config, "--out", &out][..], &kind].concat())
    };
    train(&proxy).ok();
    std::fs::remove_dir_all(&out).unwrap();
    let other = tempfile::tempdir().unwrap();
    let said = train(&self::proxy(other.path(), 4)).fails(1);
    assert!(said.contains("latents of 4 channels"), "{said}");
}
