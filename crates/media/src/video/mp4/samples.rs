//! Where the frames of a track lie, and when they are shown (ISO/IEC 14496-12, 8.6 and 8.7).

use mp4_atom::{Atom, Co64, Ctts, Elst, Stco, Stsc, Stsz, StszSamples, Stts};

use super::boxes::{child, descend};
use super::foreign;

/// Frames of the longest video that is read: a day at 48 frames per second.
const MAX_FRAMES: usize = 1 << 22;

/// A frame's bytes in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub start: u64,
    pub length: u32,
}

/// Frames in the order in which they are stored.
#[derive(Debug)]
pub(super) struct Samples {
    pub places: Vec<Sample>,
    /// The time of each, in units of the track.
    pub times: Vec<i64>,
}

/// Reads the contents of a box; the error names it.
pub(super) fn read<T: Atom>(body: &[u8]) -> Result<T, String> {
    let mut rest = body;
    T::decode_body(&mut rest).map_err(|e| format!("its '{}' box is damaged: {e}", T::KIND))
}

/// Reads the first box of a kind within a box.
pub(super) fn within<T: Atom>(body: &[u8]) -> Result<Option<T>, String> {
    child(body, T::KIND.as_ref()).map(read).transpose()
}

fn required<T: Atom>(body: &[u8]) -> Result<T, String> {
    within(body)?.ok_or_else(|| format!("it has no '{}' box", T::KIND))
}

impl Samples {
    /// Reads a table of samples, `stbl`, of a file of `length` bytes.
    pub fn read(table: &[u8], length: u64) -> Result<Self, String> {
        let sizes = sizes(required(table)?)?;
        let starts: Vec<u64> = match within::<Co64>(table)? {
            Some(wide) => wide.entries,
            None => {
                let narrow: Stco = required(table)?;
                narrow.entries.into_iter().map(u64::from).collect()
            }
        };
        let places = places(&sizes, &starts, &required(table)?)?;
        let is_inside = |sample: &Sample| {
            let end = sample.start.checked_add(sample.length.into());
            sample.length > 0 && end.is_some_and(|end| end <= length)
        };
        if let Some(lost) = places.iter().position(|sample| !is_inside(sample)) {
            return Err(format!(
                "frame {lost} does not lie in the file; is it cut off?"
            ));
        }
        let times = times(places.len(), &required(table)?, within(table)?)?;
        Ok(Self { places, times })
    }

    /// Refuses an edit list that leaves out frames; `scale` is that of the track, `movie` that of the list's durations.
    pub fn check_edits(&self, track: &[u8], scale: u32, movie: u32) -> Result<(), String> {
        let Some(body) = descend(track, &[b"edts", b"elst"]) else {
            return Ok(());
        };
        let list: Elst = read(body)?;
        let refused = || foreign("an edit list that leaves out or repeats frames");
        let mut shown = list.entries.iter().filter(|edit| edit.media_time.is_some());
        let (first, more) = (shown.next(), shown.next());
        let Some((edit, from)) = first.and_then(|edit| Some((edit, edit.media_time?))) else {
            return Ok(());
        };
        if more.is_some() || edit.media_rate.integer() != 1 {
            return Err(refused());
        }
        let ends = (self.times.iter().min(), self.times.iter().max());
        let (Some(&earliest), Some(&latest)) = ends else {
            return Ok(());
        };
        // The duration is rounded to its units.
        let units = u128::from(edit.segment_duration) + 1;
        let duration = units * u128::from(scale) / u128::from(movie.max(1));
        let end = i128::from(from) + i128::try_from(duration).unwrap_or(i128::MAX / 2);
        let is_cut = i128::from(earliest) < i128::from(from)
            || (edit.segment_duration > 0 && i128::from(latest) >= end);
        if is_cut { Err(refused()) } else { Ok(()) }
    }
}

fn sizes(found: Stsz) -> Result<Vec<u32>, String> {
    let count = match &found.samples {
        StszSamples::Identical { count, .. } => *count as usize,
        StszSamples::Different { sizes } => sizes.len(),
    };
    match count {
        0 => Err("there are no frames in it".into()),
        1..=MAX_FRAMES => Ok(match found.samples {
            StszSamples::Identical { count, size } => vec![size; count as usize],
            StszSamples::Different { sizes } => sizes,
        }),
        _ => Err(format!(
            "it has {count} frames; at most {MAX_FRAMES} are read"
        )),
    }
}

/// Frames one behind another in each chunk.
fn places(sizes: &[u32], starts: &[u64], runs: &Stsc) -> Result<Vec<Sample>, String> {
    let damaged = || "its table of chunks is damaged".to_string();
    let mut places = Vec::with_capacity(sizes.len());
    let mut run = 0;
    for (chunk, &start) in starts.iter().enumerate() {
        let next = runs.entries.get(run + 1);
        if next.is_some_and(|next| next.first_chunk as usize <= chunk + 1) {
            run += 1;
        }
        let entry = runs.entries.get(run).ok_or_else(damaged)?;
        if entry.sample_description_index != 1 {
            return Err(foreign("video in several formats"));
        }
        let mut at = start;
        for _ in 0..entry.samples_per_chunk {
            let Some(&length) = sizes.get(places.len()) else {
                return Ok(places);
            };
            places.push(Sample { start: at, length });
            at = at.checked_add(length.into()).ok_or_else(damaged)?;
        }
    }
    match places.len() == sizes.len() {
        true => Ok(places),
        false => Err(damaged()),
    }
}

/// The time at which each frame is shown.
fn times(count: usize, durations: &Stts, offsets: Option<Ctts>) -> Result<Vec<i64>, String> {
    let damaged = || "its table of times is damaged".to_string();
    let runs = durations.entries.iter();
    let mut durations =
        runs.flat_map(|run| std::iter::repeat_n(run.sample_delta, run.sample_count as usize));
    let runs = offsets.iter().flat_map(|offsets| &offsets.entries);
    let mut shifts =
        runs.flat_map(|run| std::iter::repeat_n(run.sample_offset, run.sample_count as usize));
    let mut times = Vec::with_capacity(count);
    let mut decoded = 0i64;
    for _ in 0..count {
        let shift = match offsets {
            Some(_) => shifts.next().ok_or_else(damaged)?,
            None => 0,
        };
        times.push(decoded.checked_add(shift).ok_or_else(damaged)?);
        let duration = durations.next().ok_or_else(damaged)?;
        decoded = decoded.checked_add(duration.into()).ok_or_else(damaged)?;
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mp4_atom::{CttsEntry, StscEntry, SttsEntry};

    fn runs(entries: &[(u32, u32)]) -> Stsc {
        let entries = entries
            .iter()
            .map(|&(first_chunk, samples_per_chunk)| StscEntry {
                first_chunk,
                samples_per_chunk,
                sample_description_index: 1,
            });
        Stsc {
            entries: entries.collect(),
        }
    }

    #[test]
    fn frames_lie_one_behind_another_in_their_chunks() {
        let found = places(&[1, 2, 3, 4], &[100, 50, 200], &runs(&[(1, 1), (2, 2)])).unwrap();
        let found: Vec<_> = found.iter().map(|s| (s.start, s.length)).collect();
        assert_eq!(found, [(100, 1), (50, 2), (52, 3), (200, 4)]);
        assert!(places(&[1, 2], &[100], &runs(&[(1, 1)])).is_err());
        assert!(places(&[1], &[100], &runs(&[])).is_err());
        assert!(places(&[9, 9], &[u64::MAX], &runs(&[(1, 2)])).is_err());
    }

    #[test]
    fn times_are_those_of_display() {
        let stts = |sample_count| Stts {
            entries: vec![SttsEntry {
                sample_count,
                sample_delta: 10,
            }],
        };
        let ctts = Ctts {
            entries: [(1, 10), (1, 30), (2, -5)]
                .map(|(sample_count, sample_offset)| CttsEntry {
                    sample_count,
                    sample_offset,
                })
                .into(),
        };
        assert_eq!(
            times(4, &stts(4), Some(ctts.clone())).unwrap(),
            [10, 40, 15, 25]
        );
        assert_eq!(times(2, &stts(u32::MAX), None).unwrap(), [0, 10]);
        assert!(times(3, &stts(2), None).is_err());
        assert!(times(5, &stts(5), Some(ctts)).is_err());
    }

    #[test]
    fn the_number_of_frames_has_a_limit() {
        let all = |count| Stsz {
            samples: StszSamples::Identical { count, size: 1 },
        };
        assert!(sizes(all(u32::MAX)).unwrap_err().contains("at most"));
        assert!(sizes(all(0)).unwrap_err().contains("no frames"));
    }
}
