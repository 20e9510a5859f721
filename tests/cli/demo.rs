//! The demo: what a newcomer runs first.

use crate::compare::embedded;
use crate::support::{entries, run, text};

const PICTURES: [&str; 6] = [
    "original",
    "base",
    "base_lanczos",
    "2x",
    "2x_scale1",
    "sheet",
];

#[test]
fn the_demo_shows_that_2x_beats_enlarging() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let said = run(&["demo", "-o", &text(&out)]).ok();
    let mut expected: Vec<String> = ["chelsea", "coffee"]
        .iter()
        .flat_map(|photo| PICTURES.map(|what| format!("{photo}_{what}.png")))
        .chain(["comparison.html".into()])
        .collect();
    expected.sort();
    assert_eq!(entries(&out), expected);
    let scores: Vec<f64> = said
        .lines()
        .filter(|line| line.contains("PSNR"))
        .flat_map(|line| {
            line.split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect::<Vec<f64>>()
        })
        .collect();
    let [coffee_2x, coffee_base, chelsea_2x, chelsea_base] = scores[..] else {
        panic!("{said}")
    };
    assert!(
        coffee_2x > coffee_base + 0.1 && chelsea_2x > chelsea_base + 0.1,
        "{said}"
    );
    assert!(coffee_2x > 24.0 && chelsea_2x > 28.0, "{said}");
    let size = |name: &str| {
        vae2x_media::picture::read_image(&out.join(name))
            .unwrap()
            .pixels
            .shape()
            .to_vec()
    };
    assert_eq!(size("coffee_2x.png"), [3, 400, 592]);
    assert_eq!(size("coffee_base.png"), [3, 200, 296]);
    assert_eq!(size("coffee_2x_scale1.png"), [3, 200, 296]);

    assert!(said.contains("comparison.html"), "{said}");
    let page = std::fs::read_to_string(out.join("comparison.html")).unwrap();
    let shown = embedded(&page);
    assert_eq!(
        shown.names,
        ["original", "base", "base + Lanczos", "2x", "2x at scale 1"]
    );
    assert_eq!(shown.rows, ["coffee", "chelsea"]);
    // The page has what the files have, to the bit.
    for (i, picture) in shown.pictures.iter().enumerate() {
        let file = format!("{}_{}.png", shown.rows[i / 5], PICTURES[i % 5]);
        assert_eq!(
            picture,
            &vae2x_media::picture::read_image(&out.join(&file))
                .unwrap()
                .pixels,
            "{file}"
        );
    }
    assert_eq!(shown.pictures.len(), 10);
}
