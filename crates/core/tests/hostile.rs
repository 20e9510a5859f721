//! Damaged files by the thousand: every reader must answer with a value or an error, never with a panic.
//!
//! Mutations come from a seeded generator, so that a failure repeats. The damage goes where the structure is: headers,
//! pickles, archive directories. The fuzz targets of this repository go further; this is the part that every test run does.

use proptest::prelude::*;
use serde_json::json;
use vae2x_core::VaeConfig;
use vae2x_core::arch;
use vae2x_core::weights::formula::FormulaWeights;
use vae2x_core::weights::write::{Entry, write_safetensors};
use vae2x_core::weights::{DType, TensorFile, VaeWeights, Weights};
use vae2x_testkit::files::*;
use vae2x_testkit::fixture;

/// Opens a file and reads all it says it holds. What it returns does not matter; that it returns does.
fn survive(bytes: Vec<u8>) -> bool {
    let size = bytes.len();
    let Ok(file) = TensorFile::from_bytes("damaged", bytes) else {
        return false;
    };
    for (name, info) in file.tensors() {
        if let Ok((dtype, shape, bytes)) = file.read_bytes(name) {
            assert_eq!((dtype, &shape), (info.dtype, &info.shape));
            assert_eq!(bytes.len(), shape.iter().product::<usize>() * dtype.size());
            assert!(
                bytes.len() <= size,
                "a tensor of {} bytes from a file of {size}",
                bytes.len()
            );
        }
    }
    let _ = VaeWeights::from_file(file, None);
    true
}

fn small_torch() -> Vec<u8> {
    let view = View {
        strides: &[1, 2],
        ..PLAIN
    };
    let pickle = Pickle::new()
        .op(b"}q\x00(")
        .text("a")
        .tensor(&PLAIN)
        .text("b")
        .tensor(&view)
        .op(b"u")
        .stop();
    torch(&pickle, &floats(&[1.0; 6]))
}

fn small_safetensors() -> Vec<u8> {
    let header = json!({
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
    });
    safetensors(&header, &[7; 32])
}

fn small_npy() -> Vec<u8> {
    npy(
        1,
        "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }",
        &[7; 24],
    )
}

/// A complete model small enough to be damaged often.
fn small_model() -> Vec<u8> {
    let weights = FormulaWeights::new(VaeConfig {
        dim_mult: [1; 4],
        ..VaeConfig::with_widths(2, 3)
    });
    let specs = arch::tensors(weights.config());
    let entry = |s: &arch::TensorSpec| Entry {
        name: s.name.clone(),
        dtype: DType::F16,
        shape: s.shape.clone(),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    write_safetensors(
        &path,
        &specs.iter().map(entry).collect::<Vec<_>>(),
        &Default::default(),
        |e| Ok(vec![0; e.shape.iter().product::<usize>() * e.dtype.size()]),
    )
    .unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn whole_files_survive_and_truncated_ones_are_refused() {
    for bytes in [small_torch(), small_safetensors(), small_npy()] {
        assert!(survive(bytes.clone()));
        for length in 0..bytes.len() {
            assert!(
                !survive(bytes[..length].to_vec()),
                "{length} of {} bytes passed",
                bytes.len()
            );
        }
    }
}

#[test]
fn truncated_fixtures_are_refused() {
    for name in [
        "vae_tiny_up2x/original.safetensors",
        "vae_tiny_up2x/original_bf16.pth",
    ] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for part in 0..40 {
            assert!(!survive(bytes[..bytes.len() * part / 40].to_vec()));
        }
        assert!(!survive(bytes[..bytes.len() - 1].to_vec()));
    }
}

/// Each opcode of one byte makes something; a file of 16 MB must not make a gigabyte of it.
#[test]
fn a_pickle_of_millions_of_values_is_refused() {
    const LONG: usize = 15 << 20;
    for (start, repeated) in [
        (&b")"[..], &b"\x85"[..]),
        (b"N", b"\x94"),
        (b"", b"N"),
        (b"", b"("),
        (b"", b"}"),
        (b"}q\x00", b"h\x00h\x00s"),
    ] {
        let script = repeated.repeat(LONG / repeated.len());
        let pickle = Pickle::new().op(start).op(&script).stop();
        let refused = TensorFile::from_bytes("long", torch(&pickle, &[0; 4])).unwrap_err();
        assert!(
            refused.to_string().contains("do not need"),
            "{repeated:?}: {refused}"
        );
    }
}

#[test]
fn the_number_of_tensors_and_the_header_have_limits() {
    let empty = |count: usize| {
        let names: Vec<String> = (0..count).map(|i| i.to_string()).collect();
        let tensors: Vec<(&str, DType, &[usize])> = names
            .iter()
            .map(|name| (name.as_str(), DType::U8, &[0usize][..]))
            .collect();
        TensorFile::from_bytes("many", zeros(&tensors))
    };
    assert_eq!(empty(20_000).unwrap().tensors().len(), 20_000);
    let refused = empty(200_000).unwrap_err().to_string();
    assert!(
        refused.contains("200000 tensors; expected at most"),
        "{refused}"
    );
    let long = json!({"__metadata__": {"note": "a".repeat(17 << 20)}});
    let refused = TensorFile::from_bytes("long", safetensors(&long, &[])).unwrap_err();
    assert!(refused.to_string().contains("header of"), "{refused}");
}

/// Members are stored as they are, so both sizes in the directory are the same.
#[test]
fn a_size_that_lies_is_refused() {
    let mut file = small_torch();
    let entry = file
        .windows(4)
        .position(|w| w == b"PK\x01\x02")
        .expect("an entry of the directory");
    file[entry + 20] ^= 1;
    let refused = TensorFile::from_bytes("lies", file).unwrap_err();
    assert!(
        refused.to_string().contains("its size is given"),
        "{refused}"
    );
}

#[test]
fn a_file_that_shrinks_after_opening_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    std::fs::write(&path, small_safetensors()).unwrap();
    let file = TensorFile::open(&path).unwrap();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(20)
        .unwrap();
    let error = file.read("b").unwrap_err();
    assert!(
        matches!(&error, vae2x_core::Error::Io { path: at, .. } if *at == path),
        "{error:?}"
    );
}

/// Overwrites some bytes.
fn damage(mut bytes: Vec<u8>, changes: &[(usize, u8)]) -> Vec<u8> {
    for &(at, value) in changes {
        let length = bytes.len();
        bytes[at % length] = value;
    }
    bytes
}

/// Bytes that mean something to one of the formats, and any others.
fn telling_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        any::<u8>(),
        proptest::sample::select(
            &b"(.QRbchjqru}])tsaeXKMJN\x80\x85\x86\x87\x88\x89\x8a\x8c\x93\x94\x95\xff\x000123456789[]{},:'\""[..]
        ),
    ]
}

fn changes() -> impl Strategy<Value = Vec<(usize, u8)>> {
    proptest::collection::vec((any::<usize>(), telling_byte()), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, rng_seed: proptest::test_runner::RngSeed::Fixed(20), ..ProptestConfig::default() })]

    #[test]
    fn damaged_torch_files(changes in changes()) {
        survive(damage(small_torch(), &changes));
    }

    #[test]
    fn damaged_safetensors_files(changes in changes()) {
        survive(damage(small_safetensors(), &changes));
    }

    #[test]
    fn damaged_npy_files(changes in changes()) {
        survive(damage(small_npy(), &changes));
    }

    #[test]
    fn random_pickles(script in proptest::collection::vec(telling_byte(), 0..200)) {
        survive(torch(&Pickle::new().op(&script).stop(), &[0; 16]));
    }

    #[test]
    fn spliced_pickles(cuts in proptest::collection::vec((0usize..200, 0usize..200), 1..8)) {
        let whole = Pickle::new().op(b"}q\x00(").text("a").tensor(&PLAIN).text("b").tensor(&PLAIN).op(b"u").stop();
        let part = |&(a, b): &(usize, usize)| whole[a.min(b).min(whole.len())..a.max(b).min(whole.len())].to_vec();
        survive(torch(&cuts.iter().flat_map(part).collect::<Vec<_>>(), &[0; 24]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, rng_seed: proptest::test_runner::RngSeed::Fixed(21), ..ProptestConfig::default() })]

    #[test]
    fn damaged_models(at in 8usize..20_000, value in telling_byte()) {
        thread_local! { static MODEL: Vec<u8> = small_model(); }
        let mut bytes = MODEL.with(Clone::clone);
        let at = at % bytes.len();
        bytes[at] = value;
        survive(bytes);
    }
}
