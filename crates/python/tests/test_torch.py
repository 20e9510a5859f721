"""Tensors of PyTorch, and its memory."""

import numpy as np
import pytest
from conftest import latent_values, photo

import vae2x

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


def test_a_tensor_gives_what_an_array_gives(vae):
    values = latent_values(2, 16, 4, 5)
    expected = vae.decode(values, space="raw")
    tensor = torch.from_numpy(values)
    assert np.array_equal(vae.decode(tensor, space="raw"), expected)
    assert np.array_equal(vae.decode(tensor.requires_grad_(), space="raw"), expected)
    assert np.array_equal(vae.decode(tensor.detach().double(), space="raw"), expected)
    strided = tensor.detach().permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert not strided.is_contiguous()
    assert np.array_equal(vae.decode(strided, space="raw"), expected)
    half = vae.decode(tensor.detach().bfloat16(), space="raw")
    assert np.array_equal(half, vae.decode(tensor.detach().bfloat16().float(), space="raw"))


def test_results_are_tensors_without_a_copy(vae):
    decoded = vae.decode(latent_values(16, 4, 5), space="raw")
    for tensor in [torch.from_numpy(decoded), torch.from_dlpack(decoded)]:
        assert tensor.data_ptr() == decoded.ctypes.data
    assert torch.from_dlpack(vae.encode(photo(16, 16)).raw()).shape == (16, 2, 2)


def test_images_are_taken_as_tensors(vae):
    image = torch.from_numpy(photo(24, 16))
    assert np.array_equal(vae.encode(image).raw(), vae.encode(image.numpy()).raw())
    comfy = (image.float() / 255)[None]
    assert np.allclose(vae.encode(comfy).raw()[0], vae.encode(image).raw(), atol=1e-4)
