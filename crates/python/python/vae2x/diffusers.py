"""vae2x as the decoder of a pipeline of diffusers.

    import torch
    import vae2x.diffusers
    from diffusers import QwenImagePipeline

    pipe = QwenImagePipeline.from_pretrained("Qwen/Qwen-Image", torch_dtype=torch.bfloat16)
    vae2x.diffusers.attach(pipe, "spacepxl/Wan2.1-VAE-upscale2x")
    image = pipe("a lighthouse at dusk").images[0]        # at twice the size that was asked for
    image.save("lighthouse.png")

It needs PyTorch. Pipelines whose VAE is that of Wan2.1 or Qwen-Image are meant, for images and for clips; QwenImageLayeredPipeline,
whose VAE has a channel for opacity, is refused.
"""

from __future__ import annotations

import os
from typing import Any

import torch

from ._errors import BadRequest
from ._vae import Event, Progress, Vae

__all__ = ["DecoderOutput", "PipelineVae", "attach"]


class DecoderOutput(tuple[torch.Tensor]):
    """What `decode` returns: a tuple of the frames `[B, 3, T, H, W]` in [-1, 1], which are `sample` as well."""

    @property
    def sample(self) -> torch.Tensor:
        """The frames."""
        return self[0]


class PipelineVae(torch.nn.Module):
    """A pipeline's VAE whose decoder is vae2x. All else is the pipeline's own: its encoder, its configuration, its settings."""

    def __init__(
        self,
        own: torch.nn.Module,
        vae: Vae,
        *,
        scale: int | None = None,
        match_color: Vae | None = None,
        progress: Progress | None = None,
        cancel: Event | None = None,
    ) -> None:
        """Wraps `own`. `scale`, `match_color`, `progress` and `cancel` are those of `Vae.decode`."""
        super().__init__()
        if vae.has_opacity:
            raise BadRequest(f"{vae.name} has a channel for opacity; pipelines of images and clips need one without")
        self.own = own
        self.vae = vae
        self.options: dict[str, Any] = {
            "scale": scale,
            "match_color": match_color,
            "progress": progress,
            "cancel": cancel,
        }

    @property
    def config(self) -> Any:
        """The configuration of the pipeline's own VAE."""
        return self.own.config

    @property
    def dtype(self) -> torch.dtype:
        """float32, so that latents are not rounded on their way to the decoder."""
        return torch.float32

    @property
    def device(self) -> Any:
        """The device of the pipeline's own VAE."""
        return self.own.device

    def decode(self, z: torch.Tensor, return_dict: bool = True, **_: Any) -> Any:
        """Decodes raw latents `[B, 16, T, h, w]` to frames `[B, 3, 1 + 4 (T - 1), H, W]` in [-1, 1], on the latents' device."""
        pixels = torch.from_numpy(self.vae.decode(z, space="raw", **self.options))
        frames = pixels.movedim(-1, 1).to(z.device).mul(2).sub(1)
        return DecoderOutput((frames,)) if return_dict else (frames,)

    def encode(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Encodes as the pipeline's own VAE does."""
        # As accelerate's hooks wrap `forward` alone.
        hook = getattr(self, "_hf_hook", None)
        if hook is not None:
            hook.pre_forward(self)
        return self.own.encode(x.to(self.own.dtype), *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "own":
                raise
            return getattr(self.own, name)


def attach(
    pipe: Any,
    vae: Vae | str | os.PathLike[str],
    *,
    scale: int | None = None,
    match_color: Vae | None = None,
    progress: Progress | None = None,
    cancel: Event | None = None,
) -> Any:
    """Makes vae2x the decoder of a pipeline, and returns the pipeline.

    `vae` is a `Vae`, or what `Vae.open` takes. With a 2x decoder, images have twice the size that the pipeline is asked for, unless
    `scale` is 1. `pipe.vae = pipe.vae.own` undoes it.
    """
    own = pipe.vae.own if isinstance(pipe.vae, PipelineVae) else pipe.vae
    model = vae if isinstance(vae, Vae) else Vae.open(vae)
    if own.config.z_dim != model.z_dim:
        raise BadRequest(f"{model.name} has latents of {model.z_dim} channels, those of the pipeline have {own.config.z_dim}")
    pipe.vae = PipelineVae(own, model, scale=scale, match_color=match_color, progress=progress, cancel=cancel)
    return pipe
