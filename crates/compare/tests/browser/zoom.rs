//! Zoom and pan: shared by all images and modes, exact to the pixel.

use crate::chromium::Tab;
use crate::pages::{Made, middle_pixel, page, picture, pixel, zoom};

const DESKTOP: (u32, u32) = (1440, 900);

fn checked(x: usize, y: usize) -> [u8; 3] {
    [
        (x % 251) as u8,
        (y % 241) as u8,
        if (x + y).is_multiple_of(2) { 255 } else { 0 },
    ]
}

/// 2000 x 1500 pixels that encode their place, the same with another blue, and every second of them.
fn coordinates() -> Made {
    let all = || Some(picture(2000, 1500, checked));
    let other = picture(2000, 1500, |x, y| [checked(x, y)[0], checked(x, y)[1], 77]);
    let half = picture(1000, 750, |x, y| {
        [(2 * x % 251) as u8, (2 * y % 241) as u8, 40]
    });
    page(
        &["all", "other", "half"],
        vec![("row", vec![all(), Some(other), Some(half)])],
    )
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn one_to_one_is_exact() {
    let made = coordinates();
    let mut tab = Tab::open(&made.path, DESKTOP);
    tab.key("z");
    assert_eq!(zoom(&mut tab), 100.0);
    let middle = tab.middle("#canvas");
    let corner = pixel(&mut tab, middle);
    for (dx, dy) in [(1, 0), (0, 1), (-7, 30), (200, -111)] {
        let there = pixel(
            &mut tab,
            (middle.0 + f64::from(dx), middle.1 + f64::from(dy)),
        );
        let moved =
            |from: u8, by: i32, period: i32| (i32::from(from) + by).rem_euclid(period) as u8;
        let blue = if (dx + dy) % 2 == 0 {
            corner[2]
        } else {
            255 - corner[2]
        };
        assert_eq!(
            there,
            [moved(corner[0], dx, 251), moved(corner[1], dy, 241), blue],
            "{dx} {dy}"
        );
    }
    // The same place in the others, whatever their size.
    tab.key("2");
    assert_eq!(pixel(&mut tab, middle), [corner[0], corner[1], 77]);
    tab.key("3");
    let half = pixel(&mut tab, middle);
    assert!(
        half[0].abs_diff(corner[0]) <= 1 && half[1].abs_diff(corner[1]) <= 1 && half[2] == 40,
        "{half:?} {corner:?}"
    );
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn the_wheel_keeps_what_is_under_it_and_a_drag_takes_it_along() {
    let made = coordinates();
    let mut tab = Tab::open(&made.path, DESKTOP);
    tab.key("2");
    tab.key("z");
    let middle = tab.middle("#canvas");
    let at = (middle.0 - 150.0, middle.1 + 90.0);
    let before = pixel(&mut tab, at);
    tab.wheel(at, -900.0);
    let closer = zoom(&mut tab);
    assert!((550.0..=650.0).contains(&closer), "{closer}");
    let near = |a: [u8; 3], b: [u8; 3]| a[0].abs_diff(b[0]) <= 1 && a[1].abs_diff(b[1]) <= 1;
    let after = pixel(&mut tab, at);
    assert!(near(after, before), "{after:?} {before:?}");
    tab.drag(at, (at.0 + 60.0, at.1 - 120.0));
    let dragged = pixel(&mut tab, (at.0 + 60.0, at.1 - 120.0));
    assert!(near(dragged, before), "{dragged:?} {before:?}");
    assert_eq!(zoom(&mut tab), closer);
    // A drag is not a click: still the second image.
    assert_eq!(dragged[2], 77);
    // The view stays through images and modes.
    for key in ["1", "3", "w", "f", "d", "f", "2"] {
        tab.key(key);
        assert_eq!(zoom(&mut tab), closer, "after {key}");
    }
    assert_eq!(pixel(&mut tab, (at.0 + 60.0, at.1 - 120.0)), dragged);
    tab.wheel(at, 9000.0);
    assert!(zoom(&mut tab) < closer);
    tab.key("0");
    assert_eq!(
        tab.eval("document.querySelector('[data-do=fit]').getAttribute('aria-pressed')"),
        "true"
    );
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn keys_zoom_in_stops_and_arrows_move() {
    let made = coordinates();
    let mut tab = Tab::open(&made.path, DESKTOP);
    tab.key("z");
    for (key, percent) in [
        ("+", 200.0),
        ("+", 300.0),
        ("-", 200.0),
        ("-", 100.0),
        ("-", 50.0),
        ("=", 100.0),
    ] {
        tab.key(key);
        assert_eq!(zoom(&mut tab), percent, "after {key}");
    }
    let before = middle_pixel(&mut tab);
    tab.key("ArrowRight");
    tab.key("ArrowDown");
    let after = middle_pixel(&mut tab);
    let moved =
        |i: usize, period: i32| (i32::from(after[i]) - i32::from(before[i])).rem_euclid(period);
    assert_eq!([moved(0, 251), moved(1, 241)], [40, 40]);
    for _ in 0..20 {
        tab.key("+");
    }
    assert_eq!(zoom(&mut tab), 6400.0);
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn pixels_are_squares_unless_smooth_is_asked_for() {
    let made = coordinates();
    let mut tab = Tab::open(&made.path, DESKTOP);
    for _ in 0..12 {
        tab.key("+");
    }
    let shades = "(() => { const c = document.getElementById('canvas'); const d = c.getContext('2d').getImageData(c.width / 2, c.height / 2, 64, 64).data; return new Set(d.filter((_, i) => i % 4 === 2)).size; })()";
    assert_eq!(tab.eval(shades), 2, "only the picture's own values");
    tab.press("[data-do=smooth]");
    assert!(
        tab.eval(shades).as_u64().unwrap() > 20,
        "and values between them"
    );
    tab.key("i");
    assert_eq!(tab.eval(shades), 2);
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn side_by_side_shares_the_view() {
    let made = coordinates();
    let mut tab = Tab::open(&made.path, DESKTOP);
    tab.key("s");
    let cells = tab.eval("[...document.querySelectorAll('.label')].map((l) => { const b = l.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })");
    let at = |i: usize| (cells[i][0].as_f64().unwrap(), cells[i][1].as_f64().unwrap());
    for _ in 0..9 {
        tab.key("+");
    }
    tab.drag(at(1), (at(1).0 - 83.0, at(1).1 - 51.0));
    let [all, other, half] = [0, 1, 2].map(|i| pixel(&mut tab, at(i)));
    let near = |a: [u8; 3], b: [u8; 3]| a[0].abs_diff(b[0]) <= 1 && a[1].abs_diff(b[1]) <= 1;
    assert!(
        near(all, other) && near(all, half),
        "{all:?} {other:?} {half:?}"
    );
    assert_eq!([other[2], half[2]], [77, 40]);
    tab.close();
}
