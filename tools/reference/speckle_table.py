"""Both speckle scores of the demo's models, on probe latents and on photos, clean and softened: the tables of docs/metrics.md.

    pip install numpy pillow
    python tools/reference/speckle_table.py PHOTOS WORK [--vae2x PROGRAM] [--models MODEL...]

The first 16 photos by name (tools/photos.sh fetches some) are cut to a square and reduced to 512x512, which takes JPEG's blocks out of
them. The first model encodes them, their latents are blurred by a Gaussian of one latent cell, as a denoiser softens them, and every
model decodes both. WORK keeps every image, to be looked at.
"""
import argparse
import json
import shutil
import statistics
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

PHOTOS = 16
SIDE = 512
SOFTNESS = (0, 1.0)

parser = argparse.ArgumentParser()
parser.add_argument("photos", type=Path)
parser.add_argument("work", type=Path)
parser.add_argument("--vae2x", default="target/release/vae2x")
parser.add_argument("--models", nargs="+", default=["demo:base", "demo:2x"])
args = parser.parse_args()


def vae2x(*words):
    result = subprocess.run([args.vae2x, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True)
    return result.stdout


def fresh(name):
    folder = args.work / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def blurred(latent, deviation):
    """Along the last two axes; beyond the edge its values go on."""
    reach = int(np.ceil(4 * deviation))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    weights /= weights.sum()
    for axis in (-2, -1):
        pad = [(0, 0)] * latent.ndim
        pad[axis] = (reach, reach)
        padded = np.pad(latent, pad, mode="edge")
        count = latent.shape[axis]
        latent = sum(w * np.take(padded, range(i, i + count), axis) for i, w in enumerate(weights))
    return latent.astype(np.float32)


def summary(values):
    return f"{min(values):.2f} / {statistics.median(values):.2f} / {max(values):.2f}"


def photo_row(name, folder, scale):
    scores = json.loads(vae2x("speckle", folder, "--scale", scale, "--json"))
    columns = [summary([s[key] for s in scores]) for key in ("speckle_db", "lattice_energy_db")]
    print(f"| {name} | {' | '.join(columns)} |", flush=True)


def probe_table():
    results = [json.loads(vae2x("speckle", "--vae", model, "--json")) for model in args.models]
    print("| probe | " + " | ".join(f"{model}: speckle | lattice energy (period)" for model in args.models) + " |")
    print("|---" * (1 + 2 * len(results)) + "|")
    for row in zip(*(result["probes"] for result in results)):
        cells = [f"{p['speckle_db']:.2f} | {p['lattice_energy_db']:.2f} ({p['lattice_period']})" for p in row]
        print(f"| {row[0]['probe']} | {' | '.join(cells)} |")
    for sums in ("mean", "highest"):
        cells = [f"{r[sums]['speckle_db']:.2f} | {r[sums]['lattice_energy_db']:.2f}" for r in results]
        print(f"| {sums} | {' | '.join(cells)} |", flush=True)


def photo_table():
    photos = fresh("photos")
    for path in sorted(p for p in args.photos.iterdir() if p.suffix.lower() in (".jpg", ".png"))[:PHOTOS]:
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.LANCZOS).save(photos / f"{path.stem}.png")
    print(f"\n| {len(list(photos.iterdir()))} photos | speckle | lattice energy |\n|---|---|---|")
    photo_row("as they are", photos, 1)
    latents = fresh("latents")
    for photo in sorted(photos.iterdir()):
        vae2x("encode", photo, "--vae", args.models[0], "--latent-space", "normalized", "-o", latents / f"{photo.stem}.npy")
    for number, model in enumerate(args.models):
        for softness in SOFTNESS:
            soft = fresh(f"latents_{softness}")
            for path in sorted(latents.iterdir()):
                latent = np.load(path)
                np.save(soft / path.name, blurred(latent, softness) if softness else latent)
            decoded = fresh(f"decoded{number}_{softness}")
            vae2x("decode", *sorted(soft.iterdir()), "--latent-space", "normalized", "--vae", model, "-o", f"{decoded}/")
            with Image.open(next(decoded.iterdir())) as image:
                scale = image.width // SIDE
            photo_row(f"{model}, {'softened' if softness else 'clean'}", decoded, scale)


probe_table()
photo_table()
