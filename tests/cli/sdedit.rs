//! `sdedit` with its shards, `spectrum`, and the way from photos to a proxy with a small flow model.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use vae2x_core::latent::{Normalized, Space};
use vae2x_core::weights::formula;
use vae2x_core::weights::write::write_arrays;
use vae2x_core::{Array, VaeConfig};
use vae2x_media::latent::write_latent;
use vae2x_media::picture::write_image;

use crate::support::{entries, fixture, read, run, text, vae2x};

/// Width of the tiny transformer's captions.
const WIDTH: usize = 20;

/// Marked latents of `side` cells in a folder, and a caption.
fn inputs(folder: &Path, count: usize, side: usize) -> [String; 2] {
    let latents = folder.join("latents");
    std::fs::create_dir_all(&latents).unwrap();
    for i in 0..count {
        let values = formula::unit(&format!("latent.{i}"), 16 * side * side).collect();
        let latent = Array::new([1, 16, 1, side, side], values).unwrap();
        write_latent(
            &latents.join(format!("{i}.safetensors")),
            &latent,
            Space::Normalized,
            &[],
        )
        .unwrap();
    }
    let context = folder.join("context.safetensors");
    let caption = Array::new([3, WIDTH], formula::unit("caption", 3 * WIDTH).collect()).unwrap();
    write_arrays(&context, &[("context", &caption)], &Default::default()).unwrap();
    [text(&latents), text(&context)]
}

/// Adds files that cannot be used: one that is cut off, one with NaN, one smaller than a patch.
fn add_broken(latents: &str) {
    let at = |name: &str| Path::new(latents).join(name);
    let whole = std::fs::read(at("1.safetensors")).unwrap();
    std::fs::write(at("1_cut.safetensors"), &whole[..whole.len() / 2]).unwrap();
    let write = |name: &str, latent: &Array| {
        write_latent(&at(name), latent, Space::Normalized, &[]).unwrap()
    };
    write("small.safetensors", &Array::zeros([1, 16, 1, 1, 8]));
    write_arrays(
        &at("nan.safetensors"),
        &[("x", &Array::new([16, 1, 1], vec![f32::NAN; 16]).unwrap())],
        &Default::default(),
    )
    .unwrap();
}

/// Names and reasons of what a job left out, over all files, and the number of pairs.
fn skipped(folder: &Path) -> (BTreeMap<String, String>, usize) {
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let files = manifest["files"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_string();
    let entries = files
        .iter()
        .filter_map(|file| file["skipped"].as_array())
        .flatten();
    let pairs = files
        .iter()
        .map(|file| file["pairs"].as_array().unwrap().len())
        .sum();
    (
        entries
            .map(|entry| (text(&entry["name"]), text(&entry["why"])))
            .collect(),
        pairs,
    )
}

/// A job with the tiny transformer.
fn job<'a>(dit: &'a str, [latents, context]: &'a [String; 2], out: &'a str) -> Vec<&'a str> {
    vec![
        "sdedit",
        "--dit",
        dit,
        "--context",
        context,
        "--latents",
        latents,
        "-o",
        out,
        "--per-file",
        "3",
    ]
}

/// Every file of a folder.
fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    entries(folder)
        .into_iter()
        .map(|name| (name.clone(), std::fs::read(folder.join(&name)).unwrap()))
        .collect()
}

#[test]
fn a_killed_job_resumes_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (dit, given) = (fixture("dit_tiny/diffusers"), inputs(folder.path(), 5, 8));
    add_broken(&given[0]);
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let more = ["--per-latent", "40", "--t-median", "0.3", "--steps", "2"];
    let args = |out: &Path| {
        [job(&dit, &given, &text(out)), more.to_vec()]
            .concat()
            .iter()
            .map(|s| s.to_string())
            .collect::<Vec<_>>()
    };
    let said = run(&args(&whole)).ok();
    assert!(said.contains("320 items; 3 of 8"), "{said}");
    let mut names = entries(&whole);
    assert_eq!(names.pop().as_deref(), Some("pairs-00106.safetensors"));
    assert_eq!(names[0], "manifest.json", "no parts are left: {names:?}");
    let (left_out, pairs) = skipped(&whole);
    let names: Vec<&str> = left_out.keys().map(String::as_str).collect();
    assert_eq!(
        (&names[..], pairs),
        (
            &["1_cut.safetensors", "nan.safetensors", "small.safetensors"][..],
            200
        )
    );
    assert!(left_out.values().all(|why| !why.is_empty()));

    let mut child = vae2x()
        .args(args(&killed))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Somewhere in the middle: after the second file, or at the end on a very fast machine, which the next check would show.
    while !killed.join("pairs-00001.safetensors").exists() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the job ended before it was killed"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !killed.join("pairs-00106.safetensors").exists(),
        "killed too late"
    );
    let again = run(&args(&killed)).fails(1);
    assert!(again.contains("already holds a job"), "{again}");
    run(&[args(&killed), vec!["--resume".into()]].concat()).ok();
    assert_eq!(bytes(&killed), bytes(&whole));
    // Finished: nothing to do, nothing changes.
    run(&[args(&killed), vec!["--resume".into()]].concat()).ok();
    assert_eq!(bytes(&killed), bytes(&whole));
}

#[test]
fn shards_merged_are_one_run_and_what_is_amiss_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (dit, given) = (fixture("dit_tiny/diffusers"), inputs(folder.path(), 4, 8));
    let at = |name: &str| text(&folder.path().join(name));
    let make = |name: &str, more: &[&str]| {
        run(&[
            job(&dit, &given, &at(name)),
            vec!["--per-latent", "2"],
            more.to_vec(),
        ]
        .concat())
        .ok();
        at(name)
    };
    let (a, b) = (
        make("a", &["--shard", "0/2"]),
        make("b", &["--shard", "1/2"]),
    );
    let whole = make("whole", &[]);
    assert_ne!(entries(Path::new(&a)), entries(Path::new(&whole)));
    let merge =
        |dirs: &[&str], out: &str| run(&[&["sdedit", "merge"], dirs, &["-o", &at(out)]].concat());
    let said = merge(&[&b, &a], "joined").ok();
    assert!(said.contains("8 pairs from 2 shards"), "{said}");
    assert_eq!(
        bytes(&folder.path().join("joined")),
        bytes(Path::new(&whole))
    );

    let fails = |dirs: &[&str], says: &[&str]| {
        let said = merge(dirs, "other").fails(1);
        says.iter()
            .for_each(|words| assert!(said.contains(words), "'{words}' is not in: {said}"));
        assert!(!folder.path().join("other").exists());
    };
    fails(&[&a], &["shards are missing: 1/2"]);
    fails(&[&a, &b, &a], &["both shard 0/2"]);
    fails(&[&a, &whole], &["do not belong together"]);
    let seed = make("seed", &["--shard", "1/2", "--seed", "7"]);
    fails(&[&a, &seed], &[&a, &seed, "options"]);
    fails(&[&given[0]], &[&given[0], "manifest.json"]);
    assert!(merge(&[&a, &b], "joined").fails(1).contains("joined"));
    std::fs::create_dir(at("stray")).unwrap();
    std::fs::write(
        Path::new(&at("stray")).join("pairs-00007.safetensors"),
        "of another job",
    )
    .unwrap();
    assert!(merge(&[&a, &b], "stray").fails(1).contains("stray"));
    std::fs::write(Path::new(&b).join("pairs-00001.safetensors"), "damaged").unwrap();
    let before = entries(folder.path());
    assert!(merge(&[&a, &b], "damaged").fails(1).contains("sha256"));
    assert_eq!(entries(folder.path()), before, "nothing of it is left");
    std::fs::create_dir(at("empty")).unwrap();
    assert!(merge(&[&a, &b], "empty").fails(1).contains("sha256"));
    assert_eq!(entries(Path::new(&at("empty"))), Vec::<String>::new());
    // A file that is gone is made again, unless nobody knows by which job.
    let resumed = |shard: &str| {
        run(&[
            &job(&dit, &given, &b)[..],
            &["--per-latent", "2", "--shard", shard, "--resume"],
        ]
        .concat())
    };
    std::fs::remove_file(Path::new(&b).join("pairs-00001.safetensors")).unwrap();
    resumed("1/2").ok();
    merge(&[&a, &b], "empty").ok();
    assert_eq!(
        bytes(&folder.path().join("empty")),
        bytes(Path::new(&whole))
    );
    let idle =
        run(&[&job(&dit, &given, &at("idle"))[..], &["--shard", "4/5"]].concat()).ok_stderr();
    assert!(idle.contains("--per-file 1"), "{idle}");
    let manifest = Path::new(&b).join("manifest.json");
    let said = std::fs::read_to_string(&manifest).unwrap();
    for (index, of) in [(0_u64, 0_u64), (5, 2), (0, 1 << 40)] {
        let bad = said
            .replace("\"index\": 1", &format!("\"index\": {index}"))
            .replace("\"of\": 2", &format!("\"of\": {of}"));
        assert_ne!(bad, said);
        std::fs::write(&manifest, bad).unwrap();
        fails(&[&a, &b], &[&format!("shard {index}/{of}")]);
    }
    std::fs::remove_file(&manifest).unwrap();
    assert!(resumed("1/2").fails(1).contains("manifest.json"));
    std::fs::remove_file(Path::new(&b).join("pairs-00001.safetensors")).unwrap();
    assert!(
        run(&[&job(&dit, &given, &b)[..], &["--shard", "0/2", "--resume"]].concat())
            .ok()
            .contains("items")
    );
}

#[test]
fn a_pair_follows_from_the_seed_and_its_name_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (dit, given) = (
        fixture("dit_tiny/original.safetensors"),
        inputs(folder.path(), 3, 6),
    );
    let (all, one) = (folder.path().join("all"), folder.path().join("one"));
    let heads = ["--heads", "2"];
    run(&[job(&dit, &given, &text(&all)), heads.to_vec()].concat()).ok();
    let alone = folder.path().join("alone");
    std::fs::create_dir(&alone).unwrap();
    std::fs::copy(
        Path::new(&given[0]).join("2.safetensors"),
        alone.join("2.safetensors"),
    )
    .unwrap();
    let alone = [text(&alone), given[1].clone()];
    run(&[job(&dit, &alone, &text(&one)), heads.to_vec()].concat()).ok();
    let file = "pairs-00000.safetensors";
    for part in ["clean", "degraded", "t"] {
        let of = |folder: &Path, draw: &str| {
            read(&folder.join(file), &format!("2.safetensors#{draw}.{part}"))
        };
        assert_eq!(of(&all, "0"), of(&one, "0"), "{part}");
    }
    let t = |i: usize| read(&all.join(file), &format!("{i}.safetensors#0.t")).data()[0];
    assert!(
        t(0) != t(1) && (0.0..1.0).contains(&t(0)),
        "each has its own time"
    );
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (dit, given) = (fixture("dit_tiny/diffusers"), inputs(folder.path(), 2, 12));
    let out = text(&folder.path().join("out"));
    let fails = |args: &[&str], code: i32, says: &[&str]| {
        let said = run(args).fails(code);
        says.iter()
            .for_each(|words| assert!(said.contains(words), "'{words}' is not in: {said}"));
        assert!(!Path::new(&out).exists(), "something was made");
    };
    // A caption of another width.
    let wide = [given[0].clone(), fixture("data/umt5_empty_wan.safetensors")];
    fails(
        &job(&dit, &wide, &out),
        1,
        &["umt5_empty_wan", "'context'", " 20 ", "[1, 4096]"],
    );
    let none = [given[0].clone(), format!("{}/0.safetensors", given[0])];
    fails(&job(&dit, &none, &out), 1, &["'context'"]);

    // Other models.
    let other = folder.path().join("other.safetensors");
    let models: [(&str, &[usize], &str); 6] = [
        (
            "model.diffusion_model.double_blocks.0.img_attn.qkv.weight",
            &[1],
            "Flux",
        ),
        ("transformer_blocks.0.img_mod.1.weight", &[1], "Qwen-Image"),
        (
            "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight",
            &[640, 2048],
            "Diffusion XL",
        ),
        (
            "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight",
            &[320, 768],
            "Diffusion 1",
        ),
        ("blocks.0.cross_attn.k_img.weight", &[1], "image-to-video"),
        (
            "encoder.block.0.layer.0.SelfAttention.q.weight",
            &[1],
            "text encoder",
        ),
    ];
    for (name, shape, says) in models {
        write_arrays(&other, &[(name, &Array::zeros(shape))], &Default::default()).unwrap();
        fails(
            &job(&text(&other), &given, &out),
            1,
            &["other.safetensors", says],
        );
    }
    fails(
        &job(&fixture("vae_tiny_base/original.safetensors"), &given, &out),
        1,
        &["autoencoder"],
    );

    // Latents of the other space.
    let raw = folder.path().join("raw");
    std::fs::create_dir(&raw).unwrap();
    let clip = Normalized::new(read(
        Path::new(&fixture("data/wan_cheesecake_normalized.safetensors")),
        "latents",
    ))
    .unwrap();
    let clip = clip.denormalize(&VaeConfig::default()).unwrap();
    write_arrays(
        &raw.join("clip.safetensors"),
        &[("x", clip.array())],
        &Default::default(),
    )
    .unwrap();
    let raw = [text(&raw), given[1].clone()];
    let claimed = [
        &job(&dit, &raw, &out)[..],
        &["--latent-space", "normalized"],
    ]
    .concat();
    fails(&claimed, 1, &["clip.safetensors", "--latent-space raw"]);

    fails(
        &["sdedit", "--dit", &dit, "--context", &given[1], "-o", &out],
        2,
        &["--latents", "--photos"],
    );
    fails(
        &[
            "sdedit",
            "--dit",
            &dit,
            "--context",
            &given[1],
            "--photos",
            &given[0],
            "-o",
            &out,
        ],
        2,
        &["--vae"],
    );
    fails(
        &[&job(&dit, &given, &out)[..], &["--shard", "2/2"]].concat(),
        2,
        &["--shard", "2/2"],
    );
    fails(
        &[&job(&dit, &given, &out)[..], &["--t", "1.5"]].concat(),
        2,
        &["1.5"],
    );
    fails(
        &[&job(&dit, &given, &out)[..], &["--t-median", "2"]].concat(),
        1,
        &["t-median"],
    );

    // Going on with another job.
    run(&job(&dit, &given, &out)).ok();
    let said = run(&[&job(&dit, &given, &out)[..], &["--seed", "5", "--resume"]].concat()).fails(1);
    assert!(said.contains("different options"), "{said}");
    let draw = ["--t-draw", "log-normal", "--resume"];
    let said = run(&[&job(&dit, &given, &out)[..], &draw].concat()).fails(1);
    assert!(said.contains("different draw of flow times"), "{said}");

    // Another model in the same files, and another file of the same name.
    let original = fixture("dit_tiny/original.safetensors");
    let out = text(&folder.path().join("heads"));
    let with = |more: &[&str]| run(&[&job(&original, &given, &out)[..], more].concat());
    with(&["--heads", "2"]).ok();
    let said = with(&["--heads", "1", "--resume"]).fails(1);
    assert!(said.contains("different input"), "{said}");
    let (out, vae) = (
        text(&folder.path().join("vae")),
        folder.path().join("vae.safetensors"),
    );
    let mut model = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../vae2x/assets/models/demo_base.safetensors"
    ))
    .unwrap();
    std::fs::write(&vae, &model).unwrap();
    let vae_name = text(&vae);
    let with =
        |more: &[&str]| run(&[&job(&dit, &given, &out)[..], &["--vae", &vae_name], more].concat());
    with(&[]).ok();
    with(&["--resume"]).ok();
    *model.last_mut().unwrap() ^= 1;
    std::fs::write(&vae, &model).unwrap();
    assert!(with(&["--resume"]).fails(1).contains("different VAE"));
}

/// Photos of 48 pixels.
fn photos(folder: &Path) -> String {
    let photos = folder.join("photos");
    std::fs::create_dir(&photos).unwrap();
    for i in 0..3 {
        let value = |p: usize| {
            ((p % 48) as f32 * (0.2 + 0.1 * i as f32)).sin() * ((p / 48) as f32 * 0.1).cos()
        };
        let photo = Array::new([3, 48, 50], (0..3 * 48 * 50).map(value).collect()).unwrap();
        write_image(
            &photos.join(format!("{i}.png")),
            &photo,
            &Default::default(),
        )
        .unwrap();
    }
    text(&photos)
}

#[test]
fn a_broken_photo_is_left_out_by_shards_as_by_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let (photos, [_, context]) = (photos(folder.path()), inputs(folder.path(), 0, 8));
    let at = |name: &str| text(&folder.path().join(name));
    let whole = std::fs::read(Path::new(&photos).join("1.png")).unwrap();
    std::fs::create_dir(at("broken")).unwrap();
    for folder in [&photos, &at("broken")] {
        std::fs::write(
            Path::new(folder).join("1_cut.png"),
            &whole[..whole.len() / 2],
        )
        .unwrap();
        write_image(
            &Path::new(folder).join("tiny.png"),
            &Array::zeros([3, 12, 48]),
            &Default::default(),
        )
        .unwrap();
    }
    let dit = fixture("dit_tiny/diffusers");
    let make = |photos: &str, out: &str, shard: &str| {
        let args = [
            "sdedit",
            "--dit",
            &dit,
            "--context",
            &context,
            "--photos",
            photos,
            "--vae",
            "demo:base",
        ];
        run(&[
            &args[..],
            &[
                "--per-file",
                "1",
                "--per-latent",
                "2",
                "--shard",
                shard,
                "-o",
                &at(out),
            ],
        ]
        .concat())
    };
    let said = make(&photos, "whole", "0/1").ok_stderr();
    assert!(
        said.contains("1_cut.png: ") && said.contains("tiny.png: "),
        "{said}"
    );
    let (left_out, pairs) = skipped(&folder.path().join("whole"));
    assert_eq!(pairs, 6);
    assert!(!left_out["1_cut.png"].is_empty());
    assert!(left_out["tiny.png"].contains("1x6"), "{left_out:?}");
    make(&photos, "a", "0/2").ok();
    make(&photos, "b", "1/2").ok();
    let merge = |from: [&str; 2], to: &str| {
        run(&["sdedit", "merge", &at(from[0]), &at(from[1]), "-o", &at(to)])
    };
    let said = merge(["a", "b"], "joined").ok();
    assert!(said.contains("6 pairs from 2 shards; 2 of 5"), "{said}");
    assert_eq!(
        bytes(&folder.path().join("joined")),
        bytes(&folder.path().join("whole"))
    );

    // A job of nothing fails; a shard of nothing is one to be joined.
    let broken = at("broken");
    let none = "none of the 2 latents or photos can be used";
    assert!(make(&broken, "none", "0/1").fails(1).contains(none));
    make(&broken, "none_a", "0/2").ok();
    make(&broken, "none_b", "1/2").ok();
    assert!(
        merge(["none_a", "none_b"], "none_joined")
            .fails(1)
            .contains(none)
    );
    assert!(!folder.path().join("none_joined").exists());
}

#[test]
fn from_photos_through_a_flow_model_and_a_proxy_to_spectra() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    let (photos, vae) = (photos(folder.path()), "demo:base");
    let encoded = (0..3)
        .map(|i| format!("{photos}/{i}.png"))
        .collect::<Vec<_>>();
    let encode: Vec<&str> = encoded.iter().map(String::as_str).collect();
    run(&[
        &["encode"],
        &encode[..],
        &["--vae", vae, "-o", &at("latents/")],
    ]
    .concat())
    .ok();

    std::fs::write(
        at("flow.toml"),
        "layers = 1\ndim = 12\nheads = 1\nffn_dim = 16\nsteps = 2\nbatch = 1\ncrop = 6\nheld_out = 0.3\n",
    )
    .unwrap();
    let train = [
        "train",
        "flow",
        "--latents",
        &at("latents"),
        "--vae",
        vae,
        "--config",
        &at("flow.toml"),
        "--out",
        &at("flow"),
    ];
    run(&train).ok();
    let made = entries(&folder.path().join("flow"));
    assert_eq!(
        made,
        [
            ".lock",
            "checkpoint.safetensors",
            "config.toml",
            "context.safetensors",
            "log.jsonl",
            "model"
        ]
    );
    assert!(run(&train).fails(1).contains(&at("flow")));

    let (model, context) = (at("flow/model"), at("flow/context.safetensors"));
    let sdedit = [
        "sdedit",
        "--dit",
        &model,
        "--context",
        &context,
        "--photos",
        &photos,
        "--vae",
        vae,
        "-o",
        &at("pairs"),
        "--short-side",
        "32",
        "--t",
        "0.1",
    ];
    run(&sdedit).ok();
    let pair = |part: &str| {
        read(
            &folder.path().join("pairs/pairs-00000.safetensors"),
            &format!("1.png#0.{part}"),
        )
    };
    assert_eq!(
        (pair("clean").shape(), pair("t").data()[0]),
        (&[16, 4, 4][..], 0.1)
    );

    std::fs::write(
        at("proxy.toml"),
        "width = 4\nblocks = 1\nsteps = 2\nbatch = 2\ncrop = 4\nema = 0.5\n",
    )
    .unwrap();
    run(&[
        "train",
        "degradation",
        "--pairs",
        &at("pairs"),
        "--config",
        &at("proxy.toml"),
        "--out",
        &at("proxy"),
    ])
    .ok();
    let proxy = at("proxy/proxy.safetensors");
    run(&[
        "degrade",
        &at("pairs"),
        "--proxy",
        &proxy,
        "-o",
        &at("softened"),
    ])
    .ok();
    let softened = read(
        &folder.path().join("softened/pairs-00000.safetensors"),
        "1.png#0.degraded",
    );
    assert_eq!(softened.shape(), [16, 4, 4]);
    assert!(
        run(&[
            "degrade",
            &at("pairs"),
            "--proxy",
            &proxy,
            "--t",
            "0.1",
            "-o",
            &at("x")
        ])
        .fails(2)
        .contains("--t")
    );

    let sets = [
        format!("clean={}:clean", at("pairs")),
        format!("SDEdit={}:degraded", at("pairs")),
        format!("proxy={}:degraded", at("softened")),
    ];
    let spectrum = |out: &str| {
        run(&[
            "spectrum", &sets[0], &sets[1], &sets[2], "--bands", "2", "-o", out,
        ])
    };
    let said = spectrum(&at("report.html")).ok();
    assert!(said.contains("SDEdit over clean, dB"), "{said}");
    let page = std::fs::read_to_string(at("report.html")).unwrap();
    assert!(
        page.starts_with("<!DOCTYPE html>")
            && page.contains("SDEdit over clean")
            && page.contains("<svg")
    );
    spectrum(&at("report.png")).ok();
    assert!(Path::new(&at("report.png")).exists());
    assert!(spectrum(&at("report.pdf")).fails(2).contains("report.pdf"));
    let whole = run(&[
        "spectrum",
        &format!("all={}", at("latents")),
        "--vae",
        vae,
        "-o",
        &at("all.html"),
    ])
    .ok();
    assert!(whole.contains("all.html"));
    run(&["spectrum", "latents", "-o", &at("x.html")]).fails(2);
    assert!(
        run(&["spectrum", "a=nowhere", "-o", &at("x.html")])
            .fails(1)
            .contains("nowhere")
    );
    assert!(
        run(&[
            "spectrum",
            &format!("a={}", at("pairs")),
            "-o",
            &at("x.html")
        ])
        .fails(1)
        .contains("pairs-00000.safetensors")
    );
    assert!(!Path::new(&at("x.html")).exists());
}
