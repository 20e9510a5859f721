//! `dataset scan`: one line per photo with what was measured, and why it should be dropped.

use std::io::Read;
use std::path::PathBuf;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use vae2x_core::{Array, Result as CoreResult};
use vae2x_media::resample::{Filter, resize};

use crate::Result;
use crate::data::{Limits, Source, photo};

/// Photos whose hashes differ in at most this many of 64 bits count as near-duplicates.
const NEAR: u32 = 4;
/// Bytes at the beginning of a file in which metadata is looked for.
const HEAD: u64 = 1 << 18;

/// A line of a manifest.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The file.
    pub path: PathBuf,
    /// Name inside a tar file, offset and length there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<(String, u64, u64)>,
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// Variance of the Laplacian, in 8-bit units.
    pub sharpness: f64,
    /// Estimated, of a JPEG.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jpeg_quality: Option<u8>,
    /// Of brightness differences, 64 bits in hexadecimal.
    pub hash: String,
    /// An earlier, larger or equal photo that looks the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<String>,
    /// From a `.license` file beside the photo (REUSE) or its XMP metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Why the photo should not be trained on; empty for good ones.
    #[serde(default)]
    pub drop: Vec<String>,
}

impl Entry {
    /// The photo.
    pub fn source(&self) -> Source {
        Source { path: self.path.clone(), member: self.member.clone() }
    }
}

/// Measures every photo, in parallel, and marks what to drop. `progress` is told how many are done.
///
/// # Errors
/// None at present: what cannot be read becomes an entry with its reason.
pub fn scan(sources: &[Source], limits: &Limits, progress: &(dyn Fn(usize) + Sync)) -> Result<Vec<Entry>> {
    let done = std::sync::atomic::AtomicUsize::new(0);
    let measured = sources.par_iter().map(|source| {
        let entry = measure(source, limits);
        progress(1 + done.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        entry
    });
    let mut entries: Vec<(Entry, Option<u64>)> = measured.collect();
    mark_duplicates(&mut entries);
    Ok(entries.into_iter().map(|(entry, _)| entry).collect())
}

fn measure(source: &Source, limits: &Limits) -> (Entry, Option<u64>) {
    let mut entry = Entry { path: source.path.clone(), member: source.member.clone(), ..Entry::default() };
    let measured = photo::read(source).and_then(|(picture, quality)| Ok((difference_hash(&picture)?, quality)));
    match measured {
        Err(error) => {
            entry.drop.push(format!("broken: {error}"));
            (entry, None)
        }
        Ok((hash, quality)) => {
            [entry.height, entry.width] = quality.size;
            entry.sharpness = (quality.sharpness * 10.0).round() / 10.0;
            entry.jpeg_quality = quality.jpeg_quality;
            entry.hash = format!("{hash:016x}");
            entry.licence = licence(source);
            entry.drop = limits.reasons(&quality);
            (entry, Some(hash))
        }
    }
}

/// Of near-duplicates the largest stays; of equal sizes the first.
fn mark_duplicates(entries: &mut [(Entry, Option<u64>)]) {
    let mut order: Vec<usize> = (0..entries.len()).filter(|&i| entries[i].1.is_some()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(entries[i].0.width * entries[i].0.height));
    let mut kept: Vec<usize> = Vec::new();
    for i in order {
        let near =
            |&&k: &&usize| matches!((entries[k].1, entries[i].1), (Some(a), Some(b)) if (a ^ b).count_ones() <= NEAR);
        match kept.iter().find(near) {
            Some(&original) => {
                let name = entries[original].0.source().to_string();
                entries[i].0.drop.push(format!("near-duplicate of {name}"));
                entries[i].0.duplicate_of = Some(name);
            }
            None => kept.push(i),
        }
    }
}

/// Whether each cell of an 8x8 grid is darker than its right neighbour: a hash that survives scaling and compression.
fn difference_hash(picture: &Array) -> CoreResult<u64> {
    let small = resize(picture, [8, 9], Filter::Area)?;
    let luma = |i: usize| (0..3).map(|c| small.data()[c * 72 + i]).sum::<f32>();
    Ok((0..64).fold(0, |hash, bit| {
        let i = bit / 8 * 9 + bit % 8;
        hash << 1 | u64::from(luma(i) < luma(i + 1))
    }))
}

/// `SPDX-License-Identifier` of a file `NAME.license` beside the photo, else the licence's address or the rights in XMP.
fn licence(source: &Source) -> Option<String> {
    if source.member.is_none() {
        let beside = PathBuf::from(format!("{}.license", source.path.display()));
        let text = std::fs::read_to_string(beside).ok();
        let id = text.as_deref().and_then(|t| t.lines().find_map(|l| l.split_once("SPDX-License-Identifier:")));
        if let Some((_, id)) = id {
            return Some(id.trim().to_string());
        }
    }
    let mut head = Vec::new();
    match source.member {
        None => std::fs::File::open(&source.path).ok()?.take(HEAD).read_to_end(&mut head).ok()?,
        Some(_) => {
            head = source.read().ok()?;
            head.truncate(HEAD as usize);
            head.len()
        }
    };
    let text = String::from_utf8_lossy(&head);
    let between = |start: &str, end: &str| Some(text.split_once(start)?.1.split_once(end)?.0.trim().to_string());
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
    address.or_else(rights)
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
        let other = Array::new([3, 64, 64], (0..3 * 4096).map(|i| value(i * 7 + 13)).collect()).unwrap();
        write_image(&at("a.png"), &photo, &Default::default()).unwrap();
        write_image(&at("b.jpg"), &resize(&photo, [48, 48], Filter::Area).unwrap(), &Default::default()).unwrap();
        write_image(&at("c.png"), &other, &Default::default()).unwrap();
        std::fs::write(at("d.png"), b"not a picture").unwrap();
        std::fs::write(at("c.png.license"), "# x\nSPDX-License-Identifier: CC0-1.0\n").unwrap();
        let limits = Limits { min_side: 50, min_sharpness: 0.0, min_jpeg_quality: 50 };
        let sources = crate::data::list(&[folder.path().display().to_string()]).unwrap();
        let entries = scan(&sources, &limits, &|_| ()).unwrap();
        assert!(entries[0].drop.is_empty() && entries[2].drop.is_empty(), "{entries:?}");
        assert!(entries[1].duplicate_of.as_deref().is_some_and(|d| d.ends_with("a.png")));
        assert!(entries[1].drop.iter().any(|r| r.starts_with("small")));
        assert_eq!(entries[2].licence.as_deref(), Some("CC0-1.0"));
        assert!(entries[3].drop[0].starts_with("broken"));
        let line = serde_json::to_string(&entries[1]).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), entries[1]);
    }
}
