//! A latent on its way to frames: into an array, one after another, or into files.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, TryLockError};
use std::thread;

use pyo3::prelude::*;
use vae2x::{
    Array, BatchDecoder, Cancel, ClipFinisher, DecodedFrame, Error, Estimate, Extent, Finish,
    Finisher, Latent, Result, Vae, check_memory, in_turn,
};
use vae2x_media::frames::FrameSink;
use vae2x_media::output::{Input, Output, OutputOptions};

use crate::arrays::{Collected, PixelType};
use crate::errors::OrRaise;
use crate::watch::{Report, Watch};

/// Frames that may wait to be written, as in the program.
const WAITING: usize = 2;

/// What is decoded, and how.
pub struct Request {
    pub vae: Vae,
    /// The base decoder whose colours are matched.
    pub base: Option<Vae>,
    pub latent: Latent,
    pub finish: Finish,
    /// Bytes that may be held.
    pub allowed: Option<u64>,
}

/// A latent under way.
pub struct Frames {
    request: Request,
    /// Each item's latent frames, `[z, 1, h, w]`, raw, in order.
    pieces: std::vec::IntoIter<Array>,
    extent: Extent,
    items: usize,
    finisher: Finisher,
    decoder: Option<BatchDecoder>,
}

impl Frames {
    /// Settles the latent. Weights are read with the first step.
    ///
    /// # Errors
    /// If it does not fit the model, or the decoder cannot give what is asked for.
    pub fn new(request: Request) -> Result<Self> {
        let raw = request.vae.settle(&request.latent)?;
        let extent = Extent::of(raw.array())?;
        let items = raw.array().shape()[0];
        let places = (0..items).flat_map(|item| (0..extent.frames).map(move |t| (item, t)));
        let pieces: Vec<Array> = places.map(|(item, t)| raw.frame(item, t)).collect();
        let (config, name) = (request.vae.config(), request.vae.name());
        Ok(Self {
            finisher: request.finish.clone().for_decoder(config, name)?,
            pieces: pieces.into_iter(),
            extent,
            items,
            decoder: None,
            request,
        })
    }

    /// Frames of each item.
    pub fn frames(&self) -> usize {
        self.request.vae.config().frames(self.extent.frames)
    }

    /// Frames of all items.
    pub fn count(&self) -> usize {
        self.items * self.frames()
    }

    /// Height, width and channels of a finished frame.
    ///
    /// # Errors
    /// [`Error::Config`] if the decoder has no scale.
    pub fn size(&self) -> Result<[usize; 3]> {
        let config = self.request.vae.config();
        let side = config.spatial() * config.scale()?;
        let factor = self.finisher.pixels_per_result().isqrt();
        let [h, w] = self.extent.cells.map(|n| side * n / factor);
        Ok([h, w, config.image_channels])
    }

    /// Refuses what does not fit into memory: what decoding needs, and `held` bytes besides.
    ///
    /// # Errors
    /// [`Error::Memory`] with the estimate.
    pub fn check_memory(&self, held: usize) -> Result<()> {
        let Request { vae, base, .. } = &self.request;
        let Some(mut need) = vae.decode_memory(self.extent) else {
            return Ok(());
        };
        if let Some(base) = base
            .as_ref()
            .and_then(|base| base.decode_memory(self.extent))
        {
            need = in_turn(need, base);
        }
        let need = Estimate {
            output: need.output + held,
            ..need
        };
        let Extent { frames, cells } = self.extent;
        let what = format!(
            "decoding {frames} latent frames of {}x{} cells",
            cells[1], cells[0]
        );
        check_memory(&what, need, self.request.allowed)
    }

    /// The frames of the next latent frame; `None` after the last.
    ///
    /// # Errors
    /// As decoding.
    pub fn step(&mut self, report: &Report) -> Result<Option<Vec<DecodedFrame>>> {
        let Request { vae, base, .. } = &self.request;
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            None => {
                let decoder = BatchDecoder::new(vae, base.as_ref(), self.extent)?;
                self.decoder.insert(decoder)
            }
        };
        let all = (self.items * self.extent.frames) as f32;
        let done = all - self.pieces.len() as f32;
        let Some(piece) = self.pieces.next() else {
            return Ok(None);
        };
        let progress = &mut |part: f32| report.set((done + part) / all);
        decoder.step_with(&piece, progress).map(Some)
    }

    /// All frames as one array.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn collect(mut self, kind: PixelType, report: &Report) -> Result<Collected> {
        let mut all = kind.collect(self.count());
        let mut clip = self.finisher.clip();
        while let Some(frames) = self.step(report)? {
            for frame in frames {
                all.push(&frame.finish(&mut clip)?)?;
            }
        }
        Ok(all)
    }

    /// All frames into files, which are finished and written while the next are decoded. Returns the files, and notes on
    /// what they cannot hold.
    ///
    /// # Errors
    /// As [`Self::step`] and writing; nothing half written is left.
    pub fn write(
        mut self,
        output: &Output,
        text: Vec<(String, String)>,
        report: &Report,
    ) -> Result<(Vec<PathBuf>, Vec<String>)> {
        let (to_writer, frames) = sync_channel(WAITING);
        let clip = self.finisher.clip();
        let (decoded, written) = thread::scope(|scope| {
            let writer = scope.spawn(move || push_all(output, text, clip, &frames));
            let decoded = self.send_all(&to_writer, report);
            drop(to_writer);
            let written = writer.join();
            (
                decoded,
                written.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            )
        });
        // If both fail, writing did so first: decoding only follows.
        let (sink, notes) = written?;
        decoded?;
        Ok((sink.finish()?, notes))
    }

    fn send_all(
        &mut self,
        to_writer: &std::sync::mpsc::SyncSender<DecodedFrame>,
        report: &Report,
    ) -> Result<()> {
        while let Some(frames) = self.step(report)? {
            for frame in frames {
                let sent = to_writer.send(frame);
                sent.map_err(|_| Error::Device("writing has stopped".into()))?;
            }
        }
        Ok(())
    }
}

/// Finishes frames as they come and gives them to the output.
fn push_all(
    output: &Output,
    text: Vec<(String, String)>,
    mut clip: ClipFinisher,
    frames: &Receiver<DecodedFrame>,
) -> Result<(Box<dyn FrameSink>, Vec<String>)> {
    let mut sink = output.open(0, text)?;
    let mut notes = Vec::new();
    for frame in frames {
        sink.push(&frame.finish(&mut clip)?)?;
        notes.extend(sink.notes());
    }
    Ok((sink, notes))
}

/// Where the frames of a latent go.
pub struct Target {
    pub path: PathBuf,
    /// The name of frames in a folder.
    pub name: String,
    pub options: OutputOptions,
    /// Files that the work reads.
    pub kept: Vec<PathBuf>,
}

impl Target {
    /// Decodes into files. A folder that this makes is removed again if nothing comes into it.
    ///
    /// # Errors
    /// As [`Frames::write`], and for paths that cannot be written.
    pub fn write(
        self,
        frames: Frames,
        text: Vec<(String, String)>,
        report: &Report,
    ) -> Result<(Vec<PathBuf>, Vec<String>)> {
        let is_new = !self.path.exists();
        self.plan_and_write(frames, text, report).inspect_err(|_| {
            if is_new && self.path.is_dir() {
                // Fails, as it should, if finished images are in it.
                let _ = std::fs::remove_dir(&self.path);
            }
        })
    }

    fn plan_and_write(
        &self,
        frames: Frames,
        text: Vec<(String, String)>,
        report: &Report,
    ) -> Result<(Vec<PathBuf>, Vec<String>)> {
        let input = Input {
            path: PathBuf::new(),
            name: self.name.clone(),
            items: frames.items,
            frames: frames.frames(),
        };
        let output = Output::plan(&self.path, &[input], self.options.clone())?;
        output.keep(self.kept.iter().map(PathBuf::as_path))?;
        let size: usize = frames.size()?.iter().product();
        frames.check_memory((WAITING + 1) * size * size_of::<f32>())?;
        frames.write(&output, text, report)
    }
}

/// An iterator over the finished frames of a latent; it holds those of one latent frame.
#[pyclass(frozen, name = "FrameIterator", module = "vae2x._vae2x")]
pub struct FrameIterator {
    state: Mutex<Option<State>>,
    watch: Watch,
    cancel: Cancel,
    kind: PixelType,
    count: usize,
    size: [usize; 3],
}

struct State {
    frames: Frames,
    clip: ClipFinisher,
    ready: VecDeque<DecodedFrame>,
}

impl FrameIterator {
    /// Will decode `frames`, whose model stops with `cancel`.
    ///
    /// # Errors
    /// If they do not fit into memory.
    pub fn new(frames: Frames, kind: PixelType, watch: Watch, cancel: Cancel) -> Result<Self> {
        let (count, size) = (frames.count(), frames.size()?);
        frames.check_memory(0)?;
        let state = State {
            clip: frames.finisher.clip(),
            frames,
            ready: VecDeque::new(),
        };
        Ok(Self {
            state: Mutex::new(Some(state)),
            watch,
            cancel,
            kind,
            count,
            size,
        })
    }

    /// The next finished frame; the state is gone after an error.
    fn next<'py>(
        &self,
        py: Python<'py>,
        slot: &mut Option<State>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(mut state) = slot.take() else {
            return Ok(None);
        };
        if state.ready.is_empty() {
            let step = |report: &Report| state.frames.step(report);
            match self.watch.run_part(py, &self.cancel, step)? {
                Some(frames) => state.ready.extend(frames),
                None => return Ok(None),
            }
        }
        let Some(frame) = state.ready.pop_front() else {
            return Ok(None);
        };
        let mut one = self.kind.collect(1);
        let finished = py.detach(|| {
            let finished = frame.finish(&mut state.clip)?;
            one.push(&finished)
        });
        finished.or_raise(py)?;
        *slot = Some(state);
        one.into_numpy(py, &[]).map(Some)
    }
}

#[pymethods]
impl FrameIterator {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.state.try_lock() {
            Ok(mut state) => self.next(py, &mut state),
            Err(TryLockError::Poisoned(mut state)) => self.next(py, state.get_mut()),
            Err(TryLockError::WouldBlock) => {
                let busy = "another thread takes frames from this iterator";
                Err(Error::BadRequest(busy.into())).or_raise(py)
            }
        }
    }

    fn __len__(&self) -> usize {
        self.count
    }

    /// Height, width and channels.
    #[getter]
    fn frame_shape(&self) -> (usize, usize, usize) {
        let [h, w, c] = self.size;
        (h, w, c)
    }

    fn __enter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __exit__(&self, _kind: Py<PyAny>, _error: Py<PyAny>, _trace: Py<PyAny>) {
        self.close();
    }

    fn close(&self) {
        self.cancel.cancel();
        if let Ok(mut state) = self.state.try_lock() {
            *state = None;
        }
    }
}
