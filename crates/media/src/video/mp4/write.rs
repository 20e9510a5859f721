//! The boxes of a file with one track of H.264.
//!
//! A player can begin before it has all of a file if the index, `moov`, comes before the frames. Its size follows from the number of
//! frames, which is known beforehand; so room for it is left at the start, and it is written when the frames are there. Nothing is
//! copied, and only the sizes of frames are held.

use mp4_atom::{
    Any, Avc1, Avcc, Codec, Colr, Dinf, Dref, DrefEntry, Encode, FourCC, Ftyp, Hdlr, Ilst,
    IlstData, IlstDataValue, KeyEntry, Keys, Mdhd, Mdia, Meta, Minf, Moov, Mvhd, Pasp, Stbl, Stco,
    Stsc, StscEntry, Stsd, Stss, Stsz, StszSamples, Stts, SttsEntry, Tkhd, Trak, Udta, Url, Visual,
    Vmhd,
};

use crate::video::Rate;

/// What the index holds.
#[derive(Clone, Debug)]
pub(super) struct Track {
    /// Height and width.
    pub size: [usize; 2],
    /// Frames per second.
    pub rate: Rate,
    /// The sequence and the picture parameter set.
    pub parameters: [Vec<u8>; 2],
    /// Bytes of each frame.
    pub sizes: Vec<u32>,
    /// Numbers, from 1, of frames that need none before them.
    pub keys: Vec<u32>,
    /// ComfyUI's texts.
    pub text: Vec<(String, String)>,
}

/// The first box.
pub(super) fn file_type() -> mp4_atom::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Ftyp {
        major_brand: FourCC::new(b"isom"),
        minor_version: 512,
        compatible_brands: [b"isom", b"iso2", b"avc1", b"mp41"].map(FourCC::new).into(),
    }
    .encode(&mut bytes)?;
    Ok(bytes)
}

/// Units of time in a second and in a frame: fine ones, as other programs choose them, in which a frame is a whole number.
fn clock(rate: Rate) -> (u32, u32) {
    const FINE: u32 = 10_000;
    let (frames, seconds) = rate.fraction();
    let factor = FINE.div_ceil(frames.max(1));
    match (frames.checked_mul(factor), seconds.checked_mul(factor)) {
        (Some(scale), Some(delta)) => (scale, delta),
        _ => (frames, seconds),
    }
}

/// The index of frames that lie one behind another from byte `start` of the file on.
pub(super) fn index(track: &Track, start: u32) -> mp4_atom::Result<Vec<u8>> {
    let (scale, delta) = clock(track.rate);
    let duration = track.sizes.len() as u64 * u64::from(delta);
    let [height, width] = track.size.map(|side| side as u16);
    let moov = Moov {
        mvhd: Mvhd {
            creation_time: 0,
            modification_time: 0,
            timescale: scale,
            duration,
            rate: 1.into(),
            volume: 1.into(),
            matrix: Default::default(),
            next_track_id: 2,
        },
        meta: None,
        mvex: None,
        trak: vec![Trak {
            tkhd: Tkhd {
                track_id: 1,
                duration,
                enabled: true,
                in_movie: true,
                width: width.into(),
                height: height.into(),
                ..Tkhd::default()
            },
            mdia: Mdia {
                mdhd: Mdhd {
                    timescale: scale,
                    duration,
                    language: "und".into(),
                    ..Mdhd::default()
                },
                hdlr: handler(b"vide", "VideoHandler"),
                minf: Minf {
                    vmhd: Some(Vmhd::default()),
                    dinf: Dinf {
                        dref: Dref {
                            entries: vec![DrefEntry::Url(Url::default())],
                        },
                    },
                    stbl: table(track, start, delta)?,
                    ..Minf::default()
                },
            },
            ..Trak::default()
        }],
        udta: (!track.text.is_empty()).then(|| texts(&track.text)),
        ainf: None,
    };
    let mut bytes = Vec::new();
    moov.encode(&mut bytes)?;
    Ok(bytes)
}

fn handler(kind: &[u8; 4], name: &str) -> Hdlr {
    Hdlr {
        handler: FourCC::new(kind),
        name: name.into(),
    }
}

/// Where frames lie, how long each is shown, and what they are.
fn table(track: &Track, start: u32, delta: u32) -> mp4_atom::Result<Stbl> {
    let count = track.sizes.len() as u32;
    let [height, width] = track.size.map(|side| side as u16);
    let [sequence, picture] = &track.parameters;
    let entry = Avc1 {
        visual: Visual {
            data_reference_index: 1,
            width,
            height,
            ..Visual::default()
        },
        avcc: Avcc::new(sequence, picture)?,
        // BT.709 throughout, limited range.
        colr: Some(Colr::new(1, 1, 1, false)?),
        pasp: Some(Pasp::new(1, 1)?),
        ..Avc1::default()
    };
    Ok(Stbl {
        stsd: Stsd {
            codecs: vec![Codec::Avc1(entry)],
        },
        stts: Stts {
            entries: vec![SttsEntry {
                sample_count: count,
                sample_delta: delta,
            }],
        },
        stss: Some(Stss {
            entries: track.keys.clone(),
        }),
        stsc: Stsc {
            entries: vec![StscEntry {
                first_chunk: 1,
                samples_per_chunk: count,
                sample_description_index: 1,
            }],
        },
        stsz: Stsz {
            samples: StszSamples::Different {
                sizes: track.sizes.clone(),
            },
        },
        stco: Some(Stco {
            entries: vec![start],
        }),
        ..Stbl::default()
    })
}

/// Texts by name, where FFmpeg writes them and ComfyUI's page looks for them.
fn texts(texts: &[(String, String)]) -> Udta {
    let key = |(name, _): &(String, String)| KeyEntry {
        key_namespace: FourCC::new(b"mdta"),
        key_value: name.clone(),
    };
    let value = |(at, (_, text)): (usize, &(String, String))| {
        let data = IlstData {
            country_indicator: 0,
            language_indicator: 0,
            value: IlstDataValue::Utf8(text.clone()),
        };
        (at as u32 + 1, data)
    };
    let keys = Keys {
        entries: texts.iter().map(key).collect(),
    };
    let values = Ilst {
        mdta: texts.iter().enumerate().map(value).collect(),
        ..Ilst::default()
    };
    Udta {
        meta: Some(Meta {
            hdlr: handler(b"mdta", ""),
            items: vec![Any::from(keys), Any::from(values)],
        }),
        ..Udta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_a_whole_number_of_units() {
        let clock = |rate: &str| clock(rate.parse().unwrap());
        assert_eq!(clock("16"), (10_000, 625));
        assert_eq!(clock("24000/1001"), (24_000, 1001));
        assert_eq!(clock("30000/1001"), (30_000, 1001));
        assert_eq!(clock("1/100"), (10_000, 1_000_000));
        assert_eq!(clock("12.5"), (10_000, 800));
    }
}
