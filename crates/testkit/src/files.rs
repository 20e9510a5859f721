//! Handmade files of tensors, right and wrong: safetensors, npy, torch.

use std::io::{Cursor, Write};

use serde_json::{Value, json};
use vae2x_core::weights::DType;

/// A safetensors file with this header.
pub fn safetensors(header: &Value, data: &[u8]) -> Vec<u8> {
    safetensors_text(header.to_string().as_bytes(), data)
}

/// A safetensors file with these bytes as its header.
pub fn safetensors_text(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header, data].concat()
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
    zip_of(files, zip::CompressionMethod::Stored)
}

/// A zip of deflated files.
pub fn deflated_archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    zip_of(files, zip::CompressionMethod::DEFLATE)
}

fn zip_of(files: &[(&str, &[u8])], method: zip::CompressionMethod) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
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
    /// An empty pickle of protocol 2.
    pub fn new() -> Self {
        Self(vec![0x80, 2])
    }

    /// Opcodes and what follows them.
    pub fn op(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A string.
    pub fn text(self, text: &str) -> Self {
        self.op(b"X")
            .op(&(text.len() as u32).to_le_bytes())
            .op(text.as_bytes())
    }

    /// An integer.
    pub fn int(self, value: i64) -> Self {
        self.op(&[0x8A, 8]).op(&value.to_le_bytes())
    }

    /// A tuple of integers.
    pub fn ints(self, values: &[i64]) -> Self {
        values.iter().fold(self.op(b"("), |p, &v| p.int(v)).op(b"t")
    }

    /// A global, such as a class.
    pub fn name(self, module: &str, name: &str) -> Self {
        self.op(b"c")
            .op(module.as_bytes())
            .op(b"\n")
            .op(name.as_bytes())
            .op(b"\n")
    }

    /// A tensor.
    pub fn tensor(self, view: &View) -> Self {
        let class = format!("{}Storage", view.class);
        self.name("torch._utils", "_rebuild_tensor_v2")
            .op(b"((")
            .text("storage")
            .name("torch", &class)
            .text(view.key)
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

    /// The bytes, ended.
    pub fn stop(self) -> Vec<u8> {
        self.op(b".").0
    }
}

/// A tensor's view of its storage.
#[derive(Clone, Copy)]
pub struct View {
    /// Name of the storage.
    pub key: &'static str,
    /// Class of the storage, without `Storage`.
    pub class: &'static str,
    /// Elements of the storage.
    pub len: i64,
    /// Its first element in the storage.
    pub offset: i64,
    /// Its axes.
    pub shape: &'static [i64],
    /// Elements from one to the next along each axis.
    pub strides: &'static [i64],
}

/// `FloatStorage` of 6 elements as `[2, 3]`.
pub const PLAIN: View = View {
    key: "0",
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
