//! The subset of Python's pickle that `torch.save` writes, read without running anything.
//!
//! A pickle is a program for a stack machine that may name any function and call it. This machine knows only the opcodes
//! and the few names that tensors need; a call builds plain data or is refused. Opcodes: CPython, `Lib/pickletools.py`
//! (<https://github.com/python/cpython/blob/v3.13.0/Lib/pickletools.py>).
//!
//! Values are copies or indices into one [`Heap`], so that shared and self-containing structures need neither reference
//! counts nor deep recursion. What a pickle may do and make is limited by what a file of tensors needs, so that a short
//! one takes neither much memory nor much time.

use std::collections::HashMap;

use super::dtype::DType;
pub(crate) use super::pickle_heap::{Heap, Storage, Tensor, Value};
use super::pickle_names::{Name, known_name};
use super::table::MAX_TENSORS;

/// Opcodes that are run: for each tensor, its name, its storage, shape, strides and hooks, and recalled names.
const MAX_STEPS: usize = 64 * MAX_TENSORS;
/// Texts, lists, dictionaries and recalled values together, and values on the stack at any time.
const MAX_VALUES: usize = 24 * MAX_TENSORS;
/// More axes than any weight has; a short pickle must not make long copies of one shape.
const MAX_AXES: usize = 8;
/// More than any call of `torch.save` passes; for the same reason.
const MAX_ARGUMENTS: usize = 16;

type Outcome<T> = Result<T, String>;

/// Runs a pickle and returns what it leaves, with the heap that it points to.
///
/// # Errors
/// A message if the pickle is truncated or malformed or names anything that a file of tensors does not need.
pub(crate) fn load(bytes: &[u8]) -> Outcome<(Value, Heap)> {
    let mut machine = Machine {
        rest: bytes,
        ..Machine::default()
    };
    for _ in 0..MAX_STEPS {
        if let Some(result) = machine.step()? {
            return Ok((result, machine.heap));
        }
        machine.check_size()?;
    }
    Err(format!(
        "the pickle takes more than {MAX_STEPS} steps, which files of tensors do not need"
    ))
}

#[derive(Default)]
struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    heap: Heap,
}

impl Machine<'_> {
    fn check_size(&self) -> Outcome<()> {
        let Heap {
            texts,
            lists,
            dicts,
            storages,
            ..
        } = &self.heap;
        let made = texts.len() + lists.len() + dicts.len() + storages.len() + self.memo.len();
        match made.max(self.stack.len() + self.marks.len()) <= MAX_VALUES {
            true => Ok(()),
            false => Err(format!(
                "the pickle makes more than {MAX_VALUES} values, which files of tensors do not need"
            )),
        }
    }

    /// Runs one opcode; a value if it was the last.
    fn step(&mut self) -> Outcome<Option<Value>> {
        let [opcode] = self.take()?;
        match opcode {
            b'.' => return self.pop().map(Some),
            0x80 => self.protocol()?,
            0x95 => drop(self.take::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'q' => self.put_at(|m| m.take().map(|[i]| u32::from(i)))?,
            b'r' => self.put_at(|m| m.take().map(u32::from_le_bytes))?,
            0x94 => {
                self.put_at(|m| u32::try_from(m.memo.len()).map_err(|_| "too many values".into()))?
            }
            b'h' => self.get_at(|m| m.take().map(|[i]| u32::from(i)))?,
            b'j' => self.get_at(|m| m.take().map(u32::from_le_bytes))?,
            b'c' => self.global_line()?,
            0x93 => self.global_from_stack()?,
            b'R' => self.call()?,
            b'Q' => self.persistent()?,
            b'b' => self.build()?,
            b'a' => self.append_one()?,
            b'e' => self.append_many()?,
            0x90 => self.add_to_set()?,
            b's' => self.set_one()?,
            b'u' => self.set_many()?,
            _ => {
                let value = self.literal(opcode)?;
                self.stack.push(value);
            }
        }
        Ok(None)
    }

    /// Opcodes that push data.
    fn literal(&mut self, opcode: u8) -> Outcome<Value> {
        Ok(match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i32::from_le_bytes(self.take()?).into()),
            b'K' => self.take().map(|[n]| Value::Int(n.into()))?,
            b'M' => Value::Int(u16::from_le_bytes(self.take()?).into()),
            0x8A => self.integer(|m| m.take().map(|[n]| n.into()))?,
            0x8B => self.integer(|m| m.take().map(|n| u32::from_le_bytes(n) as usize))?,
            b'G' => self.take::<8>().map(|_| Value::Other)?,
            b'X' => self.text(|m| m.take().map(|n| u32::from_le_bytes(n) as usize))?,
            0x8C => self.text(|m| m.take().map(|[n]| n.into()))?,
            0x8D => self.text(Self::length_of_8_bytes)?,
            b'T' | b'B' => self.bytes(|m| m.take().map(|n| u32::from_le_bytes(n) as usize))?,
            b'U' | b'C' => self.bytes(|m| m.take().map(|[n]| n.into()))?,
            0x8E | 0x96 => self.bytes(Self::length_of_8_bytes)?,
            // Sets: their elements are hashable, so no tensors that anybody looks for.
            0x8F => Value::Other,
            0x91 => self.pop_mark().map(|_| Value::Other)?,
            b'}' => self.dict(vec![]),
            b']' | b')' => self.list(vec![]),
            b't' | b'l' => self.pop_mark().map(|values| self.list(values))?,
            0x85..=0x87 => self.short_tuple(usize::from(opcode - 0x84))?,
            _ => {
                return Err(format!(
                    "the pickle uses opcode 0x{opcode:02x}, which files of tensors do not need"
                ));
            }
        })
    }

    fn take<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk().ok_or_else(truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    fn take_slice(&mut self, count: usize) -> Outcome<&[u8]> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or_else(truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn pop(&mut self) -> Outcome<Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("the pickle takes more values than it has".into());
        }
        self.stack.pop().ok_or_else(truncated)
    }

    fn pop_mark(&mut self) -> Outcome<Vec<Value>> {
        let mark = self
            .marks
            .pop()
            .ok_or("the pickle closes a group that it never opened")?;
        Ok(self.stack.split_off(mark))
    }

    fn protocol(&mut self) -> Outcome<()> {
        match self.take()? {
            [2..=5] => Ok(()),
            [other] => Err(format!("pickle protocol {other}; expected 2 to 5")),
        }
    }

    fn put_at(&mut self, index: impl FnOnce(&mut Self) -> Outcome<u32>) -> Outcome<()> {
        let index = index(self)?;
        let value = self.pop()?;
        self.memo.insert(index, value);
        self.stack.push(value);
        Ok(())
    }

    fn get_at(&mut self, index: impl FnOnce(&mut Self) -> Outcome<u32>) -> Outcome<()> {
        let index = index(self)?;
        let value = *self
            .memo
            .get(&index)
            .ok_or("the pickle recalls a value that it never stored")?;
        self.stack.push(value);
        Ok(())
    }

    fn length_of_8_bytes(&mut self) -> Outcome<usize> {
        usize::try_from(u64::from_le_bytes(self.take()?)).map_err(|_| truncated())
    }

    /// An integer of any size, little-endian two's complement; no tensor needs one of more than 64 bits.
    fn integer(&mut self, count: impl FnOnce(&mut Self) -> Outcome<usize>) -> Outcome<Value> {
        let count = count(self)?;
        let bytes = self.take_slice(count)?;
        if bytes.len() > 8 {
            return Ok(Value::Other);
        }
        let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) {
            0xFF
        } else {
            0
        };
        let mut whole = [fill; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        Ok(Value::Int(i64::from_le_bytes(whole)))
    }

    fn text(&mut self, count: impl FnOnce(&mut Self) -> Outcome<usize>) -> Outcome<Value> {
        let count = count(self)?;
        let text = std::str::from_utf8(self.take_slice(count)?)
            .map_err(|_| "the pickle holds text that is not UTF-8")?;
        let text = text.to_string();
        self.heap.texts.push(text);
        Ok(Value::Text(self.heap.texts.len() - 1))
    }

    fn bytes(&mut self, count: impl FnOnce(&mut Self) -> Outcome<usize>) -> Outcome<Value> {
        let count = count(self)?;
        self.take_slice(count).map(|_| Value::Other)
    }

    fn list(&mut self, values: Vec<Value>) -> Value {
        self.heap.lists.push(values);
        Value::List(self.heap.lists.len() - 1)
    }

    fn dict(&mut self, pairs: Vec<(Value, Value)>) -> Value {
        self.heap.dicts.push(pairs);
        Value::Dict(self.heap.dicts.len() - 1)
    }

    fn short_tuple(&mut self, count: usize) -> Outcome<Value> {
        let mut values = (0..count)
            .map(|_| self.pop())
            .collect::<Outcome<Vec<_>>>()?;
        values.reverse();
        Ok(self.list(values))
    }

    fn append_one(&mut self) -> Outcome<()> {
        let value = self.pop()?;
        self.top_list()?.push(value);
        Ok(())
    }

    fn append_many(&mut self) -> Outcome<()> {
        let values = self.pop_mark()?;
        self.top_list()?.extend(values);
        Ok(())
    }

    fn add_to_set(&mut self) -> Outcome<()> {
        self.pop_mark()?;
        match self.stack.last() {
            Some(Value::Other) => Ok(()),
            _ => Err("the pickle adds to a value that is not a set".into()),
        }
    }

    fn set_one(&mut self) -> Outcome<()> {
        let (value, key) = (self.pop()?, self.pop()?);
        self.top_dict()?.push((key, value));
        Ok(())
    }

    fn set_many(&mut self) -> Outcome<()> {
        let values = self.pop_mark()?;
        let (pairs, odd) = values.as_chunks::<2>();
        if !odd.is_empty() {
            return Err("the pickle sets a key without a value".into());
        }
        self.top_dict()?
            .extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    fn top_list(&mut self) -> Outcome<&mut Vec<Value>> {
        match self.stack.last() {
            Some(&Value::List(i)) => Ok(&mut self.heap.lists[i]),
            _ => Err("the pickle appends to a non-list value".into()),
        }
    }

    fn top_dict(&mut self) -> Outcome<&mut Vec<(Value, Value)>> {
        match self.stack.last() {
            Some(&Value::Dict(i)) => Ok(&mut self.heap.dicts[i]),
            _ => Err("the pickle sets keys of a non-dictionary value".into()),
        }
    }

    /// Attributes of a dictionary, such as torch's `_metadata`, or of plain data, such as numpy's types, are not used.
    fn build(&mut self) -> Outcome<()> {
        self.pop()?;
        match self.stack.last() {
            Some(Value::Other) => Ok(()),
            _ => self.top_dict().map(drop),
        }
    }

    fn global_line(&mut self) -> Outcome<()> {
        let module = self.line()?;
        let name = self.line()?;
        let name = known_name(&module, &name)?;
        self.stack.push(Value::Name(name));
        Ok(())
    }

    fn line(&mut self) -> Outcome<String> {
        let end = self
            .rest
            .iter()
            .position(|&b| b == b'\n')
            .ok_or_else(truncated)?;
        let line = String::from_utf8_lossy(self.take_slice(end)?).into_owned();
        self.take::<1>()?;
        Ok(line)
    }

    fn global_from_stack(&mut self) -> Outcome<()> {
        let (name, module) = (self.pop()?, self.pop()?);
        let (Value::Text(module), Value::Text(name)) = (module, name) else {
            return Err("the pickle names something by a value that is not text".into());
        };
        let name = known_name(&self.heap.texts[module], &self.heap.texts[name])?;
        self.stack.push(Value::Name(name));
        Ok(())
    }

    /// `('storage', type, key, location, length)` -> a storage.
    fn persistent(&mut self) -> Outcome<()> {
        let arguments = self.pop_arguments()?;
        let [
            Value::Text(tag),
            Value::Name(Name::Storage(dtype)),
            Value::Text(key),
            _,
            Value::Int(len),
        ] = arguments[..]
        else {
            return Err("the pickle refers to an unknown kind of external data".into());
        };
        if self.heap.texts[tag] != "storage" {
            return Err("the pickle refers to external data that is not a storage".into());
        }
        let len = usize::try_from(len).map_err(|_| "a storage of negative length")?;
        self.heap.storages.push(Storage { key, dtype, len });
        self.stack
            .push(Value::Storage(self.heap.storages.len() - 1));
        Ok(())
    }

    fn pop_arguments(&mut self) -> Outcome<Vec<Value>> {
        match self.pop()? {
            Value::List(i) if self.heap.lists[i].len() <= MAX_ARGUMENTS => {
                Ok(self.heap.lists[i].clone())
            }
            _ => Err("the pickle calls something without a short tuple of arguments".into()),
        }
    }

    fn call(&mut self) -> Outcome<()> {
        let arguments = self.pop_arguments()?;
        let Value::Name(name) = self.pop()? else {
            return Err("the pickle calls a value that is not a function".into());
        };
        let value = match (name, &arguments[..]) {
            (Name::OrderedDict, []) => self.dict(vec![]),
            (Name::Size, &[shape @ Value::List(_)]) => shape,
            (Name::Plain, _) => Value::Other,
            (Name::RebuildParameter, &[tensor @ Value::Tensor(_), ..]) => tensor,
            (Name::RebuildTensor, &[storage, offset, shape, strides, ..]) => {
                let is_negated = self.is_negated(arguments.get(6));
                self.tensor([storage, offset, shape, strides], None, is_negated)?
            }
            (
                Name::RebuildTensorWithType,
                &[
                    storage,
                    offset,
                    shape,
                    strides,
                    _,
                    _,
                    Value::Name(Name::DType(dtype)),
                    ..,
                ],
            ) => {
                let is_negated = self.is_negated(arguments.get(7));
                self.tensor([storage, offset, shape, strides], Some(dtype), is_negated)?
            }
            _ => return Err(format!("the pickle calls {name:?} with unknown arguments")),
        };
        self.stack.push(value);
        Ok(())
    }

    /// Whether a tensor's metadata set its negative bit.
    fn is_negated(&self, metadata: Option<&Value>) -> bool {
        let Some(&Value::Dict(index)) = metadata else {
            return false;
        };
        let is_set = |&(key, value): &(Value, Value)| {
            matches!(key, Value::Text(t) if self.heap.texts[t] == "neg")
                && value == Value::Bool(true)
        };
        self.heap.dicts[index].iter().any(is_set)
    }

    fn tensor(
        &mut self,
        [storage, offset, shape, strides]: [Value; 4],
        dtype: Option<DType>,
        is_negated: bool,
    ) -> Outcome<Value> {
        let Value::Storage(storage) = storage else {
            return Err("a tensor without a storage".into());
        };
        if self.heap.tensors.len() >= MAX_TENSORS {
            return Err(format!("more than {MAX_TENSORS} tensors"));
        }
        let storage = self.heap.storages[storage];
        let dtype = dtype.or(storage.dtype).ok_or("a tensor without a type")?;
        let offset = self.size(offset)?;
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        self.heap.tensors.push(Tensor {
            storage,
            dtype,
            offset,
            shape,
            strides,
            is_negated,
        });
        Ok(Value::Tensor(self.heap.tensors.len() - 1))
    }

    fn sizes(&self, value: Value) -> Outcome<Vec<usize>> {
        match value {
            Value::List(i) if self.heap.lists[i].len() <= MAX_AXES => {
                self.heap.lists[i].iter().map(|&v| self.size(v)).collect()
            }
            _ => Err(format!(
                "a tensor whose shape or strides are not a list of at most {MAX_AXES} numbers"
            )),
        }
    }

    fn size(&self, value: Value) -> Outcome<usize> {
        match value {
            Value::Int(n) => usize::try_from(n)
                .map_err(|_| format!("a tensor with the negative size or stride {n}")),
            _ => Err("a tensor whose sizes are not numbers".into()),
        }
    }
}

fn truncated() -> String {
    "the pickle is truncated".into()
}
