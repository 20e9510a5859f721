"""Decode to File (vae2x)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import background, finishing, formats, host, latents, metadata
from ..models import LoadedVae
from ..schema import Caller, Input, Node, Output, Result
from ..writing import Clip, Paths

PATHS = Paths()
# Pixels of a latent cell at base resolution.
CELL = 8


def run(
    caller: Caller,
    samples: Any,
    vae: LoadedVae,
    filename_prefix: str,
    format: str,
    fps: float,
    in_background: bool,
    scale: str,
    latent_space: str,
    crf: int,
    pixel_format: str,
    color_vae: LoadedVae | None = None,
    color_image: Any = None,
    audio: Any = None,
) -> Result:
    """Writes a file, or a folder of images, for each item of the batch."""
    array = latents.to_array(samples, vae.vae.z_dim)
    finish = finishing.of(scale, color_vae, color_image)
    kind = formats.FORMATS[format]
    factor = CELL * (finish.scale or vae.vae.scale)
    place = host.new_output(filename_prefix, array.shape[-1] * factor, array.shape[-2] * factor)
    suffix = f".{kind.extension}" if kind.is_video or array.ndim == 4 or array.shape[2] == 1 else ""
    common = {
        "format": kind,
        "space": latent_space,
        "fps": fps,
        "crf": None if crf < 0 else crf,
        "pixel_format": None if pixel_format == "auto" else pixel_format,
        "finish": finish,
        "metadata": metadata.texts(caller.prompt, caller.extra_pnginfo, host.keeps_metadata()),
        "audio": audio,
    }
    folder, subfolder, name, number = place
    clips = [
        Clip(array[i : i + 1], PATHS.take(folder, name, number, suffix), item=i, **common) for i in range(len(array))
    ]
    if in_background:
        # The samplers may use the memory of these again.
        ui = _queue([_own(clip) for clip in clips], vae, subfolder)
    else:
        ui = _write(clips, vae, subfolder)
    return Result(("\n".join(str(clip.path) for clip in clips),), ui)


def _own(clip: Clip) -> Clip:
    return replace(clip, array=clip.array.copy())


def _write(clips: Sequence[Clip], vae: LoadedVae, subfolder: str) -> dict[str, Any]:
    files: list[Path] = []
    try:
        with host.Watched() as watch:
            for done, clip in enumerate(clips):
                report = lambda fraction, done=done: watch.progress((done + fraction) / len(clips))  # noqa: E731
                files += clip.write(vae.vae, report, watch.cancel)
    finally:
        for clip in clips:
            PATHS.give_back(clip.path)
    text = ", ".join(clip.path.name for clip in clips)
    if not clips[0].format.shows:
        host.show_text(host.executing()[1], text)
    return _shown(clips[0], files, subfolder, text)


def _queue(clips: Sequence[Clip], vae: LoadedVae, subfolder: str) -> dict[str, Any]:
    prompt_id, node_id = host.executing()
    queued = 0
    try:
        for clip in clips:
            page = background.Page(
                prompt_id,
                node_id,
                lambda files, clip=clip: _shown(clip, [Path(file) for file in files], subfolder, clip.path.name),
            )
            background.add(clip, vae, page, lambda clip=clip: PATHS.give_back(clip.path))
            queued += 1
    finally:
        for clip in clips[queued:]:
            PATHS.give_back(clip.path)
    return {"text": (", ".join(clip.path.name for clip in clips),)}


def _shown(clip: Clip, files: Sequence[Path], subfolder: str, text: str) -> dict[str, Any]:
    """`files` are in the folder of the output, or in the one that was written."""
    names = [file.name for file in files]
    if clip.path.is_dir():
        subfolder = f"{subfolder}/{clip.path.name}" if subfolder else clip.path.name
    return formats.shown(clip.format, names, subfolder, text)


NODE = Node(
    id="Vae2xDecodeToFile",
    display_name="Decode to File (vae2x)",
    description="Decodes a latent straight into a video or into images, in memory that does not grow with the clip. "
    "The prompt and the workflow go into the file.",
    inputs=(
        Input("samples", "LATENT", "A latent of 16 channels, image or clip."),
        Input("vae", "VAE2X", "From Load VAE (vae2x)."),
        Input(
            "filename_prefix",
            "STRING",
            "Where in the output folder, as in Save Image; %date:yyyy-MM-dd% and the like work.",
            settings={"default": "vae2x/clip"},
        ),
        Input(
            "format",
            "COMBO",
            "A video, or images: one file for an image, a folder of frames for a clip. ProRes, FFV1 and EXR are for "
            "editing; browsers do not show them.",
            options=lambda: list(formats.FORMATS),
            settings={"default": "mp4 h264"},
        ),
        Input(
            "fps", "FLOAT", "Frames per second.", settings={"default": 16.0, "min": 0.01, "max": 1000.0, "step": 0.01}
        ),
        Input(
            "in_background",
            "BOOLEAN",
            "Returns at once; the clip is decoded on the CPU while the next prompts run. When the queue is full, "
            "the node waits.",
            settings={"default": False},
        ),
        *(item for item in finishing.INPUTS if not item.optional),
        Input(
            "crf",
            "INT",
            "The quality of h264, h265, av1 and vp9: less is better and larger. -1 is the codec's default.",
            advanced=True,
            settings={"default": -1, "min": -1, "max": 63},
        ),
        Input(
            "pixel_format",
            "COMBO",
            "How colours are stored; auto is the codec's default.",
            advanced=True,
            options=lambda: formats.PIXEL_FORMATS,
            settings={"default": "auto"},
        ),
        *(item for item in finishing.INPUTS if item.optional),
        Input("audio", "AUDIO", "Sound for the video, cut to its length.", optional=True),
    ),
    outputs=(Output("path", "STRING", "The file or folder; one line for each item of the batch."),),
    run=run,
    is_output=True,
)
