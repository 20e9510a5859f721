//! Screens of all sizes, fingers, the keyboard alone, dark and light. With `VAE2X_SHOTS=FOLDER` the screens are saved to be looked at.

use vae2x_core::Array;
use vae2x_media::picture::read_image;
use vae2x_media::resample::{Filter, resize};

use crate::chromium::Tab;
use crate::pages::{BLUE, GREEN, RED, colours, is_pressed, middle_pixel, page, pixel, zoom};

const DESKTOP: (u32, u32) = (1440, 900);
const PHONE: (u32, u32) = (390, 844);

/// Mean of a screenshot in [-1, 1].
fn brightness(shot: &Array) -> f32 {
    shot.data().iter().sum::<f32>() / shot.data().len() as f32
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn a_phone_has_room_for_everything() {
    let made = colours();
    let mut tab = Tab::start();
    tab.resize(PHONE, 3.0);
    tab.go(&made.path, "");
    for mode in ["flip", "wipe", "side", "difference"] {
        tab.press(&format!("[data-do={mode}]"));
        assert!(is_pressed(&mut tab, &format!("[data-do={mode}]")));
        assert_eq!(
            tab.eval("document.documentElement.scrollWidth <= innerWidth"),
            true,
            "{mode} is too wide"
        );
        let outside = "[...document.querySelectorAll('.bar button, .bar select, .bar input')].filter((e) => { const b = e.getBoundingClientRect(); return b.width && !e.closest('#images') && (b.left < 0 || b.right > innerWidth); }).map((e) => e.outerHTML)";
        assert_eq!(tab.eval(outside), serde_json::json!([]), "in {mode}");
        let small = "[...document.querySelectorAll('.bar button')].filter((e) => e.getBoundingClientRect().width && e.getBoundingClientRect().height < 36).map((e) => e.outerHTML)";
        assert_eq!(
            tab.eval(small),
            serde_json::json!([]),
            "too small for a finger"
        );
        assert!(
            tab.eval("document.getElementById('stage').clientHeight / innerHeight")
                .as_f64()
                .unwrap()
                > 0.5
        );
        tab.shot(&format!("colours_phone_{mode}"));
    }
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn fingers_flip_move_and_pinch() {
    let made = colours();
    let mut tab = Tab::start();
    tab.resize(PHONE, 3.0);
    tab.go(&made.path, "");
    let (x, y) = tab.middle("#canvas");
    tab.touch(&[&[(x, y)]]);
    assert_eq!(middle_pixel(&mut tab), GREEN);
    let fitted = zoom(&mut tab);
    tab.touch(&[
        &[(x - 40.0, y), (x - 60.0, y), (x - 80.0, y)],
        &[(x + 40.0, y), (x + 60.0, y), (x + 80.0, y)],
    ]);
    let pinched = zoom(&mut tab);
    assert!(
        (1.8..2.2).contains(&(pinched / fitted)),
        "{fitted} {pinched}"
    );
    assert_eq!(middle_pixel(&mut tab), GREEN, "a pinch is no tap");
    tab.touch(&[&[(x, y), (x - 30.0, y), (x - 60.0, y - 5.0)]]);
    assert_eq!(zoom(&mut tab), pinched);
    assert_eq!(middle_pixel(&mut tab), GREEN, "neither is a drag");
    assert_eq!(
        tab.eval("scrollY"),
        0,
        "fingers on the pictures do not move the page"
    );
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn the_keyboard_alone_is_enough() {
    let made = colours();
    let mut tab = Tab::open(&made.path, DESKTOP);
    // Every control is reached by Tab and shows that it has the focus.
    let controls = tab.eval("[...document.querySelectorAll('button, select, input, #stage')].filter((e) => !e.disabled && e.checkVisibility({ visibilityProperty: true })).length");
    let mut reached = std::collections::HashSet::new();
    for _ in 0..controls.as_u64().unwrap() + 3 {
        tab.key("Tab");
        let focus = tab.eval("(() => { const e = document.activeElement; if (!e.matches('button, select, input, #stage')) return null; const all = [...document.querySelectorAll('*')]; return [all.indexOf(e), e.matches(':focus-visible') && parseFloat(getComputedStyle(e).outlineWidth) > 1]; })()");
        if let Some(index) = focus[0].as_u64() {
            assert_eq!(focus[1], true, "element {index} hides its focus");
            reached.insert(index);
        }
    }
    assert_eq!(reached.len() as u64, controls.as_u64().unwrap());
    // A button is pressed by Enter and by Space, which does not flip then.
    tab.eval("document.querySelector('[data-do=side]').focus()");
    tab.key("Enter");
    assert!(is_pressed(&mut tab, "[data-do=side]"));
    tab.eval("document.querySelector('[data-do=flip]').focus()");
    tab.key(" ");
    assert!(is_pressed(&mut tab, "[data-do=flip]"));
    assert_eq!(middle_pixel(&mut tab), RED);
    // Help opens, keeps the keys to itself, and closes.
    tab.key("?");
    assert_eq!(tab.eval("document.getElementById('help').open"), true);
    assert!(
        tab.eval("document.querySelectorAll('#keys tr').length")
            .as_u64()
            .unwrap()
            > 15
    );
    tab.key("2");
    assert_eq!(middle_pixel(&mut tab), RED);
    tab.key("Escape");
    assert_eq!(tab.eval("document.getElementById('help').open"), false);
    tab.key("m");
    assert_eq!(
        tab.eval("document.getElementById('numbers').checkVisibility()"),
        false
    );
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn every_control_has_a_name() {
    let made = colours();
    let mut tab = Tab::open(&made.path, DESKTOP);
    tab.key("d");
    let tree = tab.send("Accessibility.getFullAXTree", serde_json::json!({}));
    let wanted = ["button", "combobox", "slider", "image"];
    let nodes = tree["nodes"].as_array().unwrap();
    let of_role = |role: &str| {
        nodes
            .iter()
            .filter(|n| n["ignored"] == false && n["role"]["value"] == role)
            .collect::<Vec<_>>()
    };
    for role in wanted {
        let found = of_role(role);
        assert!(!found.is_empty(), "no {role}");
        for node in found {
            assert!(
                node["name"]["value"]
                    .as_str()
                    .is_some_and(|name| !name.is_empty()),
                "a {role} has no name: {node}"
            );
        }
    }
    let image = of_role("image")[0]["name"]["value"].as_str().unwrap();
    assert!(
        image.contains("first") && image.contains("green − red"),
        "{image}"
    );
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn dark_and_light_follow_the_system_until_told() {
    let made = colours();
    let mut tab = Tab::open(&made.path, DESKTOP);
    tab.prefer("dark");
    let dark = brightness(&tab.shot("colours_dark"));
    tab.prefer("light");
    let light = brightness(&tab.shot("colours_light"));
    assert!(dark < -0.3 && light > 0.1, "{dark} {light}");
    tab.press("[data-do=theme]");
    assert!(is_pressed(&mut tab, "[data-do=theme]"));
    assert!(brightness(&tab.shot("colours_told")) < -0.3);
    tab.prefer("dark");
    tab.key("t");
    assert!(brightness(&tab.shot("colours_told_light")) > 0.1);
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn a_large_screen_is_used() {
    let made = colours();
    let mut tab = Tab::open(&made.path, (3840, 2160));
    let share = tab.eval("(() => { const s = document.getElementById('stage'); return s.clientWidth * s.clientHeight / innerWidth / innerHeight; })()");
    assert!(share.as_f64().unwrap() > 0.6, "{share}");
    assert!(
        tab.eval("parseFloat(getComputedStyle(document.body).fontSize)")
            .as_f64()
            .unwrap()
            >= 20.0
    );
    assert!(zoom(&mut tab) >= 3000.0);
    let middle = tab.middle("#canvas");
    tab.key("3");
    assert_eq!(pixel(&mut tab, (middle.0 + 900.0, middle.1 + 700.0)), BLUE);
    tab.close();
}

/// Photos at the size of the original and half of it, as the program's demo has them.
fn photos() -> crate::pages::Made {
    let row = |file: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../cli/assets/photos")
            .join(file);
        let photo = read_image(&path).unwrap().pixels;
        let [h, w] = [photo.shape()[1] / 2, photo.shape()[2] / 2];
        let photo = resize(&photo, [2 * h, 2 * w], Filter::Lanczos3).unwrap();
        let half = resize(&photo, [h, w], Filter::Area).unwrap();
        let enlarged = resize(&half, [2 * h, 2 * w], Filter::Lanczos3).unwrap();
        let blocks = resize(&half, [2 * h, 2 * w], Filter::Area).unwrap();
        vec![Some(photo), Some(half), Some(enlarged), Some(blocks)]
    };
    page(
        &["photo", "half", "half + Lanczos", "half + nearest"],
        vec![
            ("coffee", row("coffee.png")),
            ("chelsea", row("chelsea.png")),
        ],
    )
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn every_mode_is_drawn_on_every_screen() {
    let made = photos();
    let mut tab = Tab::start();
    let screens = [
        ("desktop", DESKTOP, 1.0, "light"),
        ("dark", DESKTOP, 1.0, "dark"),
        ("4k", (3840, 2160), 1.0, "dark"),
        ("phone", PHONE, 3.0, "light"),
    ];
    for (screen, size, ratio, scheme) in screens {
        tab.resize(size, ratio);
        tab.prefer(scheme);
        for mode in ["flip", "wipe", "side", "difference"] {
            for (zoomed, place) in [("", ""), ("_zoomed", "&x=300&y=160&zoom=8")] {
                tab.go(&made.path, &format!("#row=1&image=3&mode={mode}{place}"));
                assert_eq!(
                    tab.eval("document.documentElement.scrollWidth <= innerWidth"),
                    true,
                    "{screen} {mode}"
                );
                let shot = tab.shot(&format!("{screen}_{mode}{zoomed}"));
                assert!(shot.data().iter().any(|v| *v != shot.data()[0]));
            }
        }
        tab.key("f");
        tab.key("l");
        tab.shot(&format!("{screen}_loupe"));
        tab.key("?");
        tab.shot(&format!("{screen}_help"));
        tab.key("Escape");
    }
    tab.close();
}
