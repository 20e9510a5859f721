//! Torch files: a zip of `NAME/data.pkl`, a pickle that says what the tensors are, and `NAME/data/KEY`, their storages.
//!
//! Members are stored without compression, so a tensor is read from its place in the archive like in any other format. A
//! recompressed archive is refused rather than unpacked. The pickle is interpreted by [`super::pickle`], which runs nothing.

use std::collections::{BTreeMap, HashSet};

use super::archive::Member;
use super::dtype::DType;
use super::pickle::{self, Heap, Tensor, Value};
use super::source::Source;
use super::table::{
    Contents, MAX_COPIES, MAX_EXPANDED, MAX_TENSORS, Place, TensorInfo, is_expanded_too_far,
    strided_place,
};
use crate::error::{Error, Result, tensor_named};

/// A pickle of as many tensors as are read takes less.
const MAX_PICKLE: u64 = 16 << 20;
/// Dictionaries within dictionaries.
const MAX_DEPTH: usize = 8;
/// Characters of a tensor's full name.
const MAX_NAME: usize = 512;
/// Keys that wrap a model's own dictionary; where several are there, the first of this list is the model's best weights.
const WRAPPERS: [&str; 9] = [
    "params_ema",
    "model_ema",
    "ema_state_dict",
    "state_dict",
    "model_state_dict",
    "model",
    "params",
    "module",
    "weights",
];

/// Reads the directory and the pickle and checks every tensor against its storage.
pub(crate) fn read(source: &Source, members: &BTreeMap<String, Member>) -> Result<Contents> {
    if let Some((name, _)) = members.iter().find(|(_, member)| member.packed.is_some()) {
        return Err(source.problem(format!(
            "'{name}' is compressed, which torch.save never does; load the file in torch and save it again"
        )));
    }
    let (root, script) = find_pickle(source, members)?;
    check_byte_order(source, members, &root)?;
    if script.size > MAX_PICKLE {
        return Err(source.problem(format!(
            "a pickle of {} bytes; expected at most {MAX_PICKLE}",
            script.size
        )));
    }
    let bytes = source.read_at(script.offset, script.size as usize)?;
    let (value, heap) = pickle::load(&bytes).map_err(|e| source.problem(e))?;
    let mut walk = Walk {
        heap: &heap,
        found: BTreeMap::new(),
        visited: HashSet::new(),
    };
    walk.enter(unwrap(&heap, value), String::new(), 0)
        .map_err(|e| source.problem(e))?;
    let mut contents = Contents::default();
    for (name, index) in walk.found {
        if let Some(unread) = unread_type(&heap.tensors[index]) {
            contents.unread.insert(name, unread);
            continue;
        }
        let (info, place) = place(source, &name, &heap.tensors[index], |key| {
            members
                .get(&format!("{root}data/{}", heap.texts[key]))
                .copied()
        })?;
        contents.insert(name, info, place);
    }
    match (
        contents.tensors.is_empty(),
        contents.unread.first_key_value(),
    ) {
        (false, _) => Ok(contents),
        (true, None) => Err(source.problem("the torch file holds no tensors")),
        (true, Some((name, found))) => Err(source.problem(format!(
            "the torch file holds no tensors that are read: {} is of type {found}",
            tensor_named(name)
        ))),
    }
}

/// What a tensor is that is not read.
fn unread_type(tensor: &Tensor) -> Option<String> {
    let Tensor {
        dtype, is_negated, ..
    } = tensor;
    match (dtype.is_readable(), is_negated) {
        (false, _) => Some(dtype.name().into()),
        (true, true) => Some(format!(
            "{dtype} with torch's negative bit, which is not read; save its .resolve_neg()"
        )),
        (true, false) => None,
    }
}

/// The pickle and the folder it is in, with its slash.
fn find_pickle(source: &Source, members: &BTreeMap<String, Member>) -> Result<(String, Member)> {
    let mut found = members.iter().filter_map(|(name, member)| {
        let root = name.strip_suffix("data.pkl")?;
        (root.is_empty() || root.ends_with('/')).then(|| (root.to_string(), *member))
    });
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(source.problem(
            "a zip archive without data.pkl or .npy files, so neither a torch nor an npz file",
        )),
        _ => Err(source.problem("a zip archive with several data.pkl, so not a torch file")),
    }
}

fn check_byte_order(source: &Source, members: &BTreeMap<String, Member>, root: &str) -> Result<()> {
    let Some(member) = members.get(&format!("{root}byteorder")) else {
        return Ok(());
    };
    let order = source.read_at(member.offset, member.size.min(16) as usize)?;
    match &order[..] {
        b"little" => Ok(()),
        other => Err(source.problem(format!(
            "byte order '{}'; only little-endian torch files are read",
            String::from_utf8_lossy(other)
        ))),
    }
}

/// Follows the wrappers of a model's dictionary to the dictionary itself.
fn unwrap(heap: &Heap, mut value: Value) -> Value {
    for _ in 0..MAX_DEPTH {
        let Value::Dict(index) = value else { break };
        let entries = &heap.dicts[index];
        let inner = |wrapper: &&str| {
            let is_it = |key: Value| matches!(key, Value::Text(t) if heap.texts[t] == **wrapper);
            entries
                .iter()
                .find(|(key, value)| is_it(*key) && matches!(value, Value::Dict(_)))
                .map(|e| e.1)
        };
        if entries.iter().any(|e| matches!(e.1, Value::Tensor(_))) {
            break;
        }
        match WRAPPERS.iter().find_map(inner) {
            Some(next) => value = next,
            None => break,
        }
    }
    value
}

/// Collects the tensors of nested dictionaries and lists.
struct Walk<'a> {
    heap: &'a Heap,
    /// Index in [`Heap::tensors`] by full name.
    found: BTreeMap<String, usize>,
    /// Containers entered: each is entered once, so that shared ones cannot multiply.
    visited: HashSet<(bool, usize)>,
}

impl Walk<'_> {
    fn enter(&mut self, value: Value, name: String, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!(
                "dictionaries nested more than {MAX_DEPTH} deep at '{name}'"
            ));
        }
        let heap = self.heap;
        match value {
            Value::Tensor(tensor) => {
                // One tensor may go by many names.
                if self.found.len() >= MAX_TENSORS {
                    return Err(format!("more than {MAX_TENSORS} names of tensors"));
                }
                let earlier = self.found.insert(name.clone(), tensor);
                return earlier.map_or(Ok(()), |_| Err(format!("two tensors named '{name}'")));
            }
            Value::Dict(index) if self.visited.insert((true, index)) => {
                for (i, &(key, value)) in heap.dicts[index].iter().enumerate() {
                    self.enter_key(&name, (i, key), value, depth)?;
                }
            }
            Value::List(index) if self.visited.insert((false, index)) => {
                for (i, &value) in heap.lists[index].iter().enumerate() {
                    self.enter_key(&name, (i, Value::Int(i as i64)), value, depth)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Enters the value behind the `place`-th key of the container `name`.
    fn enter_key(
        &mut self,
        name: &str,
        (place, key): (usize, Value),
        value: Value,
        depth: usize,
    ) -> Result<(), String> {
        if !matches!(value, Value::Tensor(_) | Value::Dict(_) | Value::List(_)) {
            return Ok(());
        }
        let made;
        let key = match key {
            Value::Text(index) => self.heap.texts[index].as_str(),
            Value::Int(n) => {
                made = n.to_string();
                &made
            }
            // A tuple or anything else that Python takes as a key.
            _ => {
                made = format!("[{place}]");
                &made
            }
        };
        if name.len() + key.len() > MAX_NAME {
            return Err(format!("a tensor's name of more than {MAX_NAME} bytes"));
        }
        let full = if name.is_empty() {
            key.to_string()
        } else {
            format!("{name}.{key}")
        };
        self.enter(value, full, depth + 1)
    }
}

/// Checks a tensor against its storage; `member` finds the storage's file by the index of its key.
fn place(
    source: &Source,
    name: &str,
    tensor: &Tensor,
    member: impl Fn(usize) -> Option<Member>,
) -> Result<(TensorInfo, Place)> {
    let Tensor {
        storage,
        dtype,
        offset,
        shape,
        strides,
        is_negated: _,
    } = tensor;
    let wrong = |expected: String, got: String| Error::Tensor {
        path: source.path().to_path_buf(),
        tensor: name.into(),
        expected,
        got,
    };
    let member = member(storage.key).ok_or_else(|| {
        wrong(
            "its storage in the archive".into(),
            "no such file there".into(),
        )
    })?;
    let size = storage.dtype.map_or(1, DType::size);
    let claimed = storage.len.checked_mul(size);
    let claimed = claimed
        .filter(|&n| n as u64 <= member.size)
        .ok_or_else(|| {
            wrong(
                format!("a storage of {} elements of {size} bytes", storage.len),
                format!("{} bytes", member.size),
            )
        })?;
    let info = TensorInfo {
        dtype: *dtype,
        shape: shape.clone(),
    };
    let skipped = offset.checked_mul(dtype.size()).filter(|&n| n <= claimed);
    let available = skipped.map_or(0, |skipped| (claimed - skipped) / dtype.size());
    if is_expanded_too_far(shape, available) {
        return Err(wrong(
            format!(
                "an expanded tensor of at most {MAX_COPIES} times its storage and {MAX_EXPANDED} values; save it with .contiguous()"
            ),
            format!("shape {shape:?} of {available} stored values"),
        ));
    }
    let place = skipped.and_then(|skipped| {
        strided_place(&info, strides, member.offset + skipped as u64, available)
    });
    let place = place.ok_or_else(|| {
        wrong(
            format!("to fit in its storage of {claimed} bytes"),
            format!("{dtype} {shape:?}, strides {strides:?}, offset {offset}"),
        )
    })?;
    Ok((info, place))
}
