//! What stands beside a tensor in a torch file: plain data is passed by, whatever Python type it has, and nothing else is.

use vae2x_core::weights::TensorFile;
use vae2x_testkit::files::*;

/// A torch file of `{"a": ..., "w": tensor}`.
fn beside(value: impl FnOnce(Pickle) -> Pickle) -> Result<TensorFile, String> {
    let pickle = value(Pickle::new().op(b"}(").text("a")).text("w");
    let pickle = pickle.tensor(&PLAIN).op(b"u").stop();
    let bytes = torch(&pickle, &floats(&[0., 1., 2., 3., 4., 5.]));
    TensorFile::from_bytes("given", bytes).map_err(|e| e.to_string())
}

#[track_caller]
fn is_passed_by(what: &str, value: impl FnOnce(Pickle) -> Pickle) {
    let file = beside(value).unwrap_or_else(|e| panic!("{what}: {e}"));
    let read = file.read("w").unwrap();
    assert_eq!(read.data(), [0., 1., 2., 3., 4., 5.], "{what}");
}

#[test]
fn collections_and_numbers_are_passed_by() {
    for module in ["builtins", "__builtin__"] {
        for name in ["set", "frozenset"] {
            is_passed_by(name, |p| {
                let list = p.name(module, name).op(b"](").text("x").int(1);
                list.op(b"e\x85R")
            });
        }
        is_passed_by("bytearray", |p| {
            p.name(module, "bytearray")
                .text("\u{e9}")
                .text("latin-1")
                .op(b"\x86R")
        });
        is_passed_by("bytes", |p| p.name(module, "bytes").op(b")R"));
        is_passed_by("complex", |p| {
            let parts = p.name(module, "complex").op(b"G\x3f\xf0\0\0\0\0\0\0");
            parts.op(b"G\x3f\xf0\0\0\0\0\0\0\x86R")
        });
    }
    is_passed_by("Counter", |p| {
        p.name("collections", "Counter")
            .op(b"}(")
            .text("x")
            .int(3)
            .op(b"u\x85R")
    });
    // Protocols 4 and 5.
    is_passed_by("EMPTY_SET and ADDITEMS", |p| p.op(b"\x8f(K\x01K\x02\x90"));
    is_passed_by("FROZENSET", |p| p.op(b"(K\x01K\x02\x91"));
    is_passed_by("BYTEARRAY8", |p| p.op(b"\x96\x02\0\0\0\0\0\0\0ab"));
    is_passed_by("BINBYTES8", |p| p.op(b"\x8e\x02\0\0\0\0\0\0\0ab"));
}

#[test]
fn integers_of_any_size_are_passed_by() {
    is_passed_by("2^63 + 5", |p| p.op(b"\x8a\x09\x05\0\0\0\0\0\0\x80\0"));
    is_passed_by("2^70", |p| p.op(b"\x8a\x09\0\0\0\0\0\0\0\0\x40"));
    is_passed_by("LONG1 of 255 bytes", |p| p.op(b"\x8a\xff").op(&[0x7F; 255]));
    is_passed_by("LONG4", |p| p.op(b"\x8b\x2c\x01\0\0").op(&[0x7F; 300]));
}

#[test]
fn numpy_scalars_of_both_generations_are_passed_by() {
    for module in ["numpy.core.multiarray", "numpy._core.multiarray"] {
        is_passed_by(module, |p| {
            let dtype = p.name(module, "scalar").name("numpy", "dtype").text("f8");
            let dtype = dtype.op(b"\x89\x88\x87R(K\x03").text("<");
            let dtype = dtype.op(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb");
            let bytes = dtype.name("_codecs", "encode").text("\0\0\0\0\0\0\u{f0}?");
            bytes.text("latin1").op(b"\x86R\x86R")
        });
    }
}

#[test]
fn tensors_of_types_that_are_not_read_are_listed() {
    for (class, name) in [
        ("ComplexFloat", "complex64"),
        ("ComplexDouble", "complex128"),
        ("QInt8", "qint8"),
    ] {
        let view = View { class, ..PLAIN };
        let file = beside(|p| p.tensor(&view)).unwrap();
        assert_eq!(file.read("w").unwrap().data(), [0., 1., 2., 3., 4., 5.]);
        assert_eq!(file.unread().get("a").map(String::as_str), Some(name));
        let refused = file.read("a").unwrap_err().to_string();
        assert!(
            refused.contains("tensor 'a'") && refused.contains(name),
            "{refused}"
        );
    }
    for name in ["float8_e4m3fnuz", "float8_e8m0fnu", "complex32"] {
        let file = beside(|p| of_type(p, name)).unwrap();
        assert_eq!(file.unread().get("a").map(String::as_str), Some(name));
    }
    let alone = of_type(Pickle::new(), "complex64").stop();
    let refused = TensorFile::from_bytes("given", torch(&alone, &[0; 6])).unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.contains("the tensor is of type complex64"),
        "{refused}"
    );
}

/// A tensor of torch's newer types, which stand beside an untyped storage.
fn of_type(pickle: Pickle, name: &str) -> Pickle {
    let pickle = pickle.name("torch._utils", "_rebuild_tensor_v3").op(b"((");
    let pickle = pickle
        .text("storage")
        .name("torch.storage", "UntypedStorage");
    let pickle = pickle.text("0").text("cpu").int(6).op(b"tQ").int(0);
    let pickle = pickle.ints(&[6]).ints(&[1]).op(b"\x89N");
    pickle.name("torch", name).op(b"tR")
}

#[test]
fn tensors_with_the_negative_bit_are_not_read() {
    let negated = |p: Pickle, is_set: &[u8]| {
        let p = p.name("torch._utils", "_rebuild_tensor_v2").op(b"((");
        let p = p.text("storage").name("torch", "FloatStorage");
        let p = p.text("0").text("cpu").int(6).op(b"tQ").int(0);
        let p = p.ints(&[6]).ints(&[1]).op(b"\x89N}(");
        p.text("conj").op(b"\x89").text("neg").op(is_set).op(b"utR")
    };
    let file = beside(|p| negated(p, b"\x88")).unwrap();
    let refused = file.read("a").unwrap_err().to_string();
    let says = [
        "tensor 'a'",
        "F32 with torch's negative bit",
        "resolve_neg()",
    ];
    assert!(says.iter().all(|said| refused.contains(said)), "{refused}");
    let file = beside(|p| negated(p, b"\x89")).unwrap();
    assert_eq!(file.read("a").unwrap().data(), [0., 1., 2., 3., 4., 5.]);
}

#[test]
fn keys_of_any_kind_lead_to_their_tensors() {
    // {(1, 2): tensor, True: tensor}
    let pickle = Pickle::new().op(b"}(K\x01K\x02\x86").tensor(&PLAIN);
    let pickle = pickle.op(b"\x88").tensor(&PLAIN).op(b"u").stop();
    let file = TensorFile::from_bytes("given", torch(&pickle, &floats(&[0.0; 6]))).unwrap();
    assert_eq!(file.tensors().keys().collect::<Vec<_>>(), ["[0]", "[1]"]);
    // {0.5: [1]} holds no tensor.
    is_passed_by("a number as a key", |p| {
        p.op(b"}(G\x3f\xe0\0\0\0\0\0\0](K\x01eu")
    });
}

#[test]
fn what_could_run_or_is_used_as_a_number_is_refused() {
    let said = |value: fn(Pickle) -> Pickle| beside(value).unwrap_err();
    for (module, name) in [
        ("builtins", "getattr"),
        ("builtins", "list"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy", "load"),
        ("pathlib", "PosixPath"),
    ] {
        let refused = beside(|p| p.name(module, name).op(b")R")).unwrap_err();
        assert!(refused.contains("refusing to run code"), "{refused}");
    }
    // Plain data cannot be called, and nothing but a set takes elements.
    let called = said(|p| p.name("builtins", "set").op(b")R)R"));
    assert!(called.contains("not a function"), "{called}");
    let added = said(|p| p.op(b"}(K\x01\x90"));
    assert!(added.contains("not a set"), "{added}");
    // An integer of more than 64 bits as a size.
    let huge = b"\x8a\x09\0\0\0\0\0\0\0\0\x01";
    let pickle = Pickle::new().name("torch._utils", "_rebuild_tensor_v2");
    let pickle = pickle
        .op(b"((")
        .text("storage")
        .name("torch", "FloatStorage");
    let pickle = pickle.text("0").text("cpu").int(6).op(b"tQ").int(0);
    let pickle = pickle
        .op(b"(")
        .op(huge)
        .op(b"t")
        .ints(&[1])
        .op(b"tR")
        .stop();
    let refused = TensorFile::from_bytes("given", torch(&pickle, &floats(&[0.0; 6])));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("sizes are not numbers"), "{refused}");
}

#[test]
fn expanded_tensors_are_read_up_to_a_limit() {
    let read = |shape: &'static [i64], strides: &'static [i64]| {
        let view = View {
            shape,
            strides,
            ..PLAIN
        };
        let pickle = Pickle::new().op(b"}(").text("w").tensor(&view);
        let pickle = pickle.op(b"u").stop();
        let bytes = torch(&pickle, &floats(&[0., 1., 2., 3., 4., 5.]));
        let file = TensorFile::from_bytes("given", bytes).map_err(|e| e.to_string())?;
        file.read("w").map_err(|e| e.to_string())
    };
    let four = read(&[4, 2, 3], &[0, 3, 1]).unwrap();
    assert_eq!(four.shape(), [4, 2, 3]);
    assert_eq!(four.data(), [0., 1., 2., 3., 4., 5.].repeat(4));
    // Overlapping windows, as unfold makes them.
    let windows = read(&[4, 3], &[1, 1]).unwrap();
    let want = [0., 1., 2., 1., 2., 3., 2., 3., 4., 3., 4., 5.];
    assert_eq!(windows.data(), want);
    assert_eq!(read(&[64, 6], &[0, 1]).unwrap().data().len(), 384);
    let refused = read(&[65, 6], &[0, 1]).unwrap_err();
    assert!(refused.contains("save it with .contiguous()"), "{refused}");
    assert!(refused.contains("[65, 6] of 6 stored values"), "{refused}");
    assert!(read(&[4, 6], &[1, 1]).unwrap_err().contains("to fit"));
}
