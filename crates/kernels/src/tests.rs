//! Every kernel on every instruction set against the scalar one, and the scalar ones against the sums they stand for.

use proptest::prelude::*;
use vae2x_core::weights::formula::unit;

use super::*;

/// The cost of another order of summation and of fused operations, relative to the greatest value.
const TOLERANCE: f32 = 2e-6;

/// Channel counts of the models, and others.
const CHANNELS: [usize; 10] = [1, 3, 8, 12, 16, 24, 40, 96, 160, 384];

fn values(name: &str, n: usize) -> Vec<f32> {
    unit(name, n).collect()
}

fn padded_channels() -> impl Strategy<Value = usize> {
    prop::sample::select(CHANNELS.to_vec()).prop_map(|c| c.next_multiple_of(BLOCK))
}

#[track_caller]
fn assert_near(isa: Isa, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    let greatest = want.iter().fold(1e-30f32, |a, b| a.max(b.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        // Written so that NaN fails.
        let near = (g - w).abs() <= TOLERANCE * greatest;
        assert!(near, "{isa}: value {i} is {g}, expected {w}");
    }
}

/// Runs `kernel` with every instruction set and compares with the scalar one, which is returned.
fn all(kernel: impl Fn(Isa) -> Vec<f32>) -> Vec<f32> {
    let scalar = kernel(Isa::named("scalar").unwrap());
    for isa in Isa::available() {
        assert_near(isa, &kernel(isa), &scalar);
    }
    scalar
}

/// Random cases of each property; `PROPTEST_CASES` sets another number, for machines that are emulated.
fn cases() -> u32 {
    let told = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok());
    if cfg!(miri) { 1 } else { told.unwrap_or(48) }
}

/// The most of some size: less under miri, which takes a thousand times as long.
fn most(size: usize, under_miri: usize) -> usize {
    if cfg!(miri) { under_miri } else { size }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn gemm_is_the_matrix_product(rows in 1usize..40, k in prop::sample::select(CHANNELS.to_vec()), panels in 1usize..5,
                                  accumulate: bool) {
        let (blocks, columns) = (k.div_ceil(BLOCK), panels * BLOCK);
        let a = values("a", blocks * (rows + 1) * BLOCK);
        let w = values("w", panels * k * BLOCK);
        let before = values("c", rows * columns);
        let got = all(|isa| {
            let mut c = before.clone();
            let (a_stride, w_stride) = ((rows + 1) * BLOCK, k * BLOCK);
            gemm(isa, Gemm { rows, k, a: &a, a_stride, w: &w, w_stride, w_next: 0, panels, c: &mut c, c_stride: columns, accumulate });
            c
        });
        for row in 0..rows {
            for column in 0..columns {
                let product = |i: usize| {
                    let x = a[i / BLOCK * (rows + 1) * BLOCK + row * BLOCK + i % BLOCK];
                    f64::from(x) * f64::from(w[column / BLOCK * k * BLOCK + i * BLOCK + column % BLOCK])
                };
                let start = if accumulate { f64::from(before[row * columns + column]) } else { 0.0 };
                let want = (0..k).map(product).sum::<f64>() + start;
                prop_assert!((f64::from(got[row * columns + column]) - want).abs() <= 1e-5 * (k as f64));
            }
        }
    }

    #[test]
    fn transforms_agree(channels in padded_channels(), width in 1usize..20, height in 1usize..5, residual: bool) {
        let tiles = width.div_ceil(STEP4);
        let row: Vec<Vec<f32>> = (0..WINDOW4).map(|y| values(&format!("r{y}"), (STEP4 * tiles + 2) * channels)).collect();
        all(|isa| {
            let (element_stride, block_stride) = (channels * tiles, BLOCK * tiles);
            let mut v = vec![0.0; ELEMENTS4 * channels * tiles];
            let rows = std::array::from_fn(|y| &row[y][..]);
            input4(isa, Input { rows, step: STEP4, tiles, channels, v: &mut v, element_stride, block_stride });
            v
        });
        let m = values("m", ELEMENTS4 * tiles * channels);
        let (bias, added) = (values("b", channels), values("x", width * channels));
        all(|isa| {
            let mut out = vec![vec![0.0; width * channels]; height];
            let residual = vec![&added[..]; if residual { height } else { 0 }];
            let mut rows: Vec<&mut [f32]> = out.iter_mut().map(|r| &mut r[..]).collect();
            let element_stride = tiles * channels;
            output4(isa, Output { m: &m, element_stride, channels, bias: &bias, residual: &residual, out: &mut rows });
            out.concat()
        });
    }

    #[test]
    fn tiles_make_a_convolution(tiles in 1usize..=most(3, 1)) {
        let (k, width, stride) = (BLOCK, STEP4 * tiles, BLOCK * tiles);
        let rows: Vec<Vec<f32>> = (0..WINDOW4).map(|y| values(&format!("r{y}"), (width + 2) * k)).collect();
        // [input][tap][output]
        let taps = values("t", k * TAPS * BLOCK);
        let convolve = |isa| {
            let (mut v, mut w, mut m) = (vec![0.0; ELEMENTS4 * k * tiles], vec![0.0; ELEMENTS4 * k * BLOCK], vec![0.0; ELEMENTS4 * tiles * BLOCK]);
            let window = std::array::from_fn(|y| &rows[y][..]);
            input4(isa, Input { rows: window, step: STEP4, tiles, channels: k, v: &mut v, element_stride: stride, block_stride: stride });
            expand(isa, Expand { side: 3, taps: Kept::F32(&taps), frames: 1, frame: 0, elements: &mut w });
            for e in 0..ELEMENTS4 {
                let (a, w, c) = (&v[e * tiles * k..], &w[e * k * BLOCK..], &mut m[e * tiles * BLOCK..]);
                gemm(isa, Gemm { rows: tiles, k, a, a_stride: stride, w, w_stride: 0, w_next: 0, panels: 1, c, c_stride: BLOCK, accumulate: false });
            }
            let mut out = vec![vec![0.0; width * BLOCK]; STEP4];
            let mut rows: Vec<&mut [f32]> = out.iter_mut().map(|r| &mut r[..]).collect();
            let job = Output { m: &m, element_stride: stride, channels: BLOCK, bias: &[0.0; BLOCK], residual: &[], out: &mut rows };
            output4(isa, job);
            out.concat()
        };
        let got = Isa::available().into_iter().flat_map(|isa| convolve(isa).into_iter().enumerate());
        for (i, got) in got {
            let (y, x, o) = (i / BLOCK / width, i / BLOCK % width, i % BLOCK);
            let term = |input: usize, tap: usize| {
                f64::from(rows[y + tap / 3][(x + tap % 3) * k + input]) * f64::from(taps[(input * TAPS + tap) * BLOCK + o])
            };
            let want: f64 = (0..k).flat_map(|input| (0..TAPS).map(move |tap| term(input, tap))).sum();
            prop_assert!((f64::from(got) - want).abs() <= 1e-4, "{i}: {got} for {want}");
        }
    }

    #[test]
    fn taps_expand_alike(k in prop::sample::select(CHANNELS.to_vec()), frames in 1usize..4, which in 0usize..4, half: bool) {
        let taps = values("t", k * frames * TAPS * BLOCK);
        let upper: Vec<u16> = taps.iter().map(|tap| (tap.to_bits() >> 16) as u16).collect();
        all(|isa| {
            let mut elements = vec![f32::NAN; ELEMENTS4 * k * BLOCK];
            let taps = if half { Kept::Bf16(&upper) } else { Kept::F32(&taps) };
            expand(isa, Expand { side: 3, taps, frames, frame: which % frames, elements: &mut elements });
            elements
        });
    }

    #[test]
    fn outer_is_the_transposed_matrix_product(k in 1usize..=most(69, 20), panels in 1usize..=most(4, 2), apart in 0usize..20, accumulate: bool) {
        let (columns, w_stride) = (panels * BLOCK, (k + apart) * BLOCK);
        let (a, w) = (values("a", k * BLOCK), values("w", panels * w_stride));
        let before = values("c", BLOCK * columns);
        let got = all(|isa| {
            let mut c = before.clone();
            outer(isa, Outer { k, a: &a, w: &w, w_stride, panels, c: &mut c, accumulate });
            c
        });
        for (row, column) in (0..BLOCK).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let term = |i: usize| f64::from(a[i * BLOCK + row]) * f64::from(w[column / BLOCK * w_stride + i * BLOCK + column % BLOCK]);
            let start = if accumulate { f64::from(before[row * columns + column]) } else { 0.0 };
            let want = (0..k).map(term).sum::<f64>() + start;
            prop_assert!((f64::from(got[row * columns + column]) - want).abs() <= 1e-5 * (k as f64));
        }
    }

    /// `<transform(x), y> = <x, adjoint(y)>`.
    #[test]
    fn slopes_and_collapsed_taps_are_adjoints(tiles in 1usize..=most(3, 1), rows in 1usize..=most(17, 3)) {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let (width, stride) = (STEP4 * tiles, BLOCK * tiles);
        let pixels: Vec<Vec<f32>> = (0..STEP4).map(|y| values(&format!("y{y}"), width * BLOCK)).collect();
        let slopes = all(|isa| {
            let mut v = vec![0.0; ELEMENTS4 * stride];
            let rows = std::array::from_fn(|y| &pixels[y][..]);
            slope4(isa, Input { rows, step: STEP4, tiles, channels: BLOCK, v: &mut v, element_stride: stride, block_stride: 0 });
            v
        });
        let m = values("m", ELEMENTS4 * stride);
        let mut out = vec![vec![0.0; width * BLOCK]; STEP4];
        let mut lines: Vec<&mut [f32]> = out.iter_mut().map(|r| &mut r[..]).collect();
        let scalar = Isa::named("scalar").unwrap();
        output4(scalar, Output { m: &m, element_stride: stride, channels: BLOCK, bias: &[0.0; BLOCK], residual: &[], out: &mut lines });
        let (one, other) = (dot(&m, &slopes), dot(&out.concat(), &pixels.concat()));
        prop_assert!((one - other).abs() <= 1e-4 * (1.0 + other.abs()), "{one} {other}");

        let gradients = values("e", ELEMENTS4 * rows * BLOCK);
        let collapsed = all(|isa| {
            let mut taps = vec![0.0; rows * TAPS * BLOCK];
            collapse(isa, Collapse { side: 3, row_stride: BLOCK, element_stride: rows * BLOCK, rows, elements: &gradients, taps: &mut taps });
            taps
        });
        let taps = values("t", rows * TAPS * BLOCK);
        let mut elements = vec![0.0; ELEMENTS4 * rows * BLOCK];
        expand(scalar, Expand { side: 3, taps: Kept::F32(&taps), frames: 1, frame: 0, elements: &mut elements });
        let (one, other) = (dot(&elements, &gradients), dot(&taps, &collapsed));
        prop_assert!((one - other).abs() <= 1e-4 * (1.0 + other.abs()), "{one} {other}");
    }

    #[test]
    fn tiles_of_three_make_a_convolution_of_four(tiles in 1usize..=most(3, 1)) {
        let (k, width, stride) = (BLOCK, STEP3 * tiles, BLOCK * tiles);
        let rows: Vec<Vec<f32>> = (0..WINDOW4).map(|y| values(&format!("r{y}"), (width + 3) * k)).collect();
        // [input][tap][output]
        let taps = values("t", k * 16 * BLOCK);
        let got = all(|isa| {
            let (mut v, mut w, mut m) = (vec![0.0; ELEMENTS4 * k * tiles], vec![0.0; ELEMENTS4 * k * BLOCK], vec![0.0; ELEMENTS4 * tiles * BLOCK]);
            let window = std::array::from_fn(|y| &rows[y][..]);
            input4(isa, Input { rows: window, step: STEP3, tiles, channels: k, v: &mut v, element_stride: stride, block_stride: stride });
            expand(isa, Expand { side: 4, taps: Kept::F32(&taps), frames: 1, frame: 0, elements: &mut w });
            for e in 0..ELEMENTS4 {
                let (a, w, c) = (&v[e * tiles * k..], &w[e * k * BLOCK..], &mut m[e * tiles * BLOCK..]);
                gemm(isa, Gemm { rows: tiles, k, a, a_stride: stride, w, w_stride: 0, w_next: 0, panels: 1, c, c_stride: BLOCK, accumulate: false });
            }
            let mut out = vec![vec![0.0; width * BLOCK]; STEP3];
            let mut rows: Vec<&mut [f32]> = out.iter_mut().map(|r| &mut r[..]).collect();
            output3(isa, Output { m: &m, element_stride: stride, channels: BLOCK, bias: &[0.0; BLOCK], residual: &[], out: &mut rows });
            out.concat()
        });
        for (i, got) in got.into_iter().enumerate() {
            let (y, x, o) = (i / BLOCK / width, i / BLOCK % width, i % BLOCK);
            let term = |input: usize, tap: usize| {
                f64::from(rows[y + tap / 4][(x + tap % 4) * k + input]) * f64::from(taps[(input * 16 + tap) * BLOCK + o])
            };
            let want: f64 = (0..k).flat_map(|input| (0..16).map(move |tap| term(input, tap))).sum();
            prop_assert!((f64::from(got) - want).abs() <= 2e-4, "{i}: {got} for {want}");
        }
    }

    #[test]
    fn slopes_and_collapsed_taps_of_four_are_adjoints(tiles in 1usize..=most(3, 1), rows in 1usize..=most(17, 3)) {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let (width, stride) = (STEP3 * tiles, BLOCK * tiles);
        let pixels: Vec<Vec<f32>> = (0..STEP3).map(|y| values(&format!("y{y}"), width * BLOCK)).collect();
        let slopes = all(|isa| {
            let mut v = vec![0.0; ELEMENTS4 * stride];
            let rows = std::array::from_fn(|y| &pixels[y][..]);
            slope3(isa, Input { rows, step: STEP3, tiles, channels: BLOCK, v: &mut v, element_stride: stride, block_stride: 0 });
            v
        });
        let m = values("m", ELEMENTS4 * stride);
        let mut out = vec![vec![0.0; width * BLOCK]; STEP3];
        let mut lines: Vec<&mut [f32]> = out.iter_mut().map(|r| &mut r[..]).collect();
        let scalar = Isa::named("scalar").unwrap();
        output3(scalar, Output { m: &m, element_stride: stride, channels: BLOCK, bias: &[0.0; BLOCK], residual: &[], out: &mut lines });
        let (one, other) = (dot(&m, &slopes), dot(&out.concat(), &pixels.concat()));
        prop_assert!((one - other).abs() <= 1e-4 * (1.0 + other.abs()), "{one} {other}");

        let gradients = values("e", ELEMENTS4 * rows * BLOCK);
        let collapsed = all(|isa| {
            let mut taps = vec![0.0; rows * 16 * BLOCK];
            collapse(isa, Collapse { side: 4, row_stride: BLOCK, element_stride: rows * BLOCK, rows, elements: &gradients, taps: &mut taps });
            taps
        });
        let taps = values("t", rows * 16 * BLOCK);
        let mut elements = vec![0.0; ELEMENTS4 * rows * BLOCK];
        expand(scalar, Expand { side: 4, taps: Kept::F32(&taps), frames: 1, frame: 0, elements: &mut elements });
        let (one, other) = (dot(&elements, &gradients), dot(&taps, &collapsed));
        prop_assert!((one - other).abs() <= 1e-4 * (1.0 + other.abs()), "{one} {other}");
    }

    #[test]
    fn planes_become_pixels_and_back(width in 1usize..40, count in 1usize..=BLOCK) {
        let planes: Vec<Vec<f32>> = (0..count).map(|c| values(&format!("p{c}"), width)).collect();
        let rows: Vec<&[f32]> = planes.iter().map(|p| &p[..]).collect();
        let pixels = all(|isa| {
            let mut pixels = vec![f32::NAN; width * BLOCK];
            to_pixels(isa, ToPixels { planes: &rows, pixels: &mut pixels });
            pixels
        });
        for (i, pixel) in pixels.iter().enumerate() {
            let want = planes.get(i % BLOCK).map_or(0.0, |plane| plane[i / BLOCK]);
            prop_assert_eq!(*pixel, want);
        }
        all(|isa| {
            let mut back = vec![vec![f32::NAN; width]; count];
            let mut rows: Vec<&mut [f32]> = back.iter_mut().map(|p| &mut p[..]).collect();
            from_pixels(isa, FromPixels { pixels: &pixels, planes: &mut rows });
            assert_eq!(back, planes);
            back.concat()
        });
    }

    #[test]
    fn transforms_along_time_make_a_convolution(rows in 1usize..5, blocks in 1usize..4, four: bool, apart in 0usize..20) {
        let frames = if four { 4 } else { 2 };
        let (all_frames, columns) = (frames + PAST, blocks * BLOCK);
        let length = rows * columns;
        let frame_stride = length + apart;
        let v = values("v", all_frames * frame_stride);
        let taps: [Vec<f32>; TIME_TAPS] = std::array::from_fn(|i| values(&format!("g{i}"), length));
        let a = all(|isa| {
            let mut a = vec![f32::NAN; all_frames * length];
            time_in(isa, TimeIn { frames, length, v: &v, frame_stride, a: &mut a });
            a
        });
        let stride = length + apart;
        let w = all(|isa| {
            let mut w = vec![0.0; frames * stride];
            time_weights(isa, TimeWeights { frames, taps: taps.each_ref().map(|tap| &tap[..]), w: &mut w, stride });
            w
        });
        let weight = |t: usize, i: usize| match t {
            0 => taps[0][i],
            t if t <= frames => w[(t - 1) * stride + i],
            _ => taps[2][i],
        };
        let m: Vec<f32> = (0..all_frames * length).map(|i| a[i] * weight(i / length, i % length)).collect();
        let row_stride = columns + apart;
        let out_stride = rows * row_stride;
        let out = all(|isa| {
            let mut out = vec![0.0; frames * out_stride];
            time_out(isa, TimeOut { frames, m: &m, rows, columns, out: &mut out, frame_stride: out_stride, row_stride });
            out
        });
        for (frame, i) in (0..frames).flat_map(|frame| (0..length).map(move |i| (frame, i))) {
            let term = |tap: usize| f64::from(taps[tap][i]) * f64::from(v[(frame + tap) * frame_stride + i]);
            let got = out[frame * out_stride + i / columns * row_stride + i % columns];
            prop_assert!((f64::from(got) - (0..TIME_TAPS).map(term).sum::<f64>()).abs() <= 3e-6, "{frame} {i}: {got}");
        }
    }

    #[test]
    fn enlarging_transforms_agree(channels in padded_channels(), tiles in 1usize..20) {
        let row: Vec<Vec<f32>> = (0..WINDOW2).map(|y| values(&format!("r{y}"), (tiles + 2) * channels)).collect();
        let stride = channels * tiles;
        all(|isa| {
            let mut v = vec![0.0; ELEMENTS2 * stride];
            let rows = std::array::from_fn(|y| &row[y][..]);
            let block_stride = BLOCK * tiles;
            input2(isa, Input { rows, step: 1, tiles, channels, v: &mut v, element_stride: stride, block_stride });
            v
        });
        let (m, bias) = (values("m", ELEMENTS2 * stride), values("b", channels));
        all(|isa| {
            let mut out = vec![vec![0.0; STEP2 * stride]; STEP2];
            let mut rows: Vec<&mut [f32]> = out.iter_mut().map(|r| &mut r[..]).collect();
            output2(isa, Output { m: &m, element_stride: stride, channels, bias: &bias, residual: &[], out: &mut rows });
            out.concat()
        });
    }

    #[test]
    fn norm_is_its_formula(channels in padded_channels(), pixels in 1usize..9, silu: bool, in_place: bool) {
        let mut x = values("x", pixels * channels);
        x[..channels].fill(0.0);
        let gamma = values("g", channels);
        let got = all(|isa| {
            let mut target = x.clone();
            norm(isa, Norm { source: (!in_place).then_some(&x), target: &mut target, gamma: &gamma, silu });
            target
        });
        for (got, x) in got.chunks(channels).zip(x.chunks(channels)) {
            let length = x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt().max(1e-12);
            for ((got, x), gamma) in got.iter().zip(x).zip(&gamma) {
                let y = f64::from(*x) / length * f64::from(*gamma);
                let want = if silu { y / (1.0 + (-y).exp()) } else { y };
                prop_assert!((f64::from(*got) - want).abs() <= 1e-6, "{got} {want}");
            }
        }
    }

    #[test]
    fn bias_adds(channels in padded_channels(), pixels in 1usize..9, residual: bool) {
        let n = pixels * channels;
        let (m, x, b) = (values("m", n), values("x", n), values("b", channels));
        let got = all(|isa| {
            let mut out = vec![0.0; n];
            bias(isa, Bias { m: &m, bias: &b, residual: residual.then_some(&x), out: &mut out });
            out
        });
        for i in 0..n {
            prop_assert_eq!(got[i], m[i] + b[i % channels] + if residual { x[i] } else { 0.0 });
        }
    }

    #[test]
    fn a_running_softmax_is_the_softmax(blocks in 1usize..5, keys in 1usize..40, scale in 0.1f32..60.0) {
        let width = keys.next_multiple_of(BLOCK);
        let scores: Vec<f32> = values("s", blocks * keys).iter().map(|s| s * scale).collect();
        // The accumulated value is the sum of the weights itself, so that it must equal the running sum.
        let got = all(|isa| {
            let (mut highest, mut sum, mut values) = (f32::NEG_INFINITY, 0.0, vec![0.0; BLOCK]);
            for block in scores.chunks(keys) {
                let mut row = [block, &vec![f32::NEG_INFINITY; width - keys]].concat();
                let job = Softmax { scores: &mut row, highest: &mut highest, sum: &mut sum, values: &mut values };
                softmax(isa, job);
                values[0] += row.iter().sum::<f32>();
            }
            vec![sum, values[0]]
        });
        let top = scores.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        let want: f64 = scores.iter().map(|s| f64::from(s - top).exp2()).sum();
        prop_assert!((f64::from(got[0]) - want).abs() <= 1e-5 * want && (f64::from(got[1]) - want).abs() <= 1e-5 * want);
    }
}

#[test]
fn silu_keeps_its_shape_far_out() {
    let x = [
        -1e4f32, -200.0, -88.0, -20.0, -1e-3, 0.0, 1e-3, 20.0, 88.0, 200.0, 1e4, 1.0, -1.0, 0.5,
        -0.5, 3.0,
    ];
    for isa in Isa::available() {
        let mut target = x.to_vec();
        let length = x.iter().map(|v| v * v).sum::<f32>().sqrt();
        norm(
            isa,
            Norm {
                source: None,
                target: &mut target,
                gamma: &[length; 16],
                silu: true,
            },
        );
        for (got, x) in target.iter().zip(x) {
            let want = f64::from(x) / (1.0 + f64::from(-x).exp());
            assert!(
                (f64::from(*got) - want).abs() <= 1e-6 * want.abs().max(1e-6),
                "{isa}: silu({x}) = {got}"
            );
        }
    }
}

#[test]
#[should_panic(expected = "C is too short")]
fn a_short_slice_is_refused() {
    let (a, w, mut c) = ([0.0; 32], [0.0; 256], [0.0; 31]);
    let job = Gemm {
        rows: 2,
        k: 16,
        a: &a,
        a_stride: 32,
        w: &w,
        w_stride: 256,
        w_next: 0,
        panels: 1,
        c: &mut c,
        c_stride: 16,
        accumulate: false,
    };
    gemm(Isa::detect(), job);
}
