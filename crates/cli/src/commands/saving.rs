//! Saving beside computing: frames are finished, converted and written by a thread of their own while the next ones are
//! computed.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::anyhow;
use vae2x_core::{Array, Error, Result};
use vae2x_cpu::MemoryEstimate;
use vae2x_media::output::Output;

use crate::timings::timed;

/// Frames that may wait to be written: neither side idles, and memory grows by no more than these.
const WAITING: usize = 2;

/// An estimate for `frames` frames at once that counts the frames being saved besides: those that wait and the one that is
/// written.
pub fn with_waiting(need: MemoryEstimate, frames: usize) -> MemoryEstimate {
    MemoryEstimate {
        output: need.output + (WAITING + 1) * need.output / frames.max(1),
        ..need
    }
}

/// Text that a picture file carries.
pub type Text = Vec<(String, String)>;

/// What has been saved.
pub struct Saved {
    /// Every file.
    pub written: Vec<PathBuf>,
    /// Spent on finishing, converting and writing.
    pub save_s: f64,
    /// That the computing side waited for the saving side.
    pub waited_s: f64,
}

/// A decoded frame, `[3, H, W]`, and what its colours are to follow.
pub struct Decoded {
    /// The frame.
    pub pixels: Array,
    /// The base decoder's.
    pub base: Option<Array>,
}

enum Message {
    Frame(Decoded),
    /// The input is complete.
    End,
}

/// The computing side's end.
pub struct Saver {
    messages: SyncSender<Message>,
    waited_s: f64,
}

impl Saver {
    /// Hands over the next frame of the present input.
    ///
    /// # Errors
    /// If saving has failed; why, is told by [`beside`].
    pub fn push(&mut self, frame: Decoded) -> anyhow::Result<()> {
        self.send(Message::Frame(frame))
    }

    /// Ends the present input.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish_input(&mut self) -> anyhow::Result<()> {
        self.send(Message::End)
    }

    fn send(&mut self, message: Message) -> anyhow::Result<()> {
        timed(&mut self.waited_s, || self.messages.send(message))
            .map_err(|_| anyhow!("saving has stopped"))
    }
}

/// What is saved, and how.
pub struct Saving<'a, F> {
    /// Where frames go.
    pub output: &'a Output,
    /// One entry per input.
    pub texts: Vec<Text>,
    /// Makes of a decoded frame the one to be written.
    pub finish: F,
}

/// Runs `compute`, which pushes the frames of every input of the output, and saves them meanwhile.
///
/// # Errors
/// Those of saving, else those of `compute`. An input that was not ended leaves no array file.
pub fn beside(
    saving: Saving<'_, impl Fn(Decoded) -> Result<Array> + Send>,
    compute: impl FnOnce(&mut Saver) -> anyhow::Result<()>,
) -> anyhow::Result<Saved> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(WAITING);
        let thread = scope.spawn(move || save(saving, &receiver));
        let mut saver = Saver {
            messages: sender,
            waited_s: 0.0,
        };
        let computed = compute(&mut saver);
        let waited_s = saver.waited_s;
        drop(saver);
        let saved = thread
            .join()
            .map_err(|_| anyhow!("the thread that saves has panicked"))?;
        let (written, save_s) = saved?;
        computed.map(|()| Saved {
            written,
            save_s,
            waited_s,
        })
    })
}

/// Files written and the seconds that it took.
fn save(
    saving: Saving<'_, impl Fn(Decoded) -> Result<Array>>,
    messages: &Receiver<Message>,
) -> Result<(Vec<PathBuf>, f64)> {
    let (mut written, mut seconds) = (Vec::new(), 0.0);
    for (index, text) in saving.texts.into_iter().enumerate() {
        let mut sink = saving.output.open(index, text)?;
        loop {
            match messages.recv() {
                Ok(Message::Frame(frame)) => {
                    timed(&mut seconds, || sink.push(&(saving.finish)(frame)?))?
                }
                Ok(Message::End) => break,
                // Computing failed, and says why.
                Err(_) => return Ok((written, seconds)),
            }
        }
        written.extend(timed(&mut seconds, || sink.finish())?);
    }
    Ok::<_, Error>((written, seconds))
}
