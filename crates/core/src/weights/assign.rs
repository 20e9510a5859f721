//! Finds every tensor of a model among those of its files, with the scales of quantized ones, and refuses files in which
//! tensors are missing, unknown, or of a wrong shape or type.

use std::collections::BTreeMap;

use super::model::{ModelTensors, ModelWeights, Slot};
use super::scales::{self, Beside};
use super::table::TensorInfo;
use crate::arch::TensorSpec;
use crate::error::{Error, Result};

/// What became of a model's tensors. Opening fails unless `missing` and `unused` are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Canonical names of the tensors found.
    pub applied: Vec<String>,
    /// Tensors that the model needs and the files lack, as the files would name them.
    pub missing: Vec<String>,
    /// Tensors that the files have and the model does not know, as the files name them.
    pub unused: Vec<String>,
    /// Tensors that are none of the model's, such as those of the other models of a bundled checkpoint.
    pub ignored: Vec<String>,
    /// Tensors that have a scale, as the files name them.
    pub scaled: Vec<String>,
}

impl ModelTensors {
    /// Finds every tensor that a model needs, given its canonical name, its shape, and its name in the files. Tensors for which
    /// `is_foreign` holds may be there, unused.
    ///
    /// # Errors
    /// [`Error::TensorSet`] for missing or unused tensors; [`Error::Tensor`] for a wrong shape, type or scale.
    pub fn assign(
        mut self,
        wanted: impl IntoIterator<Item = (TensorSpec, String)>,
        is_foreign: impl Fn(&str) -> bool,
    ) -> Result<ModelWeights> {
        let mut report = Report::default();
        let (mut slots, mut beside) = (BTreeMap::new(), BTreeMap::new());
        for (spec, name) in wanted {
            let Some(file) = self.names.remove(&name) else {
                report.missing.push(name);
                continue;
            };
            beside.insert(spec.name.clone(), scales::take(&mut self.names, &name));
            report.applied.push(spec.name.clone());
            let slot = Slot {
                file,
                name,
                shape: spec.shape,
                scale: None,
            };
            slots.insert(spec.name, slot);
        }
        let names = self.names.into_keys().filter(|n| !scales::is_marker(n));
        (report.ignored, report.unused) = names.partition(|name| is_foreign(name));
        if !(report.missing.is_empty() && report.unused.is_empty()) {
            return Err(Error::TensorSet {
                path: self.path,
                missing: report.missing,
                unused: report.unused,
            });
        }
        let mut weights = ModelWeights {
            path: self.path,
            files: self.files,
            slots,
            report,
        };
        weights.slots.values().try_for_each(|s| weights.check(s))?;
        weights.read_scales(&beside)?;
        Ok(weights)
    }
}

impl ModelWeights {
    /// Refuses a wrong shape or type.
    fn check(&self, slot: &Slot) -> Result<()> {
        let file = &self.files[slot.file];
        let Some(TensorInfo { dtype, shape }) = file.tensors().get(&slot.name) else {
            return Ok(());
        };
        if *shape != slot.shape {
            return Err(file.tensor_error(
                &slot.name,
                &format!("shape {:?}", slot.shape),
                &format!("{shape:?}"),
            ));
        }
        match dtype.is_float() || dtype.is_fp8() {
            true => Ok(()),
            false => Err(file.tensor_error(
                &slot.name,
                "F32, F16, BF16, F64, F8_E4M3 or F8_E5M2",
                dtype.name(),
            )),
        }
    }

    /// Reads the scales that are beside the tensors.
    fn read_scales(&mut self, beside: &BTreeMap<String, Beside>) -> Result<()> {
        for (name, Beside { scale, description }) in beside {
            let Some(slot) = self.slots.get_mut(name) else {
                continue;
            };
            if let Some((file, description)) = description {
                scales::check_description(&self.files[*file], description)?;
            }
            if let Some((file, name)) = scale {
                let channels = slot.shape.first().copied().unwrap_or(1);
                slot.scale = Some(scales::read(&self.files[*file], name, channels)?);
                self.report.scaled.push(slot.name.clone());
            }
        }
        match self.report.scaled.is_empty() {
            true => Ok(()),
            false => self.require_scales(),
        }
    }

    /// Refuses 8-bit weights without a scale among others that have theirs.
    fn require_scales(&self) -> Result<()> {
        let lacks = |slot: &&Slot| {
            let info = self.files[slot.file].tensors().get(&slot.name);
            slot.scale.is_none()
                && scales::is_weight(&slot.name)
                && info.is_some_and(|info| info.dtype.is_fp8())
        };
        match self.slots.values().find(lacks) {
            None => Ok(()),
            Some(slot) => Err(self.files[slot.file].tensor_error(
                &slot.name,
                "a scale beside it, as the other scaled 8-bit weights have",
                "none",
            )),
        }
    }
}
