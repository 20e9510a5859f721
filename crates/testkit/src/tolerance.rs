//! How far results may be from their reference, as relative L2 errors, each with its reason.

/// The burn modules in `f32` against `float64` goldens. PyTorch's own `f32` is about 1e-6 away through this depth; other
/// orders of summation cost a little more.
pub const BURN_F32: f64 = 5e-6;

/// The CPU engine: Winograd transforms F(4x4, 3x3) lose up to two bits per layer.
pub const CPU_F32: f64 = 3e-5;

/// The CPU engine with the large convolutions' weights rounded to bf16: 8 bits of mantissa, so 2e-3 per weight, which
/// mostly average out in a sum.
pub const CPU_BF16: f64 = 1.5e-2;

/// The program with its default engine.
pub const PROGRAM_F32: f64 = BURN_F32;

/// Weights rounded to bf16 (8 bits of mantissa, so 2e-3 each), through the depth of the network.
pub const BF16_WEIGHTS: f64 = 3e-2;
