//! A model's weights, configuration and list of shards, tampered with.

use std::os::unix::fs::symlink;

use libtest_mimic::Trial;
use serde_json::{Map, Value, json};

use vae2x_testkit::special;

use crate::case::{Case, Either, Error, Expect, Success, case};
use crate::make::tensors::*;
use crate::make::{nested, patched, png};

const DECODE: &[&str] = &[
    "decode",
    "latent8.latent",
    "-o",
    "o.png",
    "--latent-space",
    "raw",
    "--vae",
];

fn model() -> Vec<u8> {
    std::fs::read(vae2x_testkit::fixture("vae_tiny_up2x/original.safetensors"))
        .expect("the fixture")
}

/// The model with these metadata.
fn with_statistics(mean: &str, std: &str) -> Vec<u8> {
    let metadata = json!({"latents_mean": mean, "latents_std": std});
    edited(&model(), |h| {
        drop(h.insert("__metadata__".into(), metadata))
    })
}

fn decode_with(vae: &str) -> Vec<&str> {
    [DECODE, &[vae]].concat()
}

/// Weights are read by `info` in good order, and decoded with as expected.
fn weights(name: &str, expect: Expect, bytes: Vec<u8>) -> [Case; 2] {
    let copy = bytes.clone();
    let file = "v.safetensors";
    let decode = case(format!("weights decode {name}"), expect, &decode_with(file))
        .bytes("latent8.latent", latent8());
    let decode = if expect == Error {
        decode.says(file)
    } else {
        decode
    };
    [
        case(format!("weights info {name}"), Either, &["info", file]).bytes(file, copy),
        decode.bytes(file, bytes),
    ]
}

pub fn cases() -> Vec<Trial> {
    let mut cases = statistics();
    cases.extend(tensors());
    cases.extend(scales());
    cases.extend(values());
    cases.extend(configs());
    cases.extend(indices());
    cases.into_iter().map(Trial::from).collect()
}

fn statistics() -> Vec<Case> {
    let list = |v: f64| json!(vec![v; 16]).to_string();
    let (zero, one) = (list(0.0), list(1.0));
    let first = |v: &str| format!("[{v}{}]", ",1".repeat(15));
    let mut cases: Vec<Case> = weights("plain", Success, model()).into();
    for (name, mean, std) in [
        ("std 0", &zero, zero.clone()),
        ("std -1", &zero, list(-1.0)),
        ("std NaN", &zero, first("NaN")),
        ("std infinite", &zero, first("1e400")),
        ("mean NaN", &first("NaN"), one.clone()),
        ("mean beyond f32", &first("1e39"), one.clone()),
        ("mean of 15", &json!(vec![0.0; 15]).to_string(), one.clone()),
        (
            "mean of 100,000",
            &json!(vec![0.0; 100_000]).to_string(),
            one.clone(),
        ),
        ("mean a string", &r#""x""#.into(), one.clone()),
        ("mean an object", &r#"{"a":1}"#.into(), one.clone()),
        ("mean nested", &nested(5000), one.clone()),
        ("std null", &zero, "null".into()),
        ("mean empty", &String::new(), one.clone()),
        ("std of booleans", &zero, json!(vec![true; 16]).to_string()),
    ] {
        cases.extend(weights(name, Error, with_statistics(mean, &std)));
    }
    for (name, expect, value) in [("std denormal", Either, 1e-42), ("std 1e38", Error, 1e38)] {
        let args = [
            "decode",
            "latent8.latent",
            "-o",
            "o.png",
            "--latent-space",
            "normalized",
            "--vae",
            "v.safetensors",
        ];
        let bytes = with_statistics(&zero, &list(value));
        cases.push(
            case(format!("weights decode {name}"), expect, &args)
                .bytes("latent8.latent", latent8())
                .bytes("v.safetensors", bytes),
        );
    }
    cases
}

type Header = Map<String, Value>;

fn shape<'a>(header: &'a mut Header, name: &str) -> &'a mut Vec<Value> {
    header[name]["shape"].as_array_mut().expect("a shape")
}

/// Names and shapes that are not the model's.
fn tensors() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, edit: &dyn Fn(&mut Header)| {
        cases.extend(weights(name, Error, edited(&model(), |h| edit(h))));
    };
    let escapes = "\x1b[31mHACK\x1b]0;pwn\x07";
    let named = |h: &mut Header, name: String| {
        let empty = json!({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]});
        h.insert(name, empty);
    };
    add("a layer named by escapes", &|h| {
        named(h, format!("decoder.{escapes}"));
    });
    add("a shape reversed", &|h| {
        shape(h, "decoder.conv1.weight").reverse()
    });
    for key in [
        "decoder.head.2.weight",
        "conv2.weight",
        "decoder.head.0.gamma",
    ] {
        add(&format!("{key} flat"), &|h| {
            let shape = shape(h, key);
            let count: u64 = shape.iter().filter_map(Value::as_u64).product();
            *shape = vec![json!(count)];
        });
        add(&format!("{key} of 60 more axes"), &|h| {
            let shape = shape(h, key);
            *shape = [vec![json!(1); 60], shape.clone()].concat();
        });
    }
    let beside = edited(&model(), |h| named(h, escapes.into()));
    cases.extend(weights(
        "a tensor beside it named by escapes",
        Success,
        beside,
    ));
    cases
}

/// Scales beside weights that nothing can be computed with, or that are of nothing.
fn scales() -> Vec<Case> {
    let with = |name: &str, dtype: &str, shape: &[usize], bytes: &[u8]| {
        let model = model();
        let (_, start) = split(&model);
        let end = model.len() - start;
        let entry = json!({
            "dtype": dtype, "shape": shape, "data_offsets": [end, end + bytes.len()],
        });
        let scaled = edited(&model, |h| drop(h.insert(name.into(), entry)));
        [scaled, bytes.to_vec()].concat()
    };
    let float = |value: f32| value.to_le_bytes();
    let scale = "decoder.conv1.scale_weight";
    let mut cases: Vec<Case> =
        weights("scale 1", Success, with(scale, "F32", &[1], &float(1.0))).into();
    for (name, bytes) in [
        ("scale NaN", with(scale, "F32", &[1], &float(f32::NAN))),
        (
            "scale infinite",
            with(scale, "F32", &[], &float(f32::INFINITY)),
        ),
        ("scale 1e38", with(scale, "F32", &[1], &float(1e38))),
        ("scale 1e9", with(scale, "F32", &[1], &float(1e9))),
        ("scale below 0", with(scale, "F32", &[1], &float(-1.0))),
        ("scale of 3", with(scale, "F32", &[3], &same(1.0, 3))),
        ("scale empty", with(scale, "F32", &[0], &[])),
        ("scale of 2^40 bits", with(scale, "Q4", &[1 << 40], &[0; 8])),
        ("scale of bytes", with(scale, "U8", &[1], &[1])),
        (
            "scale of no weight",
            with("decoder.conv9.scale_weight", "F32", &[1], &float(1.0)),
        ),
        (
            "scale by blocks",
            with("decoder.conv1.weight_scale_inv", "F32", &[1], &float(1.0)),
        ),
        (
            "nvfp4",
            with(
                "decoder.conv1.comfy_quant",
                "U8",
                &[18],
                br#"{"format":"nvfp4"}"#,
            ),
        ),
        (
            "no JSON",
            with("decoder.conv1.comfy_quant", "U8", &[4], b"\x1b[2J"),
        ),
    ] {
        cases.extend(weights(name, Error, bytes));
    }
    cases
}

/// Elements that are no numbers, in tensors that are read for one direction.
fn values() -> Vec<Case> {
    let zeros = {
        let bytes = model();
        let (_, start) = split(&bytes);
        [&bytes[..start], &vec![0; bytes.len() - start]].concat()
    };
    let mut cases: Vec<Case> = weights("all zero", Either, zeros).into();
    for (name, value) in [
        ("NaN", f32::NAN),
        ("infinity", f32::INFINITY),
        ("1e38", 1e38),
    ] {
        for (key, element) in [
            ("decoder.conv1.weight", 0),
            ("decoder.conv1.weight", 18),
            ("decoder.head.2.bias", 0),
            ("decoder.head.0.gamma", 0),
            ("encoder.conv1.bias", 0),
        ] {
            let whole = model();
            let at = place(&whole, key).start + 4 * element;
            let bytes = patched(whole, at, &value.to_le_bytes());
            let title = format!("{name} in {key}[{element}]");
            let finite = value.is_finite();
            // A frame of its own meets the last of three taps in time, and this is the first.
            let unread = (key, element) == ("decoder.conv1.weight", 0);
            let expect = |direction| {
                if unread {
                    Either
                } else if key.starts_with(direction) && !finite {
                    Error
                } else {
                    Either
                }
            };
            let file = "v.safetensors";
            let encode = ["encode", "p.png", "--vae", file, "-o", "o.latent"];
            let convert = [
                "convert",
                file,
                "-o",
                "c.safetensors",
                "--layout",
                "original",
            ];
            cases.extend(
                [
                    case(
                        format!("weights decode {title}"),
                        expect("decoder"),
                        &decode_with(file),
                    )
                    .bytes("latent8.latent", latent8()),
                    case(
                        format!("weights encode {title}"),
                        expect("encoder"),
                        &encode,
                    )
                    .bytes("p.png", png::noise(16, 16)),
                    case(format!("weights convert {title}"), Either, &convert),
                ]
                .map(|case| case.bytes(file, bytes.clone())),
            );
        }
    }
    cases
}

/// A folder as diffusers makes it, its configuration as `make` makes it.
fn folder(
    name: &str,
    expect: Expect,
    make: impl FnOnce(&std::path::Path) + Send + 'static,
) -> Case {
    let case = case(format!("weights config {name}"), expect, &decode_with("v"))
        .bytes("latent8.latent", latent8());
    let case = case.make(move |room| {
        std::fs::create_dir(room.path("v")).expect("a folder");
        let weights =
            vae2x_testkit::fixture("vae_tiny_up2x/diffusers/diffusion_pytorch_model.safetensors");
        symlink(
            weights.canonicalize().expect("a path"),
            room.path("v/diffusion_pytorch_model.safetensors"),
        )
        .expect("a link");
        make(&room.path("v/config.json"));
    });
    if expect == Error {
        case.says("error: v")
    } else {
        case
    }
}

fn config() -> Value {
    let path = vae2x_testkit::fixture("vae_tiny_up2x/diffusers/config.json");
    serde_json::from_slice(&std::fs::read(path).expect("the fixture")).expect("JSON")
}

fn configs() -> Vec<Case> {
    let text = |name: &str, expect, bytes: Vec<u8>| {
        folder(name, expect, move |path| {
            std::fs::write(path, bytes).expect("written")
        })
    };
    let mut cases = vec![text("plain", Success, config().to_string().into())];
    let large = |n: f64| Value::from(n);
    for (key, value) in [
        ("num_res_blocks", json!(10u64.pow(18))),
        ("num_res_blocks", json!(-1)),
        ("num_res_blocks", json!(4096)),
        ("num_res_blocks", json!(0)),
        ("dim_mult", json!([4096, 4096, 4096, 4096])),
        ("dim_mult", json!([0, 0, 0, 0])),
        ("dim_mult", json!(vec![10_000_000_000_000_000_000u64; 4])),
        ("dim_mult", json!(vec![1; 100_000])),
        ("z_dim", json!(0)),
        ("z_dim", json!(1u64 << 63)),
        ("temperal_downsample", json!([1, 2, 3])),
        ("temperal_downsample", json!([true, true, true])),
        ("temperal_downsample", json!([false, false, false])),
        ("latents_mean", json!(vec![1e39; 16])),
        ("latents_std", json!(vec![0; 16])),
        ("latents_mean", json!("x")),
        ("_class_name", json!("\x1b[2J\x1b]0;owned\x07")),
        ("_class_name", json!(["a"])),
        ("attn_scales", json!([1])),
        ("patch_size", large(1e30)),
        ("is_residual", json!("yes")),
    ] {
        let name: String = format!("{key}={value}").chars().take(50).collect();
        let mut config = config();
        config[key] = value;
        cases.push(text(&name, Error, config.to_string().into()));
    }
    let mut null = config();
    null["latents_std"] = Value::Null;
    cases.push(text("latents_std=null", Either, null.to_string().into()));
    let utf16: Vec<u8> = config()
        .to_string()
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    cases.extend([
        text("no JSON", Error, b"{".into()),
        text("empty", Error, vec![]),
        text("nested", Error, "[".repeat(200_000).into()),
        text("17 MB", Error, vec![b' '; 17 << 20]),
        text("a key twice", Error, br#"{"z_dim":16,"z_dim":48}"#.into()),
        text("byte order mark", Either, b"\xef\xbb\xbf{}".into()),
        text("UTF-16", Error, [&b"\xff\xfe"[..], &utf16].concat()),
        folder("is a fifo", Error, special::fifo),
        folder("is a folder", Either, |path| {
            std::fs::create_dir(path).expect("a folder")
        }),
        folder("is /dev/zero", Error, |path| {
            symlink("/dev/zero", path).expect("a link")
        }),
        folder("is a dangling link", Either, |path| {
            symlink("/nonexistent", path).expect("a link")
        }),
    ]);
    cases
}

/// Lists of shards.
fn indices() -> Vec<Case> {
    let index = |name: &str, expect, bytes: String| {
        let case = case(format!("weights index {name}"), expect, &decode_with("v"))
            .bytes("latent8.latent", latent8());
        let case = case
            .bytes("v/config.json", config().to_string())
            .make(move |room| {
                let weights = vae2x_testkit::fixture(
                    "vae_tiny_up2x/diffusers/diffusion_pytorch_model.safetensors",
                );
                symlink(
                    weights.canonicalize().expect("a path"),
                    room.path("v/a.safetensors"),
                )
                .expect("a link");
                room.write("v/diffusion_pytorch_model.safetensors.index.json", bytes);
            });
        if expect == Error {
            case.says("error: v")
        } else {
            case
        }
    };
    let one = |file: &str| json!({"weight_map": {"x": file}}).to_string();
    let many: Map<String, Value> = (0..100_000)
        .map(|i| (i.to_string(), json!(format!("f{i}.safetensors"))))
        .collect();
    vec![
        index("good", Success, one("a.safetensors")),
        index("climbs out", Error, one("../../etc/passwd")).never("root:"),
        index("absolute", Error, one("/etc/passwd")).never("root:"),
        index("parent", Error, one("..")),
        index("empty name", Error, one("")),
        index("escapes", Error, one("\x1b[31mred\x1b]0;t\x07")),
        index(
            "the same file twice",
            Error,
            json!({"weight_map": {"x": "a.safetensors", "y": "./a.safetensors"}}).to_string(),
        ),
        index("no map", Error, "{}".into()),
        index(
            "100,000 files",
            Error,
            json!({"weight_map": many}).to_string(),
        ),
    ]
}
