//! Where and how to compute: from the arguments to an open model.

use std::path::PathBuf;

use vae2x::{Device, Precision, Vae, VaeBuilder};
use vae2x_core::weights::VaeWeights;
use vae2x_hub::Event;

use crate::args::{RunArgs, VaeArg};
use crate::{ui, usage};

/// The choices that are printed if no weights are named.
const OFFER: &str = "give a file, a diffusers folder, a Hugging Face id such as spacepxl/Wan2.1-VAE-upscale2x, \
                     or demo:2x or demo:base for the small bundled models";

/// Where and how to compute.
#[derive(Clone, Debug, Default)]
pub struct Compute {
    /// The device.
    pub device: Device,
    /// The decoder's precision.
    pub precision: Precision,
    /// The encoder's precision.
    pub encoder_precision: Precision,
    /// Bytes that may be held.
    pub memory: Option<u64>,
    /// Threads; all cores if not given.
    pub threads: Option<usize>,
    /// Where times and peak memory go.
    pub timings: Option<PathBuf>,
}

impl Compute {
    /// Takes the arguments; the encoder computes in `f32`.
    ///
    /// # Errors
    /// An invalid command line if the device is not in this build or the CPU is asked for f16.
    pub fn new(args: &RunArgs) -> anyhow::Result<Self> {
        args.device.require_built()?;
        if (args.device, args.dtype) == (Device::Cpu, Precision::F16) {
            return usage("the device 'cpu' keeps weights in f32 or bf16, not in f16");
        }
        Ok(Self {
            device: args.device,
            precision: args.dtype,
            encoder_precision: Precision::F32,
            memory: args.memory,
            threads: args.threads.map(usize::from),
            timings: args.timings.clone(),
        })
    }

    /// A device, with defaults for the rest.
    ///
    /// # Errors
    /// An invalid command line if the device is not in this build.
    pub fn on(device: Device) -> anyhow::Result<Self> {
        device.require_built()?;
        Ok(Self {
            device,
            ..Self::default()
        })
    }

    /// Opens the weights called `vae` on this device, fetching them first if they are on the hub.
    ///
    /// # Errors
    /// If they cannot be opened or the device cannot run them.
    pub fn open(&self, vae: &str) -> anyhow::Result<Vae> {
        let vae = self.build(open_builder(vae)?)?;
        self.note_device(&vae);
        Ok(vae)
    }

    /// As [`Self::open`], with a second model that decodes beside it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_pair(&self, vae: &str, base: &str) -> anyhow::Result<[Vae; 2]> {
        let open = |name: &str| self.build(open_builder(name)?.models(2));
        let pair = [open(vae)?, open(base)?];
        self.note_device(&pair[0]);
        Ok(pair)
    }

    /// Builds an opened model.
    ///
    /// # Errors
    /// If the device cannot run it.
    pub fn build(&self, builder: VaeBuilder) -> anyhow::Result<Vae> {
        #[cfg(feature = "burn")]
        if self.device == Device::Burn {
            start_burn_threads(self.threads);
        }
        let builder = builder
            .device(self.device)
            .precision(self.precision)
            .encoder_precision(self.encoder_precision)
            .memory(self.memory)
            .threads(self.threads)
            .notify(|text| ui::note(text));
        Ok(builder.build()?)
    }

    /// Prints which device computes, unless it is the CPU by default.
    fn note_device(&self, vae: &Vae) {
        if vae.device() != Device::Cpu {
            ui::note(format!("computing on {}", vae.engine()));
        }
    }
}

/// Starts the threads of the process that burn computes with on the CPU, unless they have started.
#[cfg(feature = "burn")]
fn start_burn_threads(threads: Option<usize>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0));
    // A second model finds them started.
    let _ = pool.build_global();
}

/// The value of `--vae`, before anything is read or fetched.
///
/// # Errors
/// An invalid command line if it is missing or empty.
pub fn vae_name(arg: &VaeArg) -> anyhow::Result<String> {
    match &arg.vae {
        Some(Some(name)) if !name.is_empty() => Ok(name.clone()),
        Some(_) => usage(format!("--vae has no value: {OFFER}")),
        None => usage(format!("--vae WEIGHTS is missing: {OFFER}")),
    }
}

fn open_builder(name: &str) -> vae2x::Result<VaeBuilder> {
    with_transfer_bar(|on_event| Vae::open_with(name, on_event))
}

/// Opens the weights called `name` without a device, and notes what in the file is ignored.
///
/// # Errors
/// If they cannot be found, fetched or read as a VAE.
pub fn open_weights(name: &str) -> vae2x::Result<VaeWeights> {
    let weights = with_transfer_bar(|on_event| vae2x::open_weights(name, on_event))?;
    weights.notes().into_iter().for_each(ui::note);
    Ok(weights)
}

/// The local path of a file or hub id of networks that training and metrics use, fetched first if it is on the hub.
///
/// # Errors
/// If the hub cannot give it.
#[cfg(feature = "train")]
pub fn fetch(name: &str) -> vae2x::Result<PathBuf> {
    with_transfer_bar(|on_event| vae2x::local_path(name, on_event))
}

/// Runs `work`, which may fetch files, with a progress bar for each.
fn with_transfer_bar<T>(work: impl FnOnce(&mut dyn FnMut(Event<'_>)) -> T) -> T {
    let mut bar: Option<(String, ui::Meter)> = None;
    let result = work(&mut |event| {
        let transfer = match event {
            Event::Transfer(transfer) => transfer,
            Event::Warning(text) => {
                if let Some((_, stopped)) = bar.take() {
                    stopped.finish();
                }
                return ui::warn(text);
            }
        };
        if bar.as_ref().is_none_or(|(file, _)| file != transfer.file) {
            if let Some((_, finished)) = bar.take() {
                finished.finish();
            }
            let label = format!("downloading {}", transfer.file);
            let progress = ui::Meter::new(label, transfer.total as f64, "bytes");
            bar = Some((transfer.file.to_owned(), progress));
        }
        if let Some((_, progress)) = &mut bar {
            progress.set(transfer.done as f64);
        }
    });
    if let Some((_, finished)) = bar {
        finished.finish();
    }
    result
}
