//! Element types of tensor files, and their widening to and narrowing from `f32`. Bytes are little-endian throughout.

use half::{bf16, f16};

use crate::error::Error;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are the types")]
pub enum DType {
    F64,
    F32,
    F16,
    BF16,
    /// torch's `float8_e4m3fn`: no infinities, one NaN per sign.
    F8E4M3,
    /// torch's `float8_e5m2`: the upper half of an [`DType::F16`].
    F8E5M2,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl DType {
    /// All types.
    pub const ALL: [Self; 15] = [
        Self::F64,
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::F8E4M3,
        Self::F8E5M2,
        Self::I64,
        Self::I32,
        Self::I16,
        Self::I8,
        Self::U64,
        Self::U32,
        Self::U16,
        Self::U8,
        Self::Bool,
    ];

    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F8E4M3 | Self::F8E5M2 | Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// The name in safetensors files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F8E4M3 => "F8_E4M3",
            Self::F8E5M2 => "F8_E5M2",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U64 => "U64",
            Self::U32 => "U32",
            Self::U16 => "U16",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }

    /// The type with this safetensors name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }

    /// Whether weights may have this type: floating point of at least 16 bits.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// Whether the type is an 8-bit float: read as the values that its bytes stand for, without any scale.
    pub fn is_fp8(self) -> bool {
        matches!(self, Self::F8E4M3 | Self::F8E5M2)
    }

    /// Elements as `f32`. Exact for floats of at most 32 bits and integers up to 2^24, else rounded to nearest; `None`
    /// for types that are not readable. A last incomplete element is left out.
    pub fn widen(self, bytes: &[u8]) -> Option<Vec<f32>> {
        Some(match self {
            Self::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::F32 => each(bytes, f32::from_le_bytes),
            Self::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Self::BF16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Self::F8E4M3 => each(bytes, |[b]| e4m3fn(b)),
            Self::F8E5M2 => each(bytes, |[b]| f16::from_bits(u16::from(b) << 8).to_f32()),
            Self::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
            Self::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
            Self::I16 => each(bytes, |b| f32::from(i16::from_le_bytes(b))),
            Self::I8 => each(bytes, |b| f32::from(i8::from_le_bytes(b))),
            Self::U64 => each(bytes, |b| u64::from_le_bytes(b) as f32),
            Self::U32 => each(bytes, |b| u32::from_le_bytes(b) as f32),
            Self::U16 => each(bytes, |b| f32::from(u16::from_le_bytes(b))),
            Self::U8 => each(bytes, |[b]| f32::from(b)),
            Self::Bool => each(bytes, |[b]| f32::from(u8::from(b != 0))),
        })
    }

    /// Elements in this type, rounded to nearest; `None` unless [`Self::is_float`].
    pub fn narrow(self, values: &[f32]) -> Option<Vec<u8>> {
        Some(match self {
            Self::F64 => values
                .iter()
                .flat_map(|&v| f64::from(v).to_le_bytes())
                .collect(),
            Self::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::F16 => values
                .iter()
                .flat_map(|&v| f16::from_f32(v).to_le_bytes())
                .collect(),
            Self::BF16 => values
                .iter()
                .flat_map(|&v| bf16::from_f32(v).to_le_bytes())
                .collect(),
            _ => return None,
        })
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for DType {
    type Err = Error;

    /// Safetensors names in any case: `bf16`, `F32`.
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::from_name(&name.to_ascii_uppercase()).ok_or_else(|| {
            Error::BadRequest(format!(
                "unknown type '{name}'; expected f32, f16, bf16 or f64"
            ))
        })
    }
}

/// One sign bit, four bits of exponent with bias 7, three of mantissa; all ones is NaN. Micikevicius et al., "FP8 formats
/// for deep learning", <https://arxiv.org/abs/2209.05433>, table 1.
fn e4m3fn(code: u8) -> f32 {
    const BIAS: i32 = 7;
    const MANTISSA: i32 = 3;
    let sign = if code & 0x80 == 0 { 1.0 } else { -1.0 };
    let magnitude = code & 0x7F;
    let (exponent, mantissa) = (i32::from(magnitude >> MANTISSA), f32::from(magnitude & 7));
    sign * match (magnitude, exponent) {
        (0x7F, _) => f32::NAN,
        (_, 0) => mantissa * 2f32.powi(1 - BIAS - MANTISSA),
        _ => (8.0 + mantissa) * 2f32.powi(exponent - BIAS - MANTISSA),
    }
}

/// Converts each `N` bytes.
fn each<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (elements, _) = bytes.as_chunks::<N>();
    elements.iter().map(|&b| convert(b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_again() {
        for dtype in DType::ALL {
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
        }
        assert_eq!(DType::from_name("F4"), None);
        assert_eq!("bf16".parse::<DType>().unwrap(), DType::BF16);
        assert!(matches!("q4".parse::<DType>(), Err(Error::BadRequest(_))));
    }

    #[test]
    fn floats_come_back_from_every_type_that_holds_them() {
        let values = [0.0, -1.5, 0.25, 1024.0];
        for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
            let bytes = dtype.narrow(&values).unwrap();
            assert_eq!(bytes.len(), values.len() * dtype.size());
            assert_eq!(dtype.widen(&bytes).unwrap(), values);
        }
        assert_eq!(DType::U8.narrow(&values), None);
    }

    #[test]
    fn integers_are_widened_by_value() {
        assert_eq!(DType::I64.widen(&(-3i64).to_le_bytes()).unwrap(), [-3.0]);
        assert_eq!(DType::I8.widen(&[0xFF]).unwrap(), [-1.0]);
        assert_eq!(DType::Bool.widen(&[0, 7]).unwrap(), [0.0, 1.0]);
    }

    /// What torch 2 gives for a few codes of each kind: zeros, subnormals, ones, the largest, NaN and infinities.
    #[test]
    fn fp8_codes_are_the_values_that_torch_gives_them() {
        let e4m3 = [
            (0x00, 0.0),
            (0x01, 0.001953125),
            (0x07, 0.013671875),
            (0x08, 0.015625),
            (0x38, 1.0),
            (0x3C, 1.5),
            (0xB9, -1.125),
            (0x77, 240.0),
            (0x78, 256.0),
            (0x7E, 448.0),
            (0xFE, -448.0),
        ];
        let e5m2 = [
            (0x01, 2f32.powi(-16)),
            (0x03, 3.0 * 2f32.powi(-16)),
            (0x04, 2f32.powi(-14)),
            (0x3C, 1.0),
            (0xBD, -1.25),
            (0x7B, 57344.0),
            (0x7C, f32::INFINITY),
            (0xFC, f32::NEG_INFINITY),
        ];
        for (code, want) in e4m3 {
            assert_eq!(DType::F8E4M3.widen(&[code]).unwrap(), [want], "{code:#x}");
        }
        for (code, want) in e5m2 {
            assert_eq!(DType::F8E5M2.widen(&[code]).unwrap(), [want], "{code:#x}");
        }
        assert!(DType::F8E4M3.widen(&[0x80]).unwrap()[0].is_sign_negative());
        for code in [0x7D, 0x7E, 0x7F, 0xFD, 0xFE, 0xFF] {
            assert!(DType::F8E5M2.widen(&[code]).unwrap()[0].is_nan());
        }
        for code in [0x7F, 0xFF] {
            assert!(DType::F8E4M3.widen(&[code]).unwrap()[0].is_nan());
        }
    }

    /// Codes of one sign, read as numbers, are in the order of their values, in steps of the definition.
    #[test]
    fn every_fp8_code_has_the_value_of_its_fields() {
        for (dtype, mantissa_bits, bias, codes) in
            [(DType::F8E4M3, 3, 7, 0x7Fu8), (DType::F8E5M2, 2, 15, 0x7C)]
        {
            for code in 0..codes {
                let (exponent, mantissa) = (code >> mantissa_bits, code % (1 << mantissa_bits));
                let fraction = f64::from(mantissa) / f64::from(1 << mantissa_bits);
                let value = match exponent {
                    0 => fraction * 2f64.powi(1 - bias),
                    _ => (1.0 + fraction) * 2f64.powi(i32::from(exponent) - bias),
                };
                let want = [value as f32, -value as f32];
                assert_eq!(
                    dtype.widen(&[code, code | 0x80]).unwrap(),
                    want,
                    "{code:#x}"
                );
            }
        }
    }
}
