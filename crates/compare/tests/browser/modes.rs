//! Wipe, side by side, differences, the loupe.

use crate::chromium::Tab;
use crate::pages::{
    BLUE, GREEN, RED, colours, flat, is_pressed, middle_pixel, page, picture, pixel,
};

const DESKTOP: (u32, u32) = (1440, 900);

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn the_wipe_follows_pointer_and_keys() {
    let made = colours();
    let mut tab = Tab::open(&made.path, DESKTOP);
    tab.press("[data-do=wipe]");
    let middle = tab.middle("#canvas");
    let beside = |by: f64| (middle.0 + by, middle.1 + 60.0);
    // Red, the reference, is on the left; what was red itself has become the next image.
    assert_eq!(
        [
            pixel(&mut tab, beside(-40.0)),
            pixel(&mut tab, beside(40.0))
        ],
        [RED, GREEN]
    );
    tab.drag(middle, (middle.0 + 100.0, middle.1));
    assert_eq!(
        [
            pixel(&mut tab, beside(90.0)),
            pixel(&mut tab, beside(110.0))
        ],
        [RED, GREEN]
    );
    tab.click(beside(-100.0));
    assert_eq!(
        [
            pixel(&mut tab, beside(-110.0)),
            pixel(&mut tab, beside(-90.0))
        ],
        [RED, GREEN]
    );
    // The other images, on either side.
    tab.key("3");
    assert_eq!(pixel(&mut tab, beside(0.0)), BLUE);
    tab.shift_key("2");
    assert_eq!(pixel(&mut tab, beside(-110.0)), GREEN);
    tab.eval("document.getElementById('handle').focus()");
    tab.key("Home");
    assert_eq!(pixel(&mut tab, beside(-110.0)), BLUE);
    tab.key("End");
    assert_eq!(pixel(&mut tab, beside(110.0)), GREEN);
    for _ in 0..5 {
        tab.shift_key("ArrowLeft");
    }
    assert_eq!(
        tab.eval("document.getElementById('handle').getAttribute('aria-valuenow')"),
        "50"
    );
    assert_eq!(
        [
            pixel(&mut tab, beside(-20.0)),
            pixel(&mut tab, beside(20.0))
        ],
        [GREEN, BLUE]
    );
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn all_are_seen_side_by_side_and_one_is_chosen() {
    let made = colours();
    let mut tab = Tab::open(&made.path, DESKTOP);
    tab.key("s");
    let labels = tab.eval("[...document.querySelectorAll('.label')].map((l) => { const b = l.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })");
    let at = |i: usize| {
        (
            labels[i][0].as_f64().unwrap(),
            labels[i][1].as_f64().unwrap(),
        )
    };
    assert_eq!(
        [0, 1, 2].map(|i| pixel(&mut tab, at(i))),
        [RED, GREEN, BLUE]
    );
    tab.click(at(2));
    assert!(is_pressed(&mut tab, "#images [data-image='2']"));
    assert_eq!(
        tab.eval("document.querySelector('.label.current b').textContent"),
        "3 small blue"
    );
    tab.key("f");
    assert_eq!(middle_pixel(&mut tab), BLUE);
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn differences_are_absolute_amplified_and_measured() {
    let spot = |x: usize, y: usize| {
        if (x, y) == (40, 30) {
            [109, 100, 88]
        } else {
            [100, 103, 100]
        }
    };
    let names = ["grey", "other", "equal"];
    let grey = || Some(flat(80, 60, [100, 100, 100]));
    let made = page(
        &names,
        vec![("row", vec![grey(), Some(picture(80, 60, spot)), grey()])],
    );
    let mut tab = Tab::open(&made.path, DESKTOP);
    tab.key("d");
    let label = "document.querySelector('.label').textContent";
    // (40, 30) is the first pixel right and below of the middle.
    let middle = tab.middle("#canvas");
    let at_spot = (middle.0 + 3.0, middle.1 + 3.0);
    assert_eq!(
        tab.eval(label),
        "other − grey, ×8 largest 12, mean 1.00 of 255"
    );
    assert_eq!(pixel(&mut tab, at_spot), [72, 0, 96]);
    assert_eq!(pixel(&mut tab, (middle.0 - 100.0, middle.1)), [0, 24, 0]);
    for (key, gain, most) in [
        ("g", 16, 192),
        ("g", 32, 255),
        ("g", 32, 255),
        ("b", 16, 192),
    ] {
        tab.key(key);
        assert_eq!(
            tab.eval("document.getElementById('gain-value').textContent"),
            format!("×{gain}")
        );
        assert_eq!(pixel(&mut tab, at_spot)[2], most);
    }
    tab.eval("(() => { const gain = document.getElementById('gain'); gain.value = 0; gain.dispatchEvent(new Event('input')); })()");
    tab.settle();
    assert_eq!(pixel(&mut tab, at_spot), [9, 0, 12]);
    tab.key("3");
    assert_eq!(tab.eval(label), "equal − grey, ×1 no difference");
    assert_eq!(middle_pixel(&mut tab), [0, 0, 0]);
    // Against another.
    tab.shift_key("2");
    assert_eq!(
        tab.eval(label),
        "equal − other, ×1 largest 12, mean 1.00 of 255"
    );
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn the_loupe_shows_one_place_in_all_pictures() {
    let ramp = |blue| picture(64, 48, move |x, y| [4 * x as u8, 5 * y as u8, blue]);
    let half = picture(32, 24, |x, y| [8 * x as u8, 10 * y as u8, 200]);
    let made = page(
        &["a", "b", "half"],
        vec![("row", vec![Some(ramp(0)), Some(ramp(100)), Some(half)])],
    );
    let mut tab = Tab::open(&made.path, DESKTOP);
    tab.press("[data-do=loupe]");
    // All but the chosen image may come after the stage is drawn.
    let values = |tab: &mut Tab| {
        let all = "[...document.querySelectorAll('#loupe span')].map((s) => s.textContent)";
        tab.until(&format!("!{all}.includes('…')"));
        tab.eval(all)
    };
    let at = |x: usize, y: usize| {
        let own = |blue: usize| format!("{} {} {blue}", 4 * x, 5 * y);
        serde_json::json!([
            own(0),
            own(100),
            format!("{} {} 200", 8 * (x / 2), 10 * (y / 2))
        ])
    };
    assert_eq!(values(&mut tab), at(32, 24));
    tab.key("ArrowRight");
    tab.shift_key("ArrowUp");
    assert_eq!(values(&mut tab), at(33, 14));
    for _ in 0..9 {
        tab.shift_key("ArrowLeft");
    }
    assert_eq!(values(&mut tab), at(0, 14));
    // Under the mouse: the fitted image shows a pixel of the field in each square.
    let scale = crate::pages::zoom(&mut tab) / 100.0;
    let middle = tab.middle("#canvas");
    tab.hover((middle.0 + 10.5 * scale, middle.1 - 5.5 * scale));
    assert_eq!(values(&mut tab), at(42, 18));
    tab.key("Escape");
    assert_eq!(tab.eval("document.getElementById('loupe').hidden"), true);
    tab.close();
}
