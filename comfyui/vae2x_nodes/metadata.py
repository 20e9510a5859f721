"""The prompt and the workflow, as ComfyUI's own nodes put them into files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def texts(prompt: Any, extra_pnginfo: Mapping[str, Any] | None, keep: bool = True) -> dict[str, str]:
    """Texts in JSON by their keys; none if they are not to be kept."""
    if not keep:
        return {}
    found = {} if prompt is None else {"prompt": json.dumps(prompt)}
    for key, value in (extra_pnginfo or {}).items():
        found[key] = json.dumps(value)
    return found
