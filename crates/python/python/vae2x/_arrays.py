"""From what users have to contiguous numpy arrays. numpy is imported when it is first needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._errors import BadRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def to_numpy(value: Any) -> NDArray[Any]:
    """A numpy array of a tensor, an array or nested lists, without a copy where that is possible."""
    import numpy as np

    if isinstance(value, np.ndarray):
        return value
    # PyTorch's: its gradient, its device and its bfloat16 are unknown to numpy.
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        array: NDArray[Any] = value.numpy()
        return array
    if hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    return np.asarray(value)


def latent_values(value: Any) -> NDArray[np.float32]:
    """The values of a latent."""
    import numpy as np

    array = to_numpy(value)
    if array.dtype.kind not in "fiu":
        raise BadRequest(f"latent: expected numbers, found {array.dtype}")
    return np.ascontiguousarray(array, dtype=np.float32)


def pixel_values(value: Any) -> NDArray[Any]:
    """Pixels as uint8, uint16 or float32, with channels last."""
    import numpy as np

    array = to_numpy(value)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.ndim < 3 or array.shape[-1] not in (3, 4):
        raise BadRequest(f"images: expected [..., H, W, 3] or 4 channels with opacity, found shape {list(array.shape)}")
    if array.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(array)
    if array.dtype.kind != "f":
        raise BadRequest(f"images: expected uint8, uint16 or floats in [0, 1], found {array.dtype}")
    if not np.isfinite(array).all():
        raise BadRequest("images: values are not finite")
    return np.ascontiguousarray(array, dtype=np.float32)
