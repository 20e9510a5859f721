"""VAE Decode (vae2x)."""

from __future__ import annotations

from typing import Any

from .. import finishing, host, images, latents
from ..models import LoadedVae
from ..schema import Caller, Input, Node, Output, Result


def run(
    caller: Caller,
    samples: Any,
    vae: LoadedVae,
    scale: str,
    latent_space: str,
    color_vae: LoadedVae | None = None,
    color_image: Any = None,
) -> Result:
    """Decodes to an IMAGE, in which the frames of clips are images."""
    latent = latents.to_vae2x(latents.to_array(samples, vae.vae.z_dim), latent_space)
    finish = finishing.of(scale, color_vae, color_image)
    with host.Watched() as watch:
        pixels = vae.vae.decode(latent, progress=watch.progress, cancel=watch.cancel, **finish.options())
    return Result((images.from_array(pixels),))


NODE = Node(
    id="Vae2xDecode",
    display_name="VAE Decode (vae2x)",
    description="Decodes a latent to images, at the size of the decoder or reduced. For long clips, Decode to File "
    "needs much less memory.",
    inputs=(
        Input("samples", "LATENT", "A latent of 16 channels, image or clip."),
        Input("vae", "VAE2X", "From Load VAE (vae2x)."),
        *finishing.INPUTS,
    ),
    outputs=(Output("images", "IMAGE", "Images, or the frames of clips."),),
    run=run,
)
