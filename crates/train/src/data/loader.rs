//! Samples in order, prepared ahead in threads.
//!
//! Each thread takes the next visit to a photo and puts the crops of it where the consumer finds them by their numbers: the order
//! and the contents do not depend on which thread is faster. Threads work ahead by one block of the [`Order`], so that the next one
//! is ready when it begins, or by what they are told if that is more.
//!
//! Where processes train together, each keeps its own samples alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::crop::Sample;
use super::dataset::Dataset;
use super::order::Order;
use crate::{Error, Result};

/// What threads and consumer share.
#[derive(Debug)]
struct Shared {
    dataset: Arc<Dataset>,
    order: Order,
    /// Where counting begins, and which samples from there on are kept.
    first: u64,
    share: Share,
    /// Samples beyond the next one that are begun.
    ahead: u64,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    /// Samples taken, of this share.
    taken: u64,
    /// The sample that is taken next.
    next: u64,
    /// The visit that is begun next.
    visit: u64,
    /// Samples that are ready, or why there is none.
    ready: BTreeMap<u64, Result<Sample, String>>,
    /// The consumer has gone.
    is_closed: bool,
    /// A thread has panicked.
    is_broken: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        self.changed
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a sample is this share's, and still to come.
    fn is_wanted(&self, queue: &Queue, index: u64) -> bool {
        index >= queue.next && self.share.has(index - self.first)
    }

    /// The next visit that has samples to come, when its turn comes; `None` when the consumer has gone.
    fn next_visit(&self) -> Option<(u64, Vec<u64>)> {
        let mut queue = self.lock();
        loop {
            if queue.is_closed {
                return None;
            }
            if self.order.block_of(queue.visit).start > queue.next + self.ahead {
                queue = self.wait(queue);
                continue;
            }
            let visit = queue.visit;
            queue.visit += 1;
            let samples = self.order.samples(visit);
            if samples.iter().any(|&index| self.is_wanted(&queue, index)) {
                return Some((visit, samples));
            }
        }
    }

    fn work(&self) {
        let _broken = Broken(self);
        while let Some((visit, indices)) = self.next_visit() {
            let samples: Vec<Result<Sample, String>> = match self.dataset.visit(visit) {
                Ok(samples) => samples.into_iter().map(Ok).collect(),
                Err(Error::Data(why)) => vec![Err(why); indices.len()],
                Err(error) => vec![Err(error.to_string()); indices.len()],
            };
            let mut queue = self.lock();
            for (index, sample) in indices.into_iter().zip(samples) {
                if self.is_wanted(&queue, index) {
                    queue.ready.insert(index, sample);
                }
            }
            drop(queue);
            self.changed.notify_all();
        }
    }
}

/// Tells the consumer of a thread that panics.
struct Broken<'a>(&'a Shared);

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().is_broken = true;
            self.0.changed.notify_all();
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

    /// Whether it has the sample at a place.
    fn has(self, place: u64) -> bool {
        place / self.batch % self.ranks == self.rank
    }

    /// The place in the run of sample `own` of this share.
    fn place(self, own: u64) -> u64 {
        let (round, within) = (own / self.batch, own % self.batch);
        (round * self.ranks + self.rank) * self.batch + within
    }
}

/// An endless sequence of samples.
#[derive(Debug)]
pub struct Loader {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl Loader {
    /// Starts `workers` threads at sample `first`, where a share's counting begins, together at least `workers * prefetch` samples ahead.
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
        let order = dataset.order();
        let queue = Queue {
            taken: 0,
            next: first + share.place(0),
            visit: order.first_visit(first),
            ready: BTreeMap::new(),
            is_closed: false,
            is_broken: false,
        };
        let mut loader = Self {
            shared: Arc::new(Shared {
                dataset: dataset.clone(),
                order,
                first,
                share,
                // The other ranks' samples are passed over.
                ahead: order.ahead(workers, prefetch.saturating_mul(share.ranks as usize)),
                queue: Mutex::new(queue),
                changed: Condvar::new(),
            }),
            workers: Vec::new(),
        };
        for worker in 0..workers {
            let shared = loader.shared.clone();
            let thread = std::thread::Builder::new()
                .name(format!("photos-{worker}"))
                .spawn(move || shared.work());
            loader.workers.push(
                thread.map_err(|e| {
                    Error::Data(format!("cannot start a thread to read photos: {e}"))
                })?,
            );
        }
        Ok(loader)
    }

    /// Samples of the run taken so far, by all ranks, at the end of a batch.
    pub fn next(&self) -> u64 {
        self.shared.first + self.shared.lock().taken * self.shared.share.ranks
    }

    /// The next sample.
    ///
    /// # Errors
    /// As [`Dataset::visit`].
    pub fn take(&mut self) -> Result<Sample> {
        let mut queue = self.shared.lock();
        let next = queue.next;
        let sample = loop {
            if let Some(sample) = queue.ready.remove(&next) {
                break sample.map_err(Error::Data)?;
            }
            if queue.is_broken {
                return Err(Error::Data("a thread that reads photos has ended".into()));
            }
            queue = self.shared.wait(queue);
        };
        queue.taken += 1;
        queue.next = self.shared.first + self.shared.share.place(queue.taken);
        drop(queue);
        self.shared.changed.notify_all();
        Ok(sample)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::DatasetOptions;
    use crate::data::{CropOptions, Limits};
    use vae2x_core::Array;
    use vae2x_media::picture::write_image;

    fn dataset(
        folder: &std::path::Path,
        cache: usize,
        [crops_per_photo, shuffle]: [usize; 2],
    ) -> Arc<Dataset> {
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
                crops_per_photo,
                shuffle,
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
        let dataset = |cache, mixed| dataset(folder.path(), cache, mixed);
        for mixed in [[1, 1], [3, 1], [2, 8], [4, 64]] {
            let one = take(&dataset(0, mixed), 0, 1);
            assert_eq!(one, take(&dataset(0, mixed), 0, 3));
            assert_eq!(one, take(&dataset(16, mixed), 0, 2));
            for start in [1, 5, 9] {
                let later = take(&dataset(0, mixed), start as u64, 3);
                assert_eq!(one[start..], later[..12 - start], "{mixed:?} from {start}");
            }
            assert_ne!(one[0], one[1]);
        }
    }

    /// All crops of the visits of a block, each once.
    #[test]
    fn a_block_has_the_crops_of_its_visits() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = dataset(folder.path(), 0, [3, 12]);
        let samples = take(&dataset, 0, 2);
        let visits = (0..4).flat_map(|visit| dataset.visit(visit).unwrap());
        let visits: Vec<Sample> = visits.collect();
        assert!(visits.iter().all(|sample| samples.contains(sample)));
        assert!(samples.iter().all(|sample| visits.contains(sample)));
        assert_ne!(samples, visits);
        let of_one = dataset.visit(0).unwrap();
        assert!(of_one[0].name == of_one[1].name && of_one[0] != of_one[1]);
    }

    #[test]
    fn threads_do_not_run_ahead_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = dataset(folder.path(), 0, [2, 8]);
        let mut loader = Loader::start(&dataset, 0, Share::ALL, 2, 1).unwrap();
        loader.take().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        // Two blocks of 8 but for the sample that is taken.
        let ready = loader.shared.lock().ready.len();
        assert!(ready <= 15, "{ready}");
    }

    #[test]
    fn ranks_take_their_parts_of_each_batch() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = || dataset(folder.path(), 0, [2, 8]);
        let all = take(&dataset(), 3, 1);
        let of_rank = |rank: u64| {
            let share = Share {
                rank,
                ranks: 3,
                batch: 2,
            };
            let mut loader = Loader::start(&dataset(), 3, share, 2, 2).unwrap();
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
        let dataset = dataset(folder.path(), 0, [1, 1]);
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
                crops_per_photo: 1,
                shuffle: 1,
            },
        ));
        let taken = Loader::start(&dataset, 0, Share::ALL, 2, 1).unwrap().take();
        assert!(matches!(
            taken,
            Err(Error::Data(why)) if why.contains("broken.jpg")
        ));
    }
}
