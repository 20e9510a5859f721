"""The form that ComfyUI had before V3."""

from __future__ import annotations

from typing import Any

from .schema import CATEGORY, Caller, Input, Node

HIDDEN = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}


def classic_class(node: Node) -> type:
    """A class for `NODE_CLASS_MAPPINGS`."""

    def input_types(cls: type) -> dict[str, Any]:
        types: dict[str, Any] = {"required": {}, "optional": {}}
        for item in node.inputs:
            types["optional" if item.optional else "required"][item.name] = _input(item)
        if node.is_output:
            types["hidden"] = HIDDEN
        return types

    def execute(self: Any, prompt: Any = None, extra_pnginfo: Any = None, **inputs: Any) -> Any:
        result = node.run(Caller(prompt, extra_pnginfo), **inputs)
        return result.values if result.ui is None else {"ui": result.ui, "result": result.values}

    members = {
        "INPUT_TYPES": classmethod(input_types),
        "RETURN_TYPES": tuple(output.type for output in node.outputs),
        "RETURN_NAMES": tuple(output.name for output in node.outputs),
        "OUTPUT_TOOLTIPS": tuple(output.tooltip for output in node.outputs),
        "FUNCTION": "execute",
        "CATEGORY": CATEGORY,
        "DESCRIPTION": node.description,
        "OUTPUT_NODE": node.is_output,
        "execute": execute,
    }
    if node.fingerprint is not None:
        fingerprint = node.fingerprint
        members["IS_CHANGED"] = classmethod(lambda cls, **inputs: fingerprint(**inputs))
    return type(node.id, (), members)


def _input(item: Input) -> tuple[Any, dict[str, Any]]:
    settings: dict[str, Any] = {"tooltip": item.tooltip, **item.settings}
    if item.advanced:
        settings["advanced"] = True
    return (list(item.options()) if item.options else item.type, settings)
