//! The door in front of engines: shapes, order and count are checked once, whatever the engine.

use std::sync::Arc;

use vae2x_core::engine::{Decode, Decoder, Encode, Encoder, Engine, Progress};
use vae2x_core::{Array, Cancel, Error, Estimate, Extent, Result, VaeConfig};

/// Gives zeros of the shape that the contract promises, or fails where the first value is NaN.
struct Fake {
    config: VaeConfig,
    has_time: bool,
}

struct Session {
    engine: Arc<Fake>,
    clip: Extent,
    done: usize,
}

impl Session {
    fn result(&mut self, input: &Array, shape: [usize; 4]) -> Result<Array> {
        self.done += 1;
        match input.data()[0].is_nan() {
            true => Err(Error::Device("as asked".into())),
            false => Ok(Array::zeros(shape)),
        }
    }
}

impl Decode for Session {
    fn step(&mut self, latent: &Array, _: Progress<'_>) -> Result<Array> {
        let config = &self.engine.config;
        let frames = config.frames_of(self.done);
        let [h, w] = self.clip.cells.map(|n| n * config.spatial());
        self.result(latent, [3, frames, h, w])
    }
}

impl Encode for Session {
    fn step(&mut self, pixels: &Array, _: Progress<'_>) -> Result<Array> {
        let [h, w] = self.clip.cells;
        self.result(pixels, [self.engine.config.z_dim, 1, h, w])
    }
}

impl Engine for Fake {
    fn name(&self) -> String {
        "fake".into()
    }
    fn config(&self) -> &VaeConfig {
        &self.config
    }
    fn has_time(&self) -> bool {
        self.has_time
    }
    fn threads(&self) -> usize {
        1
    }
    fn decode_memory(&self, _: Extent) -> Option<Estimate> {
        None
    }
    fn encode_memory(&self, _: Extent) -> Option<Estimate> {
        None
    }
    fn decoder(self: Arc<Self>, clip: Extent, _: &Cancel) -> Result<Box<dyn Decode>> {
        Ok(Box::new(Session {
            engine: self,
            clip,
            done: 0,
        }))
    }
    fn encoder(self: Arc<Self>, clip: Extent, _: &Cancel) -> Result<Box<dyn Encode>> {
        Ok(Box::new(Session {
            engine: self,
            clip,
            done: 0,
        }))
    }
}

const CLIP: Extent = Extent {
    frames: 3,
    cells: [2, 5],
};

fn engine(has_time: bool) -> Arc<Fake> {
    Arc::new(Fake {
        config: VaeConfig::default(),
        has_time,
    })
}

fn decode(session: &mut Decoder, shape: [usize; 4]) -> Result<Array> {
    session.step(&Array::zeros(shape), &mut |_| ())
}

fn encode(session: &mut Encoder, shape: [usize; 4]) -> Result<Array> {
    session.step(&Array::zeros(shape), &mut |_| ())
}

fn is_shape(result: Result<Array>) -> bool {
    matches!(result, Err(Error::Shape { .. }))
}

#[test]
fn a_clip_is_decoded_one_latent_frame_at_a_time() {
    let mut session = Decoder::new(engine(true), CLIP).unwrap();
    for frames in [1, 4, 4] {
        assert!(!session.is_done());
        let got = decode(&mut session, [16, 1, 2, 5]).unwrap();
        assert_eq!(got.shape(), [3, frames, 16, 40]);
    }
    assert!(session.is_done());
    assert!(
        is_shape(decode(&mut session, [16, 1, 2, 5])),
        "one too many"
    );
}

#[test]
fn a_clip_is_encoded_in_the_frames_of_one_latent_frame() {
    let mut session = Encoder::new(engine(true), CLIP).unwrap();
    assert!(
        is_shape(encode(&mut session, [3, 4, 16, 40])),
        "wrong order"
    );
    for frames in [1, 4, 4] {
        assert_eq!((session.is_done(), session.next_frames()), (false, frames));
        let got = encode(&mut session, [3, frames, 16, 40]).unwrap();
        assert_eq!(got.shape(), [16, 1, 2, 5]);
        assert!(is_shape(encode(&mut session, [3, 1, 16, 40])));
    }
    assert!(session.is_done());
}

#[test]
fn other_shapes_are_refused_and_leave_the_clip_as_it_was() {
    let mut session = Decoder::new(engine(true), CLIP).unwrap();
    for shape in [
        [4, 1, 2, 5],
        [16, 2, 2, 5],
        [16, 0, 2, 5],
        [16, 1, 5, 2],
        [16, 1, 2, 6],
    ] {
        assert!(is_shape(decode(&mut session, shape)), "{shape:?}");
    }
    assert!(is_shape(
        session.step(&Array::zeros([16, 2, 5]), &mut |_| ())
    ));
    let first = decode(&mut session, [16, 1, 2, 5]).unwrap();
    assert_eq!(first.shape()[1], 1, "still the first frame");
}

#[test]
fn after_a_failed_step_every_step_fails() {
    let mut session = Decoder::new(engine(true), CLIP).unwrap();
    let broken = Array::new([16, 1, 2, 5], vec![f32::NAN; 160]).unwrap();
    let failed = session.step(&broken, &mut |_| ());
    assert!(matches!(failed, Err(Error::Device(_))));
    let next = decode(&mut session, [16, 1, 2, 5]);
    assert!(matches!(next, Err(Error::Device(_))));
}

#[test]
fn empty_extents_and_clips_without_time_are_refused() {
    for (frames, cells) in [(0, [2, 2]), (1, [0, 2]), (1, [2, 0])] {
        let refused = Decoder::new(engine(true), Extent { frames, cells }).err();
        assert!(
            matches!(refused, Some(Error::Shape { .. })),
            "{frames} {cells:?}"
        );
    }
    assert!(Decoder::new(engine(false), Extent::image([2, 2])).is_ok());
    let refused = Encoder::new(engine(false), CLIP).err();
    assert!(matches!(refused, Some(Error::ImagesOnly { frames: 3 })));
}

#[test]
fn nothing_enters_once_the_work_is_cancelled() {
    let cancel = Cancel::new();
    let mut decoder = Decoder::with_cancel(engine(true), CLIP, &cancel).unwrap();
    assert!(decode(&mut decoder, [16, 1, 2, 5]).is_ok());
    cancel.clone().cancel();
    let refused = decode(&mut decoder, [16, 1, 2, 5]);
    assert!(matches!(refused, Err(Error::Cancelled)), "{refused:?}");
}
