"""Uses of the package that mypy checks."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import vae2x


def decode(path: Path) -> NDArray[Any]:
    vae: vae2x.Vae = vae2x.Vae.open("demo:2x", device="cpu", threads=2, memory=1 << 30)
    latent: vae2x.Latent = vae2x.Latent.open(path, space="raw")
    values: NDArray[np.float32] = latent.normalized()
    image: NDArray[Any] = vae.decode(values, space="normalized", dtype="uint8", scale=1, match_color=vae)
    with vae.decoder(latent, cancel=threading.Event()) as frames:
        height, width, channels = frames.frame_shape
        for frame in frames:
            print(frame.shape, len(frames), height + width + channels)
    files: list[Path] = vae.decode_to_file(latent, "clip.mp4", fps=16, audio=path, metadata={"prompt": {}}, progress=print)
    encoded: vae2x.Latent = vae.encode(image, edges="pad")
    space: str = encoded.save(files[0])
    refined: vae2x.Latent = vae.refine(encoded)
    large: NDArray[Any] = vae.upscale(image, match_color=True)
    print(space, refined.shape, refined.metadata)
    return large


def wrong(vae: vae2x.Vae) -> None:
    vae.decode("latent", space="cooked")  # type: ignore[arg-type]
    vae.decode("latent", size=2)  # type: ignore[call-arg]
    vae.frames()  # type: ignore[attr-defined]
    number: int = vae.scale + vae.name  # type: ignore[operator]
    print(number)


try:
    decode(Path("clip.latent"))
except vae2x.Cancelled:
    pass
except vae2x.Error as error:
    print(error)
