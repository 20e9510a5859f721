//! Weights in 8-bit floats: plain, mixed with others, and scaled; what is said of wrong scales.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use vae2x_core::arch::{self, TensorSpec};
use vae2x_core::weights::{DType, TensorFile, VaeWeights, Weights, formula};
use vae2x_core::{Error, Result, VaeConfig};
use vae2x_testkit::files::safetensors;

/// A tensor of a file: type, shape, bytes.
type Tensor = (DType, Vec<usize>, Vec<u8>);

fn small() -> VaeConfig {
    VaeConfig::with_widths(2, 3)
}

/// Codes without a NaN or infinity in either kind of 8-bit float.
fn codes(name: &str, count: usize) -> Vec<u8> {
    formula::tensor(name, &[count], 1.0)
        .iter()
        .map(|v| ((v.abs() * 1e4) as u8 % 0x78) | if *v < 0.0 { 0x80 } else { 0 })
        .collect()
}

fn f32s(shape: &[usize], values: &[f32]) -> Tensor {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    (DType::F32, shape.to_vec(), bytes)
}

fn is_kernel(spec: &TensorSpec) -> bool {
    spec.name.ends_with("weight")
}

/// The value of a code, by its definition.
fn value(dtype: DType, code: u8) -> f32 {
    let (bits, bias) = if dtype == DType::F8E4M3 {
        (3, 7)
    } else {
        (2, 15)
    };
    let (exponent, mantissa) = (
        i32::from(code & 0x7F) >> bits,
        i32::from(code) % (1 << bits),
    );
    let fraction = f64::from(mantissa) / f64::from(1 << bits);
    let size = match exponent {
        0 => fraction * 2f64.powi(1 - bias),
        _ => (1.0 + fraction) * 2f64.powi(exponent - bias),
    };
    (if code & 0x80 == 0 { size } else { -size }) as f32
}

/// The tiny model with its kernels in 8 bits and the rest in `f32`; each kernel with what `beside` puts next to it.
fn quantized(
    dtype: DType,
    prefix: &str,
    beside: impl Fn(&TensorSpec) -> Vec<(&'static str, Tensor)>,
) -> BTreeMap<String, Tensor> {
    let mut tensors = BTreeMap::new();
    for spec in arch::tensors(&small()) {
        let count = spec.shape.iter().product();
        let name = format!("{prefix}{}", spec.name);
        if !is_kernel(&spec) {
            let values = formula::tensor(&spec.name, &spec.shape, 1.0);
            tensors.insert(name, f32s(&spec.shape, &values));
            continue;
        }
        for (last, tensor) in beside(&spec) {
            tensors.insert(name.replace("weight", last), tensor);
        }
        tensors.insert(name, (dtype, spec.shape.clone(), codes(&spec.name, count)));
    }
    tensors
}

fn file(tensors: &BTreeMap<String, Tensor>) -> TensorFile {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, (dtype, shape, bytes)) in tensors {
        let end = data.len() + bytes.len();
        let entry = json!({
            "dtype": dtype.name(), "shape": shape, "data_offsets": [data.len(), end],
        });
        header.insert(name.clone(), entry);
        data.extend_from_slice(bytes);
    }
    let bytes = safetensors(&Value::Object(header), &data);
    TensorFile::from_bytes("given.safetensors", bytes).unwrap()
}

fn open(tensors: &BTreeMap<String, Tensor>) -> Result<VaeWeights> {
    VaeWeights::from_file(file(tensors), None)
}

/// The scale of a channel of a kernel.
fn scale(spec: &TensorSpec, channel: usize) -> f32 {
    0.001 * (1.0 + channel as f32 + 0.1 * spec.name.len() as f32)
}

/// Asserts that every tensor is its codes times `scale`, exactly, however it is read.
#[track_caller]
fn assert_scaled(weights: &VaeWeights, dtype: DType, scale: impl Fn(&TensorSpec, usize) -> f32) {
    for spec in arch::tensors(weights.config()) {
        let count: usize = spec.shape.iter().product();
        let expected: Vec<f32> = match is_kernel(&spec) {
            false => formula::tensor(&spec.name, &spec.shape, 1.0),
            true => codes(&spec.name, count)
                .iter()
                .enumerate()
                .map(|(i, &code)| value(dtype, code) * scale(&spec, i / (count / spec.shape[0])))
                .collect(),
        };
        assert!(
            weights.tensor(&spec).unwrap().data() == expected,
            "{}",
            spec.name
        );
        let mut room = vec![0.0; count];
        weights.read(&spec, &mut room).unwrap();
        assert!(room == expected, "{}", spec.name);
        let (kept, bytes) = weights.tensor_bytes(&spec).unwrap();
        assert_eq!(kept, weights.tensor_dtype(&spec));
        assert!(
            kept.is_float() && kept.widen(&bytes).unwrap() == expected,
            "{}",
            spec.name
        );
    }
}

#[test]
fn plain_codes_are_their_values() {
    for dtype in [DType::F8E4M3, DType::F8E5M2] {
        let weights = open(&quantized(dtype, "", |_| vec![])).unwrap();
        assert_scaled(&weights, dtype, |_, _| 1.0);
        assert_eq!((weights.scaled(), weights.dtypes()[&dtype]), (0, kernels()));
    }
}

fn kernels() -> usize {
    arch::tensors(&small())
        .iter()
        .filter(|s| is_kernel(s))
        .count()
}

#[test]
fn every_form_of_a_scale_is_applied() {
    let number = |shape: &[usize], spec: &TensorSpec| f32s(shape, &[scale(spec, 0)]);
    for dtype in [DType::F8E4M3, DType::F8E5M2] {
        for last in ["scale_weight", "weight_scale"] {
            for shape in [&[][..], &[1], &[1, 1, 1]] {
                let one = quantized(dtype, "vae.", |s| vec![(last, number(shape, s))]);
                let weights = open(&one).unwrap();
                assert_scaled(&weights, dtype, |spec, _| scale(spec, 0));
                assert_eq!(weights.scaled(), kernels());
            }
            for ones in [0, 1, 4] {
                let channels = |s: &TensorSpec| {
                    let values: Vec<f32> = (0..s.shape[0]).map(|c| scale(s, c)).collect();
                    f32s(&[&[s.shape[0]], &vec![1; ones][..]].concat(), &values)
                };
                let each = quantized(dtype, "", |s| vec![(last, channels(s))]);
                assert_scaled(&open(&each).unwrap(), dtype, scale);
            }
        }
    }
}

#[test]
fn markers_and_scales_of_activations_are_not_needed() {
    let quant = |format: &str| {
        let text = json!({"format": format, "full_precision_matrix_mult": true}).to_string();
        (DType::U8, vec![text.len()], text.into_bytes())
    };
    let mut tensors = quantized(DType::F8E4M3, "", |s| {
        vec![
            ("weight_scale", f32s(&[], &[scale(s, 0)])),
            ("input_scale", f32s(&[], &[f32::NAN])),
            ("comfy_quant", quant("float8_e4m3fn")),
        ]
    });
    for shape in [vec![0], vec![2]] {
        let bytes = vec![0; shape[0]];
        tensors.insert("scaled_fp8".into(), (DType::F8E4M3, shape, bytes));
        let weights = open(&tensors).unwrap();
        assert_scaled(&weights, DType::F8E4M3, |spec, _| scale(spec, 0));
        assert!(weights.report().ignored.is_empty() && weights.notes().is_empty());
    }
    tensors.insert("conv2.comfy_quant".into(), quant("nvfp4"));
    let (tensor, _, got) = wrong(open(&tensors));
    assert_eq!(
        (tensor.as_str(), got.as_str()),
        ("conv2.comfy_quant", "nvfp4")
    );
}

#[test]
fn other_floats_may_be_scaled_too() {
    let mut tensors = quantized(DType::F8E4M3, "", |_| vec![]);
    let spec = &arch::tensors(&small())[0];
    let values = formula::tensor(&spec.name, &spec.shape, 1.0);
    tensors.insert(spec.name.clone(), f32s(&spec.shape, &values));
    let scale = f32s(&[1], &[0.3]);
    tensors.retain(|_, tensor| tensor.0 != DType::F8E4M3 || tensor.1.len() < 4);
    let rest = quantized(DType::F8E4M3, "", |_| vec![("weight_scale", scale.clone())]);
    for (name, tensor) in rest {
        tensors.entry(name).or_insert(tensor);
    }
    let weights = open(&tensors).unwrap();
    let expected: Vec<f32> = values.iter().map(|v| v * 0.3).collect();
    assert!(weights.tensor(spec).unwrap().data() == expected);
}

/// Tensor, what was expected, what was found.
#[track_caller]
fn wrong(opened: Result<VaeWeights>) -> (String, String, String) {
    match opened {
        Err(Error::Tensor {
            tensor,
            expected,
            got,
            ..
        }) => (tensor, expected, got),
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_scales_are_refused_by_name() {
    let scaled = || {
        quantized(DType::F8E4M3, "", |s| {
            vec![("scale_weight", f32s(&[1], &[scale(s, 0)]))]
        })
    };
    let name = "decoder.head.2.scale_weight";
    for (tensor, found) in [
        (f32s(&[1], &[f32::NAN]), "NaN"),
        (f32s(&[1], &[f32::INFINITY]), "inf"),
        (
            f32s(&[], &[1e38]),
            "100000000000000000000000000000000000000",
        ),
        (f32s(&[1], &[-1.0]), "-1"),
        (f32s(&[3], &[1.0, f32::NAN, 1.0]), "NaN"),
        (f32s(&[2], &[1.0; 2]), "[2]"),
        (f32s(&[1, 3], &[1.0; 3]), "[1, 3]"),
        (f32s(&[3, 2], &[1.0; 6]), "[3, 2]"),
        (f32s(&[0], &[]), "[0]"),
        ((DType::I32, vec![1], vec![0; 4]), "I32"),
        ((DType::U8, vec![1], vec![127]), "U8"),
    ] {
        let mut tensors = scaled();
        tensors.insert(name.into(), tensor);
        let (tensor, _, got) = wrong(open(&tensors));
        assert_eq!((tensor.as_str(), got.as_str()), (name, found));
    }
    let mut lost = scaled();
    lost.remove(name);
    let (tensor, expected, _) = wrong(open(&lost));
    assert_eq!(tensor, "decoder.head.2.weight");
    assert!(expected.contains("scale"), "{expected}");
}

#[test]
fn weights_in_other_types_are_refused_by_name() {
    for (dtype, bytes) in [("I8", 1), ("U8", 1), ("F8_E8M0", 1), ("Q4", 1), ("C64", 8)] {
        let tensors = quantized(DType::F8E4M3, "", |_| vec![]);
        let (mut header, mut data) = (Map::new(), Vec::new());
        for (name, (kind, shape, codes)) in tensors {
            let is_it = name == "conv2.weight";
            let kind = if is_it { dtype } else { kind.name() };
            let codes = if is_it { codes.repeat(bytes) } else { codes };
            let end = data.len() + codes.len();
            let entry = json!({"dtype": kind, "shape": shape, "data_offsets": [data.len(), end]});
            header.insert(name, entry);
            data.extend(codes);
        }
        let bytes = safetensors(&Value::Object(header), &data);
        let file = TensorFile::from_bytes("given", bytes).unwrap();
        let (tensor, _, got) = wrong(VaeWeights::from_file(file, None));
        assert_eq!((tensor.as_str(), got.as_str()), ("conv2.weight", dtype));
    }
}

#[test]
fn scales_without_a_weight_are_unknown_tensors() {
    for stray in [
        "decoder.head.9.scale_weight",
        "encoder.conv1.bias_scale",
        "decoder.head.0.weight_scale",
        "decoder.extra.input_scale",
        "conv2.weight_scale_inv",
    ] {
        let mut tensors = quantized(DType::F8E5M2, "", |_| vec![]);
        tensors.insert(stray.into(), f32s(&[1], &[1.0]));
        assert!(matches!(
            open(&tensors),
            Err(Error::TensorSet { missing, unused, .. }) if missing.is_empty() && unused == [stray]
        ));
    }
    let mut two = quantized(DType::F8E5M2, "", |s| {
        vec![("weight_scale", f32s(&[], &[scale(s, 0)]))]
    });
    two.insert("conv1.scale_weight".into(), f32s(&[1], &[1.0]));
    assert!(matches!(open(&two), Err(Error::TensorSet { .. })));
}
