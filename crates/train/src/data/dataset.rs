//! Photos, and the samples that each visit to one gives.
//!
//! A photo that is broken, too small or too compressed is dropped and named once; so is, for a visit, one without sharp crops. Another
//! photo takes its place, drawn from the visit's random numbers, so that what a visit gives depends on nothing that was read before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::crop::{self, CropOptions, Cut, Sample};
use super::order::Order;
use super::photo::{self, Limits, Photo};
use super::source::Source;
use crate::{Error, Result};

/// Photos tried for one visit before the run gives up.
const TRIES: usize = 200;

/// Photos, what is known of them, and how samples are cut from them.
#[derive(Debug)]
pub struct Dataset {
    sources: Vec<Source>,
    options: DatasetOptions,
    state: Mutex<State>,
    /// Values of decoded photos that may be kept.
    budget: usize,
}

#[derive(Debug, Default)]
struct State {
    dropped: BTreeMap<usize, String>,
    /// Photos that have been without a sharp crop, and are named.
    blurred: BTreeSet<usize>,
    /// Not yet reported.
    news: Vec<String>,
    /// Orders of the passes under way.
    orders: BTreeMap<u64, Vec<usize>>,
    cache: BTreeMap<usize, Arc<Photo>>,
    cached: usize,
}

/// Options that do not depend on the photos.
#[derive(Clone, Copy, Debug)]
pub struct DatasetOptions {
    /// Photos below these are not used, nor crops below the least sharpness.
    pub limits: Limits,
    /// How samples are cut.
    pub crop: CropOptions,
    /// Random seed of the samples.
    pub seed: u64,
    /// MiB of decoded photos to keep.
    pub cache: usize,
    /// Crops of each decoded photo.
    pub crops_per_photo: usize,
    /// Samples among which those of a photo are mixed.
    pub shuffle: usize,
}

impl Dataset {
    /// A dataset of photos that are read when their turn comes.
    pub fn new(sources: Vec<Source>, options: DatasetOptions) -> Self {
        Self {
            sources,
            options,
            state: Mutex::default(),
            budget: options.cache.saturating_mul(1 << 20) / size_of::<f32>(),
        }
    }

    /// Number of photos, dropped ones included.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether there are no photos.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Number of photos found unfit so far.
    pub fn dropped(&self) -> usize {
        self.lock().dropped.len()
    }

    /// Photos that have been found unfit since the last call, each with its reason.
    pub fn take_news(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().news)
    }

    /// Which crop of which visit is which sample.
    pub fn order(&self) -> Order {
        let options = &self.options;
        Order::new(options.seed, options.crops_per_photo, options.shuffle)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The crops of visit `visit`: each pass over the photos visits them in a new order.
    ///
    /// # Errors
    /// [`Error::Data`] if no usable photo is found.
    pub fn visit(&self, visit: u64) -> Result<Vec<Sample>> {
        let count = self.sources.len() as u64;
        if count == 0 {
            return Err(Error::Data("no photos".into()));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.options.seed);
        rng.set_stream(visit.wrapping_add(1));
        let mut place = self.in_order(visit / count, (visit % count) as usize);
        let mut samples = Vec::new();
        let mut first = None;
        for _ in 0..TRIES {
            match self.photo(place) {
                Ok(photo) => {
                    let blurred = self.cut(place, &photo, &mut samples, &mut rng)?;
                    first = first.or(blurred);
                }
                Err(why) => first = first.or(Some(why)),
            }
            if samples.len() == self.order().crops() {
                return Ok(samples);
            }
            place = rng.random_range(0..self.sources.len());
        }
        Err(Error::Data(format!(
            "{TRIES} photos in a row cannot be used; the first: {}",
            first.unwrap_or_default()
        )))
    }

    /// Adds the crops of a photo to those of a visit, up to the first that cannot be had, and says why not.
    fn cut(
        &self,
        place: usize,
        photo: &Photo,
        samples: &mut Vec<Sample>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Option<String>> {
        let source = &self.sources[place];
        let least = self.options.limits.min_sharpness;
        while samples.len() < self.order().crops() {
            match crop::cut(photo, &self.options.crop, least, rng)? {
                Cut::Sharp { target, input } => samples.push(Sample {
                    name: source.to_string(),
                    target,
                    input,
                }),
                Cut::Blurred { best } => {
                    let why = format!(
                        "a crop of {source}: blurred: sharpness {best:.1} at most in {} draws, at least {least}",
                        crop::DRAWS
                    );
                    let mut state = self.lock();
                    if state.blurred.insert(place) {
                        state.news.push(why.clone());
                    }
                    return Ok(Some(why));
                }
            }
        }
        Ok(None)
    }

    /// The photo at `place` of pass `pass`.
    fn in_order(&self, pass: u64, place: usize) -> usize {
        let mut state = self.lock();
        // Workers are in one pass or in two that follow each other, unless there are few photos.
        state.orders.retain(|&known, _| known.abs_diff(pass) <= 1);
        let seed = self.options.seed;
        let order = state.orders.entry(pass).or_insert_with(|| {
            let mut order: Vec<usize> = (0..self.sources.len()).collect();
            let mut rng =
                ChaCha8Rng::seed_from_u64(seed ^ pass.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            order.shuffle(&mut rng);
            order
        });
        order[place]
    }

    /// A photo, or why it cannot be used.
    fn photo(&self, place: usize) -> Result<Arc<Photo>, String> {
        let state = self.lock();
        if let Some(why) = state.dropped.get(&place) {
            return Err(why.clone());
        }
        if let Some(photo) = state.cache.get(&place) {
            return Ok(photo.clone());
        }
        drop(state);
        let source = &self.sources[place];
        let read = photo::read(source)
            .map_err(|e| e.to_string())
            .and_then(|(photo, quality)| {
                let reasons = self.options.limits.reasons(&quality);
                match reasons.is_empty() {
                    true => Ok(Arc::new(photo)),
                    false => Err(format!("{source}: {}", reasons.join("; "))),
                }
            });
        let mut state = self.lock();
        match &read {
            Ok(photo) => {
                let size = photo.values();
                if state.cached + size <= self.budget
                    && state.cache.insert(place, photo.clone()).is_none()
                {
                    state.cached += size;
                }
            }
            Err(reason) => {
                if state.dropped.insert(place, reason.clone()).is_none() {
                    state.news.push(reason.clone());
                }
            }
        }
        read
    }
}
