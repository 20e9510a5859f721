//! Where clean latents come from: files of latents, or photos that are encoded; cut to what the model takes.

use vae2x_core::Array;
use vae2x_core::latent::Normalized;
use vae2x_media::fit::{corner, crop};
use vae2x_media::picture::decode_image;
use vae2x_media::pixels::picture_size;
use vae2x_media::resample::{Filter, resize};

use crate::latents::LatentFolder;
use vae2x_train::data;
use vae2x_train::data::crop::clamped;
use vae2x_train::{Error, Result};

/// Clean latents by their number.
pub trait Source {
    /// The latents of source `index`, each `[C, T, h, w]`, normalized.
    ///
    /// # Errors
    /// [`Error::Unusable`] for one that a job goes on without; all others end the job.
    fn latents(&self, index: usize) -> Result<Vec<Array>>;
}

impl Source for LatentFolder {
    fn latents(&self, index: usize) -> Result<Vec<Array>> {
        self.read(index).map_err(Error::unusable)
    }
}

/// Photos, scaled and encoded one by one.
pub struct Photos<E> {
    /// Where they are.
    pub files: Vec<data::Source>,
    /// Larger ones are scaled to this shorter side.
    pub short_side: usize,
    /// Pixels per latent cell along each axis.
    pub cell: usize,
    /// Pixels `[1, 3, 1, 8h, 8w]` in [-1, 1] to a latent `[1, C, 1, h, w]`.
    pub encode: E,
}

impl<E: Fn(&Array) -> vae2x_core::Result<Normalized>> Source for Photos<E> {
    fn latents(&self, index: usize) -> Result<Vec<Array>> {
        let file = &self.files[index];
        let picture = decode_image(file.to_string().as_ref(), &file.read()?)
            .map_err(|e| Error::from(e).unusable())?;
        let picture = scaled(picture.pixels, self.short_side)?;
        let [h, w] = picture_size(&picture)?.map(|n| n / self.cell * self.cell);
        if h == 0 || w == 0 {
            return Err(Error::Unusable(format!(
                "smaller than a latent cell of {0}x{0} pixels",
                self.cell
            )));
        }
        let latent = (self.encode)(&crop(&picture, [h, w])?.reshape([1, 3, 1, h, w])?)?;
        Ok(vec![latent.array().item(0)])
    }
}

/// An image whose shorter side is `short_side` at most.
fn scaled(picture: Array, short_side: usize) -> Result<Array> {
    let size = picture_size(&picture)?;
    let shorter = size[0].min(size[1]);
    if shorter <= short_side {
        return Ok(picture);
    }
    let size = size.map(|n| (n as f64 * short_side as f64 / shorter as f64).round() as usize);
    Ok(clamped(resize(&picture, size, Filter::Lanczos3)?))
}

/// Latents without the last row or column, where they do not fill a patch of the model.
pub struct Cropped {
    /// Where they come from.
    pub source: Box<dyn Source>,
    /// Latent channels of the model.
    pub channels: usize,
    /// Its patch in latent frames, rows and columns.
    pub patch: [usize; 3],
}

impl Cropped {
    fn fit(&self, latent: Array) -> Result<Array> {
        let [c, t, h, w] = latent.dims("latent")?;
        let [_, ph, pw] = self.patch;
        let [height, width] = [h / ph * ph, w / pw * pw];
        if c != self.channels {
            return Err(Error::Unusable(format!(
                "{c} channels; the transformer takes {}",
                self.channels
            )));
        }
        if height == 0 || width == 0 {
            let what = format!(
                "a latent of {h}x{w} cells is smaller than the transformer's patch of {ph}x{pw}"
            );
            return Err(Error::Unusable(what));
        }
        let planes = latent.reshape([c * t, h, w])?;
        Ok(corner(&planes, [height, width])?.reshape([c, t, height, width])?)
    }
}

impl Source for Cropped {
    fn latents(&self, index: usize) -> Result<Vec<Array>> {
        self.source
            .latents(index)?
            .into_iter()
            .map(|latent| self.fit(latent))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ramp of this shape.
    struct One([usize; 4]);

    impl Source for One {
        fn latents(&self, _: usize) -> Result<Vec<Array>> {
            Ok(vec![
                Array::new(
                    self.0,
                    (0..self.0.iter().product()).map(|i| i as f32).collect(),
                )
                .unwrap(),
            ])
        }
    }

    #[test]
    fn latents_are_cut_to_whole_patches_and_others_are_refused() {
        let of = |shape| {
            Cropped {
                source: Box::new(One(shape)),
                channels: 2,
                patch: [1, 2, 2],
            }
            .latents(0)
        };
        let cut = of([2, 2, 3, 5]).unwrap().remove(0);
        assert_eq!(
            (cut.shape(), &cut.data()[..9]),
            (
                &[2, 2, 2, 4][..],
                &[0., 1., 2., 3., 5., 6., 7., 8., 15.][..]
            )
        );
        for (shape, says) in [([3, 1, 4, 4], "3 channels"), ([2, 1, 4, 1], "4x1 cells")] {
            let error = of(shape).unwrap_err();
            assert!(
                matches!(&error, Error::Unusable(why) if why.contains(says)),
                "{error}"
            );
        }
    }
}
