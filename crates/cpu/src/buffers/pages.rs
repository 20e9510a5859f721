//! Zeroed memory straight from the system: given back for certain when dropped, whatever the allocator would do with
//! it.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;
use vae2x_core::{Error, Result};

/// `f32` values, zeros at first. Memory that is never touched is never taken.
#[derive(Debug, Default)]
pub(crate) struct Pages(Option<MmapMut>);

impl Pages {
    /// `n` zeros.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the system refuses the memory.
    pub fn zeros(n: usize) -> Result<Self> {
        if n == 0 {
            return Ok(Self(None));
        }
        let refused = |why: &dyn std::fmt::Display| {
            Error::OutOfMemory(format!("{n} values of the CPU engine: {why}"))
        };
        let bytes = n.checked_mul(size_of::<f32>());
        let bytes = bytes.ok_or_else(|| refused(&"more than can be addressed"))?;
        let map = MmapMut::map_anon(bytes).map_err(|e| refused(&e))?;
        Ok(Self(Some(map)))
    }

    /// `n` zeros, in large pages where the system has them: for memory that is gone through in many strides.
    ///
    /// # Errors
    /// As [`Self::zeros`].
    pub fn large(n: usize) -> Result<Self> {
        let pages = Self::zeros(n)?;
        #[cfg(target_os = "linux")]
        if let Some(map) = &pages.0 {
            // Advice: without large pages the memory is as good, only slower.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Ok(pages)
    }

    /// The same values in memory of their own.
    ///
    /// # Errors
    /// As [`Self::zeros`].
    pub fn try_clone(&self) -> Result<Self> {
        let mut copy = Self::zeros(self.len())?;
        copy.copy_from_slice(self);
        Ok(copy)
    }
}

impl Deref for Pages {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.0.as_ref().map_or(&[], |map| bytemuck::cast_slice(map))
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.0
            .as_mut()
            .map_or(&mut [], |map| bytemuck::cast_slice_mut(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_zeros_of_their_own() {
        let mut pages = Pages::zeros(1000).unwrap();
        assert!(pages.len() == 1000 && pages.iter().all(|x| *x == 0.0));
        let copy = pages.try_clone().unwrap();
        pages[999] = 1.0;
        assert_eq!((pages[999], copy[999]), (1.0, 0.0));
        assert!(Pages::default().is_empty() && Pages::zeros(0).unwrap().is_empty());
    }

    #[test]
    fn memory_that_there_is_not_is_an_error() {
        for n in [usize::MAX, isize::MAX as usize / 4] {
            let refused = Pages::large(n).unwrap_err();
            assert!(matches!(refused, Error::OutOfMemory(_)), "{refused}");
        }
    }
}
