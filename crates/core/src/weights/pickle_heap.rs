//! The values that a pickle makes.

use super::dtype::DType;
use super::pickle_names::Name;

/// A value on the stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// Plain data that no tensor needs: a float, bytes, a set, an integer of more than 64 bits.
    Other,
    Text(usize),
    /// A list or a tuple.
    List(usize),
    Dict(usize),
    Name(Name),
    Storage(usize),
    Tensor(usize),
}

/// A run of elements in a member of the archive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Storage {
    /// Index of the member's name in [`Heap::texts`].
    pub key: usize,
    pub dtype: Option<DType>,
    /// Elements; bytes if there is no type.
    pub len: usize,
}

/// A view of a storage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub storage: Storage,
    pub dtype: DType,
    /// Offset of the first element, in elements.
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
    /// Whether its values are those of the storage with the other sign: torch's negative bit.
    pub is_negated: bool,
}

/// Everything that [`Value`]s point to.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    pub texts: Vec<String>,
    pub lists: Vec<Vec<Value>>,
    pub dicts: Vec<Vec<(Value, Value)>>,
    pub storages: Vec<Storage>,
    pub tensors: Vec<Tensor>,
}
