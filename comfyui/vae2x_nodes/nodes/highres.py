"""Highres Latent (vae2x)."""

from __future__ import annotations

from typing import Any

from .. import host, latents
from ..models import LoadedVae
from ..schema import Caller, Input, Node, Output, Result


def run(caller: Caller, samples: Any, vae: LoadedVae) -> Result:
    """A latent of twice the size, with the axes of the one that came in."""
    array = latents.to_array(samples, vae.vae.z_dim)
    with host.Watched() as watch:
        large = vae.vae.refine(latents.to_vae2x(array, "raw"), progress=watch.progress, cancel=watch.cancel)
    values = large.raw()
    values = values.reshape(*array.shape[:-2], *values.shape[-2:])
    return Result((latents.from_array(values, like=samples),))


NODE = Node(
    id="Vae2xHighres",
    display_name="Highres Latent (vae2x)",
    description="The highres fix: a latent of twice the size for a second sampler, at a denoise of 0.3 to 0.6.",
    inputs=(
        Input("samples", "LATENT", "The latent of the first sampler."),
        Input("vae", "VAE2X", "A 2x decoder, from Load VAE (vae2x)."),
    ),
    outputs=(Output("samples", "LATENT", "For a second sampler of the same model."),),
    run=run,
)
