//! `train degradation`, `degrade`, and a decoder's training with the proxy.

use std::path::Path;

use vae2x_core::latent::{Normalized, Space};
use vae2x_core::weights::write::write_arrays;
use vae2x_core::weights::{TensorFile, VaeWeights, Weights, formula};
use vae2x_core::{Array, VaeConfig};
use vae2x_media::latent::write_latent;
use vae2x_testkit::compare::assert_close;

use crate::support::{entries, fixture, read, run, text};

fn latent(name: &str, channels: usize) -> Array {
    Array::new(
        [channels, 8, 8],
        formula::unit(name, channels * 64).collect(),
    )
    .unwrap()
}

/// Three pairs, the degraded latent being half the clean one, and a configuration for two steps.
fn pairs(folder: &Path, channels: usize) -> [String; 2] {
    let pairs = folder.join("pairs");
    std::fs::create_dir_all(&pairs).unwrap();
    let time = Array::new([1], vec![0.1]).unwrap();
    for i in 0..3 {
        let clean = latent(&format!("clean.{i}"), channels);
        let degraded = Array::new(
            clean.shape(),
            clean.data().iter().map(|v| v / 2.0).collect(),
        )
        .unwrap();
        let arrays = [
            ("a.clean", &clean),
            ("a.degraded", &degraded),
            ("a.t", &time),
        ];
        write_arrays(
            &pairs.join(format!("{i}.safetensors")),
            &arrays,
            &Default::default(),
        )
        .unwrap();
    }
    let config = folder.join("proxy.toml");
    std::fs::write(
        &config,
        "width = 4\nblocks = 1\nsteps = 2\nbatch = 2\ncrop = 8\nlog_every = 1\ncheckpoint_every = 1\n",
    )
    .unwrap();
    [text(&pairs), text(&config)]
}

/// Trains a proxy and gives its file.
fn proxy(folder: &Path, channels: usize) -> String {
    let ([pairs, config], out) = (pairs(folder, channels), text(&folder.join("run")));
    let train = [
        "train",
        "degradation",
        "--pairs",
        &pairs,
        "--config",
        &config,
        "--out",
        &out,
    ];
    run(&[&train[..], &["--device", "cpu"]].concat()).ok();
    assert_eq!(
        entries(&folder.join("run")),
        [
            ".lock",
            "checkpoint.safetensors",
            "config.toml",
            "log.jsonl",
            "proxy.safetensors"
        ]
    );
    let log = std::fs::read_to_string(folder.join("run/log.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let kinds: Vec<_> = lines
        .iter()
        .map(|l| (l["step"].as_u64().unwrap(), l["kind"].as_str().unwrap()))
        .collect();
    assert_eq!(
        kinds,
        [(1, "train"), (1, "eval"), (2, "train"), (2, "eval")],
        "measured at each checkpoint, once at the end"
    );
    for line in [&lines[1], &lines[3]] {
        let value = |name: &str| {
            line[name]
                .as_f64()
                .unwrap_or_else(|| panic!("{name} is missing: {line}"))
        };
        assert!(
            (0.5..1.0).contains(&value("error")),
            "two steps do a little: {line}"
        );
        // Half of each value is a quarter of the power; the proxy has taken next to nothing away yet.
        assert!(
            (value("degraded_db_7") + 6.0206).abs() < 1e-3 && value("proxy_db_7") > 5.0,
            "{line}"
        );
    }
    let again = run(&train).fails(1);
    assert!(again.contains(&out), "{again}");
    run(&["train", "degradation", "--resume", &out]).ok();
    text(&folder.join("run/proxy.safetensors"))
}

#[test]
fn a_trained_proxy_softens_latents() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = proxy(folder.path(), 16);
    let clip = fixture("data/wan_cheesecake_normalized.safetensors");
    let degrade = |t: &str, out: &Path| {
        run(&[
            "degrade",
            &clip,
            "--proxy",
            &proxy,
            "--t",
            t,
            "-o",
            &text(out),
            "--latent-space",
            "normalized",
        ])
        .ok();
        read(out, "latents")
    };
    let still = degrade("0", &folder.path().join("0.safetensors"));
    let clean = TensorFile::open(Path::new(&clip))
        .unwrap()
        .read("latents")
        .unwrap();
    vae2x_testkit::compare::assert_close("t = 0", &still, &clean, 1e-6);
    let soft = degrade("0.08", &folder.path().join("1.safetensors"));
    assert!(vae2x_testkit::compare::relative_l2(soft.data(), clean.data()) > 1e-5);
    let comfy = folder.path().join("a.latent");
    let said = run(&[
        "degrade",
        &clip,
        "--proxy",
        &proxy,
        "--t",
        "0.08",
        "-o",
        &text(&comfy),
    ])
    .ok();
    assert!(said.contains("(raw)") && comfy.exists());
}

#[test]
fn what_will_not_do_is_said_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let other = proxy(folder.path(), 4);
    let out = text(&folder.path().join("out.safetensors"));
    let clip = fixture("data/wan_cheesecake_frame0.latent");
    let fails = |proxy: &str, t: &str, code| {
        run(&["degrade", &clip, "--proxy", proxy, "--t", t, "-o", &out]).fails(code)
    };
    // Raw latents that are claimed to be normalized.
    let raw = read(
        Path::new(&fixture("data/wan_cheesecake_normalized.safetensors")),
        "latents",
    );
    let raw = Normalized::new(raw)
        .unwrap()
        .denormalize(&VaeConfig::default())
        .unwrap();
    let unmarked = folder.path().join("raw.safetensors");
    write_arrays(&unmarked, &[("x", raw.array())], &Default::default()).unwrap();
    let claim = [
        "degrade",
        &text(&unmarked),
        "--latent-space",
        "normalized",
        "--proxy",
        &other,
        "--t",
        "0.1",
    ];
    let claimed = run(&[&claim[..], &["-o", &out]].concat()).fails(1);
    assert!(
        claimed.contains("raw.safetensors") && claimed.contains("--latent-space raw"),
        "{claimed}"
    );
    let channels = fails(&other, "0.1", 1);
    assert!(
        channels.contains("proxy.safetensors")
            && channels.contains(" 4 ")
            && channels.contains("16"),
        "{channels}"
    );
    let model = fixture("vae_tiny_base/original.safetensors");
    assert!(fails(&model, "0.1", 1).contains(&model));
    assert!(fails("nowhere.safetensors", "0.1", 1).contains("nowhere.safetensors"));
    let output = run(&[
        "degrade", &clip, "--proxy", &other, "--t", "0.1", "-o", "out.png",
    ])
    .fails(2);
    assert!(output.contains(".latent"), "{output}");
    assert!(!Path::new(&out).exists());

    let [pairs, config] = pairs(folder.path(), 4);
    let train = |pairs: &str, config: &str| {
        let run_at = text(&folder.path().join("other"));
        run(&[
            "train",
            "degradation",
            "--pairs",
            pairs,
            "--config",
            config,
            "--out",
            &run_at,
        ])
        .fails(1)
    };
    assert!(train("nowhere", &config).contains("nowhere"));
    let empty = text(&folder.path().join("run"));
    assert!(train(&empty, &config).contains(&empty));
    let flow = folder.path().join("flow.toml");
    std::fs::write(&flow, "steps = 1\n").unwrap();
    let (flow, out) = (text(&flow), text(&folder.path().join("flow")));
    let claim = [
        "train",
        "flow",
        "--latents",
        &text(&unmarked),
        "--latent-space",
        "normalized",
    ];
    let claimed = run(&[&claim[..], &["--config", &flow, "--out", &out]].concat()).fails(1);
    assert!(
        claimed.contains("raw.safetensors") && !Path::new(&out).exists(),
        "{claimed}"
    );
    let (raw_pairs, latent) = (folder.path().join("raw"), raw.array().item(0));
    std::fs::create_dir(&raw_pairs).unwrap();
    let arrays = [
        ("a.clean", &latent),
        ("a.degraded", &latent),
        ("a.t", &Array::new([1], vec![0.1]).unwrap()),
    ];
    write_arrays(
        &raw_pairs.join("0.safetensors"),
        &arrays,
        &Default::default(),
    )
    .unwrap();
    let refused = train(&text(&raw_pairs), &config);
    assert!(refused.contains(&text(&raw_pairs)), "{refused}");
    let softened = text(&folder.path().join("softened"));
    let degrade = |pairs: &str| run(&["degrade", pairs, "--proxy", &other, "-o", &softened]);
    let refused = degrade(&text(&raw_pairs)).fails(1);
    assert!(refused.contains(&text(&raw_pairs)), "{refused}");
    assert!(!Path::new(&softened).exists());
    let vae = run(&[
        "degrade",
        &pairs,
        "--proxy",
        &other,
        "-o",
        &softened,
        "--vae",
        "demo:base",
    ])
    .fails(2);
    assert!(vae.contains("--vae"), "{vae}");
    degrade(&pairs).ok();
    assert!(degrade(&pairs).fails(1).contains(&softened));
    let same = run(&["degrade", &pairs, "--proxy", &other, "-o", &pairs]).fails(1);
    assert!(same.contains(&pairs), "{same}");
    let bad = text(&folder.path().join("bad.toml"));
    std::fs::write(&bad, "widht = 4\n").unwrap();
    assert!(train(&pairs, &bad).contains("widht"));
    assert!(
        run(&["train", "degradation", "--resume", "nowhere"])
            .fails(1)
            .contains("nowhere")
    );
}

#[test]
fn a_folder_of_latents_is_softened_in_the_space_of_its_vae() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = proxy(folder.path(), 16);
    let vae = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../vae2x/assets/models/demo_base.safetensors"
    );
    let vae = VaeWeights::open(Path::new(vae)).unwrap().config().clone();
    let (latents, out) = (folder.path().join("latents"), folder.path().join("soft"));
    std::fs::create_dir_all(latents.join("below")).unwrap();
    let normalized = |name: &str| latent(name, 16).reshape([1, 16, 1, 8, 8]).unwrap();
    let raw = |array: Array| {
        Normalized::new(array)
            .unwrap()
            .denormalize(&vae)
            .unwrap()
            .array()
            .clone()
    };
    write_latent(
        &latents.join("a.safetensors"),
        &normalized("a"),
        Space::Normalized,
        &[],
    )
    .unwrap();
    write_latent(
        &latents.join("below/b.latent"),
        &raw(normalized("b")),
        Space::Raw,
        &[],
    )
    .unwrap();
    write_latent(
        &latents.join("below/c.safetensors"),
        &raw(normalized("a")),
        Space::Raw,
        &[],
    )
    .unwrap();
    let degrade = |input: &Path, out: &Path, more: &[&str]| {
        let args =
            ["degrade", &text(input), "--proxy", &proxy, "-o", &text(out)].map(str::to_string);
        run(&[
            &args[..],
            &more.iter().map(|s| s.to_string()).collect::<Vec<_>>(),
        ]
        .concat())
    };
    let said = degrade(&latents, &out, &["--t", "0.3", "--vae", "demo:base"]).ok();
    assert!(
        said.contains("b.latent (raw)") && said.contains("c.safetensors (normalized)"),
        "{said}"
    );
    let soft = read(&out.join("a.safetensors"), "latents");
    assert!(vae2x_testkit::compare::relative_l2(soft.data(), normalized("a").data()) > 1e-5);
    assert_close(
        "raw",
        &read(&out.join("below/c.safetensors"), "latents"),
        &soft,
        1e-6,
    );
    let alone = folder.path().join("b.safetensors");
    write_latent(&alone, &normalized("b"), Space::Normalized, &[]).unwrap();
    degrade(
        &alone,
        &folder.path().join("soft_b.safetensors"),
        &["--t", "0.3"],
    )
    .ok();
    let want = raw(read(&folder.path().join("soft_b.safetensors"), "latents"));
    assert_close(
        "raw out",
        &read(&out.join("below/b.latent"), "latent_tensor"),
        &want,
        1e-6,
    );

    assert!(degrade(&latents, &out, &[]).fails(2).contains("--t"));
    let file = folder.path().join("x.safetensors");
    let one = degrade(&latents, &file, &["--t", "0.3"]).fails(2);
    assert!(one.contains("x.safetensors"), "{one}");
    let same = degrade(&latents, &latents, &["--t", "0.3"]).fails(2);
    assert!(same.contains(&text(&latents)), "{same}");
    std::fs::copy(latents.join("a.safetensors"), latents.join("a.pt")).unwrap();
    let twins = degrade(&latents, &out, &["--t", "0.3"]).fails(2);
    assert!(twins.contains("a.safetensors"), "{twins}");
}

#[test]
fn a_decoder_is_trained_behind_the_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let config = crate::train::tiny_run(folder.path());
    let (proxy, out) = (
        proxy(folder.path(), 16),
        text(&folder.path().join("decoder")),
    );
    let train = |proxy: &str| {
        let set = format!("degradation.proxy={proxy}");
        let kind = [
            "--set",
            "degradation.kind=proxy",
            "--set",
            &set,
            "--set",
            "train.steps=1",
        ];
        run(&[
            &["train", "decoder", "--config", &config, "--out", &out][..],
            &kind,
        ]
        .concat())
    };
    train(&proxy).ok();
    std::fs::remove_dir_all(&out).unwrap();
    let other = tempfile::tempdir().unwrap();
    let said = train(&self::proxy(other.path(), 4)).fails(1);
    assert!(
        said.contains("proxy.safetensors") && said.contains(" 4 "),
        "{said}"
    );
}

/// The recipe as it ships, with every loss and the proxy, small: ten steps.
#[test]
fn the_recipe_takes_ten_steps_at_a_tiny_size() {
    let folder = tempfile::tempdir().unwrap();
    crate::train::tiny_run(folder.path());
    let (proxy, out) = (proxy(folder.path(), 16), folder.path().join("recipe"));
    let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/decoder_2x.toml");
    let set = [
        "model.base=demo:base".to_string(),
        format!("data.photos=[\"{}/photos\"]", folder.path().display()),
        format!("degradation.proxy={proxy}"),
        "data.crop=64".into(),
        "data.shuffle=8".into(),
        "train.steps=10".into(),
        "train.batch=1".into(),
        "train.warmup=2".into(),
        "loss.vgg16=random:0".into(),
        "loss.vgg19=random:1".into(),
        "loss.fdl_options.projections=4".into(),
        "gan.start=0".into(),
        "gan.warmup=2".into(),
        "gan.ramp=3".into(),
        "gan.width=8".into(),
        "log.every=1".into(),
    ];
    let out = text(&out);
    let mut args = vec!["train", "decoder", "--config", recipe, "--out", &out];
    set.iter().for_each(|set| args.extend(["--set", set]));
    run(&args).ok();
    let log = std::fs::read_to_string(Path::new(&out).join("log.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["kind"] == "train")
        .collect();
    assert_eq!(lines.len(), 10);
    let loss = vae2x_train::Config::open(&Path::new(&out).join("config.toml"), &[])
        .unwrap()
        .loss;
    let weights = [
        ("l1", loss.l1),
        ("lpips", loss.lpips),
        ("feature_l1", loss.feature_l1),
        ("fdl", loss.fdl),
    ];
    let losses: Vec<&str> = weights
        .into_iter()
        .filter_map(|(name, weight)| (weight > 0.0).then_some(name))
        .collect();
    assert!(losses.contains(&"l1") && losses.contains(&"fdl") && losses.len() >= 3);
    for (step, line) in lines.iter().enumerate() {
        let is_there =
            |name: &str| line[name].is_number() || line[format!("{name}_random")].is_number();
        let always = ["loss", "grad_norm", "d_loss", "d_real", "d_decoded"];
        for name in losses.iter().chain(&always) {
            assert!(is_there(name), "{name}: {line}");
        }
        let weight = line["gan_weight"].as_f64();
        assert_eq!(
            weight.is_some_and(|weight| weight > 0.0),
            step >= 2,
            "{line}"
        );
    }
}
