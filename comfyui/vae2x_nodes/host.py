"""ComfyUI, as far as the nodes need it. Nothing else here calls it, and nothing is inherited from it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

log = logging.getLogger("vae2x")

# The parts of a progress bar.
STEPS = 1000


def vae_files() -> list[str]:
    """The names of the files in `models/vae`."""
    import folder_paths

    return folder_paths.get_filename_list("vae")


def vae_path(name: str) -> str | None:
    """The path of a file in `models/vae`."""
    import folder_paths

    return folder_paths.get_full_path("vae", name)


def new_output(prefix: str, width: int, height: int) -> tuple[Path, str, str, int]:
    """The folder, its name below the output folder, the start of the file's name, and its number."""
    import folder_paths

    root = folder_paths.get_output_directory()
    folder, name, number, subfolder, _ = folder_paths.get_save_image_path(prefix, root, width, height)
    return Path(folder), subfolder, name, number


def keeps_metadata() -> bool:
    """Whether files may hold the prompt and the workflow."""
    try:
        from comfy.cli_args import args
    except ImportError:
        return True
    return not args.disable_metadata


def executing() -> tuple[str | None, str | None]:
    """The ids of the prompt and of the node that is executed."""
    try:
        from comfy_execution.utils import get_executing_context
    except ImportError:
        return None, None
    context = get_executing_context()
    return (None, None) if context is None else (context.prompt_id, context.node_id)


class Interrupt:
    """Is set when the user has interrupted the prompt."""

    def is_set(self) -> bool:
        """Whether the work is to stop."""
        import comfy.model_management

        return comfy.model_management.processing_interrupted()


class Watched:
    """A block of work that moves the node's progress bar and that Interrupt stops: `with Watched() as watch`.

    `progress` and `cancel` are for vae2x. When the user interrupts, the block ends with ComfyUI's exception.
    """

    def __init__(self) -> None:
        import comfy.utils

        self.cancel = Interrupt()
        self._bar = comfy.utils.ProgressBar(STEPS)

    def progress(self, fraction: float) -> None:
        """Moves the bar."""
        self._bar.update_absolute(round(fraction * STEPS), STEPS)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        import vae2x

        if isinstance(error, vae2x.Cancelled):
            raise_if_interrupted()


def raise_if_interrupted() -> None:
    """Raises ComfyUI's exception if the user has interrupted the prompt."""
    import comfy.model_management

    comfy.model_management.throw_exception_if_processing_interrupted()


def _server() -> Any:
    from server import PromptServer

    return getattr(PromptServer, "instance", None)


def show_text(node_id: str | None, text: str) -> None:
    """Shows a line on a node in every page."""
    try:
        server = _server()
        if server is not None and node_id is not None and hasattr(server, "send_progress_text"):
            server.send_progress_text(text, node_id)
    except Exception as error:  # The loop may be closed already.
        log.debug("the text of node %s was not sent: %s", node_id, error)


def send(event: str, data: dict[str, Any]) -> None:
    """Sends an event to every page."""
    try:
        server = _server()
        if server is not None:
            server.send_sync(event, data)
    except Exception as error:  # The loop may be closed already.
        log.debug("the event %s was not sent: %s", event, error)


def route_table() -> Any:
    """Where routes are added, or None without a server."""
    try:
        server = _server()
    except ImportError:
        return None
    return None if server is None else server.routes


def core_count() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
