//! `vae2x demo`: the main job on what is inside the program. Each photo is halved, encoded, decoded at base resolution and at
//! twice that; the second should be nearer to the photo than the first enlarged. A page at the end lays them over each other.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use vae2x::{Array, Device, Extent, Pixels, Vae};
use vae2x_compare::page::{Input, Page, Row, RowOptions, row};
use vae2x_measure::metrics::psnr;
use vae2x_media::fit::crop;
use vae2x_media::picture::{PictureOptions, decode_image, write_image};
use vae2x_media::reduce::{Light, reduce};
use vae2x_media::resample::{Filter, halve, resize};

use vae2x_media::sheet::{Panel, sheet};

use crate::args::DemoArgs;
use crate::files::keep_or_remove;
use crate::ui;

/// Photos are cut to multiples of this, so that their halves are whole latent cells.
const CELL_OF_PHOTO: usize = 16;
/// Side of the detail that the sheet shows enlarged.
const DETAIL: usize = 96;
/// The page that the demo ends with.
const PAGE: &str = "comparison.html";
/// The images that the page compares, and how the files' names end: [`Pictures::shown`].
const SHOWN: [(&str, &str); 5] = [
    ("original", "original"),
    ("base", "base"),
    ("base + Lanczos", "base_lanczos"),
    ("2x", "2x"),
    ("2x at scale 1", "2x_scale1"),
];
/// How much the detail is enlarged.
const DETAIL_ZOOM: usize = 4;

/// Runs the command.
///
/// # Errors
/// If the folder cannot be written.
pub fn demo(args: &DemoArgs) -> anyhow::Result<()> {
    keep_or_remove(&args.output, || {
        std::fs::create_dir_all(&args.output)
            .with_context(|| format!("{}", args.output.display()))?;
        let mut timer = Timer::start();
        let models = Models::load()?;
        ui::print(format!(
            "models loaded in {:.2} s ({})",
            timer.lap(),
            models.two_x.engine()
        ))?;
        let mut rows = Vec::new();
        for photo in &PHOTOS {
            let row = show(photo, &models, &args.output)
                .with_context(|| format!("photo '{}'", photo.name))?;
            rows.push(row);
        }
        let path = args.output.join(PAGE);
        let names = SHOWN.map(|(name, _)| name.into()).into();
        Page {
            title: "vae2x demo".into(),
            names,
            reference: 0,
            rows,
        }
        .write(&path)?;
        ui::print_lines([
            String::new(),
            format!("open {} in a browser to compare them", path.display()),
        ])
    })
}

/// Photos that the demo models have not seen in training.
const PHOTOS: [Photo; 2] = [
    Photo {
        name: "coffee",
        png: include_bytes!("../../assets/photos/coffee.png"),
    },
    Photo {
        name: "chelsea",
        png: include_bytes!("../../assets/photos/chelsea.png"),
    },
];

/// A photo with its name.
struct Photo {
    name: &'static str,
    png: &'static [u8],
}

struct Models {
    base: Vae,
    two_x: Vae,
}

impl Models {
    /// Both models on the CPU, with the weights that images need.
    fn load() -> vae2x::Result<Self> {
        let open = |name: &str| Vae::open(name)?.device(Device::Cpu).build();
        let models = Self {
            base: open("demo:base")?,
            two_x: open("demo:2x")?,
        };
        let image = Extent::image([1, 1]);
        models.two_x.encoder(image)?;
        models.two_x.decoder(image)?;
        models.base.decoder(image)?;
        Ok(models)
    }
}

/// The images made from one photo, all `[3, H, W]`.
struct Pictures {
    photo: Array,
    base: Array,
    base_lanczos: Array,
    two_x: Array,
    /// The 2x decoder's output, reduced to base resolution as `decode --scale 1` does.
    one_x: Array,
}

impl Pictures {
    /// In the order of [`SHOWN`].
    fn shown(&self) -> [&Array; 5] {
        [
            &self.photo,
            &self.base,
            &self.base_lanczos,
            &self.two_x,
            &self.one_x,
        ]
    }
}

/// Makes all images of one photo, prints a report, and returns the photo's row of the page.
fn show(photo: &Photo, models: &Models, folder: &Path) -> anyhow::Result<Row> {
    let original = load(photo)?;
    let mut timer = Timer::start();
    let latent = models.two_x.encode(&pixels(halve(&original)?)?)?;
    let encode_s = timer.lap();
    let base = models.base.decode(&latent)?.frame(0, 0);
    let base_s = timer.lap();
    let two_x = models.two_x.decode(&latent)?.frame(0, 0);
    let two_x_s = timer.lap();
    let [_, h, w] = original.dims("photo")?;
    let base_lanczos = resize(&base, [h, w], Filter::Lanczos3)?;
    let one_x = reduce(&two_x, 2, Light::default())?;
    let pictures = Pictures {
        photo: original,
        base,
        base_lanczos,
        two_x,
        one_x,
    };
    let files = save(photo.name, &pictures, folder)?;
    let size = |p: &Array| format!("{}x{}", p.shape()[2], p.shape()[1]);
    let score = |p: &Array| psnr(p, &pictures.photo);
    let mut lines = vec![
        String::new(),
        format!(
            "{}: photo {}, encoded from {}",
            photo.name,
            size(&pictures.photo),
            size(&pictures.base)
        ),
        format!("  encode           {encode_s:6.2} s"),
        format!(
            "  decode base      {base_s:6.2} s  {}",
            size(&pictures.base)
        ),
        format!(
            "  decode 2x        {two_x_s:6.2} s  {}",
            size(&pictures.two_x)
        ),
        format!(
            "  PSNR to the photo: 2x {:.2} dB, base + Lanczos {:.2} dB",
            score(&pictures.two_x)?,
            score(&pictures.base_lanczos)?
        ),
    ];
    lines.extend(files.iter().map(|file| format!("  {}", file.display())));
    ui::print_lines(lines)?;
    page_row(photo.name, &pictures)
}

fn page_row(name: &str, pictures: &Pictures) -> anyhow::Result<Row> {
    let inputs = SHOWN
        .iter()
        .zip(pictures.shown())
        .map(|((_, what), pixels)| {
            let file = format!("{name}_{what}.png");
            Some(Input::Pixels {
                file,
                pixels: pixels.clone(),
            })
        });
    Ok(row(
        name,
        &inputs.collect::<Vec<_>>(),
        &RowOptions::default(),
        &mut || (),
    )?)
}

/// The photo, cut to whole cells.
fn load(photo: &Photo) -> vae2x::Result<Array> {
    let picture = decode_image(Path::new(photo.name), photo.png)?.pixels;
    let [_, h, w] = picture.dims("photo")?;
    crop(&picture, [h, w].map(|n| n / CELL_OF_PHOTO * CELL_OF_PHOTO))
}

/// `[3, H, W]` -> `[1, 3, 1, H, W]`
fn pixels(image: Array) -> vae2x::Result<Pixels> {
    let [c, h, w] = image.dims("image")?;
    Pixels::new(image.reshape([1, c, 1, h, w])?)
}

fn save(name: &str, pictures: &Pictures, folder: &Path) -> vae2x::Result<Vec<PathBuf>> {
    let side_by_side = comparison(pictures)?;
    let shown = SHOWN
        .iter()
        .zip(pictures.shown())
        .map(|((_, what), picture)| (*what, picture));
    let write = |(what, picture): (&str, &Array)| {
        let path = folder.join(format!("{name}_{what}.png"));
        write_image(&path, picture, &PictureOptions::default()).map(|()| path)
    };
    shown.chain([("sheet", &side_by_side)]).map(write).collect()
}

/// Photo, base enlarged, 2x: whole, and a detail below.
fn comparison(pictures: &Pictures) -> vae2x::Result<Array> {
    let columns = [
        ("photo", &pictures.photo),
        ("base + Lanczos", &pictures.base_lanczos),
        ("2x decoder", &pictures.two_x),
    ];
    let details = columns.map(|(_, picture)| detail(picture));
    let details = details.into_iter().collect::<vae2x::Result<Vec<_>>>()?;
    let panel = |(caption, image)| Panel { caption, image };
    sheet(&[
        columns.map(panel).into(),
        columns
            .iter()
            .zip(&details)
            .map(|((c, _), d)| panel((c, d)))
            .collect(),
    ])
}

/// The centre, each pixel a square.
fn detail(picture: &Array) -> vae2x::Result<Array> {
    let side = DETAIL * DETAIL_ZOOM;
    resize(
        &crop(picture, [DETAIL, DETAIL])?,
        [side, side],
        Filter::Area,
    )
}

/// Seconds between laps.
struct Timer(Instant);

impl Timer {
    fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start or the last lap.
    fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let seconds = (now - self.0).as_secs_f64();
        self.0 = now;
        seconds
    }
}
