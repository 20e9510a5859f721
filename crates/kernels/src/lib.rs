//! The SIMD kernels of the CPU engine and of training on the CPU: the only unsafe code of the workspace.
//!
//! Each is written once over [`simd::Simd`] and compiled for every instruction set; `scalar.rs` is the definition. The
//! functions here are safe: they check that slices are long enough for the strides they come with, and run the instance
//! that the [`Isa`] proves the CPU to have. Layouts are described in `gemm.rs` and `winograd.rs`.
#![allow(unsafe_code)]
// Kernels index small arrays by the number of an element; that number is also an address.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod expand;
mod gemm;
mod isa;
mod memory;
#[cfg(target_arch = "aarch64")]
mod neon;
mod peak;
mod pointwise;
mod scalar;
mod simd;
#[cfg(test)]
mod tests;
mod time;
mod train;
mod transpose;
mod winograd;

pub use expand::{Expand, Kept, TAPS};
pub use gemm::{Gemm, Outer};
pub use isa::{ISA_VARIABLE, Isa};
pub use memory::keep_freed_memory;
pub use peak::Peak;
pub use pointwise::{Bias, Norm, Softmax};
pub use simd::{BLOCK, padded};
pub use time::{PAST, TIME_TAPS, TimeIn, TimeOut, TimeWeights};
pub use train::Collapse;
pub use transpose::{FromPixels, ToPixels};
pub use winograd::{ELEMENTS2, ELEMENTS4, Input, Output, STEP2, STEP3, STEP4, WINDOW2, WINDOW4};

use crate::isa::Kind;

/// The body of [`simd::Simd::micro`]: a tile of constant size for every number of rows.
macro_rules! micro_tiles {
    ($s:expr, $rows:expr, $panels:expr, $tile:expr, $order:ident, $list:tt, $($p:literal => $nv:literal),+) => {
        match $panels {
            $($p => $crate::micro_tiles!(@rows $s, $rows, $tile, $order, $nv, $list),)+
            _ => unreachable!("no inner tile of so many panels"),
        }
    };
    (@rows $s:expr, $rows:expr, $tile:expr, $order:ident, $nv:literal, [$($r:literal)+]) => {
        match $rows {
            $($r => $crate::gemm::micro::<Self, $r, $nv, $order>($s, $tile),)+
            _ => unreachable!("no inner tile of so many rows"),
        }
    };
}
use micro_tiles;

/// The kernels compiled for one instruction set: functions that may only be called where the CPU has it.
macro_rules! instances {
    ($name:ident, $token:expr $(, $features:literal)?) => {
        $crate::instances!(@one gemm, $crate::Gemm<'_>, $crate::gemm::gemm, $token $(, $features)?);
        $crate::instances!(@one outer, $crate::Outer<'_>, $crate::gemm::outer, $token $(, $features)?);
        $crate::instances!(@one output3, $crate::Output<'_, '_>, $crate::winograd::output3, $token $(, $features)?);
        $crate::instances!(@one slope3, $crate::Input<'_, 3>, $crate::train::slope3, $token $(, $features)?);
        $crate::instances!(@one slope4, $crate::Input<'_, 4>, $crate::train::slope4, $token $(, $features)?);
        $crate::instances!(@one collapse, $crate::Collapse<'_>, $crate::train::collapse, $token $(, $features)?);
        $crate::instances!(@one to_pixels, $crate::ToPixels<'_>, $crate::transpose::to_pixels, $token $(, $features)?);
        $crate::instances!(@one from_pixels, $crate::FromPixels<'_, '_>, $crate::transpose::from_pixels, $token $(, $features)?);
        $crate::instances!(@one input4, $crate::Input<'_, 6>, $crate::winograd::input4, $token $(, $features)?);
        $crate::instances!(@one output4, $crate::Output<'_, '_>, $crate::winograd::output4, $token $(, $features)?);
        $crate::instances!(@one input2, $crate::Input<'_, 3>, $crate::winograd::input2, $token $(, $features)?);
        $crate::instances!(@one output2, $crate::Output<'_, '_>, $crate::winograd::output2, $token $(, $features)?);
        $crate::instances!(@one expand, $crate::Expand<'_>, $crate::expand::expand, $token $(, $features)?);
        $crate::instances!(@one norm, $crate::Norm<'_>, $crate::pointwise::norm, $token $(, $features)?);
        $crate::instances!(@one bias, $crate::Bias<'_>, $crate::pointwise::bias, $token $(, $features)?);
        $crate::instances!(@one softmax, $crate::Softmax<'_>, $crate::pointwise::softmax, $token $(, $features)?);
        $crate::instances!(@one time_in, $crate::TimeIn<'_>, $crate::time::time_in, $token $(, $features)?);
        $crate::instances!(@one time_weights, $crate::TimeWeights<'_>, $crate::time::time_weights, $token $(, $features)?);
        $crate::instances!(@one time_out, $crate::TimeOut<'_>, $crate::time::time_out, $token $(, $features)?);
        $crate::instances!(@one peak, $crate::Peak, $crate::peak::peak, $token $(, $features)?);
    };
    (@one $f:ident, $job:ty, $generic:path, $token:expr $(, $features:literal)?) => {
        $(#[target_feature(enable = $features)])?
        pub(super) fn $f(job: &mut $job) {
            $generic($token, job);
        }
    };
}
use instances;

/// Runs the instance of a kernel that `isa` proves the CPU to have.
macro_rules! dispatch {
    ($isa:expr, $f:ident, $job:expr) => {
        match $isa.kind() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` of this kind exists only where the CPU has AVX-512F.
            Kind::Avx512 => unsafe { avx512::$f($job) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` of this kind exists only where the CPU has AVX2 and FMA.
            Kind::Avx2 => unsafe { avx2::$f($job) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: an `Isa` of this kind exists only where the CPU has NEON.
            #[allow(unused_unsafe)]
            Kind::Neon => unsafe { neon::$f($job) },
            _ => scalar::$f($job),
        }
    };
}

/// `C [+]= A W`.
///
/// # Panics
/// If a slice is too short.
pub fn gemm(isa: Isa, mut job: Gemm<'_>) {
    job.check();
    dispatch!(isa, gemm, &mut job);
}

/// `C [+]= A^T W` for 16 rows of `C`.
///
/// # Panics
/// If a slice is too short.
pub fn outer(isa: Isa, mut job: Outer<'_>) {
    job.check();
    dispatch!(isa, outer, &mut job);
}

/// Gradients of 4x4 pixels to those of the tile's 36 elements: the adjoint of [`output4`].
///
/// # Panics
/// If a slice is too short.
pub fn slope4(isa: Isa, mut job: Input<'_, STEP4>) {
    job.check(ELEMENTS4);
    dispatch!(isa, slope4, &mut job);
}

/// 36 elements to each 3x3 tile's pixels.
///
/// # Panics
/// If a slice is too short.
pub fn output3(isa: Isa, mut job: Output<'_, '_>) {
    job.check(STEP3, ELEMENTS4);
    dispatch!(isa, output3, &mut job);
}

/// Gradients of 3x3 pixels to those of the tile's 36 elements: the adjoint of [`output3`].
///
/// # Panics
/// If a slice is too short.
pub fn slope3(isa: Isa, mut job: Input<'_, STEP3>) {
    job.check(ELEMENTS4);
    dispatch!(isa, slope3, &mut job);
}

/// Gradients of the weights' 36 elements to those of their taps: the adjoint of [`expand`].
///
/// # Panics
/// If the lengths disagree.
pub fn collapse(isa: Isa, mut job: Collapse<'_>) {
    job.check();
    dispatch!(isa, collapse, &mut job);
}

/// Rows of up to 16 planes to one row of pixels.
///
/// # Panics
/// If a slice is too short.
pub fn to_pixels(isa: Isa, mut job: ToPixels<'_>) {
    job.check();
    dispatch!(isa, to_pixels, &mut job);
}

/// A row of pixels to rows of up to 16 planes.
///
/// # Panics
/// If a slice is too short.
pub fn from_pixels(isa: Isa, mut job: FromPixels<'_, '_>) {
    job.check();
    dispatch!(isa, from_pixels, &mut job);
}

/// Taps to the 36 elements of the weights.
///
/// # Panics
/// If the lengths disagree.
pub fn expand(isa: Isa, mut job: Expand<'_>) {
    job.check();
    dispatch!(isa, expand, &mut job);
}

/// Pixels to the 36 elements of each tile.
///
/// # Panics
/// If a slice is too short.
pub fn input4(isa: Isa, mut job: Input<'_, WINDOW4>) {
    job.check(ELEMENTS4);
    dispatch!(isa, input4, &mut job);
}

/// 36 elements to each 4x4 tile's pixels.
///
/// # Panics
/// If a slice is too short.
pub fn output4(isa: Isa, mut job: Output<'_, '_>) {
    job.check(STEP4, ELEMENTS4);
    dispatch!(isa, output4, &mut job);
}

/// Pixels to the 9 elements of what each becomes when enlarged.
///
/// # Panics
/// If a slice is too short.
pub fn input2(isa: Isa, mut job: Input<'_, WINDOW2>) {
    job.check(ELEMENTS2);
    dispatch!(isa, input2, &mut job);
}

/// 9 elements to 2x2 pixels.
///
/// # Panics
/// If a slice is too short.
pub fn output2(isa: Isa, mut job: Output<'_, '_>) {
    job.check(STEP2, ELEMENTS2);
    dispatch!(isa, output2, &mut job);
}

/// RMS norm over the channels of each pixel, with or without SiLU.
///
/// # Panics
/// If the lengths disagree.
pub fn norm(isa: Isa, mut job: Norm<'_>) {
    job.check();
    dispatch!(isa, norm, &mut job);
}

/// Adds the bias, and a residual if there is one.
///
/// # Panics
/// If the lengths disagree.
pub fn bias(isa: Isa, mut job: Bias<'_>) {
    job.check();
    dispatch!(isa, bias, &mut job);
}

/// One block of a row of a running softmax.
///
/// # Panics
/// If a length is not a multiple of 16.
pub fn softmax(isa: Isa, mut job: Softmax<'_>) {
    job.check();
    dispatch!(isa, softmax, &mut job);
}

/// Frames to their combinations along time.
///
/// # Panics
/// If a slice is too short.
pub fn time_in(isa: Isa, mut job: TimeIn<'_>) {
    job.check();
    dispatch!(isa, time_in, &mut job);
}

/// Temporal taps to their combinations, without the first and the last.
///
/// # Panics
/// If a slice is too short, or the taps' lengths differ.
pub fn time_weights(isa: Isa, mut job: TimeWeights<'_>) {
    job.check();
    dispatch!(isa, time_weights, &mut job);
}

/// Products of combinations to frames.
///
/// # Panics
/// If a slice is too short.
pub fn time_out(isa: Isa, mut job: TimeOut<'_>) {
    job.check();
    dispatch!(isa, time_out, &mut job);
}

/// Fused multiply-adds in registers.
pub fn peak(isa: Isa, job: &mut Peak) {
    dispatch!(isa, peak, job);
}
