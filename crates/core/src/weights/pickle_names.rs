//! The names that a pickle of tensors may use; every other name is refused, because what is named can be called.

use super::dtype::DType;

/// The names that a pickle may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Name {
    OrderedDict,
    Size,
    /// A type or function of plain data, which holds no tensors: what it is given is dropped.
    Plain,
    RebuildTensor,
    RebuildTensorWithType,
    RebuildParameter,
    /// A typed storage; the untyped one has no type.
    Storage(Option<DType>),
    DType(DType),
}

/// The name, if files of tensors need it.
pub(crate) fn known_name(module: &str, name: &str) -> Result<Name, String> {
    let known = match (module, name) {
        ("collections", "OrderedDict") => Some(Name::OrderedDict),
        ("torch", "Size") => Some(Name::Size),
        ("torch", "device") | ("_codecs", "encode") | ("collections", "Counter") => {
            Some(Name::Plain)
        }
        ("builtins" | "__builtin__", "set" | "frozenset" | "bytes" | "bytearray" | "complex") => {
            Some(Name::Plain)
        }
        ("numpy", "dtype") => Some(Name::Plain),
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Some(Name::Plain),
        (
            "torch",
            "per_tensor_affine" | "per_channel_affine" | "per_channel_affine_float_qparams",
        ) => Some(Name::Plain),
        // Quantized tensors, whose storages are of types that are not read.
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_qtensor") => Some(Name::RebuildTensor),
        ("torch._utils", "_rebuild_tensor_v3") => Some(Name::RebuildTensorWithType),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
            Some(Name::RebuildParameter)
        }
        ("torch.storage", "UntypedStorage") => Some(Name::Storage(None)),
        ("torch", name) => match name.strip_suffix("Storage") {
            Some(typed) => storage_type(typed).map(|d| Name::Storage(Some(d))),
            None => torch_dtype(name).map(Name::DType),
        },
        _ => None,
    };
    known.ok_or_else(|| {
        format!(
            "refusing to run code: the pickle names {}.{}",
            shorten(module),
            shorten(name)
        )
    })
}

/// Enough of a name for an error message.
fn shorten(name: &str) -> String {
    name.chars().take(80).collect()
}

fn storage_type(name: &str) -> Option<DType> {
    Some(match name {
        "Double" => DType::F64,
        "Float" => DType::F32,
        "Half" => DType::F16,
        "BFloat16" => DType::BF16,
        "Long" => DType::I64,
        "Int" => DType::I32,
        "Short" => DType::I16,
        "Char" => DType::I8,
        "Byte" => DType::U8,
        "Bool" => DType::Bool,
        "ComplexFloat" => DType::other("complex64"),
        "ComplexDouble" => DType::other("complex128"),
        "QInt8" => DType::other("qint8"),
        "QUInt8" => DType::other("quint8"),
        "QInt32" => DType::other("qint32"),
        "QUInt4x2" => DType::other("quint4x2"),
        "QUInt2x4" => DType::other("quint2x4"),
        _ => return None,
    })
}

/// Types of torch whose elements are not read.
const UNREAD: [&str; 17] = [
    "complex32",
    "complex64",
    "complex128",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
    "float4_e2m1fn_x2",
    "qint8",
    "quint8",
    "qint32",
    "quint4x2",
    "quint2x4",
    "bits8",
    "int4",
    "uint4",
    "int2",
    "uint2",
];

fn torch_dtype(name: &str) -> Option<DType> {
    Some(match name {
        "float64" => DType::F64,
        "float32" => DType::F32,
        "float16" => DType::F16,
        "bfloat16" => DType::BF16,
        "float8_e4m3fn" => DType::F8E4M3,
        "float8_e5m2" => DType::F8E5M2,
        "int64" => DType::I64,
        "int32" => DType::I32,
        "int16" => DType::I16,
        "int8" => DType::I8,
        "uint64" => DType::U64,
        "uint32" => DType::U32,
        "uint16" => DType::U16,
        "uint8" => DType::U8,
        "bool" => DType::Bool,
        _ if UNREAD.contains(&name) => DType::other(name),
        _ => return None,
    })
}
