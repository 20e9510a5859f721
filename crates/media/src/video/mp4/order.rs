//! Which frame the decoder gives when.
//!
//! OpenH264 gives frames in an order of its own, which is that of display for most files, but does not say which frame it gives. Its
//! rules are followed here, so that each frame is known and can be shown at its time: a frame waits until one behind it is decoded,
//! except B frames that come next. Frames of files without B frames come as they are decoded.

use super::parameters::{Sequence, Slice};

/// Frames that may wait, as in the decoder.
const MAX_WAITING: usize = 16;

/// A frame on its way through the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    /// Its number in the order of decoding.
    index: usize,
    /// The number of its sequence of frames, and its place in that.
    place: (i64, i64),
}

/// The decoder's frames.
#[derive(Debug, Default)]
pub(super) struct Order {
    waiting: Vec<Waiting>,
    /// The place of the last frame that was given.
    last: Option<(i64, i64)>,
    has_b: bool,
    sequence: i64,
    /// High and low part of the place of the last frame that others take from.
    reference: (i64, i64),
}

impl Order {
    /// Takes the next frame by the head of its first slice, and says which frame the decoder gives then; `Err` if that cannot be
    /// known.
    pub fn push(
        &mut self,
        index: usize,
        slice: Slice,
        sequence: &Sequence,
    ) -> Result<Option<usize>, ()> {
        if sequence.is_baseline {
            return Ok(Some(index));
        }
        let place = self.place(slice, sequence).ok_or(())?;
        if slice.is_b && self.follows(place) {
            self.last = Some(place);
            return Ok(Some(index));
        }
        self.has_b |= slice.is_b;
        self.waiting.push(Waiting { index, place });
        if self.waiting.len() > MAX_WAITING {
            return Err(());
        }
        if !self.has_b && self.waiting.len() > 1 {
            return Ok(self.give(0));
        }
        let Some((at, least)) = self.least() else {
            return Ok(None);
        };
        let is_next = self.last.is_some_and(|last| least.1 - last.1 <= 1);
        match is_next || least < place {
            true => Ok(self.give(at)),
            false => Ok(None),
        }
    }

    /// The frames that the decoder still has, in the order in which it gives them.
    pub fn rest(&mut self) -> Vec<usize> {
        let mut rest = Vec::new();
        while !self.waiting.is_empty() {
            let at = match (self.has_b, self.least()) {
                (true, Some((at, _))) => at,
                _ => 0,
            };
            rest.extend(self.give(at));
        }
        rest
    }

    /// Whether a B frame comes next for the decoder.
    fn follows(&self, place: (i64, i64)) -> bool {
        match self.last {
            Some(last) if last.0 == place.0 => place.1 <= last.1 + 2,
            Some(last) => place.0 - last.0 == 1 && place.1 == 0,
            None => false,
        }
    }

    fn least(&self) -> Option<(usize, (i64, i64))> {
        let places = self.waiting.iter().map(|frame| frame.place).enumerate();
        places.min_by_key(|&(_, place)| place)
    }

    fn give(&mut self, at: usize) -> Option<usize> {
        let frame = (at < self.waiting.len()).then(|| self.waiting.remove(at))?;
        self.last = Some(frame.place);
        Some(frame.index)
    }

    /// The sequence and the picture order count of a frame (8.2.1.1).
    fn place(&mut self, slice: Slice, sequence: &Sequence) -> Option<(i64, i64)> {
        let modulus = sequence.order_modulus()?;
        let (low, more) = slice.order?;
        if slice.is_idr {
            self.sequence += 1;
            self.reference = (0, 0);
        }
        let (high, before) = self.reference;
        let low = i64::from(low);
        let high = if low < before && before - low >= modulus / 2 {
            high + modulus
        } else if low > before && low - before > modulus / 2 {
            high - modulus
        } else {
            high
        };
        if slice.is_reference {
            self.reference = (high, low);
        }
        Some((self.sequence, high + low + more))
    }
}
