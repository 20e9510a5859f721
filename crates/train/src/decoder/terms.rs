//! The losses of a decoded image, as one list: a line here is a key of `[loss]`, a number in the log and a part of the gradient.

use burn::tensor::Tensor;
use vae2x_core::{Error as CoreError, Result};
use vae2x_nn::loss::fdl::{FdlConfig, Projections, fdl};
use vae2x_nn::loss::l1::{charbonnier, l1};
use vae2x_nn::loss::lpips::{Lpips, feature_l1};

use super::config::loss::LossConfig;

/// The network through which a loss sees images. Losses of one network share its pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// None: pixels.
    Pixels,
    /// VGG16 with LPIPS' weights.
    Vgg16,
    /// VGG19.
    Vgg19,
}

impl Network {
    /// In the order in which gradients are added.
    pub const ALL: [Self; 3] = [Self::Pixels, Self::Vgg16, Self::Vgg19];

    /// The key of `[loss]` that names its weights.
    pub fn key(self) -> Option<&'static str> {
        match self {
            Self::Pixels => None,
            Self::Vgg16 => Some("vgg16"),
            Self::Vgg19 => Some("vgg19"),
        }
    }

    /// Whether a loss with a weight sees through it.
    pub fn is_used(self, config: &LossConfig) -> bool {
        self.terms(config).next().is_some()
    }

    /// Its losses that have a weight.
    pub fn terms(self, config: &LossConfig) -> impl Iterator<Item = &'static Term> {
        TERMS
            .iter()
            .filter(move |term| term.network == self && (term.weight)(config) != 0.0)
    }
}

/// The two images that a loss compares, and what it needs for that.
pub struct View<'a> {
    /// `[B, 3, H, W]` in [-1, 1]: for networks, the window that they see.
    pub picture: Tensor<4>,
    /// The same of the target.
    pub target: Tensor<4>,
    /// VGG19's features of both, for its losses.
    pub features: [Vec<Tensor<4>>; 2],
    /// For LPIPS.
    pub lpips: Option<&'a Lpips>,
    /// For the frequency distribution loss.
    pub projections: Option<&'a Projections>,
    /// Its options.
    pub fdl: &'a FdlConfig,
    /// The other losses' options.
    pub config: &'a LossConfig,
}

/// A loss.
pub struct Term {
    /// In `[loss]`.
    pub key: &'static str,
    /// In logs, with trained features, random ones, and ones by formula: the first would promise too much for the others.
    pub names: [&'static str; 3],
    /// In logs, its [pull](super::losses::squared_pull), a name that begins with `pull_`.
    pub pull: &'static str,
    /// Through which images are seen.
    pub network: Network,
    /// 0 for none.
    pub weight: fn(&LossConfig) -> f64,
    /// The mean over a batch, `[1]`.
    pub value: fn(&View<'_>) -> Result<Tensor<1>>,
}

/// LPIPS' names, as it also measures held-out photos.
pub const LPIPS_NAMES: [&str; 3] = ["lpips", "lpips_random", "lpips_formula"];

/// All losses.
pub const TERMS: &[Term] = &[
    Term {
        key: "l1",
        names: ["l1"; 3],
        pull: "pull_l1",
        network: Network::Pixels,
        weight: |config| config.l1,
        value: |view| {
            let (x, y) = (view.picture.clone(), view.target.clone());
            Ok(match view.config.charbonnier {
                0.0 => l1(x, y),
                epsilon => charbonnier(x, y, epsilon),
            })
        },
    },
    Term {
        key: "lpips",
        names: LPIPS_NAMES,
        pull: "pull_lpips",
        network: Network::Vgg16,
        weight: |config| config.lpips,
        value: |view| {
            let lpips = view.lpips.ok_or_else(|| missing("LPIPS"))?;
            let distance = lpips.distance(view.picture.clone(), view.target.clone());
            Ok(distance.mean())
        },
    },
    Term {
        key: "feature_l1",
        names: ["feature_l1", "feature_l1_random", "feature_l1_formula"],
        pull: "pull_feature_l1",
        network: Network::Vgg19,
        weight: |config| config.feature_l1,
        value: |view| Ok(feature_l1(&view.features[0], &view.features[1]).mean()),
    },
    Term {
        key: "fdl",
        names: ["fdl", "fdl_random", "fdl_formula"],
        pull: "pull_fdl",
        network: Network::Vgg19,
        weight: |config| config.fdl,
        value: |view| {
            let projections = view.projections.ok_or_else(|| missing("projections"))?;
            let [seen, wanted] = &view.features;
            Ok(fdl(view.fdl, projections, seen, wanted)?.mean())
        },
    },
];

fn missing(what: &str) -> CoreError {
    CoreError::Config(format!("{what} are needed by a loss and were not made"))
}
