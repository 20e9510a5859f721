//! Reading tensor files: what good files hold, and what bad ones are told.

use serde_json::json;
use vae2x_core::weights::formula;
use vae2x_core::weights::write::write_arrays;
use vae2x_core::weights::{DType, Format, TensorFile};
use vae2x_core::{Array, Error};
use vae2x_testkit::files::*;
use vae2x_testkit::{demo_model, fixture};

fn open(bytes: Vec<u8>) -> Result<TensorFile, Error> {
    TensorFile::from_bytes("given", bytes)
}

/// The message of a file that must be refused, at opening or when its tensors are read.
#[track_caller]
fn refused(bytes: Vec<u8>) -> String {
    let file = open(bytes);
    let error = file
        .and_then(|f| f.tensors().keys().try_for_each(|n| f.read(n).map(drop)))
        .unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("given: "), "{message}");
    message
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "expected '{part}' in: {message}");
    }
}

#[test]
fn formats_are_told_by_content() {
    let found = |name: &str| TensorFile::open(&fixture(name)).unwrap().format();
    assert_eq!(
        found("vae_tiny_up2x/original.safetensors"),
        Format::Safetensors
    );
    assert_eq!(found("vae_tiny_up2x/original_bf16.pth"), Format::Torch);
    let file = open(npy(
        1,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
        &floats(&[1.0, 2.0]),
    ))
    .unwrap();
    assert_eq!(file.format(), Format::Npy);
}

#[test]
fn a_real_safetensors_file_holds_the_formula_to_the_bit() {
    let file = TensorFile::open(&fixture("vae_tiny_up2x/original.safetensors")).unwrap();
    assert_eq!(file.tensors().len(), 194);
    for (name, info) in file.tensors() {
        assert_eq!(info.dtype, DType::F32);
        let array = file.read(name).unwrap();
        assert_eq!(array.shape(), info.shape);
        assert!(
            array.data() == formula::tensor(name, &info.shape, 1.0),
            "{name}"
        );
    }
}

#[test]
fn a_real_torch_file_agrees_with_the_safetensors_file() {
    let exact = TensorFile::open(&fixture("vae_tiny_up2x/original.safetensors")).unwrap();
    let rounded = TensorFile::open(&fixture("vae_tiny_up2x/original_bf16.pth")).unwrap();
    assert_eq!(rounded.tensors().len(), 194);
    for (name, info) in exact.tensors() {
        let (dtype, shape, bytes) = rounded.read_bytes(name).unwrap();
        assert_eq!((dtype, &shape), (DType::BF16, &info.shape));
        assert_eq!(
            Some(bytes),
            DType::BF16.narrow(exact.read(name).unwrap().data()),
            "{name}"
        );
    }
}

#[test]
fn bytes_and_files_read_the_same() {
    let path = fixture("vae_tiny_up2x/original_bf16.pth");
    let (file, bytes) = (
        TensorFile::open(&path).unwrap(),
        open(std::fs::read(&path).unwrap()).unwrap(),
    );
    assert_eq!(file.tensors(), bytes.tensors());
    assert_eq!(
        file.read("conv1.weight").unwrap(),
        bytes.read("conv1.weight").unwrap()
    );
}

#[test]
fn files_are_read_from_several_threads() {
    let file = TensorFile::open(&fixture("vae_tiny_up2x/original.safetensors")).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (name, info) in file.tensors() {
                    assert!(
                        file.read(name).unwrap().data() == formula::tensor(name, &info.shape, 1.0),
                        "{name}"
                    );
                }
            });
        }
    });
}

#[test]
fn a_frame_is_read_without_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.safetensors");
    let clip = Array::new([2, 3, 2, 2], (0..24).map(|i| i as f32).collect()).unwrap();
    let flat = Array::new([4], vec![0.0; 4]).unwrap();
    write_arrays(
        &path,
        &[("clip", &clip), ("flat", &flat)],
        &Default::default(),
    )
    .unwrap();
    let file = TensorFile::open(&path).unwrap();
    for frame in 0..3 {
        let want = clip.narrow1(frame..frame + 1).reshape([2, 2, 2]).unwrap();
        assert_eq!(file.read_frame("clip", frame).unwrap(), want);
    }
    for (name, frame, shape) in [
        ("clip", 3, "[2, 3, 2, 2]"),
        ("flat", 0, "[4]"),
        ("none", 0, ""),
    ] {
        let error = file.read_frame(name, frame).unwrap_err();
        assert!(
            matches!(
                &error,
                Error::Tensor { tensor, got, .. } if tensor == name && got.contains(shape)
            ),
            "{error:?}"
        );
    }
}

#[test]
fn metadata_and_unknown_names() {
    let file = TensorFile::open(&demo_model("demo_base.safetensors")).unwrap();
    assert!(file.metadata()["latents_mean"].starts_with("[-0.4452"));
    let error = file.read("nothing").unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Tensor { path, tensor, .. }
                if path.ends_with("demo_base.safetensors") && tensor == "nothing"
        ),
        "{error:?}"
    );
}

/// A version 1 npy file of `f32`.
fn npy_of(order: &str, shape: &str, values: &[f32]) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': {shape}}}");
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    let mut bytes = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes()].concat();
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

#[test]
fn a_slice_is_read_in_any_order_of_elements() {
    // [2, 3, 4, 2, 2], each element being its own row-major place.
    let extents = [2, 3, 4, 2, 2];
    let row_major: Vec<f32> = (0..96).map(|i| i as f32).collect();
    let place = |mut i: usize| {
        let mut index = [0; 5];
        for (at, extent) in index.iter_mut().zip(extents) {
            (*at, i) = (i % extent, i / extent);
        }
        index.iter().zip(extents).fold(0, |sum, (i, n)| sum * n + i)
    };
    let column_major: Vec<f32> = (0..96).map(|i| place(i) as f32).collect();
    let whole = Array::new(extents, row_major.clone()).unwrap();
    for (order, values) in [("False", row_major), ("True", column_major)] {
        let file = TensorFile::from_bytes("x", npy_of(order, "(2, 3, 4, 2, 2)", &values)).unwrap();
        for (item, frame) in [(0, 0), (1, 2), (1, 3)] {
            let got = file
                .read_slice("", &[Some(item), None, Some(frame), None, None])
                .unwrap();
            let want = whole.item(item).narrow1(frame..frame + 1);
            assert_eq!(got, want.reshape([3, 2, 2]).unwrap(), "{order}");
        }
        assert_eq!(file.read_slice("", &[None; 5]).unwrap(), whole);
        let one = file.read_slice("", &[Some(1); 5]).unwrap();
        assert_eq!(
            (one.shape(), one.data()),
            (&[][..], &[place_of([1; 5], extents)][..])
        );
        for bad in [
            &[Some(2), None, None, None, None][..],
            &[None; 4],
            &[None; 6],
        ] {
            assert!(file.read_slice("", bad).is_err(), "{bad:?}");
        }
        assert!(file.read_slice("x", &[None; 5]).is_err());
    }
    let empty = TensorFile::from_bytes("x", npy_of("False", "(3, 0, 5)", &[])).unwrap();
    let none = empty.read_slice("", &[Some(2), None, Some(4)]).unwrap();
    assert_eq!(none, Array::zeros([0]));
    assert!(empty.read_slice("", &[None, Some(0), None]).is_err());
    let rows = empty.read_slice("", &[Some(2), None, None]).unwrap();
    assert_eq!((rows.shape(), rows.data().len()), (&[0, 5][..], 0));
    let huge = npy_of("False", "(3, 0, 9223372036854775807)", &[]);
    assert!(TensorFile::from_bytes("x", huge).is_err());
}

fn place_of(index: [usize; 5], extents: [usize; 5]) -> f32 {
    index.iter().zip(extents).fold(0, |sum, (i, n)| sum * n + i) as f32
}

#[test]
fn torch_views_are_gathered() {
    let data: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let read = |view: View| {
        let pickle = Pickle::new()
            .op(b"}(")
            .text("w")
            .tensor(&view)
            .op(b"u")
            .stop();
        open(torch(&pickle, &floats(&data)))
            .unwrap()
            .read("w")
            .unwrap()
    };
    let view = |shape, strides, offset| View {
        key: "0",
        class: "Float",
        len: 12,
        offset,
        shape,
        strides,
    };
    assert_eq!(
        read(view(&[3, 2], &[1, 3], 0)).data(),
        [0., 3., 1., 4., 2., 5.]
    );
    assert_eq!(read(view(&[2, 2], &[6, 2], 1)).data(), [1., 3., 7., 9.]);
    assert_eq!(
        read(view(&[2, 1, 2], &[2, 99, 1], 8)).data(),
        [8., 9., 10., 11.]
    );
    assert_eq!(read(view(&[2, 2], &[0, 1], 4)).data(), [4., 5., 4., 5.]);
    assert_eq!(read(view(&[], &[], 11)).data(), [11.]);
    assert_eq!(read(view(&[0, 5], &[5, 1], 0)).shape(), [0, 5]);
}

#[test]
fn wrapped_nested_and_bare_tensors_are_found() {
    let names = |pickle: Pickle| -> Vec<String> {
        open(torch(&pickle.stop(), &floats(&[0.0; 6])))
            .unwrap()
            .tensors()
            .keys()
            .cloned()
            .collect()
    };
    assert_eq!(names(Pickle::new().tensor(&PLAIN)), [""]);
    let inner = |p: Pickle| p.op(b"}(").text("a.weight").tensor(&PLAIN).op(b"u");
    assert_eq!(
        names(inner(Pickle::new().op(b"}(").text("state_dict")).op(b"u")),
        ["a.weight"]
    );
    assert_eq!(
        names(inner(Pickle::new().op(b"}(").text("vae")).op(b"u")),
        ["vae.a.weight"]
    );
    // The averaged weights win over the others.
    let both = inner(inner(Pickle::new().op(b"}(").text("params")).text("params_ema")).op(b"u");
    assert_eq!(names(both), ["a.weight"]);
    // Attributes of an ordered dictionary, as state_dict() has them.
    let ordered = Pickle::new()
        .name("collections", "OrderedDict")
        .op(b")R(")
        .text("w")
        .tensor(&PLAIN)
        .op(b"u}");
    assert_eq!(names(ordered.op(b"(").text("_metadata").op(b"Nub")), ["w"]);
    let parameter = Pickle::new()
        .name("torch._utils", "_rebuild_parameter")
        .op(b"(")
        .tensor(&PLAIN)
        .op(b"\x88}tR");
    assert_eq!(names(parameter), [""]);
}

#[test]
fn no_pickle_runs_code() {
    for (module, name) in [
        ("os", "system"),
        ("builtins", "eval"),
        ("torch", "load"),
        ("posix", "system"),
        ("torch.nn", "Linear"),
    ] {
        let by_line = Pickle::new()
            .name(module, name)
            .op(b"(")
            .text("true")
            .op(b"tR")
            .stop();
        let by_stack = Pickle::new()
            .text(module)
            .text(name)
            .op(&[0x93])
            .op(b"(")
            .text("true")
            .op(b"tR")
            .stop();
        for pickle in [by_line, by_stack] {
            assert_says(
                &refused(torch(&pickle, &[])),
                &["refusing to run code", &format!("{module}.{name}")],
            );
        }
    }
    let installed = Pickle::new().op(b"(i").op(b"os\nsystem\n").stop();
    assert_says(&refused(torch(&installed, &[])), &["opcode 0x69"]);
}

#[test]
fn torch_files_that_lie_are_refused() {
    let read = |view: View| {
        refused(torch(
            &Pickle::new()
                .op(b"}(")
                .text("w")
                .tensor(&view)
                .op(b"u")
                .stop(),
            &floats(&[0.0; 6]),
        ))
    };
    assert_says(
        &read(View { len: 7, ..PLAIN }),
        &["'w'", "7 elements", "24 bytes"],
    );
    assert_says(
        &read(View {
            len: i64::MAX,
            ..PLAIN
        }),
        &["'w'", "24 bytes"],
    );
    assert_says(&read(View { len: -1, ..PLAIN }), &["negative"]);
    assert_says(
        &read(View {
            class: "Double",
            ..PLAIN
        }),
        &["'w'", "6 elements of 8 bytes"],
    );
    assert_says(&read(View { offset: 1, ..PLAIN }), &["'w'", "offset 1"]);
    assert_says(
        &read(View {
            offset: i64::MAX,
            ..PLAIN
        }),
        &["'w'"],
    );
    assert_says(
        &read(View {
            strides: &[4, 1],
            ..PLAIN
        }),
        &["'w'", "strides [4, 1]"],
    );
    assert_says(
        &read(View {
            strides: &[i64::MAX, i64::MAX],
            ..PLAIN
        }),
        &["'w'"],
    );
    assert_says(
        &read(View {
            strides: &[-3, 1],
            ..PLAIN
        }),
        &["negative"],
    );
    assert_says(
        &read(View {
            strides: &[1],
            ..PLAIN
        }),
        &["'w'"],
    );
    assert_says(
        &read(View {
            shape: &[1 << 40, 1 << 40],
            strides: &[0, 0],
            ..PLAIN
        }),
        &["'w'"],
    );
    assert_says(
        &read(View {
            shape: &[1 << 40],
            strides: &[0],
            ..PLAIN
        }),
        &["'w'", "expanded", ".contiguous()"],
    );
    assert_says(
        &read(View {
            shape: &[1; 9],
            strides: &[1; 9],
            ..PLAIN
        }),
        &["at most 8"],
    );
}

#[test]
fn broken_archives_are_refused() {
    let pickle = Pickle::new().tensor(&PLAIN).stop();
    assert_says(&refused(archive(&[("a.txt", b"x")])), &["without data.pkl"]);
    assert_says(
        &refused(archive(&[("a/data.pkl", &pickle), ("b/data.pkl", &pickle)])),
        &["several data.pkl"],
    );
    assert_says(
        &refused(archive(&[("a/data.pkl", &pickle)])),
        &["storage", "no such file"],
    );
    assert_says(
        &refused(archive(&[("a/data.pkl", &pickle), ("a/byteorder", b"big")])),
        &["'big'", "little-endian"],
    );
    assert_says(
        &refused(torch(&Pickle::new().op(b"}").stop(), &[])),
        &["no tensors"],
    );
    assert_says(
        &refused(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec()),
        &["old format", "save it again"],
    );
}

#[test]
fn self_containing_and_deep_pickles_end() {
    // d = {}; d['x'] = d
    let cyclic = Pickle::new().op(b"}q\x00(").text("x").op(b"h\x00u").stop();
    assert_says(&refused(torch(&cyclic, &[])), &["no tensors"]);
    let deep = (0..100_000).fold(Pickle::new(), |p, _| p.op(b"}(").text("x"));
    let deep = (0..100_000).fold(deep.op(b"N"), |p, _| p.op(b"u")).stop();
    assert_says(&refused(torch(&deep, &[])), &["nested more than"]);
    let wrapped = (0..50)
        .fold(Pickle::new(), |p, _| p.op(b"}(").text("model"))
        .op(b"N");
    refused(torch(&(0..50).fold(wrapped, |p, _| p.op(b"u")).stop(), &[]));
    // Each list holds the one before it twice: 2^60 paths.
    let doubling = (0..60u8).fold(Pickle::new().op(b"]q\x00"), |p, i| {
        p.op(b"](h")
            .op(&[i])
            .op(b"h")
            .op(&[i])
            .op(b"eq")
            .op(&[i + 1])
    });
    refused(torch(&doubling.stop(), &[]));
}

#[test]
fn npy_versions_orders_and_types() {
    let read = |bytes| open(bytes).unwrap().read("").unwrap();
    let six = floats(&[0., 1., 2., 3., 4., 5.]);
    let c = read(npy(
        1,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n",
        &six,
    ));
    assert_eq!(
        (c.shape(), c.data()),
        (&[2, 3][..], &[0., 1., 2., 3., 4., 5.][..])
    );
    let f = read(npy(
        2,
        "{'shape': (2, 3), 'fortran_order': True, 'descr': '<f4'}",
        &six,
    ));
    assert_eq!(
        (f.shape(), f.data()),
        (&[2, 3][..], &[0., 2., 4., 1., 3., 5.][..])
    );
    let f3 = read(npy(
        3,
        "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2, 3)}",
        &six,
    ));
    assert_eq!(f3.data(), [0., 2., 4., 1., 3., 5.]);
    let scalar = read(npy(
        1,
        "{'descr': '<f8', 'fortran_order': False, 'shape': ()}",
        &2.5f64.to_le_bytes(),
    ));
    assert_eq!((scalar.shape(), scalar.data()), (&[][..], &[2.5][..]));
    let half = read(npy(
        1,
        "{'descr': '<f2', 'fortran_order': False, 'shape': (1,)}",
        &[0x00, 0x3C],
    ));
    assert_eq!(half.data(), [1.0]);
    let empty = read(npy(
        1,
        "{'descr': '<f4', 'fortran_order': True, 'shape': (0, 3)}",
        &[],
    ));
    assert_eq!(empty.shape(), [0, 3]);
}

#[test]
fn bad_npy_files_are_refused() {
    let header = |descr: &str, shape: &str| {
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}")
    };
    assert_says(
        &refused(npy(1, &header(">f4", "(1,)"), &[0; 4])),
        &["'>f4'", "little-endian"],
    );
    assert_says(&refused(npy(1, &header("|O", "(1,)"), &[0; 4])), &["'|O'"]);
    assert_says(
        &refused(npy(1, &header("<f4", "(3,)"), &[0; 8])),
        &["12 bytes", "found 8"],
    );
    assert_says(
        &refused(npy(1, &header("<f4", "(1,)"), &[0; 8])),
        &["4 bytes", "found 8"],
    );
    let huge = format!("({0}, {0})", u64::MAX);
    assert_says(
        &refused(npy(1, &header("<f4", &huge), &[0; 8])),
        &["found 8"],
    );
    assert_says(
        &refused(npy(1, &header("<f4", "(-1,)"), &[0; 4])),
        &["header is invalid"],
    );
    assert_says(&refused(npy(9, "", &[])), &["version 9"]);
    assert_says(&refused(npy(2, &" ".repeat(70_000), &[])), &["70000 bytes"]);
    assert_says(
        &refused(npy(1, "{'descr': '<f4'}", &[])),
        &["header is invalid"],
    );
}

#[test]
fn bad_safetensors_files_are_refused() {
    let tensor = |dtype: &str, shape: &[u64], offsets: [u64; 2]| {
        safetensors(
            &json!({"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}),
            &[0; 8],
        )
    };
    assert!(open(tensor("F32", &[2], [0, 8])).is_ok());
    assert_says(
        &refused(tensor("F32", &[4], [0, 16])),
        &["truncated", "bytes, found"],
    );
    assert_says(
        &refused(tensor("F32", &[1], [0, 4])),
        &["bytes follow the last tensor"],
    );
    assert_says(
        &refused(tensor("F32", &[3], [0, 8])),
        &["header is invalid"],
    );
    assert_says(
        &refused(tensor("F32", &[2], [8, 0])),
        &["header is invalid"],
    );
    assert_says(
        &refused(tensor("F32", &[1], [4, 8])),
        &["header is invalid"],
    );
    assert_says(
        &refused(tensor("F32", &[u64::MAX, u64::MAX], [0, 8])),
        &["header is invalid"],
    );
    assert_says(
        &refused(tensor("F32", &[2], [0, u64::MAX])),
        &["header is invalid"],
    );
    assert_says(
        &refused(tensor("C64", &[2], [0, 8])),
        &["header is invalid"],
    );
    assert_says(
        &refused(tensor("Q4", &[65], [0, 8])),
        &["'w'", "[65]", "does not fit"],
    );
    assert_says(
        &refused(tensor("Q4", &[u64::MAX, 2], [0, 8])),
        &["'w'", "does not fit"],
    );
    assert_says(&refused(tensor("C64", &[1], [0, 8])), &["'w'", "C64"]);
    let fp8 = open(tensor("F8_E4M3", &[8], [0, 8])).unwrap();
    assert_eq!(fp8.read("w").unwrap().data(), [0.0; 8]);
    let overlap = json!({"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}, "b": {"dtype": "U8", "shape": [4], "data_offsets": [4, 8]}});
    assert_says(
        &refused(safetensors(&overlap, &[0; 8])),
        &["header is invalid"],
    );
    let header = |length: u64| [&length.to_le_bytes()[..], b"{}"].concat();
    assert_says(
        &refused(header(9_000_000)),
        &["truncated", "9000008", "found 10"],
    );
    assert_says(&refused(header(99_000_000)), &["at most 16777216"]);
    assert_says(&refused(header(u64::MAX)), &["neither safetensors"]);
}

#[test]
fn types_that_are_not_read_are_listed() {
    for (dtype, shape) in [
        ("Q4", &[64][..]),
        ("C64", &[1]),
        ("F8_E8M0", &[8]),
        ("F8_E4M3FNUZ", &[2, 4]),
        ("F4", &[4, 4]),
    ] {
        let header = json!({
            "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "w": {"dtype": dtype, "shape": shape, "data_offsets": [4, 12]},
        });
        let file = open(safetensors(&header, &[0; 12])).unwrap();
        let info = &file.tensors()["w"];
        assert_eq!((info.dtype.name(), &info.shape[..]), (dtype, shape));
        assert_eq!(file.read("a").unwrap().data(), [0.0]);
        let room = &mut [0.0; 1];
        for error in [
            file.read("w").map(drop),
            file.read_bytes("w").map(drop),
            file.read_into("w", room),
            file.read_rows("w", &[0]).map(drop),
            file.read_slice("w", &[Some(0)]).map(drop),
        ] {
            assert_says(&error.unwrap_err().to_string(), &["'w'", dtype]);
        }
    }
}

#[test]
fn empty_tensors_are_tensors() {
    let bytes = zeros(&[("a", DType::F32, &[0, 4]), ("b", DType::BF16, &[])]);
    let file = open(bytes).unwrap();
    assert_eq!(file.read("a").unwrap().shape(), [0, 4]);
    assert_eq!(file.read("b").unwrap().data(), [0.0]);
}

#[test]
fn other_files_are_named() {
    for (bytes, part) in [
        (&b""[..], "empty"),
        (b"GGUF\x03\0\0\0", "GGUF"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"<!DOCTYPE html>", "web page"),
        (b"hello", "neither"),
    ] {
        assert_says(&refused(bytes.to_vec()), &[part]);
    }
    let folder = fixture("vae_tiny_base");
    let error = TensorFile::open(&folder).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Io { path, .. } | Error::Format { path, .. } if *path == folder
        ),
        "{error:?}"
    );
    assert!(matches!(
        TensorFile::open(std::path::Path::new("nowhere")),
        Err(Error::Io { .. })
    ));
}
