//! Safetensors, npy and pickles of tensors.

use serde_json::{Map, Value, json};
use vae2x_testkit::files::{PLAIN, Pickle, View, floats, safetensors, safetensors_text};

use super::Random;

/// A tensor of a file: name, type, shape, bytes.
pub type Tensor = (String, &'static str, Vec<usize>, Vec<u8>);

pub fn tensor(name: &str, dtype: &'static str, shape: &[usize], bytes: Vec<u8>) -> Tensor {
    (name.into(), dtype, shape.to_vec(), bytes)
}

/// A safetensors file of these tensors.
pub fn file(tensors: &[Tensor]) -> Vec<u8> {
    with_metadata(tensors, &[])
}

/// A safetensors file of these tensors with metadata.
pub fn with_metadata(tensors: &[Tensor], metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut header = Map::new();
    if !metadata.is_empty() {
        let pairs = metadata.iter().map(|(k, v)| (k.to_string(), json!(v)));
        header.insert("__metadata__".into(), Value::Object(pairs.collect()));
    }
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let end = data.len() + bytes.len();
        header.insert(
            name.clone(),
            json!({"dtype": dtype, "shape": shape, "data_offsets": [data.len(), end]}),
        );
        data.extend_from_slice(bytes);
    }
    safetensors(&Value::Object(header), &data)
}

/// A safetensors file with this header, `zeros` bytes of data behind it.
pub fn header(text: &str, zeros: usize) -> Vec<u8> {
    safetensors_text(text.as_bytes(), &vec![0; zeros])
}

/// A safetensors file of one tensor, whose entry is as given.
pub fn entry(dtype: &str, shape: &str, offsets: &str, zeros: usize) -> Vec<u8> {
    header(
        &format!(r#"{{"x":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{offsets}]}}}}"#),
        zeros,
    )
}

/// A safetensors file of so many tensors without elements.
pub fn many(count: usize) -> Vec<u8> {
    let entries: Vec<String> = (0..count)
        .map(|i| format!(r#""{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    header(&format!("{{{}}}", entries.join(",")), 0)
}

/// Normally distributed `f32`.
pub fn noise(count: usize, seed: u64, scale: f32) -> Vec<u8> {
    let mut random = Random::new(seed);
    floats(
        &(0..count)
            .map(|_| random.normal() * scale)
            .collect::<Vec<_>>(),
    )
}

/// `count` times the same `f32`.
pub fn same(value: f32, count: usize) -> Vec<u8> {
    floats(&vec![value; count])
}

/// A latent as ComfyUI saves it: `[batch, 16, frames, height, width]`.
pub fn latent([batch, frames, height, width]: [usize; 4], seed: u64) -> Vec<u8> {
    let values = noise(batch * 16 * frames * height * width, seed, 1.0);
    file(&[
        tensor("latent_format_version_0", "F32", &[0], Vec::new()),
        tensor(
            "latent_tensor",
            "F32",
            &[batch, 16, frames, height, width],
            values,
        ),
    ])
}

/// A latent of 8x8 cells.
pub fn latent8() -> Vec<u8> {
    latent([1, 1, 8, 8], 1)
}

/// A latent as other programs save it.
pub fn plain_latent([batch, frames, height, width]: [usize; 4], seed: u64) -> Vec<u8> {
    let values = noise(batch * 16 * frames * height * width, seed, 1.0);
    file(&[tensor(
        "latents",
        "F32",
        &[batch, 16, frames, height, width],
        values,
    )])
}

/// A latent of one cell with these elements.
pub fn cell(name: &str, dtype: &'static str, bytes: Vec<u8>) -> Vec<u8> {
    file(&[tensor(name, dtype, &[1, 16, 1, 1, 1], bytes)])
}

/// The header of a safetensors file as JSON, and where its data begins.
pub fn split(bytes: &[u8]) -> (Value, usize) {
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let header = serde_json::from_slice(&bytes[8..8 + length]).expect("JSON");
    (header, 8 + length)
}

/// A safetensors file with its header edited.
pub fn edited(bytes: &[u8], edit: impl FnOnce(&mut Map<String, Value>)) -> Vec<u8> {
    let (mut header, start) = split(bytes);
    edit(header.as_object_mut().expect("an object"));
    safetensors(&header, &bytes[start..])
}

/// Where in a safetensors file a tensor's data is.
pub fn place(bytes: &[u8], name: &str) -> std::ops::Range<usize> {
    let (header, start) = split(bytes);
    let at =
        |i: usize| start + header[name]["data_offsets"][i].as_u64().expect("an offset") as usize;
    at(0)..at(1)
}

/// An npy file whose header has these texts.
pub struct Npy {
    pub descr: &'static str,
    pub order: &'static str,
    pub shape: &'static str,
    pub version: u8,
    /// The header, if it is another one.
    pub header: Option<String>,
    /// The length that is written for it, if it lies.
    pub length: Option<u32>,
}

pub const NPY: Npy = Npy {
    descr: "'<f4'",
    order: "False",
    shape: "(1, 16, 1, 1, 1)",
    version: 1,
    header: None,
    length: None,
};

impl Npy {
    pub fn with(self, data: &[u8]) -> Vec<u8> {
        let Self {
            descr,
            order,
            shape,
            ..
        } = self;
        let usual =
            || format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}");
        let mut header = self.header.unwrap_or_else(usual);
        let padding = 63 - (header.len() + 10) % 64;
        header += &" ".repeat(padding);
        header.push('\n');
        let length = self.length.unwrap_or(header.len() as u32).to_le_bytes();
        let length = if self.version == 1 {
            &length[..2]
        } else {
            &length
        };
        // One byte for each character, as numpy reads headers.
        let header: Vec<u8> = header.chars().map(|c| c as u8).collect();
        [&b"\x93NUMPY"[..], &[self.version, 0], length, &header, data].concat()
    }
}

/// `FloatStorage` of a latent of one cell.
pub const CELL: View = View {
    len: 16,
    shape: &[1, 16, 1, 1, 1],
    strides: &[16, 1, 1, 1, 1],
    ..PLAIN
};

/// A pickle of a dictionary with this tensor under `name`.
pub fn pickle_of(name: &str, view: &View) -> Vec<u8> {
    Pickle::new()
        .op(b"}(")
        .text(name)
        .tensor(view)
        .op(b"u")
        .stop()
}

/// A pickle of these opcodes.
pub fn pickle(body: impl AsRef<[u8]>) -> Vec<u8> {
    Pickle::new().op(body.as_ref()).stop()
}
