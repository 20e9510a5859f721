"""Prints the table of docs/performance.md: decoding on this machine's CPU, vae2x beside PyTorch on the same weights.

    pip install torch diffusers safetensors
    cargo run --release -p vae2x-bench -- weights W.safetensors
    python tools/reference/bench_table.py W.safetensors [--cases 32,64,128,clip] [--runs 5] [--threads 2]

Every number is the minimum of its runs after a warm-up, one process per variant, vae2x before and after the others so that a
drifting machine shows. Memory is the peak of the process.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
CASES = {
    "32": ("256x256, one frame", "32x32", 1),
    "64": ("512x512, one frame", "64x64", 1),
    "128": ("1024x1024, one frame", "128x128", 1),
    "clip": ("256x256, 17 frames", "32x32", 5),
}


def ours(case, runs):
    """Seconds and MB of vae2x's own benchmark."""
    command = ["cargo", "bench", "-q", "-p", "vae2x-cpu", "--", "--runs", str(runs), case]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    line = next(l for l in out.splitlines() if l.startswith("decode"))
    seconds, megabytes = re.search(r": ([\d.]+) s", line), re.search(r"([\d]+) MB", line)
    share = re.search(r"([\d.]+) of the peak", line)
    return float(seconds[1]), int(megabytes[1]), share and share[1]


def theirs(args, case, runs):
    """Variant -> seconds and MB of PyTorch."""
    _, cells, frames = CASES[case]
    command = [sys.executable, HERE / "bench_decode.py", args.weights, "--cells", cells, "--frames", str(frames)]
    command += ["--runs", str(runs), "--threads", str(args.threads)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return {row["variant"]: (row["seconds"], row["peak_mb"]) for row in rows}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("--cases", default="32,64,128,clip")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    print("| base image | vae2x, f32 | diffusers, f32 | PyTorch 2-D, f32 | PyTorch 2-D, bf16 |\n|---|---|---|---|---|")
    for case in args.cases.split(","):
        runs = 2 if case == "128" else args.runs
        before = ours(case, args.runs)
        others = theirs(args, case, runs)
        after = ours(case, args.runs)
        seconds, megabytes, share = min(before, after)
        cells = [f"{seconds:.2f} s, {megabytes} MB" + (f", {share} of peak" if share else "")]
        for variant in ("diffusers", "2d-f32", "2d-bf16"):
            if variant not in others:
                cells.append("")
                continue
            other, memory = others[variant]
            cells.append(f"{other:.2f} s ({other / seconds:.1f}x), {memory} MB")
        print(f"| {CASES[case][0]} | " + " | ".join(cells) + " |", flush=True)


main()
