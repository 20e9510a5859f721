//! The order of rows on CubeCL devices: launches of the kernels, and how burn comes to know them.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, DispatchDevice, backend_extension};
use burn::tensor::{DType, Device, FloatDType, Int, Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use cubecl::prelude::{CubeCount, CubeDim};

use super::kernels::{merge_blocks, merge_far, sort_blocks};

/// Values that are sorted in shared memory: 8 KB of keys and indices, which every device has.
const BLOCK: usize = 1024;
/// Units of a cube: the least that WebGPU promises.
const UNITS: usize = 256;
/// The least number of cubes that devices allow along an axis of the grid.
const AXIS: usize = 65_535;
/// Values in one launch, so that 32-bit offsets reach them.
const VALUES: usize = 1 << 30;

/// Whether the kernels run on `device`, for rows of `length` values.
pub fn serves(device: &Device, length: usize) -> bool {
    #[allow(unreachable_patterns)] // Other backends may not be built.
    match device.clone().without_autodiff().as_dispatch() {
        DispatchDevice::Cube(_) => fits_grid(length),
        _ => false,
    }
}

/// Whether a step of a merge of such a row, a unit to a pair, is within an axis of the grid.
fn fits_grid(length: usize) -> bool {
    padded(length) / 2 / UNITS <= AXIS
}

/// Indices that put each row in ascending order; no gradient passes through.
///
/// # Shapes
/// `[..., N]` -> the same, none of the extents 0
pub fn order<const D: usize>(x: Tensor<D>) -> Tensor<D, Int> {
    let dims = x.dims();
    let length = dims[D - 1];
    let rows = x.shape().num_elements() / length;
    let flat = x
        .without_autodiff()
        .cast(FloatDType::F32)
        .reshape([rows, length]);
    let most = AXIS.min(VALUES / padded(length)).max(1);
    let sorted = |start: usize| {
        let some = flat.clone().narrow(0, start, most.min(rows - start));
        let order = <Dispatch as SortBackend>::padded_order(some.into_dispatch());
        Tensor::<2, Int>::from_dispatch(order).narrow(1, 0, length)
    };
    let mut parts: Vec<_> = (0..rows).step_by(most).map(sorted).collect();
    let all = if parts.len() == 1 {
        parts.remove(0)
    } else {
        Tensor::cat(parts, 0)
    };
    all.reshape(dims)
}

/// A row's length in the kernels.
fn padded(length: usize) -> usize {
    length.next_power_of_two().max(2)
}

/// What burn's CubeCL backend learns.
#[backend_extension(Cube, Fusion)]
trait SortBackend: Backend {
    /// `[R, N]` in `f32` -> `[R, P]`, of which the first N of each row are its order.
    #[fusion(dtype = DType::I32, shape = {
        Shape::new([x[0], padded(x[1])])
    })]
    fn padded_order(x: FloatTensor<Self>) -> IntTensor<Self>;
}

impl SortBackend for CubeBackend {
    fn padded_order(x: FloatTensor<Self>) -> IntTensor<Self> {
        let x = into_contiguous(x);
        let (rows, length) = (x.meta.shape()[0], x.meta.shape()[1]);
        let padded = padded(length);
        let block = BLOCK.min(padded);
        let units = UNITS.min(block / 2);
        let new = |dtype: DType| {
            empty_device_contiguous_dtype(
                x.client.clone(),
                x.device.clone(),
                Shape::new([rows, padded]),
                dtype,
            )
        };
        let (keys, places) = (new(DType::U32), new(DType::I32));
        let client = x.client.clone();
        let grid = || CubeCount::Static((padded / block) as u32, rows as u32, 1);
        let unit_count = || CubeDim::new_1d(units as u32);
        let tensors = || {
            (
                keys.clone().into_tensor_arg(),
                places.clone().into_tensor_arg(),
            )
        };
        let (k, p) = tensors();
        sort_blocks::launch(
            &client,
            grid(),
            unit_count(),
            x.into_tensor_arg(),
            k,
            p,
            length as u32,
            padded as u32,
            block,
            units,
        );
        let mut run = 2 * block;
        while run <= padded {
            let mut distance = run / 2;
            while distance >= block {
                let pairs = padded / 2;
                let count = CubeCount::Static((pairs / units) as u32, rows as u32, 1);
                let (k, p) = tensors();
                let (padded, run, distance_) = (padded as u32, run as u32, distance as u32);
                merge_far::launch(
                    &client,
                    count,
                    unit_count(),
                    k,
                    p,
                    padded,
                    run,
                    distance_,
                    units,
                );
                distance /= 2;
            }
            let (k, p) = tensors();
            merge_blocks::launch(
                &client,
                grid(),
                unit_count(),
                k,
                p,
                padded as u32,
                run as u32,
                block,
                units,
            );
            run *= 2;
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_longer_than_the_grid_are_left_to_burn() {
        assert!([1, 2, 1025, 1 << 24].into_iter().all(fits_grid));
        assert!(![(1 << 24) + 1, 1 << 30].into_iter().any(fits_grid));
    }
}
