//! `dataset scan`: one line per photo with what was measured, and why it should be dropped.

use std::cmp::Reverse;
use std::collections::HashMap;

use rayon::prelude::*;
use vae2x_core::{Array, Result as CoreResult, files};
use vae2x_media::resample::{Filter, resize};

use super::list::Listing;
use super::manifest::Entry;
use super::photo::{self, Limits};
use super::source::Source;

/// Photos whose hashes differ in at most this many of 64 bits may be near-duplicates.
const NEAR: u32 = 4;
/// One more: of so many parts of two hashes that are that near, one at least is equal.
const PARTS: u32 = NEAR + 1;
/// Bits of a part; the last one has what is left.
const PART_BITS: u32 = u64::BITS.div_ceil(PARTS);
/// Near-duplicates' thumbnails differ by at most this root mean square, in 8-bit steps: scaling and compression change a thumbnail by
/// less than 2, while flat images and gradients, which share a hash, have all colours.
const THUMBNAIL: f64 = 6.0;
/// Bytes at the beginning of a file in which metadata is looked for.
const HEAD: u64 = 1 << 18;
/// Bytes of the longest `.license` file that is read.
const LONGEST_LICENCE_FILE: u64 = 1 << 16;
/// Characters of a licence that are kept.
const LONGEST_LICENCE: usize = 1000;

/// Measures every photo, in parallel, and marks what to drop; what cannot be read too becomes an entry with its reason. `progress` is
/// called with the number done.
pub fn scan(listing: &Listing, limits: &Limits, progress: &(dyn Fn(usize) + Sync)) -> Vec<Entry> {
    let done = std::sync::atomic::AtomicUsize::new(0);
    let measured = listing.photos.par_iter().map(|source| {
        let entry = measure(source, limits);
        progress(1 + done.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        entry
    });
    let mut entries: Vec<(Entry, Option<Look>)> = measured.collect();
    mark_duplicates(&mut entries);
    let damaged = listing.damaged.iter().map(|(path, why)| {
        let mut entry = entry(&Source {
            path: path.clone(),
            member: None,
        });
        entry.drop.push(format!("broken: {why}"));
        entry
    });
    let photos = entries.into_iter().map(|(entry, _)| entry);
    photos.chain(damaged).collect()
}

/// An entry without measurements. A manifest is text: a path that is not cannot stand in it, and its entry only tells of it.
fn entry(source: &Source) -> Entry {
    let mut entry = Entry {
        path: source.path.clone(),
        member: source.member.clone(),
        ..Entry::default()
    };
    if source.path.to_str().is_none() {
        entry.path = source.path.to_string_lossy().into_owned().into();
        entry
            .drop
            .push("broken: its path is not Unicode, and cannot be written".into());
    }
    entry
}

fn measure(source: &Source, limits: &Limits) -> (Entry, Option<Look>) {
    let mut entry = entry(source);
    let measured =
        photo::measure(source).and_then(|(picture, quality)| Ok((Look::of(&picture)?, quality)));
    match measured {
        Err(error) => {
            entry.drop.push(format!("broken: {error}"));
            (entry, None)
        }
        Ok((look, quality)) => {
            [entry.height, entry.width] = quality.size;
            entry.sharpness = (quality.sharpness.unwrap_or_default() * 10.0).round() / 10.0;
            entry.jpeg_quality = quality.jpeg_quality;
            entry.hash = format!("{:016x}", look.hash);
            entry.licence = licence(source);
            entry.drop.extend(limits.reasons(&quality));
            (entry, Some(look))
        }
    }
}

/// A coarse look at a photo.
#[derive(Clone, Debug)]
struct Look {
    /// Whether each cell of an 8x8 grid is darker than its right neighbour, which survives scaling and compression.
    hash: u64,
    /// `[3, 8, 9]`, in 8 bits: what the hash is made of.
    thumbnail: Vec<u8>,
}

impl Look {
    fn of(picture: &Array) -> CoreResult<Self> {
        let small = resize(picture, [8, 9], Filter::Area)?;
        let luma = |i: usize| (0..3).map(|c| small.data()[c * 72 + i]).sum::<f32>();
        let hash = (0..64).fold(0, |hash, bit| {
            let i = bit / 8 * 9 + bit % 8;
            hash << 1 | u64::from(luma(i) < luma(i + 1))
        });
        Ok(Self {
            hash,
            thumbnail: small
                .data()
                .iter()
                .map(|v| ((v + 1.0) * 127.5).round() as u8)
                .collect(),
        })
    }

    fn is_near(&self, other: &Self) -> bool {
        if (self.hash ^ other.hash).count_ones() > NEAR {
            return false;
        }
        let pairs = self.thumbnail.iter().zip(&other.thumbnail);
        let squares = pairs
            .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
            .sum::<f64>();
        squares <= THUMBNAIL.powi(2) * self.thumbnail.len() as f64
    }

    /// Each part of the hash, with its place.
    fn parts(&self) -> impl Iterator<Item = (u32, u64)> {
        let hash = self.hash;
        (0..PARTS).map(move |part| (part, hash >> (part * PART_BITS) & ((1 << PART_BITS) - 1)))
    }
}

/// One of several near-duplicates is kept: photos fit for training come first, then larger ones, then earlier ones.
fn mark_duplicates(entries: &mut [(Entry, Option<Look>)]) {
    let mut order: Vec<usize> = (0..entries.len())
        .filter(|&i| entries[i].1.is_some())
        .collect();
    order.sort_by_key(|&i| {
        let entry = &entries[i].0;
        (!entry.drop.is_empty(), Reverse(entry.width * entry.height))
    });
    // Those that stay, by the parts of their hashes.
    let mut buckets: HashMap<(u32, u64), Vec<usize>> = HashMap::new();
    let mut places = vec![0; entries.len()];
    for (place, i) in order.into_iter().enumerate() {
        let Some(look) = entries[i].1.clone() else {
            continue;
        };
        let candidates = look
            .parts()
            .filter_map(|part| buckets.get(&part))
            .flatten()
            .copied();
        let near = candidates.filter(|&k| {
            entries[k]
                .1
                .as_ref()
                .is_some_and(|other| other.is_near(&look))
        });
        match near.min_by_key(|&k| places[k]) {
            Some(original) => {
                let name = entries[original].0.source().to_string();
                entries[i].0.drop.push(format!("near-duplicate of {name}"));
                entries[i].0.duplicate_of = Some(name);
            }
            None => {
                places[i] = place;
                look.parts()
                    .for_each(|part| buckets.entry(part).or_default().push(i));
            }
        }
    }
}

/// `SPDX-License-Identifier` of a file `NAME.license` next to the photo, else the licence's address or the rights in XMP.
fn licence(source: &Source) -> Option<String> {
    if source.member.is_none() {
        let beside = source.path.with_added_extension("license");
        let text = files::read(&beside, LONGEST_LICENCE_FILE).ok();
        let text = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let id = text.as_deref().and_then(|t| {
            t.lines()
                .find_map(|l| l.split_once("SPDX-License-Identifier:"))
        });
        if let Some((_, id)) = id {
            return Some(id.trim().chars().take(LONGEST_LICENCE).collect());
        }
    }
    let head = source.head(HEAD).ok()?;
    let text = String::from_utf8_lossy(&head);
    let between = |start: &str, end: &str| {
        Some(
            text.split_once(start)?
                .1
                .split_once(end)?
                .0
                .trim()
                .to_string(),
        )
    };
    let address = between("cc:license rdf:resource=\"", "\"");
    let rights = || {
        let element = between("<dc:rights>", "</dc:rights>")?;
        // The text of the innermost element.
        Some(
            element
                .split('>')
                .map(|part| part.split('<').next().unwrap_or("").trim())
                .find(|t| !t.is_empty())?
                .to_string(),
        )
    };
    let found = address.or_else(rights)?;
    Some(found.chars().take(LONGEST_LICENCE).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_media::picture::write_image;

    #[test]
    fn duplicates_licences_and_broken_files_are_marked() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let value = |i: usize| ((i % 64) as f32 * 0.21).sin() * ((i / 64) as f32 * 0.13).cos();
        let photo = Array::new([3, 64, 64], (0..3 * 4096).map(value).collect()).unwrap();
        let other = Array::new(
            [3, 64, 64],
            (0..3 * 4096).map(|i| value(i * 7 + 13)).collect(),
        )
        .unwrap();
        write_image(&at("a.png"), &photo, &Default::default()).unwrap();
        write_image(
            &at("b.jpg"),
            &resize(&photo, [48, 48], Filter::Area).unwrap(),
            &Default::default(),
        )
        .unwrap();
        write_image(&at("c.png"), &other, &Default::default()).unwrap();
        std::fs::write(at("d.png"), b"not a picture").unwrap();
        std::fs::write(
            at("c.png.license"),
            "# x\nSPDX-License-Identifier: CC0-1.0\n",
        )
        .unwrap();
        let limits = Limits {
            min_side: 50,
            min_sharpness: 0.0,
            min_jpeg_quality: 50,
        };
        let sources = crate::data::list(&[folder.path().display().to_string()]).unwrap();
        let entries = scan(&sources, &limits, &|_| ());
        assert!(
            entries[0].drop.is_empty() && entries[2].drop.is_empty(),
            "{entries:?}"
        );
        assert!(
            entries[1]
                .duplicate_of
                .as_deref()
                .is_some_and(|d| d.ends_with("a.png"))
        );
        assert!(entries[1].drop.iter().any(|r| r.starts_with("small")));
        assert_eq!(entries[2].licence.as_deref(), Some("CC0-1.0"));
        assert!(entries[3].drop[0].starts_with("broken"));
        let line = serde_json::to_string(&entries[1]).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), entries[1]);
    }

    fn seen(path: &str, side: usize, picture: &Array, is_fit: bool) -> (Entry, Option<Look>) {
        let drop = if is_fit {
            Vec::new()
        } else {
            vec!["blurred".to_string()]
        };
        let entry = Entry {
            path: path.into(),
            width: side,
            height: side,
            drop,
            ..Entry::default()
        };
        (entry, Some(Look::of(picture).unwrap()))
    }

    fn picture(value: impl Fn(usize, usize, usize) -> f32) -> Array {
        Array::new(
            [3, 72, 72],
            (0..3 * 5184)
                .map(|i| value(i / 5184, i / 72 % 72, i % 72))
                .collect(),
        )
        .unwrap()
    }

    #[test]
    fn a_rejected_photo_does_not_make_a_good_one_its_duplicate() {
        let waves = picture(|_, y, x| (x as f32 * 0.3).sin() * (y as f32 * 0.2).cos());
        let mut entries = [
            seen("large.png", 200, &waves, false),
            seen("good.png", 72, &waves, true),
        ];
        mark_duplicates(&mut entries);
        assert!(entries[1].0.drop.is_empty(), "{entries:?}");
        assert_eq!(entries[0].0.duplicate_of.as_deref(), Some("good.png"));
    }

    #[test]
    fn pictures_that_share_a_hash_are_compared() {
        let grey = |level: f32| picture(move |_, _, _| level);
        let gradient =
            |from: f32, to: f32| picture(move |_, y, _| from + (to - from) * y as f32 / 71.0);
        let pictures = [
            grey(0.0),
            grey(0.5),
            gradient(-1.0, 1.0),
            gradient(1.0, -1.0),
            gradient(-1.0, 0.0),
            grey(0.5),
            grey(0.51),
        ];
        let names = ["0", "1", "2", "3", "4", "5", "6"];
        let mut entries: Vec<_> = names
            .iter()
            .zip(&pictures)
            .map(|(name, p)| seen(name, 72, p, true))
            .collect();
        assert!(
            entries
                .iter()
                .all(|(_, look)| look.as_ref().unwrap().hash == 0)
        );
        mark_duplicates(&mut entries);
        let originals: Vec<_> = entries
            .iter()
            .map(|(entry, _)| entry.duplicate_of.as_deref())
            .collect();
        assert_eq!(
            originals,
            [None, None, None, None, None, Some("1"), Some("1")]
        );
    }

    proptest::proptest! {
        /// By parts of the hash as by comparing all with all.
        #[test]
        fn buckets_miss_nothing(base in proptest::num::u64::ANY, flips in proptest::collection::vec(0u32..64, 0..7)) {
            let look = |hash| Look { hash, thumbnail: vec![0; 216] };
            let flipped = flips.iter().fold(base, |hash, bit| hash ^ 1 << bit);
            let entry = |path: &str, hash| (Entry { path: path.into(), ..Entry::default() }, Some(look(hash)));
            let mut entries = [entry("a", base), entry("b", flipped)];
            mark_duplicates(&mut entries);
            let expected = ((base ^ flipped).count_ones() <= NEAR).then(|| "a".to_string());
            proptest::prop_assert_eq!(&entries[1].0.duplicate_of, &expected);
        }
    }
}
