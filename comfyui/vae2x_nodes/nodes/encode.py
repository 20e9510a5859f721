"""VAE Encode (vae2x)."""

from __future__ import annotations

from typing import Any

from .. import host, images, latents
from ..models import LoadedVae
from ..schema import Caller, Input, Node, Output, Result


def run(caller: Caller, pixels: Any, vae: LoadedVae, batch: str, edges: str) -> Result:
    """Encodes to a raw latent of five axes, as ComfyUI's VAE Encode does for these models."""
    array = images.to_array(pixels)
    if not vae.vae.has_opacity:
        array = images.without_opacity(array)
    # A clip of one frame is an image, and models without time take images alone.
    is_clip = batch == "clip" and len(array) > 1
    with host.Watched() as watch:
        latent = vae.vae.encode(array, clip=is_clip, edges=edges, progress=watch.progress, cancel=watch.cancel)
    values = latent.raw()
    values = values[None] if is_clip else values[:, :, None]
    return Result((latents.from_array(values),))


NODE = Node(
    id="Vae2xEncode",
    display_name="VAE Encode (vae2x)",
    description="Encodes images or a clip to a latent for the samplers.",
    inputs=(
        Input("pixels", "IMAGE", "Images, or the frames of a clip."),
        Input("vae", "VAE2X", "From Load VAE (vae2x)."),
        Input(
            "batch",
            "COMBO",
            "What several images are: the frames of one clip (1 + 4 n of them are taken), or images by themselves.",
            options=lambda: ("clip", "images"),
            settings={"default": "clip"},
        ),
        Input(
            "edges",
            "COMBO",
            "What happens to sides that are not multiples of 8.",
            advanced=True,
            options=lambda: ("crop", "pad"),
            settings={"default": "crop"},
        ),
    ),
    outputs=(Output("samples", "LATENT", "A raw latent [B, 16, T, h, w]."),),
    run=run,
)
