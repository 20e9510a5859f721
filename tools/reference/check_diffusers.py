"""Loads a converted folder in the real diffusers and compares its pixels with ours.

    pip install torch diffusers safetensors
    cargo run --release -- convert WEIGHTS -o DIR --layout diffusers
    cargo run --release -- decode LATENTS --vae WEIGHTS --latent-space raw -o OURS.safetensors
    python tools/reference/check_diffusers.py DIR LATENTS OURS.safetensors [--key NAME]

A training run is checked in the same way: `vae2x export RUN -o DIR --layout diffusers`, and DIR is WEIGHTS too.

LATENTS holds raw latents [B, 16, T, h, w]; OURS holds `pixels` [B, 3, F, H, W]. Exits with 1 above a relative L2 error of 1e-5.
"""
import argparse
import sys

import torch
from diffusers import AutoencoderKLWan
from safetensors import safe_open
from safetensors.torch import load_file

TOLERANCE = 1e-5


def shuffle(raw, r):
    """[B, 3 r^2, F, h, w] -> [B, 3, F, r h, r w], by torch's own pixel shuffle."""
    frames = [torch.nn.functional.pixel_shuffle(raw[:, :, f], r) for f in range(raw.shape[2])]
    return torch.stack(frames, 2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("latents")
    parser.add_argument("ours")
    parser.add_argument("--key")
    args = parser.parse_args()

    vae = AutoencoderKLWan.from_pretrained(args.folder).eval()
    with safe_open(args.latents, "pt") as f:
        key = args.key or next(k for k in ("latent_tensor", "latents", "latent", "samples") if k in f.keys())
        latents = f.get_tensor(key).float()
    with torch.no_grad():
        raw = vae.decode(latents).sample
    r = round((raw.shape[1] / 3) ** 0.5)
    theirs = shuffle(raw, r).clamp(-1, 1).double()
    ours = load_file(args.ours)["pixels"].double()
    assert ours.shape == theirs.shape, f"ours {tuple(ours.shape)}, theirs {tuple(theirs.shape)}"
    error = ((ours - theirs).norm() / theirs.norm()).item()
    print(f"{args.folder}: pixels {tuple(ours.shape)}, relative L2 error {error:.2e}, largest difference {(ours - theirs).abs().max():.2e}")
    sys.exit(0 if error <= TOLERANCE else 1)


main()
