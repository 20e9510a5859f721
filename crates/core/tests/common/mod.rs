//! Fixtures and handmade files for the tests of weight files.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{Cursor, Write};
use std::path::PathBuf;

use serde_json::{Value, json};
use vae2x_core::weights::DType;

/// A file of the golden fixtures.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures")).join(name)
}

/// A model that ships with the program.
pub fn demo_model(name: &str) -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../vae2x/assets/models"
    ))
    .join(name)
}

/// A safetensors file with this header.
pub fn safetensors(header: &Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        data,
    ]
    .concat()
}

/// A safetensors file of tensors with zeros.
pub fn zeros(tensors: &[(&str, DType, &[usize])]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut start = 0;
    for (name, dtype, shape) in tensors {
        let end = start + shape.iter().product::<usize>() * dtype.size();
        header.insert(
            name.to_string(),
            json!({"dtype": dtype.name(), "shape": shape, "data_offsets": [start, end]}),
        );
        start = end;
    }
    safetensors(&Value::Object(header), &vec![0; start])
}

/// An npy file of version 1 or 2.
pub fn npy(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let length = if version == 1 {
        (header.len() as u16).to_le_bytes().to_vec()
    } else {
        (header.len() as u32).to_le_bytes().to_vec()
    };
    [
        b"\x93NUMPY",
        &[version, 0][..],
        &length,
        header.as_bytes(),
        data,
    ]
    .concat()
}

/// A zip of stored files.
pub fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in files {
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A torch file with this pickle and one storage named `0`.
pub fn torch(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    archive(&[
        ("m/data.pkl", pickle),
        ("m/byteorder", b"little"),
        ("m/data/0", storage),
    ])
}

/// Writes pickles opcode by opcode.
#[derive(Default)]
pub struct Pickle(Vec<u8>);

impl Pickle {
    pub fn new() -> Self {
        Self(vec![0x80, 2])
    }

    pub fn op(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn text(self, text: &str) -> Self {
        self.op(b"X")
            .op(&(text.len() as u32).to_le_bytes())
            .op(text.as_bytes())
    }

    pub fn int(self, value: i64) -> Self {
        self.op(&[0x8A, 8]).op(&value.to_le_bytes())
    }

    pub fn ints(self, values: &[i64]) -> Self {
        values.iter().fold(self.op(b"("), |p, &v| p.int(v)).op(b"t")
    }

    pub fn name(self, module: &str, name: &str) -> Self {
        self.op(b"c")
            .op(module.as_bytes())
            .op(b"\n")
            .op(name.as_bytes())
            .op(b"\n")
    }

    /// A tensor of the storage named `0`.
    pub fn tensor(self, view: &View) -> Self {
        let class = format!("{}Storage", view.class);
        self.name("torch._utils", "_rebuild_tensor_v2")
            .op(b"((")
            .text("storage")
            .name("torch", &class)
            .text("0")
            .text("cpu")
            .int(view.len)
            .op(b"tQ")
            .int(view.offset)
            .ints(view.shape)
            .ints(view.strides)
            .op(b"\x89")
            .name("collections", "OrderedDict")
            .op(b")RtR")
    }

    pub fn stop(self) -> Vec<u8> {
        self.op(b".").0
    }
}

/// A tensor's view of its storage.
pub struct View {
    pub class: &'static str,
    pub len: i64,
    pub offset: i64,
    pub shape: &'static [i64],
    pub strides: &'static [i64],
}

/// `FloatStorage` of 6 elements as `[2, 3]`.
pub const PLAIN: View = View {
    class: "Float",
    len: 6,
    offset: 0,
    shape: &[2, 3],
    strides: &[3, 1],
};

/// Little-endian bytes of floats.
pub fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}
