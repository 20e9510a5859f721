"""Loads a folded decoder in the real diffusers and compares it with the box mean of the 2x decoder's output before it is clamped.

    pip install torch diffusers safetensors
    cargo run --release -- convert WEIGHTS -o DIR2X --layout diffusers
    cargo run --release -- convert WEIGHTS -o DIR1X --layout diffusers --to-1x
    python tools/reference/check_to_1x.py DIR2X DIR1X LATENTS [--key NAME]

LATENTS holds raw latents [B, 16, T, h, w]. Exits with 1 above a relative L2 error of 1e-5.
"""
import argparse
import sys

import torch
from diffusers import AutoencoderKLWan
from safetensors import safe_open

TOLERANCE = 1e-5


def decode(folder, latents):
    """The decoder's output, [B, C, F, H, W], before diffusers clamps it, and the configuration."""
    vae = AutoencoderKLWan.from_pretrained(folder).eval()
    parts = []
    vae.decoder.conv_out.register_forward_hook(lambda module, inputs, output: parts.append(output))
    with torch.no_grad():
        vae.decode(latents)
    return torch.cat(parts, 2).double(), vae.config


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("larger")
    parser.add_argument("folded")
    parser.add_argument("latents")
    parser.add_argument("--key")
    args = parser.parse_args()

    with safe_open(args.latents, "pt") as f:
        key = args.key or next(k for k in ("latent_tensor", "latents", "latent", "samples") if k in f.keys())
        latents = f.get_tensor(key).float()
    large, _ = decode(args.larger, latents)
    small, config = decode(args.folded, latents)
    # The channels of a pixel are its sub-pixels: their mean is the mean of the block.
    b, channels, f, h, w = large.shape
    mean = large.reshape(b, 3, channels // 3, f, h, w).mean(2)
    assert small.shape == mean.shape, f"{tuple(small.shape)}, expected {tuple(mean.shape)}"
    error = ((small - mean).norm() / mean.norm()).item()
    outside = (large.abs() > 1).double().mean().item()
    print(f"{args.folded}: out_channels {config.out_channels}, {tuple(small.shape)}, {outside:.1%} of the 2x output outside of [-1, 1]")
    print(f"relative L2 error {error:.2e}, largest difference {(small - mean).abs().max():.2e}")
    sys.exit(0 if error <= TOLERANCE else 1)


main()
