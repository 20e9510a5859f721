//! Times convolutions of training on the CPU, ours and burn's: GFLOP/s of the values, the input's gradient and the weight's.

use std::time::Instant;

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor, module};
use vae2x_nn::conv::conv2d;

/// Batch, channels in and out, side of the image, of the kernel, stride.
const SHAPES: [[usize; 6]; 12] = [
    [4, 16, 16, 64, 3, 1],
    [4, 16, 12, 64, 3, 1],
    [4, 32, 16, 64, 3, 1],
    [4, 32, 32, 32, 3, 1],
    [4, 64, 64, 16, 3, 1],
    [4, 64, 64, 8, 3, 1],
    [4, 64, 192, 8, 1, 1],
    [4, 3, 64, 32, 3, 1],
    [4, 64, 64, 32, 3, 1],
    [4, 128, 128, 16, 3, 1],
    [4, 64, 128, 32, 4, 2],
    [1, 96, 96, 64, 3, 1],
];

type Convolution = fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>, ConvOptions<2>) -> Tensor<4>;

/// The least of some seconds.
fn least(mut run: impl FnMut() -> f64) -> f64 {
    (0..4).map(|_| run()).fold(f64::INFINITY, f64::min)
}

fn rates(
    convolve: Convolution,
    [batch, inputs, outputs, side, kernel, stride]: [usize; 6],
) -> [f64; 3] {
    let device = Device::flex();
    let random = |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Default, &device);
    let (x, weight) = (
        random([batch, inputs, side, side]),
        random([outputs, inputs, kernel, kernel]),
    );
    let bias = Tensor::<1>::zeros([outputs], &device);
    let options = || ConvOptions::new([stride; 2], [kernel / 2; 2], [1, 1], 1);
    let run = |with_x: bool, with_weight: bool| {
        let leaf = |t: &Tensor<4>, wanted: bool| {
            let t = Tensor::from_inner(t.clone());
            if wanted { t.require_grad() } else { t }
        };
        let (x, weight) = (leaf(&x, with_x), leaf(&weight, with_weight));
        let y = convolve(x, weight, Some(Tensor::from_inner(bias.clone())), options());
        let loss = y.sum();
        let start = Instant::now();
        drop(loss.backward());
        start.elapsed().as_secs_f64()
    };
    let values = || {
        let start = Instant::now();
        drop(convolve(
            x.clone(),
            weight.clone(),
            Some(bias.clone()),
            options(),
        ));
        start.elapsed().as_secs_f64()
    };
    let out = convolve(x.clone(), weight.clone(), None, options()).dims();
    let flop = 2.0 * (out.iter().product::<usize>() * inputs * kernel * kernel) as f64;
    [
        least(values),
        least(|| run(true, false)),
        least(|| run(false, true)),
    ]
    .map(|seconds| flop / seconds / 1e9)
}

/// Prints a line per shape.
pub fn run() {
    println!(
        "batch inputs outputs side kernel stride: ours, burn's; values, input's gradient, weight's gradient"
    );
    for shape in SHAPES {
        let text = |convolve| {
            rates(convolve, shape)
                .map(|rate| format!("{rate:7.1}"))
                .join(" ")
        };
        println!("{shape:?}: {} | {}", text(conv2d), text(module::conv2d));
    }
}
