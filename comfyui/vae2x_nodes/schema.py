"""What a node is: its inputs, its outputs and its function. `v3` and `classic` give it the form that ComfyUI wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CATEGORY = "vae2x"


@dataclass(frozen=True)
class Input:
    """A socket or a widget."""

    name: str
    # LATENT, IMAGE, AUDIO or VAE2X; or a widget: INT, FLOAT, STRING, BOOLEAN, COMBO.
    type: str
    tooltip: str
    optional: bool = False
    # Shown by ComfyUI only after a click, where it can do that.
    advanced: bool = False
    # The choices of a COMBO, which may change while ComfyUI runs.
    options: Callable[[], Sequence[str]] | None = None
    # default, min, max, step, placeholder
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Output:
    """A socket."""

    name: str
    type: str
    tooltip: str


@dataclass(frozen=True)
class Caller:
    """What an output node is told besides its inputs."""

    prompt: Any = None
    extra_pnginfo: Any = None


@dataclass(frozen=True)
class Result:
    """What a node returns: its outputs in order, and what the page shows below it."""

    values: tuple[Any, ...]
    ui: dict[str, Any] | None = None


@dataclass(frozen=True)
class Node:
    """A node. `run(caller, **inputs)` computes; an optional input that is not connected may be missing."""

    id: str
    display_name: str
    description: str
    inputs: Sequence[Input]
    outputs: Sequence[Output]
    run: Callable[..., Result]
    is_output: bool = False
    # Of the inputs; the node runs again when it changes.
    fingerprint: Callable[..., Any] | None = None
