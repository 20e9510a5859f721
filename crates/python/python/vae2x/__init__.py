"""Decode, encode and upscale with the VAE of Wan2.1, Wan2.2-14B, Qwen-Image, Krea 2 and Anima.

    import vae2x

    vae = vae2x.Vae.open("demo:2x")
    image = vae.decode(vae2x.Latent.open("picture.latent"))

Pixels are numpy arrays with channels last, `[..., H, W, 3]`, as float32 in [0, 1], uint8 or uint16. Whatever can become a
numpy array is taken: torch tensors of any device and type, images of Pillow, anything with DLPack.

Latents are `[16, h, w]`, `[B, 16, h, w]`, `[16, T, h, w]` or `[B, 16, T, h, w]`, and what comes out has the same axes in
front: `[16, h, w]` gives `[H, W, 3]`, `[B, 16, T, h, w]` gives `[B, 1 + 4 (T - 1), H, W, 3]`.

Notes and warnings go to the logger "vae2x".
"""

from . import _errors
from ._errors import (
    BadFile,
    BadRequest,
    Cancelled,
    DeviceError,
    Error,
    FetchError,
    FileError,
    MissingFeature,
    NotThisModel,
    OutOfMemory,
)
from ._latent import Latent
from ._vae import Vae, find_ffmpeg
from ._vae2x import FrameIterator, __version__

# Where users find them.
for _error in vars(_errors).values():
    if isinstance(_error, type):
        _error.__module__ = __name__

__all__ = [
    "BadFile",
    "BadRequest",
    "Cancelled",
    "DeviceError",
    "Error",
    "FetchError",
    "FileError",
    "FrameIterator",
    "Latent",
    "MissingFeature",
    "NotThisModel",
    "OutOfMemory",
    "Vae",
    "__version__",
    "find_ffmpeg",
]
