"""Prompts in the API's form."""

from __future__ import annotations

from typing import Any

VAE = {"vae_name": "demo:2x", "hub_id": "", "device": "cpu", "dtype": "f32", "threads": 0}
FILE = {
    "filename_prefix": "checks/file",
    "format": "mp4 h264",
    "fps": 16.0,
    "in_background": False,
    "scale": "auto",
    "latent_space": "raw",
    "crf": -1,
    "pixel_format": "auto",
}

Graph = dict[str, Any]


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """One node."""
    return {"class_type": kind, "inputs": inputs}


def decode(latent: str, **options: Any) -> Graph:
    """A latent file to IMAGE to SaveImage, which is node 4."""
    settings = {"scale": "auto", "latent_space": "raw", **options}
    return {
        "1": node("LoadLatent", latent=latent),
        "2": node("Vae2xLoadVae", **VAE),
        "3": node("Vae2xDecode", samples=["1", 0], vae=["2", 0], **settings),
        "4": node("SaveImage", images=["3", 0], filename_prefix="checks/image"),
    }


def to_file(latent: str, **options: Any) -> Graph:
    """A latent file to Decode to File, which is node 3."""
    return {
        "1": node("LoadLatent", latent=latent),
        "2": node("Vae2xLoadVae", **VAE),
        "3": node("Vae2xDecodeToFile", samples=["1", 0], vae=["2", 0], **{**FILE, **options}),
    }
