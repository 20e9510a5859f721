//! The encoder or the decoder: its plans, and its weights as they come to be needed.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use vae2x_core::Result;
use vae2x_core::arch::Layer;
use vae2x_core::weights::Weights;

use crate::machine::Machine;
use crate::options::Storage;
use crate::plan::builder;
use crate::plan::steps::{Op, Plan, Stage, Tables, Use};
use crate::weights::pack::{ConvWeights, NormWeights};

/// Plans of the encoder or the decoder, for a single frame and for clips.
pub(crate) struct Plans {
    pub tables: Tables,
    pub image: Plan,
    pub clip: Vec<Stage>,
}

impl Plans {
    pub fn new(layers: &[Layer], storage: Storage) -> Self {
        let mut tables = Tables {
            storage,
            ..Tables::default()
        };
        let image = builder::image(layers, &mut tables);
        let clip = builder::clip(layers, &mut tables);
        Self {
            tables,
            image,
            clip,
        }
    }

    /// The convolutions of a single frame, and what for.
    pub fn image_convs(&self) -> BTreeMap<usize, Use> {
        convs(&self.image).collect()
    }

    /// The convolutions of a clip, and what for.
    pub fn clip_convs(&self) -> BTreeMap<usize, Use> {
        self.clip
            .iter()
            .flat_map(|stage| convs(stage.plan()))
            .collect()
    }
}

/// Indices of a plan's convolutions, and what for.
fn convs(plan: &Plan) -> impl Iterator<Item = (usize, Use)> {
    plan.steps.iter().flat_map(|step| {
        let usage = plan.usage(step);
        let indices = match &step.op {
            Op::Conv(index) => vec![*index],
            Op::Attention(parts) => parts.to_vec(),
            Op::Copy => vec![],
        };
        indices.into_iter().map(move |index| (index, usage))
    })
}

/// Plans with weights.
pub(crate) struct Model {
    pub plans: Plans,
    convs: Vec<OnceLock<ConvWeights>>,
    norms: OnceLock<Vec<NormWeights>>,
    source: Arc<dyn Weights>,
}

impl Model {
    pub fn new(layers: &[Layer], source: Arc<dyn Weights>, storage: Storage) -> Self {
        let plans = Plans::new(layers, storage);
        let convs = plans.tables.convs.iter().map(|_| OnceLock::new()).collect();
        Self {
            plans,
            convs,
            norms: OnceLock::new(),
            source,
        }
    }

    /// Loads and packs what a single frame needs, in parallel.
    pub fn prepare_image(&self, machine: &Machine) -> Result<()> {
        self.prepare(machine, self.plans.image_convs())
    }

    /// Loads and packs what clips need, in parallel.
    pub fn prepare_clip(&self, machine: &Machine) -> Result<()> {
        self.prepare(machine, self.plans.clip_convs())
    }

    fn prepare(&self, machine: &Machine, wanted: BTreeMap<usize, Use>) -> Result<()> {
        if self.norms.get().is_none() {
            let norms: Result<Vec<_>> = self
                .plans
                .tables
                .norms
                .iter()
                .map(|spec| NormWeights::load(spec, &*self.source))
                .collect();
            let norms = norms?;
            self.norms.get_or_init(|| norms);
        }
        let wanted: Vec<_> = wanted.into_iter().collect();
        let load = |(index, usage): &(usize, Use)| {
            machine.check()?;
            if self.convs[*index].get().is_none() {
                let loaded = ConvWeights::load(
                    &self.plans.tables.convs[*index],
                    &self.source,
                    self.plans.tables.storage,
                )?;
                self.convs[*index].get_or_init(|| loaded);
            }
            self.conv(*index).prepare(machine, *usage)
        };
        machine.map(&wanted, load).into_iter().collect()
    }

    /// A convolution's weights, which must have been prepared.
    pub fn conv(&self, index: usize) -> &ConvWeights {
        self.convs[index]
            .get()
            .expect("sessions prepare what they run")
    }

    /// A norm's weights, which must have been prepared.
    pub fn norm(&self, index: usize) -> &NormWeights {
        &self.norms.get().expect("sessions prepare what they run")[index]
    }
}

impl Stage {
    /// The plan of the stage.
    pub fn plan(&self) -> &Plan {
        match self {
            Self::Frames(plan) | Self::TimeUp(plan) | Self::TimeDown(plan) => plan,
        }
    }
}
