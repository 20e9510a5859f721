"""Load VAE (vae2x)."""

from __future__ import annotations

from typing import Any

from .. import host, models
from ..models import Spec
from ..schema import Caller, Input, Node, Output, Result


def weights_of(vae_name: str, hub_id: str) -> str:
    """What is opened: a path, or a name that vae2x knows."""
    if hub_id.strip():
        return hub_id.strip()
    if vae_name in models.DEMOS or vae_name in models.HUB:
        return vae_name
    path = host.vae_path(vae_name)
    if path is None:
        raise FileNotFoundError(f"{vae_name} is not in ComfyUI/models/vae")
    return path


def run(caller: Caller, vae_name: str, hub_id: str, device: str, dtype: str, threads: int) -> Result:
    """Opens the weights."""
    weights = weights_of(vae_name, hub_id)
    spec = Spec(weights, device, dtype, threads, models.stamp(weights))
    with host.Watched() as watch:
        loaded = models.open_vae(spec, watch.progress, watch.cancel)
    return Result((loaded,))


def fingerprint(vae_name: str, hub_id: str = "", **others: Any) -> Any:
    """Changes with the file."""
    try:
        return str(models.stamp(weights_of(vae_name, hub_id)))
    except FileNotFoundError:
        return vae_name


NODE = Node(
    id="Vae2xLoadVae",
    display_name="Load VAE (vae2x)",
    description="Opens the VAE of Wan2.1, Wan2.2-14B, Qwen-Image, Krea 2 or Anima, or a 2x decoder for their latents.",
    inputs=(
        Input(
            "vae_name",
            "COMBO",
            "A file of models/vae, a model of the Hugging Face hub, which is fetched once, or a small demo model.",
            options=lambda: [*host.vae_files(), *models.HUB, *models.DEMOS],
        ),
        Input(
            "hub_id",
            "STRING",
            "Any model of the Hugging Face hub, owner/name or owner/name:file, or a path; taken instead of vae_name.",
            settings={"default": "", "placeholder": "owner/name, if not in the list"},
        ),
        Input(
            "device",
            "COMBO",
            "Where it computes. GPUs need a build of vae2x for them; the wheel's is for the CPU.",
            advanced=True,
            options=lambda: models.DEVICES,
            settings={"default": "auto"},
        ),
        Input(
            "dtype",
            "COMBO",
            "The precision of the decoder's weights; bf16 halves their memory.",
            advanced=True,
            options=lambda: models.DTYPES,
            settings={"default": "f32"},
        ),
        Input(
            "threads",
            "INT",
            "Threads on the CPU; 0 is all cores, and in the background all but one.",
            advanced=True,
            settings={"default": 0, "min": 0, "max": 1024},
        ),
    ),
    outputs=(Output("vae", "VAE2X", "For the other nodes of vae2x."),),
    run=run,
    fingerprint=fingerprint,
)
