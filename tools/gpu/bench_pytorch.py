"""Times PyTorch's decoding of one latent on the GPU, for the table of bench.sh.

    pip install torch diffusers safetensors
    python tools/gpu/bench_pytorch.py W.safetensors --cells 64x64 [--frames 1] [--runs 5]

(a) diffusers as it ships, in f32 and bf16; for one frame also (b) the same network with two-dimensional convolutions, channels
last, in f32 and bf16, and (c) that through torch.compile. Prints rows of a table: the first run, the minimum of the others, and the
peak of the memory that PyTorch's allocator reserved. From latents on the device to pixels in the host's memory.
"""
import argparse
import importlib.util
import pathlib
import time

import torch
from safetensors.torch import load_file


def reference():
    """bench_decode.py of tools/reference, which has the two networks."""
    path = pathlib.Path(__file__).parent.parent / "reference" / "bench_decode.py"
    spec = importlib.util.spec_from_file_location("bench_decode", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def variants(args, device):
    """Name, precision and a function from nothing to pixels on the device."""
    networks = reference()
    weights = load_file(args.weights)
    h, w = (int(n) for n in args.cells.split("x"))
    for dtype in (torch.float32, torch.bfloat16):
        name = "f32" if dtype == torch.float32 else "bf16"
        clip = torch.randn(1, 16, args.frames, h, w, device=device, dtype=dtype)
        vae = networks.diffusers_vae(weights).to(device, dtype)
        yield "diffusers", name, lambda: vae.decode(clip).sample
        del vae
        if args.frames == 1:
            on_device = {key: tensor.to(device) for key, tensor in weights.items()}
            flat = networks.TwoD(on_device, dtype)
            image = clip[:, :, 0].to(memory_format=torch.channels_last)
            yield "PyTorch 2-D", name, lambda: flat.decode(image)
            compiled = torch.compile(flat.decode, mode="max-autotune-no-cudagraphs")
            yield "torch.compile 2-D", name, lambda: compiled(image)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("--cells", default="64x64")
    parser.add_argument("--frames", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--what", default="")
    args = parser.parse_args()
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "mps" if torch.backends.mps.is_available() else "cpu")
    torch.manual_seed(0)
    with torch.inference_mode():
        for engine, dtype, run in variants(args, device):
            if cuda:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            times = []
            for _ in range(args.runs + 1):
                start = time.perf_counter()
                run().float().cpu()
                times.append(time.perf_counter() - start)
            memory = torch.cuda.max_memory_reserved() // 1_000_000 if cuda else ""
            print(f"| {args.what} | {engine} | {dtype} | {times[0]:.4f} | {min(times[1:]):.4f} | {memory} |", flush=True)


main()
