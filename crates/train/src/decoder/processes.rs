//! Processes that train together, on one machine or more, with a device each. All of them see the same files. The first one writes
//! the run's folder; the others read its checkpoint at the start, and take the same steps.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::checkpoint::{Checkpoint, Checkpoints};
use super::collective::Collective;
use super::start::{Photos, newest};
use crate::data::{Share, Source};
use crate::log::Screen;
use crate::{Error, Result};

/// The processes of a run; without a collective, this one is alone.
#[derive(Clone, Debug)]
pub(super) struct Processes(Option<Arc<dyn Collective>>);

impl Processes {
    /// Processes that have `devices` devices each.
    ///
    /// # Errors
    /// If several processes have several devices.
    pub fn new(collective: Option<Arc<dyn Collective>>, devices: usize) -> Result<Self> {
        match &collective {
            Some(_) if devices != 1 => Err(Error::Config(format!(
                "processes that train together have one device each; expected 1 device, found {devices}"
            ))),
            _ => Ok(Self(collective)),
        }
    }

    /// What joins them, if there are several.
    pub fn collective(&self) -> Option<Arc<dyn Collective>> {
        self.0.clone()
    }

    /// Whether this one writes files.
    pub fn is_first(&self) -> bool {
        self.0.as_ref().is_none_or(|all| all.rank() == 0)
    }

    /// The samples of this process, of which it takes `batch` at a time.
    pub fn share(&self, batch: usize) -> Share {
        self.0.as_ref().map_or(Share::ALL, |all| Share {
            rank: all.rank() as u64,
            ranks: all.count() as u64,
            batch: batch as u64,
        })
    }

    /// As [`newest`], which the first process finds for all.
    ///
    /// # Errors
    /// Those of [`newest`]; if this process cannot read what the first one found.
    pub fn newest(
        &self,
        checkpoints: &Checkpoints,
        screen: &mut dyn Screen,
    ) -> Result<Option<Checkpoint>> {
        let Some(all) = &self.0 else {
            return newest(checkpoints, screen);
        };
        let own = match self.is_first() {
            true => newest(checkpoints, screen)?,
            false => None,
        };
        let step = own.as_ref().map(|own| own.progress.step.to_le_bytes());
        let found = all.broadcast(step.map(Vec::from).unwrap_or_default())?;
        let found = <[u8; 8]>::try_from(found).map(u64::from_le_bytes);
        match (own, found) {
            (None, Ok(step)) => Ok(Some(Checkpoint::open(&checkpoints.path(step))?)),
            (own, _) => Ok(own),
        }
    }

    /// Checks that all processes have listed the same photos.
    ///
    /// # Errors
    /// [`Error::Data`] with the numbers of photos if they have not.
    pub fn compare(&self, photos: &Photos) -> Result<()> {
        let Some(all) = &self.0 else {
            return Ok(());
        };
        let own = [photos.train.len() as u64, digest(&photos.train)];
        let found = all.gather(own.iter().flat_map(|n| n.to_le_bytes()).collect())?;
        let Some(other) = found.iter().position(|other| *other != found[0]) else {
            return Ok(());
        };
        let count = |rank: usize| {
            let bytes = found[rank].first_chunk().copied().unwrap_or_default();
            u64::from_le_bytes(bytes)
        };
        Err(Error::Data(format!(
            "rank 0 finds {} photos to train on, rank {other} {}; expected the same files in all processes",
            count(0),
            count(other)
        )))
    }

    /// Whether any process was asked to stop.
    ///
    /// # Errors
    /// If one has ended.
    pub fn agree(&self, is_stopped: bool) -> Result<bool> {
        match &self.0 {
            None => Ok(is_stopped),
            Some(all) => Ok(all.largest(is_stopped.into())? > 0),
        }
    }
}

/// A number that follows from the names of photos, in the same program.
fn digest(photos: &[Source]) -> u64 {
    let mut hasher = DefaultHasher::new();
    photos
        .iter()
        .for_each(|photo| photo.to_string().hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::meeting::Member;
    use super::*;

    #[test]
    fn processes_that_see_other_photos_refuse_to_train() {
        let folder = tempfile::tempdir().unwrap();
        let photos = |names: &[&str]| {
            for name in names {
                std::fs::write(folder.path().join(name), name).unwrap();
            }
            let place = |name: &&str| folder.path().join(name).display().to_string();
            let places: Vec<String> = names.iter().map(place).collect();
            Photos {
                train: crate::data::list(&places).unwrap().photos,
                held_out: Vec::new(),
            }
        };
        let compare = |lists: [&[&str]; 2]| {
            let lists = lists.map(photos);
            let members = Member::meet(2);
            std::thread::scope(|scope| {
                let check = |(member, photos): (Member, _)| {
                    scope.spawn(move || {
                        let processes = Processes::new(Some(Arc::new(member)), 1).unwrap();
                        processes.compare(photos).map_err(|e| e.to_string())
                    })
                };
                let threads: Vec<_> = members.into_iter().zip(&lists).map(check).collect();
                threads
                    .into_iter()
                    .map(|t| t.join().unwrap())
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(compare([&["a.png", "b.png"]; 2]), [Ok(()), Ok(())]);
        for results in [
            compare([&["a.png", "b.png"], &["a.png"]]),
            compare([&["a.png"], &["b.png"]]),
        ] {
            for result in results {
                assert!(result.unwrap_err().contains("rank 0 finds"));
            }
        }
        let several = Processes::new(Some(Arc::new(Member::meet(1).remove(0))), 2);
        assert!(matches!(several, Err(Error::Config(why)) if why.contains("found 2")));
    }
}
