//! The memory that an input needs: the engine's estimate, and the pieces and results beside it.

use anyhow::Result;
use vae2x::{Estimate, check_memory};

use super::Work;
use super::threads::WAITING;

/// Images that finishing holds besides the one it is given: one to look at and one to make.
const FINISHING: usize = 2;

/// The memory that an input needs.
pub struct Need {
    /// The work in words, for the message: "decoding 5 latent frames of 64x64 cells".
    pub what: String,
    /// The engine's estimate.
    pub engine: Estimate,
    /// Bytes of a piece that a source gives.
    pub piece: usize,
    /// Bytes of a result that waits for the sink.
    pub result: usize,
    /// Whether results are finished, which makes new ones.
    pub is_finished: bool,
    /// Bytes that may be used; all that the machine has left if not given.
    pub allowed: Option<u64>,
}

impl Need {
    /// The whole estimate; with more than one piece in all, the next is read and the last ones wait meanwhile.
    fn estimate(&self, several: bool) -> Estimate {
        let pieces = if several { 2 } else { 1 };
        let results = if several { WAITING + 1 } else { 0 };
        let finishing = if self.is_finished { FINISHING } else { 0 };
        Estimate {
            working: self.engine.working + pieces * self.piece,
            output: self.engine.output + (results + finishing) * self.result,
            ..self.engine
        }
    }
}

/// Refuses an input that does not fit.
///
/// # Errors
/// [`vae2x::Error::Memory`] with the estimate.
pub fn check<W: Work>(work: &W, job: &W::Job, several: bool) -> Result<()> {
    match work.need(job)? {
        Some(need) => {
            let what = format!("{}: {}", work.name(job), need.what);
            Ok(check_memory(&what, need.estimate(several), need.allowed)?)
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_and_finishing_are_counted() {
        let need = |is_finished: bool| Need {
            what: String::new(),
            engine: Estimate {
                weights: 1000,
                working: 100,
                output: 10,
            },
            piece: 5,
            result: 7,
            is_finished,
            allowed: None,
        };
        assert_eq!(need(false).estimate(false).total(), 1115);
        assert_eq!(need(false).estimate(true).total(), 1000 + 110 + 10 + 3 * 7);
        assert_eq!(need(true).estimate(true).total(), 1000 + 110 + 10 + 5 * 7);
    }
}
