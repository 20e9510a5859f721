//! Zeroed memory straight from the system: given back for certain when dropped, whatever the allocator would do with
//! it.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// `f32` values, zeros at first. Memory that is never touched is never taken.
#[derive(Debug, Default)]
pub(crate) struct Pages(Option<MmapMut>);

impl Pages {
    /// `n` zeros.
    ///
    /// # Panics
    /// If the system refuses the memory, as an allocation does.
    pub fn zeros(n: usize) -> Self {
        if n == 0 {
            return Self(None);
        }
        let map = MmapMut::map_anon(n * size_of::<f32>())
            .unwrap_or_else(|e| panic!("memory for {n} values: {e}"));
        Self(Some(map))
    }

    /// `n` zeros, in large pages where the system has them: for memory that is gone through in many strides.
    ///
    /// # Panics
    /// As [`Self::zeros`].
    pub fn large(n: usize) -> Self {
        let pages = Self::zeros(n);
        #[cfg(target_os = "linux")]
        if let Some(map) = &pages.0 {
            // Advice: without large pages the memory is as good, only slower.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        pages
    }
}

impl Clone for Pages {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.len());
        copy.copy_from_slice(self);
        copy
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
        let mut pages = Pages::zeros(1000);
        assert!(pages.len() == 1000 && pages.iter().all(|x| *x == 0.0));
        let copy = pages.clone();
        pages[999] = 1.0;
        assert_eq!((pages[999], copy[999]), (1.0, 0.0));
        assert!(Pages::default().is_empty() && Pages::zeros(0).is_empty());
    }
}
