"""Prints scikit-image's SSIM of pictures made by formula: the constants in crates/compare/src/metrics/ssim.rs.

    pip install scikit-image numpy; python tools/reference/metrics.py
"""
import numpy as np
from skimage.metrics import structural_similarity

MASK = (1 << 64) - 1


def unit(key: str, count: int) -> np.ndarray:
    """vae2x_core::weights::formula::unit."""
    seed = 0xCBF29CE484222325
    for byte in key.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & MASK
    out = np.empty(count, np.float64)
    for i in range(count):
        z = (seed + i + 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        z ^= z >> 31
        out[i] = (z >> 40) / 2.0**23 - 1.0
    return out.astype(np.float32)


def ssim(x: np.ndarray, y: np.ndarray) -> float:
    x, y = (np.clip((v.astype(np.float64) + 1) / 2, 0, 1).reshape(3, 16, 20) for v in (x, y))
    return structural_similarity(
        x, y, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
    )


a, b = unit("a", 960), unit("b", 960)
print("MIXED", ssim(a, np.float32(0.8) * a + np.float32(0.2) * b))
print("DARKER", ssim(a, np.float32(0.5) * a - np.float32(0.4)))
print("UNRELATED", ssim(a, b))
