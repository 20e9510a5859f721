"""Times PyTorch's decoding of one latent on the CPU, for comparison with vae2x on the same machine side by side.

    pip install torch diffusers safetensors
    cargo run --release -p vae2x-bench -- weights W.safetensors
    python tools/reference/bench_decode.py W.safetensors --cells 64x64 [--frames 1] [--threads 2] [--runs 5]

(a) diffusers as it ships, f32; for one frame also (b) the same network with two-dimensional convolutions, channels last, f32,
and (c) the same in bf16. Prints one JSON line each: the minimum of the runs in seconds, and the peak resident memory in MB.
Weights are in the original layout. Each variant runs in a process of its own, so that the memory is its own.
"""
import argparse
import json
import resource
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file


class TwoD:
    """The decoder for a single frame: last temporal taps, per-frame convolutions, channels last."""

    def __init__(self, weights, dtype):
        self.w = {}
        for name, tensor in weights.items():
            if tensor.ndim == 5:
                tensor = tensor[:, :, -1]
            if name.endswith("gamma"):
                tensor = tensor.reshape(1, -1, 1, 1)
            tensor = tensor.to(dtype)
            self.w[name] = tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor

    def conv(self, x, name):
        weight = self.w[f"{name}.weight"]
        return F.conv2d(x, weight, self.w[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def norm(self, x, name):
        return F.normalize(x, dim=1) * x.shape[1] ** 0.5 * self.w[f"{name}.gamma"]

    def residual(self, x, name):
        y = self.conv(F.silu(self.norm(x, f"{name}.residual.0")), f"{name}.residual.2")
        y = self.conv(F.silu(self.norm(y, f"{name}.residual.3")), f"{name}.residual.6")
        return y + (self.conv(x, f"{name}.shortcut") if f"{name}.shortcut.weight" in self.w else x)

    def attention(self, x, name):
        b, c, h, w = x.shape
        qkv = self.conv(self.norm(x, f"{name}.norm"), f"{name}.to_qkv").flatten(2).transpose(1, 2)
        q, k, v = (t.unsqueeze(1).contiguous() for t in qkv.chunk(3, dim=-1))
        y = F.scaled_dot_product_attention(q, k, v).squeeze(1).transpose(1, 2).reshape(b, c, h, w)
        return x + self.conv(y, f"{name}.proj")

    def decode(self, z):
        x = self.conv(self.conv(z, "conv2"), "decoder.conv1")
        x = self.residual(x, "decoder.middle.0")
        x = self.attention(x, "decoder.middle.1")
        x = self.residual(x, "decoder.middle.2")
        for i in range(15):
            if f"decoder.upsamples.{i}.resample.1.weight" in self.w:
                x = self.conv(F.interpolate(x, scale_factor=2, mode="nearest"), f"decoder.upsamples.{i}.resample.1")
            else:
                x = self.residual(x, f"decoder.upsamples.{i}")
        return self.conv(F.silu(self.norm(x, "decoder.head.0")), "decoder.head.2")


def diffusers_vae(weights):
    from diffusers import AutoencoderKLWan
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    out = weights["decoder.head.2.bias"].numel()
    base = weights["decoder.head.0.gamma"].numel()
    vae = AutoencoderKLWan(base_dim=base, out_channels=out).eval()
    vae.load_state_dict(convert_wan_vae_to_diffusers(dict(weights)))
    return vae


def measure(args, variant):
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    h, w = (int(n) for n in args.cells.split("x"))
    weights = load_file(args.weights)
    if variant == "diffusers":
        z = torch.randn(1, 16, args.frames, h, w)
        vae = diffusers_vae(weights)
        run = lambda z: vae.decode(z).sample
    else:
        dtype = torch.bfloat16 if variant == "2d-bf16" else torch.float32
        z = torch.randn(1, 16, h, w).to(dtype).to(memory_format=torch.channels_last)
        run = TwoD(weights, dtype).decode
    best = float("inf")
    with torch.inference_mode():
        for _ in range(args.runs + 1):
            start = time.perf_counter()
            run(z)
            best = min(best, time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"variant": variant, "cells": args.cells, "frames": args.frames, "seconds": round(best, 4), "peak_mb": round(peak)}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("--cells", default="64x64")
    parser.add_argument("--frames", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--variant", choices=["diffusers", "2d-f32", "2d-bf16"])
    args = parser.parse_args()
    if args.variant:
        return measure(args, args.variant)
    for variant in ["diffusers"] + (["2d-f32", "2d-bf16"] if args.frames == 1 else []):
        subprocess.run([sys.executable, *sys.argv, "--variant", variant], check=True)


if __name__ == "__main__":
    main()
