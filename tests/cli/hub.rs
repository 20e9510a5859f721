//! Weights from a hub, through the program, against a local server that speaks the hub's protocol.

use std::path::Path;

use vae2x_hub::testing::{FakeHub, Reply};

use crate::support::{Run, entries, finish, fixture, text, vae2x};

const REPO: &str = "someone/upscale2x";

fn diffusers_files() -> Vec<(&'static str, Vec<u8>)> {
    let read =
        |name: &str| std::fs::read(fixture(&format!("vae_tiny_up2x/diffusers/{name}"))).unwrap();
    vec![
        ("README.md", b"weights".to_vec()),
        ("diffusers/Upscale2x_v1/config.json", read("config.json")),
        (
            "diffusers/Upscale2x_v1/diffusion_pytorch_model.safetensors",
            read("diffusion_pytorch_model.safetensors"),
        ),
    ]
}

fn published() -> FakeHub {
    let hub = FakeHub::start();
    let files = diffusers_files();
    hub.publish(
        REPO,
        &files
            .iter()
            .map(|(name, bytes)| (*name, &bytes[..]))
            .collect::<Vec<_>>(),
    );
    hub
}

fn info(hub: &str, home: &Path, weights: &str, more: &[(&str, &str)]) -> Run {
    let mut command = vae2x();
    command
        .env("HF_ENDPOINT", hub)
        .env("HF_HOME", home)
        .args(["info", weights, "--json"]);
    more.iter().for_each(|(name, value)| {
        command.env(name, value);
    });
    finish(&mut command)
}

#[test]
fn a_hub_id_is_fetched_once_and_then_read_from_the_cache() {
    let (hub, home) = (published(), tempfile::tempdir().unwrap());
    let report: serde_json::Value =
        serde_json::from_str(&info(&hub.url(), home.path(), REPO, &[]).ok()).unwrap();
    assert_eq!(
        (&report["layout"], &report["scale"]),
        (&"diffusers".into(), &2.into())
    );
    assert!(!hub.take_asked().is_empty());
    info(&hub.url(), home.path(), REPO, &[]).ok();
    assert!(
        hub.take_asked()
            .iter()
            .all(|asked| !asked.path.contains("/resolve/")),
        "weights are not fetched again"
    );
    info(&hub.url(), home.path(), REPO, &[("HF_HUB_OFFLINE", "1")]).ok();
    assert!(hub.take_asked().is_empty(), "offline asks nobody");
}

#[test]
fn a_broken_download_is_resumed() {
    let (hub, home) = (published(), tempfile::tempdir().unwrap());
    hub.break_after(100_000, 1);
    info(&hub.url(), home.path(), REPO, &[]).ok();
    let ranges: Vec<_> = hub
        .take_asked()
        .into_iter()
        .filter_map(|asked| asked.range)
        .collect();
    assert!(
        ranges
            .iter()
            .any(|range| range.starts_with("bytes=100000-")),
        "{ranges:?}"
    );
}

#[test]
fn what_goes_wrong_is_told() {
    let (hub, home) = (published(), tempfile::tempdir().unwrap());
    let url = hub.url();
    let message = info(&url, home.path(), "someone/else", &[]).fails(1);
    assert!(message.contains("someone/else"), "{message}");
    let message = info(&url, home.path(), REPO, &[("HF_HUB_OFFLINE", "1")]).fails(1);
    assert!(message.contains("HF_HUB_OFFLINE"), "{message}");
    hub.make_gated(REPO, "secret");
    let message = info(&url, home.path(), REPO, &[]).fails(1);
    assert!(message.contains("HF_TOKEN"), "{message}");
    info(&url, home.path(), REPO, &[("HF_TOKEN", "secret")]).ok();
    drop(hub);
    let gone = tempfile::tempdir().unwrap();
    let message = info(&url, gone.path(), REPO, &[]).fails(1);
    assert!(message.contains(&url), "{message}");
}

#[test]
fn decoding_takes_a_hub_id_with_a_folder() {
    let (hub, home) = (published(), tempfile::tempdir().unwrap());
    let out = home.path().join("out");
    let weights = format!("{REPO}:diffusers/Upscale2x_v1");
    let mut command = vae2x();
    command
        .env("HF_ENDPOINT", hub.url())
        .env("HF_HOME", home.path().join("hf"))
        .args(["decode", "--vae", &weights]);
    command.args([
        &fixture("data/wan_cheesecake_frame0.latent"),
        "-o",
        &text(&out),
    ]);
    finish(&mut command).ok();
    assert_eq!(entries(&out), ["wan_cheesecake_frame0_00000.png"]);
}

#[test]
fn a_cached_model_is_used_with_a_warning_when_the_hub_fails() {
    let (hub, home) = (published(), tempfile::tempdir().unwrap());
    let first = info(&hub.url(), home.path(), REPO, &[]).ok();
    hub.answer_with(|_, _| Reply::new("200 OK", &[], b"<html>log in first"));
    assert_eq!(info(&hub.url(), home.path(), REPO, &[]).ok(), first);
    let messages = info(&hub.url(), home.path(), REPO, &[]).ok_stderr();
    let warnings = messages
        .lines()
        .filter(|line| line.starts_with("warning: ") && line.contains("cache"));
    assert_eq!(warnings.count(), 1, "{messages}");
}

#[test]
fn an_address_from_a_browser_is_a_hub_id() {
    let (hub, home) = (published(), tempfile::tempdir().unwrap());
    let folder = format!("{}/{REPO}/tree/main/diffusers/Upscale2x_v1", hub.url());
    info(&hub.url(), home.path(), &folder, &[]).ok();
    let message = info(&hub.url(), home.path(), "https://example.org/a/b", &[]).fails(1);
    assert!(message.contains("HF_ENDPOINT"), "{message}");
}

#[test]
fn secrets_are_not_printed() {
    let (hub, home) = (published(), tempfile::tempdir().unwrap());
    hub.answer_with(|_, _| Reply::status("403 Forbidden"));
    let login = hub.url().replace("http://", "http://someone:PASSWord@");
    let nobody = "http://someone:PASSWord@127.0.0.1:1";
    for (endpoint, proxy) in [(&*login, ""), (nobody, ""), (&hub.url(), nobody)] {
        let secrets = [
            ("HF_TOKEN", "hf_SECRET"),
            ("HTTP_PROXY", proxy),
            ("NO_PROXY", ""),
            ("no_proxy", ""),
        ];
        let message = info(endpoint, home.path(), REPO, &secrets).fails(1);
        assert!(!message.contains("PASSWord"), "{message}");
        assert!(!message.contains("hf_SECRET"), "{message}");
    }
    let config = [("HF_TOKEN", "two words"), ("SSL_CERT_FILE", "")];
    let message = info(&hub.url(), home.path(), REPO, &config).fails(1);
    assert!(!message.contains("two words"), "{message}");
}

#[test]
fn certificates_that_cannot_be_read_are_named() {
    let home = tempfile::tempdir().unwrap();
    let gone = text(&home.path().join("gone.pem"));
    let config = [("SSL_CERT_FILE", gone.as_str())];
    let message = info("https://127.0.0.1:1", home.path(), REPO, &config).fails(1);
    assert!(
        message.contains("SSL_CERT_FILE") && message.contains(&gone),
        "{message}"
    );
}
