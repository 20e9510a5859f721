//! How far results may be from their reference, as relative L2 errors, each with its reason.

/// The burn modules in `f32` against `float64` goldens. PyTorch's own `f32` is about 1e-6 away through this depth; other
/// orders of summation cost a little more.
pub const BURN_F32: f64 = 5e-6;

/// The burn modules in `f32` on devices that choose among kernels, each with its own order of summation.
pub const GPU_F32: f64 = 1e-5;

/// An image in bands against the whole one: on the CPU, Winograd's tiles begin at a band's first row, and round as such transforms do
/// (half of what goldens may differ by); elsewhere, matrix products of other sizes may be tiled differently.
pub const BANDS_F32: f64 = 5e-6;

/// As [`BANDS_F32`], computed in `f64` and compared as `f32`: only the last rounding may differ.
pub const BANDS_F64: f64 = 5e-8;

/// Decoding in `f16` (11 bits of mantissa, so 5e-4 a step) or `bf16` (8 bits, 4e-3) against `f32`, through the depth of the
/// network with its norms in `f32`.
pub const F16: f64 = 5e-3;
/// As [`F16`], with convolutions that also sum in `f16`, as burn's direct ones do on GPUs: thousands of terms each.
pub const F16_SUMS: f64 = 2e-2;
/// As [`F16`].
pub const BF16: f64 = 4e-2;

/// The transformers in `f32` against `float64` goldens: two layers, whose softmaxes and norms round more than convolutions do.
pub const TRANSFORMER_F32: f64 = 1e-5;

/// The CPU engine: Winograd transforms F(4x4, 3x3) lose up to two bits per layer.
pub const CPU_F32: f64 = 3e-5;

/// The CPU engine with the large convolutions' weights rounded to bf16: 8 bits of mantissa, so 2e-3 per weight, which
/// mostly average out in a sum.
pub const CPU_BF16: f64 = 1.5e-2;

/// The program with its default engine, the CPU engine, on the tiny models: their few narrow layers lose less than the full
/// model's, which [`CPU_F32`] allows for.
pub const PROGRAM_F32: f64 = 5e-6;

/// Weights rounded to bf16 (8 bits of mantissa, so 2e-3 each), through the depth of the network.
pub const BF16_WEIGHTS: f64 = 3e-2;

/// Values of losses in `f32` against `float64` goldens, relative: sums of some 10^5 rounded terms.
pub const LOSS_VALUE: f64 = 1e-5;

/// Gradients of losses, through up to 16 convolutions.
pub const LOSS_GRADIENT: f64 = 1e-4;

/// Gradients of distances between sorted values in `f32`: each pair counts as its difference's sign, which rounding may turn where
/// the difference is next to nothing. One turned sign among some 10^5 moves the gradient by 7e-3.
pub const SORTED_GRADIENT: f64 = 2e-2;

/// Distances of angles where bins lie at their cut, and may land on either side of it: rounding in the features decides.
pub const PHASE_VALUE: f64 = 2e-2;

/// Gradients of angles: bins of small magnitude amplify rounding, and bins at the cut of the angle may land on its other side.
pub const PHASE_GRADIENT: f64 = 1e-1;

/// Training in `f32` against float64: gradients of the first step, losses of the first ten.
pub const TRAINING: f64 = 1e-3;

/// The gradient's norm over ten steps: it falls to a fortieth of its first value, and what is left feels the drift of the weights.
pub const TRAINING_NORM: f64 = 1e-2;

/// Gradients through networks that compute in `bf16` (8 bits of mantissa, so 4e-3 a step) against `f32`, there and back.
pub const BF16_GRADIENT: f64 = 1e-1;

/// One convolution in `f32`, and its gradients, in two orders of summation: sums of thousands of terms of either sign.
pub const CONV_F32: f64 = 1e-5;

/// Gradients of two ranks against those of one with all samples, in `f32`: the same terms, summed in another order.
pub const RANKS_GRADIENT: f64 = 1e-4;

/// What a few steps of two ranks change against one rank's: AdamW divides by small roots, which amplifies the rounding of small
/// gradients.
pub const RANKS_CHANGE: f64 = 2e-2;
