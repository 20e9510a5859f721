"""Upscale Image (vae2x)."""

from __future__ import annotations

from typing import Any

from .. import host, images
from ..models import LoadedVae
from ..schema import Caller, Input, Node, Output, Result


def run(caller: Caller, image: Any, vae: LoadedVae, batch: str, match_color: bool) -> Result:
    """Images at twice their size."""
    array = images.to_array(image)
    with host.Watched() as watch:
        large = vae.vae.upscale(
            array,
            clip=batch == "clip" and len(array) > 1,
            match_color=match_color,
            progress=watch.progress,
            cancel=watch.cancel,
        )
    return Result((images.from_array(large),))


NODE = Node(
    id="Vae2xUpscale",
    display_name="Upscale Image (vae2x)",
    description="Images at twice their size, by encoding and decoding them with a 2x decoder; opacity is kept.",
    inputs=(
        Input("image", "IMAGE", "Images, or the frames of a clip."),
        Input("vae", "VAE2X", "A 2x decoder, from Load VAE (vae2x)."),
        Input(
            "batch",
            "COMBO",
            "What several images are: images by themselves, or the frames of one clip.",
            options=lambda: ("images", "clip"),
            settings={"default": "images"},
        ),
        Input(
            "match_color",
            "BOOLEAN",
            "Gives the result the colours of the input.",
            settings={"default": True},
        ),
    ),
    outputs=(Output("image", "IMAGE", "At twice the size."),),
    run=run,
)
