#!/usr/bin/env python3
"""Runs the nodes in a real, headless ComfyUI and checks what they do; see README.md.

    PYTHON tools/comfyui/run.py CHECKOUT [--wheel vae2x.whl] [--without-ffmpeg] [--classic] [--only NAME,NAME]

PYTHON is one that has ComfyUI's requirements. One line per check is printed; the exit status is 1 if one failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NODES = ROOT / "comfyui"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Check the nodes in a real ComfyUI.")
    parser.add_argument("checkout", type=Path, help="a folder with ComfyUI's main.py")
    parser.add_argument("--only", metavar="NAME,NAME", help="these checks alone")
    parser.add_argument("--python", help="the Python of ComfyUI's virtual environment [default: this one]")
    parser.add_argument("--wheel", type=Path, help="a wheel of vae2x to install there first")
    parser.add_argument("--without-ffmpeg", action="store_true", help="hide FFmpeg, so that PyAV writes videos")
    parser.add_argument("--classic", action="store_true", help="hide the V3 schema from the nodes")
    parser.add_argument("--keep", action="store_true", help="keep the folder with outputs and the log")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.python and Path(options.python).absolute() != Path(sys.executable).absolute():
        others = [a for i, a in enumerate(sys.argv[1:], 1) if "--python" not in (a.split("=")[0], sys.argv[i - 1])]
        os.execv(options.python, [options.python, __file__, *others])
    if options.wheel:
        install = ("-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", str(options.wheel))
        subprocess.run([sys.executable, *install], check=True)
    base = Path(tempfile.mkdtemp(prefix="vae2x_comfyui_"))
    try:
        return check(options, base)
    finally:
        if options.keep:
            print(f"kept: {base}")
        else:
            shutil.rmtree(base, ignore_errors=True)


def hide_v3(form: Path) -> None:
    """Changes the copy of the nodes as if ComfyUI had no V3 schema."""
    text = form.read_text()
    known = "from comfy_api.latest import"
    if known not in text:
        raise SystemExit(f"{form}: expected {known!r}")
    form.write_text(text.replace(known, "from comfy_api.none_such import"))


def check(options: argparse.Namespace, base: Path) -> int:
    import checks
    import inputs
    import vae2x
    from server import Server

    for name in ("input", "output", "models/vae", "custom_nodes", "user", "work"):
        (base / name).mkdir(parents=True)
    shutil.copytree(NODES, base / "custom_nodes/vae2x", ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    if options.classic:
        hide_v3(base / "custom_nodes/vae2x/vae2x_nodes/form.py")
    inputs.make(base / "input")
    version = re.search(r'"(.+)"', (options.checkout / "comfyui_version.py").read_text())
    has_ffmpeg = not options.without_ffmpeg and shutil.which("ffmpeg") is not None
    print(
        f"ComfyUI {version.group(1) if version else '?'}, Python {sys.version.split()[0]}, vae2x {vae2x.__version__}, "
        f"{'FFmpeg' if has_ffmpeg else 'PyAV alone'}{', classic form' if options.classic else ''}"
    )
    failed = 0
    started = time.monotonic()
    with Server(options.checkout.resolve(), base, has_ffmpeg=has_ffmpeg) as server:
        print(f"      server started in {time.monotonic() - started:.0f} s on 127.0.0.1:{server.port}")
        place = checks.Place(server, base / "input", base / "work", has_ffmpeg)
        examples = lambda place: checks.examples(place, NODES / "example_workflows/api")  # noqa: E731
        examples.__name__ = "examples"
        for run in (*checks.ALL, examples, checks.ending):
            if options.only and run.__name__ not in options.only.split(","):
                continue
            try:
                print(f"ok    {run.__name__}: {run(place)}", flush=True)
            except Exception as error:  # noqa: BLE001, whatever it is, the other checks go on
                failed += 1
                print(f"FAILS {run.__name__}: {type(error).__name__}: {error}", flush=True)
                if not isinstance(error, AssertionError):
                    traceback.print_exc()
    print(f"{failed} failed" if failed else "all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
