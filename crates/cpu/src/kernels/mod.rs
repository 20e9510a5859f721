//! The kernels, and the only unsafe code of the crate.
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
#[cfg(target_arch = "aarch64")]
mod neon;
mod peak;
mod pointwise;
mod scalar;
mod simd;
#[cfg(test)]
mod tests;
mod time;
mod winograd;

pub(crate) use expand::{Expand, Kept, TAPS};
pub(crate) use gemm::Gemm;
pub(crate) use peak::Peak;
pub(crate) use pointwise::{Bias, Norm, Softmax};
pub(crate) use simd::{BLOCK, padded};
pub(crate) use time::{PAST, TIME_TAPS, TimeIn, TimeOut, TimeWeights};
pub(crate) use winograd::{ELEMENTS2, ELEMENTS4, Input, Output, STEP2, STEP4, WINDOW2, WINDOW4};

use crate::isa::{Isa, Kind};

/// The body of [`simd::Simd::micro`]: a tile of constant size for every number of rows.
macro_rules! micro_tiles {
    ($s:expr, $rows:expr, $panels:expr, $tile:expr, $list:tt, $($p:literal => $nv:literal),+) => {
        match $panels {
            $($p => $crate::kernels::micro_tiles!(@rows $s, $rows, $tile, $nv, $list),)+
            _ => unreachable!("no inner tile of so many panels"),
        }
    };
    (@rows $s:expr, $rows:expr, $tile:expr, $nv:literal, [$($r:literal)+]) => {
        match $rows {
            $($r => $crate::kernels::gemm::micro::<Self, $r, $nv>($s, $tile),)+
            _ => unreachable!("no inner tile of so many rows"),
        }
    };
}
use micro_tiles;

/// The kernels compiled for one instruction set: functions that may only be called where the CPU has it.
macro_rules! instances {
    ($name:ident, $token:expr $(, $features:literal)?) => {
        $crate::kernels::instances!(@one gemm, $crate::kernels::Gemm<'_>, $crate::kernels::gemm::gemm, $token $(, $features)?);
        $crate::kernels::instances!(@one input4, $crate::kernels::Input<'_, 6>, $crate::kernels::winograd::input4, $token $(, $features)?);
        $crate::kernels::instances!(@one output4, $crate::kernels::Output<'_, '_>, $crate::kernels::winograd::output4, $token $(, $features)?);
        $crate::kernels::instances!(@one input2, $crate::kernels::Input<'_, 3>, $crate::kernels::winograd::input2, $token $(, $features)?);
        $crate::kernels::instances!(@one output2, $crate::kernels::Output<'_, '_>, $crate::kernels::winograd::output2, $token $(, $features)?);
        $crate::kernels::instances!(@one expand, $crate::kernels::Expand<'_>, $crate::kernels::expand::expand, $token $(, $features)?);
        $crate::kernels::instances!(@one norm, $crate::kernels::Norm<'_>, $crate::kernels::pointwise::norm, $token $(, $features)?);
        $crate::kernels::instances!(@one bias, $crate::kernels::Bias<'_>, $crate::kernels::pointwise::bias, $token $(, $features)?);
        $crate::kernels::instances!(@one softmax, $crate::kernels::Softmax<'_>, $crate::kernels::pointwise::softmax, $token $(, $features)?);
        $crate::kernels::instances!(@one time_in, $crate::kernels::TimeIn<'_>, $crate::kernels::time::time_in, $token $(, $features)?);
        $crate::kernels::instances!(@one time_weights, $crate::kernels::TimeWeights<'_>, $crate::kernels::time::time_weights, $token $(, $features)?);
        $crate::kernels::instances!(@one time_out, $crate::kernels::TimeOut<'_>, $crate::kernels::time::time_out, $token $(, $features)?);
        $crate::kernels::instances!(@one peak, $crate::kernels::Peak, $crate::kernels::peak::peak, $token $(, $features)?);
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
pub(crate) fn gemm(isa: Isa, mut job: Gemm<'_>) {
    job.check();
    dispatch!(isa, gemm, &mut job);
}

/// Taps to the 36 elements of the weights.
///
/// # Panics
/// If the lengths disagree.
pub(crate) fn expand(isa: Isa, mut job: Expand<'_>) {
    job.check();
    dispatch!(isa, expand, &mut job);
}

/// Pixels to the 36 elements of each 4x4 tile.
///
/// # Panics
/// If a slice is too short.
pub(crate) fn input4(isa: Isa, mut job: Input<'_, WINDOW4>) {
    job.check(STEP4, ELEMENTS4);
    dispatch!(isa, input4, &mut job);
}

/// 36 elements to each 4x4 tile's pixels.
///
/// # Panics
/// If a slice is too short.
pub(crate) fn output4(isa: Isa, mut job: Output<'_, '_>) {
    job.check(STEP4, ELEMENTS4);
    dispatch!(isa, output4, &mut job);
}

/// Pixels to the 9 elements of what each becomes when enlarged.
///
/// # Panics
/// If a slice is too short.
pub(crate) fn input2(isa: Isa, mut job: Input<'_, WINDOW2>) {
    job.check(1, ELEMENTS2);
    dispatch!(isa, input2, &mut job);
}

/// 9 elements to 2x2 pixels.
///
/// # Panics
/// If a slice is too short.
pub(crate) fn output2(isa: Isa, mut job: Output<'_, '_>) {
    job.check(STEP2, ELEMENTS2);
    dispatch!(isa, output2, &mut job);
}

/// RMS norm over the channels of each pixel, with or without SiLU.
///
/// # Panics
/// If the lengths disagree.
pub(crate) fn norm(isa: Isa, mut job: Norm<'_>) {
    job.check();
    dispatch!(isa, norm, &mut job);
}

/// Adds the bias, and a residual if there is one.
///
/// # Panics
/// If the lengths disagree.
pub(crate) fn bias(isa: Isa, mut job: Bias<'_>) {
    job.check();
    dispatch!(isa, bias, &mut job);
}

/// One block of a row of a running softmax.
///
/// # Panics
/// If a length is not a multiple of 16.
pub(crate) fn softmax(isa: Isa, mut job: Softmax<'_>) {
    job.check();
    dispatch!(isa, softmax, &mut job);
}

/// Frames to their combinations along time.
///
/// # Panics
/// If a slice is too short.
pub(crate) fn time_in(isa: Isa, mut job: TimeIn<'_>) {
    job.check();
    dispatch!(isa, time_in, &mut job);
}

/// Temporal taps to their combinations, without the first and the last.
///
/// # Panics
/// If a slice is too short, or the taps' lengths differ.
pub(crate) fn time_weights(isa: Isa, mut job: TimeWeights<'_>) {
    job.check();
    dispatch!(isa, time_weights, &mut job);
}

/// Products of combinations to frames.
///
/// # Panics
/// If a slice is too short.
pub(crate) fn time_out(isa: Isa, mut job: TimeOut<'_>) {
    job.check();
    dispatch!(isa, time_out, &mut job);
}

/// Fused multiply-adds in registers.
pub(crate) fn peak(isa: Isa, job: &mut Peak) {
    dispatch!(isa, peak, job);
}
