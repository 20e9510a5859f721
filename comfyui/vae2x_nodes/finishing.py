"""What is done to decoded frames, from the inputs that Decode and Decode to File share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import images
from .latents import SPACES
from .models import LoadedVae
from .schema import Input

SCALES = ("auto", "1", "2", "4")

INPUTS = (
    Input(
        "scale",
        "COMBO",
        "The size of the result in multiples of the base resolution; auto is the decoder's own. At 1, a 2x decoder's "
        "result is reduced, which is finer than a base decoder's.",
        options=lambda: SCALES,
        settings={"default": "auto"},
    ),
    Input(
        "latent_space",
        "COMBO",
        "raw is what ComfyUI's samplers return; WanVideoWrapper's are normalized; auto looks at the statistics.",
        advanced=True,
        options=lambda: SPACES,
        settings={"default": "raw"},
    ),
    Input("color_vae", "VAE2X", "A base decoder whose colours the result takes.", optional=True),
    Input("color_image", "IMAGE", "An image of the same view whose colours the result takes.", optional=True),
)


@dataclass(frozen=True)
class Finish:
    """Size and colours of the result."""

    scale: int | None = None
    color_vae: LoadedVae | None = None
    color_image: np.ndarray | None = None

    def options(self) -> dict[str, Any]:
        """Arguments for `Vae.decode` and its like."""
        match = self.color_image if self.color_vae is None else self.color_vae.vae
        return {"scale": self.scale, "match_color": match}


def of(scale: str, color_vae: LoadedVae | None, color_image: Any) -> Finish:
    """From a node's inputs."""
    if color_vae is not None and color_image is not None:
        raise ValueError("color_vae and color_image exclude each other; disconnect one")
    image = None if color_image is None else images.without_opacity(images.to_array(color_image))
    return Finish(None if scale == "auto" else int(scale), color_vae, image)
