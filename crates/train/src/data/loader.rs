//! Samples in order, prepared ahead in threads.
//!
//! Where processes train together, each prepares its own samples alone.
//!
//! Worker `w` of `W` prepares the samples `w`, `w + W`, ... into a queue of its own, and the consumer takes from the queues in
//! turn: the order and the contents do not depend on which thread is faster. A photo that is broken or below the limits is
//! replaced by another one, drawn from the same random numbers; it is named once.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vae2x_core::Array;

use super::crop::{self, CropOptions, Sample};
use super::photo::{self, Limits};
use super::source::Source;
use crate::{Error, Result};

/// Photos tried for one sample before the run gives up.
const TRIES: usize = 200;

/// Photos, what is known of them, and how samples are cut from them.
#[derive(Debug)]
pub struct Dataset {
    sources: Vec<Source>,
    limits: Limits,
    crop: CropOptions,
    seed: u64,
    state: Mutex<State>,
    /// Values of decoded photos that may be kept.
    budget: usize,
}

#[derive(Debug, Default)]
struct State {
    dropped: BTreeMap<usize, String>,
    /// Not yet reported.
    news: Vec<String>,
    /// Orders of the passes under way.
    orders: BTreeMap<u64, Vec<usize>>,
    cache: BTreeMap<usize, Arc<Array>>,
    cached: usize,
}

/// Options that do not depend on the photos.
#[derive(Clone, Copy, Debug)]
pub struct DatasetOptions {
    /// Photos below these are not used.
    pub limits: Limits,
    /// How samples are cut.
    pub crop: CropOptions,
    /// Random seed of the samples.
    pub seed: u64,
    /// MiB of decoded photos to keep.
    pub cache: usize,
}

impl Dataset {
    /// A dataset of photos that are read when their turn comes.
    pub fn new(sources: Vec<Source>, options: DatasetOptions) -> Self {
        let DatasetOptions {
            limits,
            crop,
            seed,
            cache,
        } = options;
        Self {
            sources,
            limits,
            crop,
            seed,
            state: Mutex::default(),
            budget: cache.saturating_mul(1 << 20) / size_of::<f32>(),
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

    /// Photos that have been dropped since the last call, each with its reason.
    pub fn take_news(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().news)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sample `index` of the run: each pass over the photos takes them in a new order.
    ///
    /// # Errors
    /// [`Error::Data`] if no usable photo is found.
    pub fn sample(&self, index: u64) -> Result<Sample> {
        let count = self.sources.len() as u64;
        if count == 0 {
            return Err(Error::Data("no photos".into()));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(index.wrapping_add(1));
        let mut place = self.in_order(index / count, (index % count) as usize);
        for _ in 0..TRIES {
            if let Some(photo) = self.photo(place) {
                return Ok(crop::cut(
                    self.sources[place].to_string(),
                    &photo,
                    &self.crop,
                    &mut rng,
                )?);
            }
            place = rng.random_range(0..self.sources.len());
        }
        let why = self
            .lock()
            .dropped
            .values()
            .next()
            .cloned()
            .unwrap_or_default();
        Err(Error::Data(format!(
            "{TRIES} photos in a row cannot be used; the first: {why}"
        )))
    }

    /// The photo at `place` of pass `pass`.
    fn in_order(&self, pass: u64, place: usize) -> usize {
        let mut state = self.lock();
        // Workers are in one pass or in two that follow each other.
        state.orders.retain(|&known, _| known.abs_diff(pass) <= 1);
        let order = state.orders.entry(pass).or_insert_with(|| {
            let mut order: Vec<usize> = (0..self.sources.len()).collect();
            let mut rng =
                ChaCha8Rng::seed_from_u64(self.seed ^ pass.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            order.shuffle(&mut rng);
            order
        });
        order[place]
    }

    /// The pixels of a photo, unless it cannot be used.
    fn photo(&self, place: usize) -> Option<Arc<Array>> {
        let state = self.lock();
        if state.dropped.contains_key(&place) {
            return None;
        }
        if let Some(photo) = state.cache.get(&place) {
            return Some(photo.clone());
        }
        drop(state);
        let source = &self.sources[place];
        let read = photo::read(source)
            .map_err(|e| e.to_string())
            .and_then(|(photo, quality)| {
                let reasons = self.limits.reasons(&quality);
                if reasons.is_empty() {
                    Ok(photo)
                } else {
                    Err(format!("{source}: {}", reasons.join("; ")))
                }
            });
        let mut state = self.lock();
        match read {
            Ok(photo) => {
                let photo = Arc::new(photo);
                let size = photo.data().len();
                if state.cached + size <= self.budget
                    && state.cache.insert(place, photo.clone()).is_none()
                {
                    state.cached += size;
                }
                Some(photo)
            }
            Err(reason) => {
                if state.dropped.insert(place, reason.clone()).is_none() {
                    state.news.push(reason);
                }
                None
            }
        }
    }
}

/// Which samples of a run are prepared here: of each `ranks * batch`, the part of one rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Counted from 0.
    pub rank: u64,
    /// Number of ranks.
    pub ranks: u64,
    /// Samples that a rank takes before the next one's begin.
    pub batch: u64,
}

impl Share {
    /// All samples.
    pub const ALL: Self = Self {
        rank: 0,
        ranks: 1,
        batch: 1,
    };

    /// The place in the run of sample `own` of this share.
    fn place(self, own: u64) -> u64 {
        let (round, within) = (own / self.batch, own % self.batch);
        (round * self.ranks + self.rank) * self.batch + within
    }
}

/// An endless sequence of samples.
#[derive(Debug)]
pub struct Loader {
    queues: Vec<Receiver<Result<Sample>>>,
    workers: Vec<JoinHandle<()>>,
    first: u64,
    share: Share,
    /// Samples taken, of this share.
    taken: u64,
}

impl Loader {
    /// Starts `workers` threads at sample `first`, where a share's counting begins, each at most `prefetch` samples ahead.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(
        dataset: &Arc<Dataset>,
        first: u64,
        share: Share,
        workers: usize,
        prefetch: usize,
    ) -> Result<Self> {
        let mut loader = Self {
            queues: Vec::new(),
            workers: Vec::new(),
            first,
            share,
            taken: 0,
        };
        for worker in 0..workers as u64 {
            let (sender, queue) = sync_channel(prefetch);
            let dataset = dataset.clone();
            let places = (worker..)
                .step_by(workers)
                .map(move |own| first + share.place(own));
            let work = move || produce(&dataset, places, &sender);
            let thread = std::thread::Builder::new()
                .name(format!("photos-{worker}"))
                .spawn(work);
            loader.workers.push(
                thread.map_err(|e| {
                    Error::Data(format!("cannot start a thread to read photos: {e}"))
                })?,
            );
            loader.queues.push(queue);
        }
        Ok(loader)
    }

    /// Samples of the run taken so far, by all ranks, at the end of a batch.
    pub fn next(&self) -> u64 {
        self.first + self.taken * self.share.ranks
    }

    /// The next sample.
    ///
    /// # Errors
    /// As [`Dataset::sample`].
    pub fn take(&mut self) -> Result<Sample> {
        let queue = &self.queues[(self.taken % self.queues.len() as u64) as usize];
        let sample = queue
            .recv()
            .map_err(|_| Error::Data("a thread that reads photos has ended".into()))??;
        self.taken += 1;
        Ok(sample)
    }
}

fn produce(
    dataset: &Dataset,
    places: impl Iterator<Item = u64>,
    queue: &SyncSender<Result<Sample>>,
) {
    for index in places {
        let sample = dataset.sample(index);
        let failed = sample.is_err();
        // The consumer has gone, or will end the run.
        if queue.send(sample).is_err() || failed {
            return;
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Senders that wait for room in a queue fail when it is gone.
        self.queues.clear();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_media::picture::write_image;

    fn dataset(folder: &std::path::Path, cache: usize) -> Arc<Dataset> {
        for i in 0..3 {
            let photo = Array::new(
                [3, 24, 24],
                (0..1728).map(|v| ((v * (i + 2)) as f32).sin()).collect(),
            )
            .unwrap();
            write_image(
                &folder.join(format!("{i}.png")),
                &photo,
                &Default::default(),
            )
            .unwrap();
        }
        std::fs::write(folder.join("broken.jpg"), b"\xFF\xD8\xFFno picture").unwrap();
        write_image(
            &folder.join("small.png"),
            &Array::zeros([3, 8, 24]),
            &Default::default(),
        )
        .unwrap();
        let limits = Limits {
            min_side: 16,
            min_sharpness: 1.0,
            min_jpeg_quality: 50,
        };
        let crop = CropOptions {
            side: 16,
            factor: 2,
            scale: [0.7, 1.0],
            flip: true,
        };
        let sources = crate::data::list(&[folder.display().to_string()])
            .unwrap()
            .photos;
        Arc::new(Dataset::new(
            sources,
            DatasetOptions {
                limits,
                crop,
                seed: 3,
                cache,
            },
        ))
    }

    fn take(dataset: &Arc<Dataset>, first: u64, workers: usize) -> Vec<Sample> {
        let mut loader = Loader::start(dataset, first, Share::ALL, workers, 2).unwrap();
        (0..12).map(|_| loader.take().unwrap()).collect()
    }

    #[test]
    fn samples_do_not_depend_on_threads_cache_or_where_one_starts() {
        let folder = tempfile::tempdir().unwrap();
        let one = take(&dataset(folder.path(), 0), 0, 1);
        assert_eq!(one, take(&dataset(folder.path(), 0), 0, 3));
        assert_eq!(one, take(&dataset(folder.path(), 16), 0, 2));
        assert_eq!(one[5..], take(&dataset(folder.path(), 0), 5, 3)[..7]);
        assert_ne!(one[0], one[1]);
    }

    #[test]
    fn ranks_take_their_parts_of_each_batch() {
        let folder = tempfile::tempdir().unwrap();
        let all = take(&dataset(folder.path(), 0), 3, 1);
        let of_rank = |rank: u64| {
            let share = Share {
                rank,
                ranks: 3,
                batch: 2,
            };
            let mut loader = Loader::start(&dataset(folder.path(), 0), 3, share, 2, 2).unwrap();
            let own: Vec<Sample> = (0..4).map(|_| loader.take().unwrap()).collect();
            assert_eq!(loader.next(), 3 + 12);
            own
        };
        for (rank, places) in [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
            .iter()
            .enumerate()
        {
            assert_eq!(of_rank(rank as u64), places.map(|place| all[place].clone()));
        }
    }

    #[test]
    fn unfit_photos_are_named_once_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = dataset(folder.path(), 0);
        let samples = take(&dataset, 0, 2);
        assert!(
            samples
                .iter()
                .all(|s| !s.name.contains("broken") && !s.name.contains("small"))
        );
        let news = dataset.take_news();
        assert_eq!((news.len(), dataset.dropped()), (2, 2), "{news:?}");
        assert!(
            news.iter().any(|n| n.contains("broken.jpg"))
                && news.iter().any(|n| n.contains("small: 8"))
        );
        assert!(dataset.take_news().is_empty());
    }

    #[test]
    fn nothing_usable_is_an_error_and_not_a_loop() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("broken.jpg"), b"none").unwrap();
        let sources = crate::data::list(&[folder.path().display().to_string()])
            .unwrap()
            .photos;
        let limits = Limits {
            min_side: 16,
            min_sharpness: 0.0,
            min_jpeg_quality: 0,
        };
        let crop = CropOptions {
            side: 16,
            factor: 2,
            scale: [1.0, 1.0],
            flip: false,
        };
        let dataset = Arc::new(Dataset::new(
            sources,
            DatasetOptions {
                limits,
                crop,
                seed: 0,
                cache: 0,
            },
        ));
        let taken = Loader::start(&dataset, 0, Share::ALL, 2, 1).unwrap().take();
        assert!(matches!(
            taken,
            Err(Error::Data(why)) if why.contains("broken.jpg")
        ));
    }
}
