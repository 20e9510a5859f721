"""The form of the nodes that the installed ComfyUI takes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from .classic import classic_class
from .schema import Node

log = logging.getLogger("vae2x")


def entrypoint(nodes: Sequence[Node]) -> Callable[[], Any] | None:
    """What ComfyUI calls for nodes in the V3 form; None if it does not have that form."""
    try:
        from comfy_api.latest import ComfyExtension
    except ImportError:
        return None
    try:
        from .v3 import v3_class

        classes = [v3_class(node) for node in nodes]
    except Exception as error:  # noqa: BLE001, the schema of V3 is not stable yet
        log.warning("vae2x: the nodes take their classic form, as V3 has changed: %s", error)
        return None

    class Vae2xExtension(ComfyExtension):
        """The nodes."""

        async def get_node_list(self) -> list[type]:
            return classes

    async def comfy_entrypoint() -> Vae2xExtension:
        return Vae2xExtension()

    return comfy_entrypoint


def mappings(nodes: Sequence[Node]) -> tuple[dict[str, type], dict[str, str]]:
    """`NODE_CLASS_MAPPINGS` and `NODE_DISPLAY_NAME_MAPPINGS`."""
    return {node.id: classic_class(node) for node in nodes}, {node.id: node.display_name for node in nodes}
