"""The kinds of files that Decode to File writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Format:
    """A kind of file: a video if it has a codec, else one image per frame."""

    extension: str
    codec: str | None = None
    bit_depth: int = 8
    # Whether browsers show it.
    shows: bool = True

    @property
    def is_video(self) -> bool:
        """Whether all frames are in one file."""
        return self.codec is not None


FORMATS: Mapping[str, Format] = {
    "mp4 h264": Format("mp4", "h264"),
    "mp4 h265": Format("mp4", "h265"),
    "mp4 av1": Format("mp4", "av1"),
    "webm vp9": Format("webm", "vp9"),
    "webm av1": Format("webm", "av1"),
    "mov prores": Format("mov", "prores", shows=False),
    "mkv ffv1": Format("mkv", "ffv1", shows=False),
    "png": Format("png"),
    "png 16 bit": Format("png", bit_depth=16),
    "exr": Format("exr", bit_depth=16, shows=False),
}

PIXEL_FORMATS = ("auto", "yuv420p", "yuv420p10", "yuv422p10", "yuv444p", "yuv444p10")

# The largest number of frames that the page shows of a folder of images.
SHOWN_FRAMES = 1


def shown(format: Format, files: list[str], subfolder: str, text: str) -> dict[str, Any]:
    """What the page shows below the node. `files` are names in `subfolder` of the output folder."""
    ui: dict[str, Any] = {"text": (text,)}
    if not format.shows:
        return ui
    names = files if format.is_video else files[:SHOWN_FRAMES]
    ui["images"] = [{"filename": name, "subfolder": subfolder, "type": "output"} for name in names]
    if format.is_video:
        ui["animated"] = (True,)
    return ui
