//! The sentences that users see when something cannot be done, pinned in one place. The other tests here look at exit codes, at what
//! is left on disk, and at the names and numbers in a message.

use std::path::{Path, PathBuf};

use vae2x_core::Array;

use crate::bad_input::edited;
use crate::compare::folders;
use crate::support::{copy_fixture, entries, finish, fixture, run, text, vae2x, write_safetensors};

/// The arguments, the exit code, and parts of the message. `$NAME` is one of [`NAMES`]; every other path is in a folder that
/// [`given`] fills, and must be as it was afterwards.
type Message = (&'static str, i32, &'static [&'static str]);

/// Files by a short name.
const NAMES: [(&str, &str); 8] = [
    ("$FRAME", "data/wan_cheesecake_frame0.latent"),
    ("$2X", "vae_tiny_up2x/original.safetensors"),
    ("$BASE", "vae_tiny_base/original.safetensors"),
    ("$CASES", "vae_tiny_up2x/cases.safetensors"),
    ("$DIT", "dit_tiny/original.safetensors"),
    ("$UMT5", "umt5_tiny/model.safetensors"),
    ("$WAN", "dit_tiny/diffusers"),
    ("$CLIP", "data/wan_cheesecake_normalized.safetensors"),
];

const COMMAND_LINES: &[Message] = &[
    (
        "decode $FRAME -o x.png",
        2,
        &["--vae WEIGHTS is missing", "Hugging Face id", "demo:base"],
    ),
    ("decode $FRAME -o x.png --vae", 2, &["--vae has no value"]),
    (
        "decode $FRAME --vae demo:8x -o x.png",
        2,
        &["unknown demo model 'demo:8x'; available: demo:2x and demo:base"],
    ),
    (
        "decode $FRAME --vae demo:base -o x.bmp2",
        2,
        &["unknown output format '.bmp2'", "end it with a slash"],
    ),
    (
        "decode $FRAME --vae demo:base -o x.jpg --bit-depth 16",
        2,
        &["JPEG stores 8 bits per channel"],
    ),
    (
        "decode $FRAME --vae demo:base -o x.png --device tpu",
        2,
        &["expected auto, cpu"],
    ),
    (
        "decode $FRAME --vae demo:base -o x.png --device cpu --dtype f16",
        2,
        &["the device 'cpu' keeps weights in f32 or bf16, not in f16"],
    ),
    (
        "decode $FRAME --vae demo:base -o x.png --memory much",
        2,
        &["expected a size such as 4GiB"],
    ),
    (
        "decode $FRAME --vae demo:base -o x.png --scale 2",
        2,
        &[
            "needs a decoder with 12 output channels",
            "demo:base has 3 and decodes at 1x",
        ],
    ),
    (
        "decode $FRAME --vae demo:2x -o x.png --scale 4",
        2,
        &["needs a decoder with 48 output channels"],
    ),
    (
        "upscale photo.png --vae demo:base -o x.png",
        2,
        &["decodes at 1x; this command needs a 2x decoder"],
    ),
    (
        "encode $FRAME --vae demo:2x -o x.png",
        2,
        &["expected .latent (ComfyUI), .safetensors or .npy, or a folder"],
    ),
    (
        "encode photo.png --vae demo:2x --latent-space normalized -o x.latent",
        2,
        &["a .latent file is always raw"],
    ),
    (
        "encode photo.png photo.png --vae demo:2x -o x.latent",
        2,
        &["one file cannot hold the results of 2 inputs; give a folder"],
    ),
    (
        "convert 2d.safetensors -o 2d.safetensors --layout original",
        2,
        &["2d.safetensors: the output would overwrite an input"],
    ),
    (
        "decode $FRAME --vae demo:base -o x.png --timings x.png",
        2,
        &["x.png: two outputs would have this name"],
    ),
    ("compare a -o x.html", 2, &["give at least two images"]),
    (
        "compare n=a n=b -o x.html",
        2,
        &["the name 'n' is given twice"],
    ),
    (
        "compare a b --crop 20x10 -o x.html",
        2,
        &["WIDTHxHEIGHT+LEFT+TOP"],
    ),
    (
        "metrics a.png --reference a",
        2,
        &["'a.png': expected NAME=IMAGE, NAME=VIDEO or NAME=FOLDER"],
    ),
    ("speckle", 2, &["give images, or a model with --vae"]),
    (
        "speckle photo.png --vae demo:base",
        2,
        &["give either images or --vae WEIGHTS, not both"],
    ),
];

const FILES: &[Message] = &[
    (
        "decode $FRAME --vae missing.safetensors -o x.png",
        1,
        &["missing.safetensors: 1 tensors are missing: 'decoder.middle.0.residual.3.gamma'"],
    ),
    (
        "decode $FRAME --vae extra.safetensors -o x.png",
        1,
        &["1 tensors are missing: ", "; 1 are not of this model: "],
    ),
    (
        "decode $FRAME --vae shape.safetensors -o x.png",
        1,
        &["expected shape [32, 1, 1, 1], found [1, 32, 1, 1]"],
    ),
    (
        "decode $FRAME --vae five.safetensors -o x.png",
        1,
        &["has 5 output channels; expected 3 r^2"],
    ),
    (
        "decode $FRAME --vae nan.safetensors -o x.png",
        1,
        &["values are not finite"],
    ),
    (
        "decode $FRAME --vae $DIT -o x.png",
        1,
        &["this is a diffusion transformer, not a VAE"],
    ),
    (
        "decode $FRAME --vae demo:base -o x.png --device cpu --memory 4MiB",
        1,
        &[
            "decoding 1 latent frames of 64x40 cells needs about ",
            "4 MB are available",
        ],
    ),
    (
        "decode $CASES --vae demo:2x -o x.png",
        1,
        &["several tensors could be the latent; choose one with --key"],
    ),
    (
        "decode clip.safetensors --vae 2d.safetensors --latent-space raw -o x.npy",
        1,
        &["a clip of 3 latent frames, but these weights have the 2-D layout"],
    ),
    (
        "decode packed.npy --vae demo:base --latent-space normalized -o x.png",
        1,
        &["expected --size HxW", "since the latent is packed"],
    ),
    (
        "decode channels.safetensors --vae demo:2x -o x.png",
        1,
        &[
            "channels.safetensors",
            "expected 16 channels",
            "this latent is Wan2.2-5B's",
        ],
    ),
    (
        "convert $2X -o x.safetensors --layout original --to-2x",
        1,
        &["12 output channels; only a base decoder, with 3, can be made 2x"],
    ),
    (
        "encode cut.jpg --vae demo:2x -o x.latent",
        1,
        &["cut.jpg: the image is damaged"],
    ),
    (
        "compare a b --crop 5x10+0+0 -o x.html",
        1,
        &["that falls between the pixels of 24x16"],
    ),
    (
        "compare a/y.png b -o x.html",
        1,
        &["no image or clip of y, b has the same name"],
    ),
    (
        "metrics a=photo.png --reference a",
        1,
        &["no image or clip of 'a' has the same name"],
    ),
];

#[cfg(feature = "train")]
const TRAINING: &[Message] = &[
    (
        "train decoder --config tiny.toml --out run --set loss.fdl=1.0",
        1,
        &["loss.fdl", "loss.vgg19=random:0"],
    ),
    (
        "train decoder --config tiny.toml --out run --set train.stepz=1",
        1,
        &["unknown field `stepz`"],
    ),
    (
        "train decoder --config tiny.toml --out full",
        1,
        &["already holds a run; continue it with --resume, or choose another folder"],
    ),
    (
        "train degradation --pairs none --config proxy.toml --out run",
        1,
        &["no pairs (tensors NAME.clean, NAME.degraded, NAME.t)"],
    ),
    (
        "train degradation --pairs raw_pairs --config proxy.toml --out run",
        1,
        &["raw latents; pairs are to be normalized"],
    ),
    (
        "degrade $FRAME --proxy $BASE --t 0.1 -o x.safetensors",
        1,
        &["not a degradation proxy"],
    ),
    (
        "degrade $FRAME --proxy none.safetensors -o x.safetensors",
        2,
        &["--t TIME is missing"],
    ),
    (
        "degrade raw_pairs --proxy none.safetensors --vae demo:base -o out",
        2,
        &["are for latents only; pairs are normalized"],
    ),
    (
        "sdedit --dit $WAN --context c.safetensors -o out",
        2,
        &["--latents DIR or --photos DIR is missing"],
    ),
    (
        "sdedit --dit $WAN --context c.safetensors --latents none -o out --shard 2/2",
        2,
        &["expected I/N with I from 0 to N - 1"],
    ),
    (
        "sdedit --dit $WAN --context c.safetensors --latents none -o out --t 1.5",
        2,
        &["from 0 to 1"],
    ),
    (
        "sdedit merge none -o out",
        1,
        &["not a folder of sdedit pairs: manifest.json is missing"],
    ),
    (
        "sdedit merge none -o a",
        1,
        &["a: is not empty; choose another folder"],
    ),
    (
        "spectrum x=$CLIP -o x.pdf",
        2,
        &["x.pdf: expected an .html or .png file"],
    ),
    (
        "spectrum latents -o x.html",
        2,
        &["expected NAME=LATENTS, such as clean=latents/"],
    ),
    (
        "spectrum x=raw_pairs -o x.html",
        1,
        &["holds pairs, not latents"],
    ),
];

#[cfg(feature = "text")]
const CAPTIONS: &[Message] = &[
    (
        "embed-text a --umt5 $DIT --tokenizer tokenizer.json -o x.safetensors",
        1,
        &["not a UMT5 encoder"],
    ),
    (
        "embed-text a --umt5 $UMT5 --tokenizer none.json -o x.pt",
        2,
        &["x.pt: expected a .safetensors file"],
    ),
];

/// Fills a folder with the files that the tables name.
fn given(folder: &Path) {
    let at = |name: &str| folder.join(name);
    folders(folder);
    for name in ["none", "twin", "full"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    let assets = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/photos/coffee.png");
    std::fs::copy(assets, at("photo.png")).unwrap();
    std::fs::copy(at("a/x.png"), at("twin/x.png")).unwrap();
    std::fs::copy(at("b/z.jpg"), at("cut.jpg")).unwrap();
    let jpeg = std::fs::read(at("cut.jpg")).unwrap();
    std::fs::write(at("cut.jpg"), &jpeg[..jpeg.len() / 2]).unwrap();
    std::fs::write(at("full/config.toml"), "").unwrap();

    let norm = "decoder.middle.0.residual.3.gamma";
    edited(&at("missing.safetensors"), norm, |_| None);
    edited(&at("extra.safetensors"), norm, |a| {
        Some((format!("{norm}.extra"), a))
    });
    edited(&at("shape.safetensors"), norm, |a| {
        Some((norm.into(), a.reshape([1, 32, 1, 1]).unwrap()))
    });
    let head = "decoder.head.2";
    edited(&at("five.safetensors"), &format!("{head}.weight"), |_| {
        Some((format!("{head}.weight"), Array::zeros([5, 8, 3, 3, 3])))
    });
    edited(&at("nan.safetensors"), &format!("{head}.bias"), |mut a| {
        a.data_mut()[0] = f32::NAN;
        Some((format!("{head}.bias"), a))
    });
    let flat = text(&at("2d.safetensors"));
    run(&[
        "convert",
        &fixture(NAMES[1].1),
        "-o",
        &flat,
        "--layout",
        "2d",
    ])
    .ok();
    let latent = |name: &str, shape: [usize; 5]| {
        write_safetensors(&at(name), "latents", &Array::zeros(shape));
    };
    latent("clip.safetensors", [1, 16, 3, 4, 4]);
    latent("channels.safetensors", [1, 48, 1, 4, 4]);
    std::fs::write(at("packed.npy"), crate::codec::npy(&[1, 6, 64], 0.1)).unwrap();
    copy_fixture(NAMES[0].1, folder, "l.latent");
}

/// Names of everything in a folder and in the folders in it.
fn everything(folder: &Path) -> Vec<PathBuf> {
    let below = |name: String| {
        let path = folder.join(name);
        let inner = if path.is_dir() {
            everything(&path)
        } else {
            Vec::new()
        };
        std::iter::once(path).chain(inner)
    };
    entries(folder).into_iter().flat_map(below).collect()
}

/// Runs each command line in a folder, which it must leave as it was.
fn check(folder: &Path, messages: &[Message]) {
    let before = everything(folder);
    for (line, code, words) in messages {
        let argument = |word: &str| {
            let named = NAMES.iter().find(|(name, _)| word.ends_with(name));
            named.map_or(word.to_owned(), |(name, path)| {
                word.replace(name, &fixture(path))
            })
        };
        let mut command = vae2x();
        command
            .args(line.split_whitespace().map(argument))
            .current_dir(folder);
        let said = finish(&mut command).fails(*code);
        for part in *words {
            assert!(said.contains(part), "{line}: '{part}' is not in: {said}");
        }
        assert_eq!(everything(folder), before, "{line}");
    }
}

#[test]
fn what_cannot_be_meant_and_what_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    given(folder.path());
    check(folder.path(), COMMAND_LINES);
    check(folder.path(), FILES);
}

#[cfg(feature = "train")]
#[test]
fn what_training_refuses() {
    use vae2x_core::VaeConfig;
    use vae2x_core::latent::Normalized;
    use vae2x_core::weights::write::write_arrays;
    let folder = tempfile::tempdir().unwrap();
    given(folder.path());
    crate::train::tiny_run(folder.path());
    let proxy = "width = 4\nblocks = 1\nsteps = 1\nbatch = 1\ncrop = 8\n";
    std::fs::write(folder.path().join("proxy.toml"), proxy).unwrap();
    let clip = Path::new(&fixture(NAMES[7].1)).to_path_buf();
    let clip = Normalized::new(crate::support::read(&clip, "latents")).unwrap();
    let raw = clip.denormalize(&VaeConfig::default()).unwrap();
    let raw = raw.array().item(0);
    let time = Array::new([1], vec![0.1]).unwrap();
    let pair = [("a.clean", &raw), ("a.degraded", &raw), ("a.t", &time)];
    std::fs::create_dir(folder.path().join("raw_pairs")).unwrap();
    let file = folder.path().join("raw_pairs/0.safetensors");
    write_arrays(&file, &pair, &Default::default()).unwrap();
    let caption = Array::zeros([3, 20]);
    write_safetensors(&folder.path().join("c.safetensors"), "context", &caption);
    check(folder.path(), TRAINING);
}

#[cfg(feature = "text")]
#[test]
fn what_captions_need() {
    let folder = tempfile::tempdir().unwrap();
    crate::embed_text::tokenizer(folder.path());
    check(folder.path(), CAPTIONS);
}
