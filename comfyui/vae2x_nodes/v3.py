"""The V3 form, for versions of ComfyUI that have it."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .schema import CATEGORY, Caller, Input, Node

TYPES = {
    "LATENT": io.Latent,
    "IMAGE": io.Image,
    "AUDIO": io.Audio,
    "INT": io.Int,
    "FLOAT": io.Float,
    "STRING": io.String,
    "BOOLEAN": io.Boolean,
    "COMBO": io.Combo,
}


def v3_class(node: Node) -> type:
    """A class for `ComfyExtension.get_node_list`."""

    def define_schema(cls: type) -> Any:
        return io.Schema(
            node_id=node.id,
            display_name=node.display_name,
            category=CATEGORY,
            description=node.description,
            inputs=[_input(item) for item in node.inputs],
            outputs=[
                _type(output.type).Output(display_name=output.name, tooltip=output.tooltip) for output in node.outputs
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo] if node.is_output else [],
            is_output_node=node.is_output,
        )

    def execute(cls: Any, **inputs: Any) -> Any:
        caller = Caller(cls.hidden.prompt, cls.hidden.extra_pnginfo) if node.is_output else Caller()
        result = node.run(caller, **inputs)
        return io.NodeOutput(*result.values, ui=result.ui)

    members = {"define_schema": classmethod(define_schema), "execute": classmethod(execute)}
    if node.fingerprint is not None:
        fingerprint = node.fingerprint
        members["fingerprint_inputs"] = classmethod(lambda cls, **inputs: fingerprint(**inputs))
    made = type(node.id, (io.ComfyNode,), members)
    # Fails here, and not in ComfyUI, if the schema has changed.
    made.GET_SCHEMA()
    return made


def _type(name: str) -> Any:
    return TYPES.get(name) or io.Custom(name)


def _input(item: Input) -> Any:
    settings = dict(item.settings)
    if item.options:
        settings["options"] = list(item.options())
    made = _type(item.type).Input(item.name, optional=item.optional, tooltip=item.tooltip, **settings)
    if item.advanced:
        # An argument in newer versions only; this gives the same JSON in all.
        made.extra_dict = {**(made.extra_dict or {}), "advanced": True}
    return made
