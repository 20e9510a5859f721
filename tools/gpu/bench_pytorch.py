"""Times PyTorch's decoding of one latent on a GPU or, on a machine without one, on the CPU.

    pip install torch diffusers safetensors
    python tools/gpu/bench_pytorch.py W.safetensors --cells 64x64 [--frames 1] [--runs 5] [--gpu 0] [--dtypes f32,bf16,f16]

diffusers as it ships; for one frame also the same network with two-dimensional convolutions, channels last, and that through
torch.compile. Prints a JSON line each: the first run, the least of the others, and the peak of the memory that PyTorch's allocator
reserved. From latents on the device to pixels in the host's memory. Each variant runs in a process of its own, so that the memory is
its own. Whether f32 is computed through TF32, which PyTorch's settings decide, is in each line.
"""
import argparse
import importlib.util
import json
import pathlib
import subprocess
import sys
import time

import torch
from safetensors.torch import load_file

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
SINGLE_FRAME = ["PyTorch 2-D", "torch.compile 2-D"]


def reference():
    """bench_decode.py of tools/reference, which has the two networks."""
    path = pathlib.Path(__file__).parent.parent / "reference" / "bench_decode.py"
    spec = importlib.util.spec_from_file_location("bench_decode", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def decoder(args, device):
    """From nothing to pixels on the device, through args.variant."""
    networks = reference()
    weights = load_file(args.weights)
    dtype = DTYPES[args.dtype]
    h, w = (int(n) for n in args.cells.split("x"))
    clip = torch.randn(1, 16, args.frames, h, w, device=device, dtype=dtype)
    if args.variant == "diffusers":
        vae = networks.diffusers_vae(weights).to(device, dtype)
        return lambda: vae.decode(clip).sample
    flat = networks.TwoD({key: tensor.to(device, dtype) for key, tensor in weights.items()}, dtype)
    image = clip[:, :, 0].to(memory_format=torch.channels_last)
    decode = flat.decode
    if args.variant == "torch.compile 2-D":
        decode = torch.compile(decode, mode="max-autotune-no-cudagraphs" if device.type == "cuda" else "default")
    return lambda: decode(image)


def measure(args):
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "mps" if torch.backends.mps.is_available() else "cpu")
    if cuda:
        torch.cuda.set_device(args.gpu)
    torch.manual_seed(0)
    with torch.inference_mode():
        run = decoder(args, device)
        if cuda:
            # What loading took and is no more needed.
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        times = []
        for _ in range(args.runs + 1):
            start = time.perf_counter()
            run().float().cpu()
            times.append(time.perf_counter() - start)
    line = {
        "what": "decode",
        "engine": args.variant,
        "dtype": args.dtype,
        "cells": args.cells,
        "latent_frames": args.frames,
        "first_s": times[0],
        "seconds": min(times[1:]),
        "device_mb": torch.cuda.max_memory_reserved() // 1_000_000 if cuda else None,
        "device": torch.cuda.get_device_name() if cuda else device.type,
        "torch": torch.__version__,
        "tf32": {"products": torch.backends.cuda.matmul.allow_tf32, "convolutions": torch.backends.cudnn.allow_tf32},
    }
    print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("--cells", default="64x64")
    parser.add_argument("--frames", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--gpu", type=int, default=0)
    parser.add_argument("--dtypes", default="f32,bf16")
    parser.add_argument("--variants", default=",".join(["diffusers", *SINGLE_FRAME]))
    parser.add_argument("--variant", choices=["diffusers", *SINGLE_FRAME])
    parser.add_argument("--dtype", choices=list(DTYPES))
    args = parser.parse_args()
    if args.variant:
        return measure(args)
    failed = False
    for variant in args.variants.split(","):
        if variant in SINGLE_FRAME and args.frames != 1:
            continue
        for dtype in args.dtypes.split(","):
            command = [sys.executable, *sys.argv, "--variant", variant, "--dtype", dtype]
            failed |= subprocess.run(command).returncode != 0
    sys.exit(failed)


main()
