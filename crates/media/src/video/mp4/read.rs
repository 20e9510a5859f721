//! What an MP4 file holds: its first track of video, if that is H.264 of the kind that is decoded here.

use std::fs::File;
use std::path::Path;

use mp4_atom::{Avcc, Colr, Ilst, IlstDataValue, Keys, Mdhd, Mvhd, Pasp, Tkhd};
use vae2x_core::{Error, Result, files};

use super::boxes::{self, Children, FRAGMENTED, child, descend};
use super::parameters::{Picture, Sequence, colours};
use super::samples::{Sample, Samples, read, within};
use super::turn::Turn;
use super::{INSTALL, foreign};
use crate::video::stream::{Colours, Video};
use crate::video::yuv::Range;
use crate::video::{COMFY_KEYS, Rate};

/// Bytes in front of the boxes of a sample entry: of any, and of one of video.
const ENTRY_HEAD: usize = 78;

/// A file whose index has been read.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    /// The stream.
    pub video: Video,
    pub(super) places: Vec<Sample>,
    /// The place of each frame in the order of display.
    pub(super) ranks: Vec<u32>,
    pub(super) stream: Stream,
    pub(super) turn: Turn,
}

/// How the track's frames are stored.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub sequence: Sequence,
    pub pictures: Vec<Picture>,
    /// Parameter sets as they are stored.
    pub sets: Vec<Vec<u8>>,
    /// Bytes of the length in front of each part of a frame.
    pub length_bytes: usize,
}

impl Index {
    /// Reads the index of a file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] if it is damaged, or holds what is not decoded here.
    pub fn read(path: &Path) -> Result<Self> {
        let mut file = files::open(path)?;
        let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
        Self::of(&mut file, length).map_err(|problem| Error::format(path, problem))
    }

    fn of(file: &mut File, length: u64) -> Result<Self, String> {
        let moov = boxes::index(file, length)?;
        if child(&moov, b"mvex").is_some() {
            return Err(foreign(FRAGMENTED));
        }
        let tracks = || Children(&moov).filter(|(kind, _)| kind == b"trak");
        let is_kind = |track: &[u8], kind: &[u8; 4]| {
            let handler = descend(track, &[b"mdia", b"hdlr"]);
            handler.and_then(|body| body.get(8..12)) == Some(kind)
        };
        let track = tracks()
            .map(|(_, track)| track)
            .find(|track| is_kind(track, b"vide"));
        let track = track.ok_or("there is no video in it")?;
        let media = child(track, b"mdia").unwrap_or_default();
        let table = descend(media, &[b"minf", b"stbl"]).ok_or("it has no 'stbl' box")?;
        let entry = Entry::read(table)?;
        let head: Mdhd = within(media)?.ok_or("it has no 'mdhd' box")?;
        let movie: Mvhd = within(&moov)?.ok_or("it has no 'mvhd' box")?;
        let samples = Samples::read(table, length)?;
        samples.check_edits(track, head.timescale, movie.timescale)?;
        let turn = match within::<Tkhd>(track)? {
            Some(head) => Turn::of(&head.matrix),
            None => Turn::of(&Default::default()),
        };
        let turn = turn.ok_or_else(|| foreign("a track that is turned by no quarter"))?;
        let sequence = &entry.stream.sequence;
        let mut video = Video {
            frames: samples.places.len(),
            size: turn.size(sequence.size),
            pixel_format: "yuv420p".into(),
            colours: entry.colours,
            pixel_aspect: entry
                .pixel_aspect
                .filter(|(w, h)| w != h && *w > 0 && *h > 0),
            audio: tracks()
                .any(|(_, track)| is_kind(track, b"soun"))
                .then(String::new),
            text: texts(&moov),
            ..Video::default()
        };
        let ranks = ranks(&samples.times);
        pace(&mut video, &samples.times, &ranks, head.timescale, table)?;
        Ok(Self {
            video,
            places: samples.places,
            ranks,
            stream: entry.stream,
            turn,
        })
    }
}

/// The place of each time among all.
fn ranks(times: &[i64]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..times.len() as u32).collect();
    order.sort_by_key(|&index| times[index as usize]);
    let mut ranks = vec![0; times.len()];
    for (rank, index) in order.into_iter().enumerate() {
        ranks[index as usize] = rank as u32;
    }
    ranks
}

/// Frames per second, from their times.
fn pace(
    video: &mut Video,
    times: &[i64],
    ranks: &[u32],
    scale: u32,
    table: &[u8],
) -> Result<(), String> {
    let mut shown = vec![0; times.len()];
    for (&time, &rank) in times.iter().zip(ranks) {
        shown[rank as usize] = time;
    }
    let distances = || shown.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
    let [Some(least), Some(most)] = [distances().min(), distances().max()] else {
        let only = within::<mp4_atom::Stts>(table)?.and_then(|stts| stts.entries.first().cloned());
        video.rate = only.and_then(|run| Rate::new(scale, run.sample_delta));
        return Ok(());
    };
    if least == most {
        video.rate = u32::try_from(least)
            .ok()
            .and_then(|delta| Rate::new(scale, delta));
    }
    let mean = distances().map(|d| d as f64).sum::<f64>() / (times.len() - 1) as f64;
    let seconds = |units: f64| units / f64::from(scale.max(1));
    let ends = [least, most].map(|units| seconds(units as f64));
    video.pace(seconds(mean), ends);
    Ok(())
}

/// The sample entry of a track.
struct Entry {
    stream: Stream,
    colours: Colours,
    pixel_aspect: Option<(u32, u32)>,
}

impl Entry {
    fn read(table: &[u8]) -> Result<Self, String> {
        let list = child(table, b"stsd").and_then(|body| body.get(8..));
        let mut entries = Children(list.ok_or("it has no 'stsd' box")?);
        let (kind, body) = entries.next().ok_or("its 'stsd' box is damaged")?;
        if &kind != b"avc1" {
            return Err(foreign(codec(kind)));
        }
        if entries.next().is_some() {
            return Err(foreign("video in several formats"));
        }
        let inner = body.get(ENTRY_HEAD..).ok_or("its 'avc1' box is damaged")?;
        let stream = Stream::of(within(inner)?.ok_or("it has no 'avcC' box")?)?;
        let sequence = &stream.sequence;
        let boxed = match child(inner, b"colr").map(read::<Colr>).transpose()? {
            Some(Colr::Nclx {
                colour_primaries,
                transfer_characteristics,
                matrix_coefficients,
                full_range_flag,
            }) => {
                let codes = [
                    colour_primaries,
                    transfer_characteristics,
                    matrix_coefficients,
                ];
                let range = if full_range_flag {
                    Range::Full
                } else {
                    Range::Limited
                };
                Some(colours(codes.map(u32::from), range))
            }
            Some(Colr::Nclc {
                colour_primaries,
                transfer_characteristics,
                matrix_coefficients,
            }) => {
                let codes = [
                    colour_primaries,
                    transfer_characteristics,
                    matrix_coefficients,
                ];
                Some(colours(codes.map(u32::from), Range::Limited))
            }
            _ => None,
        };
        // The stream knows best, the box what it leaves out.
        let colours = match (&sequence.colours, boxed) {
            (Some(told), Some(boxed)) if !sequence.has_colours => Colours {
                range: told.range,
                ..boxed
            },
            (Some(told), _) => told.clone(),
            (None, boxed) => boxed.unwrap_or_default(),
        };
        let aspect: Option<Pasp> = within(inner)?;
        let pixel_aspect = aspect.map(|aspect| (aspect.h_spacing, aspect.v_spacing));
        Ok(Self {
            colours,
            pixel_aspect: pixel_aspect.or(sequence.pixel_aspect),
            stream,
        })
    }
}

impl Stream {
    fn of(config: Avcc) -> Result<Self, String> {
        let [sequence] = &config.sequence_parameter_sets[..] else {
            return Err(match config.sequence_parameter_sets.len() {
                0 => "it has no sequence parameter set".into(),
                _ => foreign("H.264 of several sequence parameter sets"),
            });
        };
        let read = Sequence::read(sequence)?;
        let sets = &config.picture_parameter_sets;
        if sets.is_empty() {
            return Err("it has no picture parameter set".into());
        }
        let pictures = sets.iter().map(|set| Picture::read(set, &read));
        Ok(Self {
            pictures: pictures.collect::<Result<_, _>>()?,
            sequence: read,
            sets: std::iter::once(sequence).chain(sets).cloned().collect(),
            length_bytes: config.length_size.into(),
        })
    }
}

/// The codec of a sample entry, in words.
fn codec(kind: [u8; 4]) -> String {
    let name = match &kind {
        b"avc3" => "H.264 with parameter sets among its frames",
        b"hvc1" | b"hev1" | b"dvh1" | b"dvhe" => "H.265 video",
        b"av01" => "AV1 video",
        b"vp08" | b"vp09" => "VP8 or VP9 video",
        b"mp4v" => "MPEG-4 Part 2 video",
        b"apch" | b"apcn" | b"apcs" | b"apco" | b"ap4h" | b"ap4x" => "ProRes video",
        b"encv" => {
            return format!(
                "encrypted video, which nobody reads without its key; {INSTALL} for others"
            );
        }
        _ => "video of another codec",
    };
    format!("{name} ('{}')", boxes::name(kind))
}

/// `prompt` and `workflow`, which lie in user data, or in QuickTime's files beside it.
fn texts(moov: &[u8]) -> Vec<(String, String)> {
    let meta = descend(moov, &[b"udta", b"meta"]).or_else(|| child(moov, b"meta"));
    let Some(meta) = meta else {
        return Vec::new();
    };
    // A version comes first, but in QuickTime's files.
    let inner = match meta.get(4..8) {
        Some(b"hdlr") => meta,
        _ => meta.get(4..).unwrap_or_default(),
    };
    let (Ok(Some(keys)), Ok(Some(values))) = (within::<Keys>(inner), within::<Ilst>(inner)) else {
        return Vec::new();
    };
    let mut texts = Vec::new();
    for (at, value) in values.mdta {
        let key = (at as usize)
            .checked_sub(1)
            .and_then(|at| keys.entries.get(at));
        let known = key.and_then(|key| {
            COMFY_KEYS
                .into_iter()
                .find(|known| key.key_value.eq_ignore_ascii_case(known))
        });
        if let (Some(known), IlstDataValue::Utf8(text)) = (known, value.value) {
            texts.push((known.to_owned(), text));
        }
    }
    texts.sort();
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_ranked_by_their_times() {
        assert_eq!(ranks(&[0, 40, 10, 30]), [0, 3, 1, 2]);
        assert_eq!(ranks(&[5, 5, 1]), [1, 2, 0]);
    }

    #[test]
    fn a_rate_is_exact_where_frames_are_even() {
        let paced = |times: &[i64]| {
            let mut video = Video::default();
            pace(&mut video, times, &ranks(times), 24_000, &[]).unwrap();
            (video.rate.map(|rate| rate.to_string()), video.is_varying)
        };
        assert_eq!(paced(&[0, 2002, 1001]), (Some("24000/1001".into()), false));
        assert_eq!(paced(&[0, 1000, 4000]), (Some("12".into()), true));
        assert_eq!(paced(&[0, 0]), (None, false));
    }
}
