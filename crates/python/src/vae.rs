//! A model of Python: the library's, with what Python's calls need besides.

use std::path::PathBuf;

use pyo3::prelude::*;
use vae2x::{
    Array, Cancel, Device, Error, Estimate, Extent, Finish, Image, Latent, Pixels, Precision,
    Result, Upscale, Vae, check_memory,
};
use vae2x_hub::Event;

use crate::arrays::{PixelArray, PixelType};
use crate::errors::{OrRaise, in_python};
use crate::finishing::{FileArgs, FinishArgs, detail};
use crate::frames::{FrameIterator, Frames, Request, Target};
use crate::latent::{Axes, PyLatent};
use crate::watch::{Report, Watch};

/// A model on a device.
#[pyclass(frozen, name = "Vae", module = "vae2x._vae2x")]
pub struct PyVae {
    vae: Vae,
    /// Where the weights are, by the name that they were opened by.
    weights: PathBuf,
    /// Bytes that may be held.
    memory: Option<u64>,
    /// The process that opened it: threads do not follow into one that is forked.
    process: u32,
}

/// How a model is opened, as a dictionary.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct OpenArgs {
    device: String,
    dtype: String,
    encoder_dtype: String,
    threads: Option<usize>,
    memory: Option<u64>,
}

impl OpenArgs {
    fn build(&self, name: &str, report: &Report) -> Result<Vae> {
        let on_event = &mut |event: Event<'_>| match event {
            Event::Transfer(transfer) => {
                report.set(transfer.done as f32 / transfer.total.max(1) as f32);
            }
            Event::Warning(text) => warn(text),
        };
        let device: Device = self
            .device
            .parse()
            .map_err(|e| Error::BadRequest(format!("device={}: {e}", self.device)))?;
        device.require_built()?;
        Vae::open_with(name, on_event)?
            .device(device)
            .precision(precision(&self.dtype)?)
            .encoder_precision(precision(&self.encoder_dtype)?)
            .threads(self.threads)
            .memory(self.memory)
            .notify(warn)
            .build()
    }
}

fn precision(name: &str) -> Result<Precision> {
    match name {
        "f32" | "float32" => Ok(Precision::F32),
        "bf16" | "bfloat16" => Ok(Precision::Bf16),
        "f16" | "float16" => Ok(Precision::F16),
        _ => Err(Error::BadRequest(format!(
            "dtype={name}: expected f32, bf16 or f16"
        ))),
    }
}

/// Passes a note to Python's logger `vae2x`; it goes nowhere while Python ends.
fn warn(text: &str) {
    let tell = |py: Python<'_>| {
        let logging = py.import("logging")?;
        let logger = logging.call_method1("getLogger", ("vae2x",))?;
        let told = logger.call_method1("warning", ("%s", in_python(text)));
        told.map(|_| ())
    };
    // Nobody is there to hear of a logger that fails.
    let _ = Python::try_attach(tell);
}

impl PyVae {
    /// The model.
    ///
    /// # Errors
    /// `BadRequest` in another process than the one that opened it.
    pub fn vae(&self) -> Result<&Vae> {
        match std::process::id() == self.process {
            true => Ok(&self.vae),
            false => Err(Error::BadRequest(
                "this Vae was opened in another process, whose threads are not here; open it in each process".into(),
            )),
        }
    }

    /// A latent's way to frames that `cancel` stops.
    fn frames(
        &self,
        latent: &PyLatent,
        finish: &FinishArgs<'_>,
        cancel: &Cancel,
    ) -> Result<Frames> {
        let (finish, base): (Finish, _) = finish.read()?;
        Frames::new(Request {
            vae: self.vae()?.with_cancel(cancel),
            base: base.map(|base| base.with_cancel(cancel)),
            latent: latent.latent.clone(),
            finish,
            allowed: self.memory,
        })
    }

    fn check(&self, what: &str, need: Option<Estimate>) -> Result<()> {
        need.map_or(Ok(()), |need| check_memory(what, need, self.memory))
    }

    /// Encodes images or clips `[B, C, F, H, W]`.
    fn encode_clips(
        &self,
        clips: Array,
        pad: bool,
        cancel: &Cancel,
        report: &Report,
    ) -> Result<Latent> {
        let vae = self.vae()?.with_cancel(cancel);
        let pixels = Pixels::new(clips)?.fitted(vae.config(), pad)?;
        let ([h, w], spatial) = (pixels.size(), vae.config().spatial());
        let frames = pixels.array().shape()[2];
        let extent = Extent {
            frames: vae.config().latent_frames(frames),
            cells: [h / spatial, w / spatial],
        };
        let what = format!("encoding {frames} frames of {w}x{h} pixels");
        self.check(&what, vae.encode_memory(extent))?;
        vae.encode_with(&pixels, &mut |part| report.set(part))
    }
}

#[pymethods]
impl PyVae {
    #[staticmethod]
    fn open(
        py: Python<'_>,
        name: String,
        options: OpenArgs,
        progress: Option<Py<PyAny>>,
        cancel: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let (memory, weights) = (options.memory, PathBuf::from(&name));
        let watch = Watch::new(progress, cancel);
        // A download that is no longer waited for goes on and is found in the cache by the next one.
        let open = move |report: &Report| options.build(&name, report);
        Ok(Self {
            vae: watch.run_and_leave(py, open)?,
            weights,
            memory,
            process: std::process::id(),
        })
    }

    #[getter]
    fn name(&self) -> &str {
        self.vae.name()
    }

    #[getter]
    fn engine(&self) -> String {
        self.vae.engine()
    }

    #[getter]
    fn device(&self) -> String {
        self.vae.device().to_string()
    }

    #[getter]
    fn threads(&self) -> usize {
        self.vae.threads()
    }

    #[getter]
    fn scale(&self, py: Python<'_>) -> PyResult<usize> {
        self.vae.scale().or_raise(py)
    }

    #[getter]
    fn has_time(&self) -> bool {
        self.vae.has_time()
    }

    #[getter]
    fn has_opacity(&self) -> bool {
        self.vae.config().has_opacity()
    }

    /// Channels of latents.
    #[getter]
    fn z_dim(&self) -> usize {
        self.vae.config().z_dim
    }

    #[getter]
    fn latents_mean(&self) -> Vec<f32> {
        self.vae.config().latents_mean.clone()
    }

    #[getter]
    fn latents_std(&self) -> Vec<f32> {
        self.vae.config().latents_std.clone()
    }

    /// Bytes that decoding `frames` latent frames of `height x width` cells needs at most, without the result.
    fn decode_memory(&self, frames: usize, height: usize, width: usize) -> Option<usize> {
        let cells = [height, width];
        let need = self.vae.decode_memory(Extent { frames, cells })?;
        Some(need.total())
    }

    fn decode<'py>(
        &self,
        py: Python<'py>,
        latent: &PyLatent,
        finish: FinishArgs<'_>,
        dtype: &str,
        progress: Option<Py<PyAny>>,
        cancel: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let kind = PixelType::named(dtype).or_raise(py)?;
        let stop = Cancel::new();
        let frames = self.frames(latent, &finish, &stop).or_raise(py)?;
        let items = latent.latent.shape()[0];
        let axes = latent.axes.of(items, frames.count() / items);
        let size = frames.size().or_raise(py)?;
        let held = frames.count() * size.iter().product::<usize>() * kind.bytes();
        frames.check_memory(held).or_raise(py)?;
        let collect = |report: &Report| frames.collect(kind, report);
        let all = Watch::new(progress, cancel).run(py, &stop, collect)?;
        all.into_numpy(py, &axes)
    }

    fn decoder(
        &self,
        py: Python<'_>,
        latent: &PyLatent,
        finish: FinishArgs<'_>,
        dtype: &str,
        progress: Option<Py<PyAny>>,
        cancel: Option<Py<PyAny>>,
    ) -> PyResult<FrameIterator> {
        let kind = PixelType::named(dtype).or_raise(py)?;
        let stop = Cancel::new();
        let frames = self.frames(latent, &finish, &stop).or_raise(py)?;
        FrameIterator::new(frames, kind, Watch::new(progress, cancel), stop).or_raise(py)
    }

    #[expect(clippy::too_many_arguments, reason = "Python names each")]
    fn decode_to_file(
        &self,
        py: Python<'_>,
        latent: &PyLatent,
        path: PathBuf,
        finish: FinishArgs<'_>,
        file: FileArgs,
        text: Option<Vec<(String, String)>>,
        progress: Option<Py<PyAny>>,
        cancel: Option<Py<PyAny>>,
    ) -> PyResult<Vec<PathBuf>> {
        let stop = Cancel::new();
        let frames = self.frames(latent, &finish, &stop).or_raise(py)?;
        let mut kept = vec![self.weights.clone()];
        kept.extend(file.audio().map(PathBuf::from));
        let target = Target {
            path,
            name: latent.stem.clone().unwrap_or_else(|| "frame".into()),
            options: file.read().or_raise(py)?,
            kept,
        };
        let text = text.unwrap_or_else(|| latent.latent.text().to_vec());
        let write = |report: &Report| target.write(frames, text, report);
        let (files, notes) = Watch::new(progress, cancel).run(py, &stop, write)?;
        notes.iter().for_each(|note| warn(note));
        Ok(files)
    }

    #[expect(clippy::too_many_arguments, reason = "Python names each")]
    fn encode(
        &self,
        py: Python<'_>,
        images: PixelArray<'_>,
        axes: (bool, bool),
        frames: usize,
        pad: bool,
        progress: Option<Py<PyAny>>,
        cancel: Option<Py<PyAny>>,
    ) -> PyResult<PyLatent> {
        let (stop, clips) = (Cancel::new(), images.to_clips(frames).or_raise(py)?);
        let encode = |report: &Report| self.encode_clips(clips, pad, &stop, report);
        let latent = Watch::new(progress, cancel).run(py, &stop, encode)?;
        let (batch, time) = axes;
        let axes = Axes {
            batch,
            frames: time,
        };
        Ok(PyLatent::new(latent, axes))
    }

    fn refine(
        &self,
        py: Python<'_>,
        latent: &PyLatent,
        progress: Option<Py<PyAny>>,
        cancel: Option<Py<PyAny>>,
    ) -> PyResult<PyLatent> {
        let stop = Cancel::new();
        let refine = |report: &Report| {
            let vae = self.vae()?.with_cancel(&stop);
            let extent = latent.latent.extent();
            self.check("refining", vae.refine_memory(extent)?)?;
            vae.refine_with(&latent.latent, &mut |part| report.set(part))
        };
        let refined = Watch::new(progress, cancel).run(py, &stop, refine)?;
        Ok(PyLatent::new(refined, latent.axes))
    }

    #[expect(clippy::too_many_arguments, reason = "Python names each")]
    fn upscale<'py>(
        &self,
        py: Python<'py>,
        images: PixelArray<'_>,
        clip: bool,
        match_color: bool,
        sharpen: Option<f64>,
        blur: Option<f64>,
        dtype: &str,
        progress: Option<Py<PyAny>>,
        cancel: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let kind = PixelType::named(dtype).or_raise(py)?;
        let (stop, planes) = (Cancel::new(), images.to_images().or_raise(py)?);
        let how = Upscale {
            match_color,
            detail: detail(sharpen, blur).or_raise(py)?,
        };
        let count = planes.shape()[0];
        let enlarge = |report: &Report| {
            let vae = self.vae()?.with_cancel(&stop);
            vae.require_enlarging()?;
            let [_, _, h, w] = planes.dims("images")?;
            let need = match clip {
                true => vae.enlarge_memory(count, [h, w])?,
                false => vae.upscale_memory([h, w]),
            };
            self.check(&format!("enlarging {w}x{h} pixels"), need)?;
            let mut all = kind.collect(count);
            match clip {
                true => enlarge_clip(&vae, &planes, &how, report, |frame| all.push(frame))?,
                false => enlarge_images(&vae, &planes, &how, report, |frame| all.push(frame))?,
            }
            Ok(all)
        };
        let all = Watch::new(progress, cancel).run(py, &stop, enlarge)?;
        all.into_numpy(py, &[count])
    }
}

fn enlarge_images(
    vae: &Vae,
    images: &Array,
    how: &Upscale,
    report: &Report,
    mut take: impl FnMut(&Array) -> Result<()>,
) -> Result<()> {
    let count = images.shape()[0];
    for item in 0..count {
        let progress = &mut |part: f32| report.set((item as f32 + part) / count as f32);
        let image = Image::from_frame(images.item(item))?;
        take(&vae.upscale_with(&image, how, progress)?.to_frame()?)?;
    }
    Ok(())
}

fn enlarge_clip(
    vae: &Vae,
    frames: &Array,
    how: &Upscale,
    report: &Report,
    mut take: impl FnMut(&Array) -> Result<()>,
) -> Result<()> {
    let [count, _, h, w] = frames.dims("images")?;
    let mut session = vae.enlarger(count, [h, w], how)?;
    let mut done = 0;
    while !session.is_done() {
        let next = session.next_frames();
        let step: Vec<Array> = (done..done + next).map(|i| frames.item(i)).collect();
        let progress =
            &mut |part: f32| report.set((done as f32 + next as f32 * part) / count as f32);
        let enlarged = session.step_with(&step, progress)?;
        enlarged.iter().try_for_each(&mut take)?;
        done += next;
    }
    Ok(())
}
