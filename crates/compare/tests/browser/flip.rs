//! From image to image and from row to row.

use crate::chromium::Tab;
use crate::pages::{
    BLUE, GREEN, Made, RED, colours, is_pressed, middle_pixel, page, picture, pixel,
};

const DESKTOP: (u32, u32) = (1440, 900);

fn open() -> (Made, Tab) {
    let made = colours();
    let tab = Tab::open(&made.path, DESKTOP);
    (made, tab)
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn keys_clicks_and_buttons_flip_in_place() {
    let (_made, mut tab) = open();
    assert_eq!(tab.eval("location.protocol"), "file:");
    assert_eq!(middle_pixel(&mut tab), RED);
    for (key, colour) in [
        ("2", GREEN),
        ("3", BLUE),
        ("1", RED),
        ("9", RED),
        (" ", BLUE),
        (" ", RED),
        ("n", GREEN),
        ("p", RED),
        ("p", BLUE),
    ] {
        tab.key(key);
        assert_eq!(middle_pixel(&mut tab), colour, "after '{key}'");
    }
    let middle = tab.middle("#canvas");
    for colour in [RED, GREEN, BLUE, RED] {
        tab.click(middle);
        assert_eq!(pixel(&mut tab, middle), colour);
    }
    tab.shift_click(middle);
    assert_eq!(pixel(&mut tab, middle), BLUE);
    tab.press("[data-image='1']");
    assert_eq!(pixel(&mut tab, middle), GREEN);
    assert!(
        is_pressed(&mut tab, "#images [data-image='1']")
            && !is_pressed(&mut tab, "#images [data-image='0']")
    );
    // The keys go to the images after a button was clicked.
    tab.key(" ");
    assert_eq!(pixel(&mut tab, middle), BLUE);
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn a_flip_never_shows_anything_else() {
    // Large enough to take some time to decode, and no two parts are equal.
    let large = |blue| picture(2048, 1536, move |x, y| [(x / 8) as u8, (y / 8) as u8, blue]);
    let made = page(
        &["a", "b", "c"],
        vec![(
            "only",
            vec![Some(large(0)), Some(large(120)), Some(large(240))],
        )],
    );
    let mut tab = Tab::start();
    tab.resize(DESKTOP, 1.0);
    tab.go(&made.path, "");
    tab.eval(
        "window.seen = new Set(); (function look() {
           const c = document.getElementById('canvas');
           seen.add([...c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data].slice(2).join());
           requestAnimationFrame(look);
         })()",
    );
    for _ in 0..3 {
        for key in ["2", "3", "1"] {
            tab.key(key);
        }
    }
    // At another zoom other sizes are decoded.
    tab.key("z");
    for key in ["2", "3", "1"] {
        tab.key(key);
    }
    let mut seen: Vec<String> = serde_json::from_value(tab.eval("[...seen]")).unwrap();
    seen.sort();
    assert_eq!(seen, ["0,255", "120,255", "240,255"]);
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn rows_keep_their_names_and_gaps() {
    let (_made, mut tab) = open();
    tab.key("2");
    tab.key("PageDown");
    assert_eq!(
        middle_pixel(&mut tab),
        RED,
        "the second row has no green: its first picture"
    );
    assert_eq!(
        tab.eval("document.getElementById('rows').selectedOptions[0].text"),
        "second"
    );
    assert_eq!(
        tab.eval("document.querySelector('#images [data-image=\"1\"]').disabled"),
        true
    );
    tab.key("2");
    assert_eq!(middle_pixel(&mut tab), RED);
    tab.key("3");
    assert_eq!(middle_pixel(&mut tab), BLUE);
    tab.key("n");
    assert_eq!(middle_pixel(&mut tab), RED);
    assert_eq!(
        tab.eval("[...document.querySelectorAll('.facts:not([hidden])')].map((f) => f.dataset.row).join()"),
        "1"
    );
    tab.key("PageUp");
    assert_eq!(tab.eval("document.getElementById('rows').value"), "0");
    // Green, against red, is gone in the second row: a wipe of red against itself would show one colour.
    tab.key("2");
    tab.key("w");
    tab.key("PageDown");
    assert_eq!(
        tab.eval("document.querySelector('#images [aria-pressed=\"true\"]').dataset.image"),
        "2"
    );
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn an_address_leads_back() {
    let (made, mut tab) = open();
    tab.key("3");
    tab.key("d");
    tab.key("g");
    tab.key("+");
    tab.until("location.hash.includes('gain=16') && location.hash.includes('zoom=')");
    let hash = tab.eval("location.hash").as_str().unwrap().to_owned();
    let shown = "[document.getElementById('canvas').getAttribute('aria-label'), document.body.dataset.mode].join()";
    let before = tab.eval(shown);
    tab.go(&made.path, &hash);
    assert_eq!(tab.eval(shown), before);
    for nonsense in ["#row=9&image=-1&mode=constructor&zoom=1e999&x=NaN", "#%%%"] {
        tab.go(&made.path, nonsense);
        assert_eq!(middle_pixel(&mut tab), RED, "{nonsense}");
    }
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn names_are_text_and_nothing_else() {
    let name = "<img src=x onerror=alert(1)></script>\"'&amp;";
    let one = || Some(crate::pages::flat(8, 8, RED));
    let made = page(&[name, "</title><b>"], vec![(name, vec![one(), one()])]);
    let mut tab = Tab::open(&made.path, DESKTOP);
    tab.key("2");
    tab.key("s");
    tab.key("l");
    let texts = tab.eval("[document.querySelector('#images button').lastChild.data, document.getElementById('rows').options[0].text, document.querySelector('.facts th button').textContent]");
    assert_eq!(texts, serde_json::json!([name, name, name]));
    assert_eq!(tab.eval("document.querySelectorAll('img, b b').length"), 0);
    tab.close();
}
