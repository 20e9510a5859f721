"""Runs a batch of `vae2x` on a Ray cluster: one command line, cut into shards.

    pip install "ray[data]"
    python ray_shards.py --shards 64 --cpus 8 -- decode latents/ -o images/ --vae spacepxl/Wan2.1-VAE-upscale2x
    python ray_shards.py --shards 64 --cpus 8 -- upscale clips/ -o large/ --vae spacepxl/Wan2.1-VAE-upscale2x
    python ray_shards.py --shards 8 --gpus 1 -- sdedit ... -o "pairs/{shard}"     # then: vae2x sdedit merge

Every node sees the same folders, by a network file system or a mounted bucket, and has `vae2x` on its path (`--program` names another).
Each shard is every N-th input, under the name that one run over all would give it, and a file appears when it is whole. So a shard whose
worker or node dies is simply run again, by Ray, and does what is missing; so is everything if this script is started again. The result is
that of one run on one machine, byte for byte.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Any

import ray

# What makes a second run of a shard go on where the first one stopped.
GO_ON = {"sdedit": "--resume"}


def command_line(program: str, arguments: list[str], shard: str) -> list[str]:
    """The program's arguments for a shard such as `3/64`; `{shard}` in an argument becomes `3`."""
    index = shard.split("/")[0]
    own = [argument.replace("{shard}", index) for argument in arguments]
    return [program, *own, "--shard", shard, GO_ON.get(arguments[0], "--skip-existing")]


def run(row: dict[str, Any], program: str, arguments: list[str], count: int) -> dict[str, Any]:
    """Runs a shard, with its messages in the worker's log."""
    shard = f"{row['id']}/{count}"
    done = subprocess.run(command_line(program, arguments, shard), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    sys.stderr.write(done.stderr)
    return {"shard": shard, "code": done.returncode, "said": done.stderr.strip().splitlines()[-1:] if done.returncode else []}


def main() -> int:
    """Returns the exit code: 1 if a shard failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, required=True, help="parts of the work; several for each worker, as some take longer")
    parser.add_argument("--cpus", type=float, default=4, help="CPU threads of each")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of each")
    parser.add_argument("--program", default="vae2x")
    parser.add_argument("--address", help="the cluster; else the one of RAY_ADDRESS, or this machine")
    parser.add_argument("arguments", nargs="+", help="a command of vae2x with its arguments, behind --")
    args = parser.parse_args()
    arguments = args.arguments
    if arguments[0] in ("decode", "encode", "upscale", "hires") and "--threads" not in arguments:
        arguments = [*arguments, "--threads", str(max(1, int(args.cpus)))]
    ray.init(address=args.address)
    shards = ray.data.range(args.shards, override_num_blocks=args.shards)
    work = {"program": args.program, "arguments": arguments, "count": args.shards}
    failed = 0
    for row in shards.map(run, fn_kwargs=work, num_cpus=args.cpus, num_gpus=args.gpus or None).iter_rows():
        if row["code"]:
            failed += 1
            print(f"shard {row['shard']}: exit code {row['code']}: {' '.join(row['said'])}", file=sys.stderr)
    print(f"{args.shards - failed} of {args.shards} shards are done")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
