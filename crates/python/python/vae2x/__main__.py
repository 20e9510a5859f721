"""The program `vae2x`."""

import os
import sys

from ._vae2x import main as run


def main() -> int:
    """Runs the program with the arguments of this process."""
    if sys.prefix != sys.base_prefix:
        # Where it looks for the FFmpeg of imageio-ffmpeg, also if the environment was not activated.
        os.environ.setdefault("VIRTUAL_ENV", sys.prefix)
    return run(["vae2x", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
