//! The least memory that a run takes, known before it begins: what cannot fit is refused with the values that ask for it.
//!
//! These are lower bounds, of what exists at one time for certain, so that no run is refused that would have gone well.

use vae2x_core::arch::TensorSpec;

use crate::{Error, Result};

/// The program itself with its threads, at a time when it trains a network of no size.
const PROGRAM: f64 = (64 << 20) as f64;
/// Bytes of a value.
pub(crate) const VALUE: f64 = size_of::<f32>() as f64;

/// Which memory is meant, where a device has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The machine's.
    Host,
    /// The device's.
    Device,
}

/// What takes memory in a run.
#[derive(Clone, Debug)]
struct Part {
    place: Place,
    what: String,
    bytes: f64,
}

/// The memory that a run takes.
#[derive(Clone, Debug)]
pub struct Need {
    parts: Vec<Part>,
}

impl Default for Need {
    /// That of the program itself.
    fn default() -> Self {
        let need = Self { parts: Vec::new() };
        need.and(Place::Host, "the program", PROGRAM)
    }
}

impl Need {
    /// Adds bytes for `what`, which names the values of the configuration that ask for them.
    pub fn and(mut self, place: Place, what: impl Into<String>, bytes: f64) -> Self {
        let what = what.into();
        self.parts.push(Part { place, what, bytes });
        self
    }

    /// Adds a network in training: its parameters with their gradients and both averages of its optimizer, and maybe an average.
    pub fn and_trained(self, what: &str, specs: &[TensorSpec], with_average: bool) -> Self {
        let copies = if with_average { 5.0 } else { 4.0 };
        let count = parameters(specs);
        let what = format!("{:.1} million parameters of {what}", count / 1e6);
        self.and(Place::Device, what, copies * count * VALUE)
    }

    /// Bytes of a place, or of both.
    fn bytes(&self, place: Option<Place>) -> f64 {
        self.in_place(place).map(|part| part.bytes).sum()
    }

    fn in_place(&self, place: Option<Place>) -> impl Iterator<Item = &Part> {
        let is_there = move |part: &&Part| place.is_none_or(|place| part.place == place);
        self.parts.iter().filter(is_there)
    }

    /// Fails unless what is in `place`, everything if that is not given, fits into `available` bytes.
    ///
    /// # Errors
    /// [`Memory`](vae2x_core::Error::Memory) with what takes the most.
    pub fn check(&self, place: Option<Place>, available: u64) -> Result<()> {
        /// Smaller parts are not named.
        const TELLING: f64 = 0.05;
        let all = self.bytes(place);
        if all <= available as f64 {
            return Ok(());
        }
        let mut parts: Vec<&Part> = self.in_place(place).collect();
        parts.sort_by(|a, b| b.bytes.total_cmp(&a.bytes));
        let named: Vec<String> = parts
            .iter()
            .filter(|part| part.bytes >= TELLING * all)
            .map(|part| format!("{} for {}", size(part.bytes), part.what))
            .collect();
        Err(Error::Core(vae2x_core::Error::Memory(format!(
            "this needs at least {}: {}; {} are available",
            size(all),
            named.join(", "),
            size(available as f64)
        ))))
    }
}

/// The number of a network's parameters.
pub(crate) fn parameters(specs: &[TensorSpec]) -> f64 {
    let count = |spec: &TensorSpec| spec.shape.iter().map(|&n| n as f64).product::<f64>();
    specs.iter().map(count).sum()
}

fn size(bytes: f64) -> String {
    const MIB: f64 = (1 << 20) as f64;
    const GIB: f64 = (1 << 30) as f64;
    if bytes < GIB {
        format!("{:.0} MiB", bytes / MIB)
    } else {
        format!("{:.1} GiB", bytes / GIB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_named_with_its_values() {
        const GIB: f64 = (1 << 30) as f64;
        let need = Need::default()
            .and(Place::Device, "crops (batch = 9)", 3.0 * GIB)
            .and(Place::Host, "photos (workers = 7)", GIB);
        assert!(need.check(None, 5 << 30).is_ok());
        assert!(need.check(Some(Place::Device), 3 << 30).is_ok());
        assert!(need.check(Some(Place::Host), 2 << 30).is_ok());
        let Err(Error::Core(vae2x_core::Error::Memory(text))) = need.check(None, 4 << 30) else {
            panic!("it does not fit");
        };
        for part in [
            "4.1 GiB",
            "3.0 GiB for crops (batch = 9)",
            "1.0 GiB for photos",
            "4.0 GiB are",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("the program"), "{text}");
    }
}
