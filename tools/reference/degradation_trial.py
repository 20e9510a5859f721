"""Does a decoder trained on latents that a proxy has softened decode a diffusion model's latents better? The whole way, at a small size.

    pip install numpy pillow safetensors
    python tools/reference/degradation_trial.py PHOTOS WORK [--vae2x PROGRAM] [--start DECODER] [--until STAGE]

Photos (tools/photos.sh fetches some), four of them held out -> latents of the demo's VAE -> a small flow model -> SDEdit pairs ->
a proxy -> 2x decoders trained with and without it -> SDEdit'ed latents of the held-out photos, decoded by all. Every stage leaves its
result in WORK and is skipped when it is there; seeds are fixed. About two hours on two cores. DECODER is the 2x decoder that all
start from, such as a run of configs/tiny_cpu.toml exported (demo:base if not given).

In the table, every line is a flow time and a decoder: PSNR to the photo, the energy of what is finer than 3x3 pixels in flat parts of the
photos (root mean square, in 1/1000, and the photo's own), and sharpness and speckle as `vae2x metrics` gives them, means over tiles.
"""
import argparse
import json
import math
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import load_file, save_file

HELD_OUT = ("ColorfulCups", "FreshFlower", "Kleiber_by_Lukas_Baubkus", "LadyBird")
TIMES = (0.1, 0.2, 0.3)
SEEDS = (1, 2)
FLOW = {"layers": 4, "dim": 192, "heads": 4, "ffn_dim": 512, "steps": 6500, "batch": 8, "crop": 32, "lr": 1.5e-3, "ema": 0.998,
        "time_power": 2.0, "held_out": 0.03, "checkpoint_every": 250}
PROXY = {"width": 64, "blocks": 4, "steps": 2000, "batch": 8, "crop": 32, "lr": 1e-3, "loss": '"l2"', "ema": 0.998, "held_out": 0.05}
DECODER = """
model.base = "{start}"
data = {{ photos = ["{photos}"], crop = 192, scale = [0.15, 0.5], min_sharpness = 5.0, min_jpeg_quality = 60, workers = 1, prefetch = 4, cache = 3000 }}
train = {{ steps = 4000, batch = 2, lr = 3e-4, warmup = 50, schedule = "cosine", lr_min = 1e-5, ema = 0.998 }}
loss = {{ l1 = 1.0, charbonnier = 0.1 }}
log = {{ every = 100, checkpoint_every = 1000 }}
"""
STAGES = ("pictures", "latents", "flow", "pairs", "proxy", "decoders", "table")

parser = argparse.ArgumentParser()
parser.add_argument("photos", type=Path)
parser.add_argument("work", type=Path)
parser.add_argument("--vae2x", default="target/release/vae2x")
parser.add_argument("--start", default="demo:base")
parser.add_argument("--until", choices=STAGES, default=STAGES[-1])
args = parser.parse_args()
work = args.work


def vae2x(*words):
    subprocess.run([args.vae2x, *map(str, words)], check=True)


def toml(name, values):
    path = work / name
    path.write_text("".join(f"{key} = {value}\n" for key, value in values.items()))
    return path


def scaled(picture, short):
    part = short / min(picture.size)
    return picture.resize([round(side * part) for side in picture.size], Image.LANCZOS, reducing_gap=3.0)


def tiles(picture, side):
    for y in range(0, picture.height - side + 1, side):
        for x in range(0, picture.width - side + 1, side):
            yield f"{y}_{x}", picture.crop((x, y, x + side, y + side))


def save(picture, folder, name):
    (work / folder).mkdir(parents=True, exist_ok=True)
    picture.save(work / folder / f"{name}.png", compress_level=1)


def pictures():
    """Photos at several sizes for the flow model, tiles of 256 for pairs, held-out tiles of 512 and their halves."""
    (work / "photos").mkdir(parents=True)
    for path in sorted(args.photos.glob("*.jpg")):
        picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        if path.stem in HELD_OUT:
            for place, tile in tiles(scaled(picture, 1024), 512):
                save(tile, "held_512", f"{path.stem}_{place}")
                save(tile.resize((256, 256), Image.BOX), "held_256", f"{path.stem}_{place}")
            continue
        (work / "photos" / path.name).symlink_to(path.resolve())
        for short in (320, 512, 800, 1100):
            if short < 0.7 * min(picture.size):
                small = scaled(picture, short)
                save(small, "whole", f"{path.stem}_{short}")
                save(ImageOps.mirror(small), "whole", f"{path.stem}_{short}m")
        for short in (256, 512):
            for place, tile in tiles(scaled(picture, short), 256):
                save(tile, "train_256", f"{path.stem}_{short}_{place}")


def latents():
    for source, target in (("whole", "latents_whole"), ("train_256", "latents_train"), ("held_256", "latents_held")):
        vae2x("encode", work / source, "--vae", "demo:base", "-o", work / target)


def flow():
    config = toml("flow.toml", FLOW)
    vae2x("train", "flow", "--latents", work / "latents_whole", "--vae", "demo:base", "--config", config, "--out", work / "flow")


def sdedit(latents, pairs, *options):
    model = ("--dit", work / "flow/model", "--context", work / "flow/context.safetensors", "--vae", "demo:base")
    vae2x("sdedit", *model, "--latents", work / latents, "-o", work / pairs, *options)


def pairs():
    sdedit("latents_train", "pairs", "--t-draw", "log-normal", "--t-median", 0.2, "--t-sigma", 0.5, "--per-latent", 6)
    for time in TIMES:
        sdedit("latents_held", f"held_{time}", "--t", time)


def proxy():
    vae2x("train", "degradation", "--pairs", work / "pairs", "--config", toml("proxy.toml", PROXY), "--out", work / "proxy")
    for time in TIMES:
        vae2x("degrade", work / f"held_{time}", "--proxy", work / "proxy/proxy.safetensors", "-o", work / f"imitated_{time}")
        sets = (f"clean={work}/held_{time}:clean", f"SDEdit={work}/held_{time}:degraded", f"proxy={work}/imitated_{time}:degraded")
        vae2x("spectrum", *sets, "-o", work / f"spectrum_{time}.html")


def decoders():
    config = work / "decoder.toml"
    config.write_text(DECODER.format(start=args.start, photos=work / "photos"))
    softened = ("--set", 'degradation.kind="proxy"', "--set", f'degradation.proxy="{work}/proxy/proxy.safetensors"', "--set", "degradation.t_max=0.3")
    for seed in SEEDS:
        for name, options in ((f"without_{seed}", ()), (f"with_{seed}", softened)):
            run = work / name
            if not run.exists():
                vae2x("train", "decoder", "--config", config, "--no-tui", "--out", run, "--set", f"train.seed={seed}", *options)
            if not (work / f"{name}.safetensors").exists():
                vae2x("export", run, "-o", work / f"{name}.safetensors", "--ema", "--layout", "original")


def loaded(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(np.float64) / 255


def fine(picture):
    """What is left without the mean of 3x3 pixels."""
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), "edge")
    h, w = picture.shape[:2]
    return picture - sum(padded[y : y + h, x : x + w] for y in range(3) for x in range(3)) / 9


def blocks(picture):
    h, w, c = picture.shape
    return picture.reshape(h // 16, 16, w // 16, 16, c).transpose(0, 2, 1, 3, 4).reshape(-1, 256 * c)


def measured(folder):
    """PSNR, and the fine energy in flat blocks of the decoded images and of the photos."""
    psnr, of_decoded, of_photos = [], [], []
    for path in sorted((work / "held_512").glob("*.png")):
        photo, decoded = loaded(path), loaded(next(folder.glob(f"{path.stem}*.png")))
        psnr.append(-10 * math.log10(((photo - decoded) ** 2).mean()))
        spread = blocks(photo).std(1)
        flat = (spread <= np.quantile(spread, 0.2)) & (spread < 0.03)
        if flat.any():
            of_decoded.append((blocks(fine(decoded))[flat] ** 2).mean())
            of_photos.append((blocks(fine(photo))[flat] ** 2).mean())
    return np.mean(psnr), 1e3 * math.sqrt(np.mean(of_decoded)), 1e3 * math.sqrt(np.mean(of_photos))


def table():
    latents = {0.0: None, **{time: work / f"held_{time}" for time in TIMES}}
    names = ["start"] + [f"{kind}_{seed}" for seed in SEEDS for kind in ("without", "with")]
    for time, folder in latents.items():
        inputs = work / f"softened_{time}"
        inputs.mkdir(exist_ok=True)
        for path in sorted((folder or work / f"held_{TIMES[0]}").glob("pairs-*.safetensors")):
            for key, value in load_file(path).items():
                name, _, part = key.rpartition(".")
                if part == ("degraded" if folder else "clean"):
                    save_file({"latent": value[None]}, inputs / (Path(name.partition("#")[0]).stem + ".safetensors"))
        for name in names:
            weights = args.start if name == "start" else work / f"{name}.safetensors"
            decoded = work / "decoded" / f"{name}_{time}"
            decoded.mkdir(parents=True, exist_ok=True)
            vae2x("decode", *sorted(inputs.iterdir()), "--vae", weights, "--latent-space", "normalized", "-o", decoded)
            for path in decoded.glob("*_00000.png"):
                path.rename(decoded / path.name.replace("_00000", ""))
            psnr, flat, of_photos = measured(decoded)
            words = [args.vae2x, "metrics", f"photo={work}/held_512", f"{name}={decoded}", "--reference", "photo", "--json"]
            told = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
            print(f"t {time}  {name:10}  {psnr:.3f} dB  flat {flat:.3f} (photo {of_photos:.3f})  {means_of(told, name)}", flush=True)


def means_of(told, name):
    """Sharpness and speckle over the images of a set."""
    own = [picture for picture in told["pictures"] if picture["name"] == name]
    return "  ".join(f"{key} {np.mean([picture[key] for picture in own]):.2f}" for key in ("sharpness", "speckle_db"))


RESULTS = {"pictures": "photos", "latents": "latents_held", "flow": "flow/model", "pairs": f"held_{TIMES[-1]}", "proxy": f"spectrum_{TIMES[-1]}.html"}
work.mkdir(parents=True, exist_ok=True)
for stage in STAGES[: STAGES.index(args.until) + 1]:
    if stage not in RESULTS or not (work / RESULTS[stage]).exists():
        print(f"== {stage}", flush=True)
        globals()[stage]()
