//! Clips whose frames have their number in their brightness, so that every pixel tells which frame is shown.

use std::path::Path;

use serde_json::{Value, json};
use vae2x_compare::clips::{ClipOptions, Clips};
use vae2x_compare::page::{Input, Row, RowOptions, Spool, clip_row, row};
use vae2x_compare::sides;
use vae2x_media::frames::Folders;

use crate::chromium::{Point, Tab};
use crate::pages::{Made, RED, flat, middle_pixel, pixel, write};

const DESKTOP: (u32, u32) = (1440, 900);
/// Brightness of the first frame and between frames, in steps of limited range: 61 frames and three tints lie within sRGB.
const FIRST: u8 = 40;
const STEP: u8 = 2;
const LIMIT: u64 = 1 << 30;
/// Frames that any machine shows in the seconds that are watched, however busy it is: it may leave others out.
const FEWEST: usize = 5;

/// What surrounds the middle of a frame, which tells its number.
#[derive(Clone, Copy, PartialEq)]
enum Around {
    TheSame,
    /// As hard to compress and to decode as any photo.
    Noise,
}

/// Writes a clip of frames of one brightness each; `tint` is its own, and tells the sides apart.
fn write_clip(path: &Path, frames: u8, side: usize, tint: u8, around: Around) {
    let mut bytes = format!("YUV4MPEG2 W{side} H{side} F16:1 C444 XMATRIX=BT709\n").into_bytes();
    for t in 0..frames {
        bytes.extend(b"FRAME\n");
        for value in [FIRST + STEP * t, tint, 128] {
            let start = bytes.len();
            bytes.resize(start + side * side, value);
            if around == Around::Noise {
                add_noise(&mut bytes[start..], side);
            }
        }
    }
    std::fs::write(path, bytes).unwrap();
}

/// Adds noise outside of the middle.
fn add_noise(plane: &mut [u8], side: usize) {
    let mut state = 1u32;
    for (i, value) in plane.iter_mut().enumerate() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let is_middle = [i % side, i / side]
            .iter()
            .all(|at| at.abs_diff(side / 2) < side / 8);
        if !is_middle {
            *value = value.wrapping_add((state >> 27) as u8);
        }
    }
}

/// A row of clips `a`, `b` and so on, of these sizes.
fn clips(frames: u8, sizes: &[usize], every: usize, around: Around, options: RowOptions) -> Row {
    let folder = tempfile::tempdir().unwrap();
    let arguments: Vec<String> = sizes
        .iter()
        .zip('a'..)
        .enumerate()
        .map(|(i, (side, name))| {
            let path = folder.path().join(format!("{name}.y4m"));
            write_clip(&path, frames, *side, 128 + 10 * i as u8, around);
            format!("{name}={}", path.display())
        })
        .collect();
    let sides = sides::parse(&arguments, Folders::OfImagesAndVideos).unwrap();
    let part = ClipOptions {
        every,
        ..ClipOptions::default()
    };
    let clips = Clips::open(&sides::pair(&sides)[0], &part).unwrap();
    let spool = Spool::beside(&std::env::temp_dir().join("page.html"), LIMIT).unwrap();
    clip_row(clips, &options, &spool, &mut || ()).unwrap()
}

fn clip_page(frames: u8, sizes: &[usize], around: Around) -> Made {
    let options = RowOptions {
        skip_numbers: true,
        ..RowOptions::default()
    };
    let row = clips(frames, sizes, 1, around, options);
    write(&["a", "b", "c"][..sizes.len()], vec![row])
}

/// The frame that a colour is of.
fn frame_of([red, green, blue]: [u8; 3]) -> i64 {
    let brightness = 0.2126 * f64::from(red) + 0.7152 * f64::from(green) + 0.0722 * f64::from(blue);
    let above = brightness / 255.0 * 219.0 - f64::from(FIRST - 16);
    (above / f64::from(STEP)).round() as i64
}

/// The frame that the page says it shows.
#[track_caller]
fn told(tab: &mut Tab) -> i64 {
    let text = tab.eval("document.getElementById('frame-told').textContent");
    text.as_str()
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

/// Middles of the pictures side by side.
fn cells(tab: &mut Tab) -> Vec<Point> {
    let labels = tab.eval("[...document.querySelectorAll('.label')].map((l) => { const b = l.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })");
    let point = |at: &Value| (at[0].as_f64().unwrap(), at[1].as_f64().unwrap());
    labels.as_array().unwrap().iter().map(point).collect()
}

/// Frames on all sides, side by side, of which the first is what the page says.
#[track_caller]
fn frames(tab: &mut Tab) -> Vec<i64> {
    let mut all = vec![told(tab)];
    for at in cells(tab) {
        all.push(frame_of(pixel(tab, at)));
    }
    all
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn keys_and_buttons_step_all_sides_together() {
    let made = clip_page(9, &[64, 128, 32], Around::TheSame);
    let mut tab = Tab::open(&made.path, DESKTOP);
    tab.key("s");
    assert_eq!(frames(&mut tab), [0; 4]);
    for (key, frame) in [
        (".", 1),
        (".", 2),
        (",", 1),
        ("End", 8),
        (".", 0),
        (",", 8),
        ("Home", 0),
    ] {
        tab.key(key);
        assert_eq!(frames(&mut tab), [frame; 4], "after {key}");
    }
    tab.press("[data-do=next-frame]");
    tab.press("[data-do=next-frame]");
    tab.press("[data-do=previous-frame]");
    assert_eq!(frames(&mut tab), [1; 4]);
    assert_eq!(
        tab.eval("document.getElementById('frame-told').textContent"),
        "1 / 8 · 0.06 s"
    );
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn the_scrubber_and_the_address_lead_to_a_frame_in_every_mode() {
    let made = clip_page(61, &[64, 128], Around::TheSame);
    let mut tab = Tab::open(&made.path, DESKTOP);
    tab.key("s");
    for frame in [60, 7, 33] {
        tab.eval(&format!("(() => {{ const s = document.getElementById('frame'); s.value = {frame}; s.dispatchEvent(new Event('input')); }})()"));
        tab.settle();
        assert_eq!(frames(&mut tab), [frame; 3]);
    }
    let at = tab.middle("#frame");
    tab.click(at);
    assert_eq!(frames(&mut tab), [30; 3], "the middle of the scrubber");
    // The same frame in the other modes, on either side.
    tab.key("f");
    assert_eq!(frame_of(middle_pixel(&mut tab)), 30);
    let first = middle_pixel(&mut tab);
    tab.key("2");
    assert_eq!(frame_of(middle_pixel(&mut tab)), 30);
    assert_ne!(middle_pixel(&mut tab), first, "the other clip");
    tab.key("w");
    let middle = tab.middle("#canvas");
    for by in [-60.0, 60.0] {
        let shown = pixel(&mut tab, (middle.0 + by, middle.1 + 60.0));
        assert_eq!(frame_of(shown), 30);
    }
    tab.key("l");
    tab.key(".");
    let values = "[...document.querySelectorAll('#loupe span')].map((s) => s.textContent)";
    tab.until(&format!("!{values}.includes('…')"));
    for value in tab.eval(values).as_array().unwrap() {
        let parts: Vec<u8> = value
            .as_str()
            .unwrap()
            .split(' ')
            .map(|n| n.parse().unwrap())
            .collect();
        assert_eq!(frame_of([parts[0], parts[1], parts[2]]), 31);
    }
    tab.key("l");
    tab.key("d");
    tab.key(".");
    // The same difference at every frame: that of the tints.
    let shown = middle_pixel(&mut tab);
    assert!(shown[0] < 8 && shown[2] > 60, "{shown:?}");
    tab.until("location.hash.includes('frame=32')");
    tab.go(&made.path, "#row=1&image=2&mode=side&frame=17");
    assert_eq!(frames(&mut tab), [17; 3]);
    tab.close();
}

/// What is on the canvas and told, at every frame of the screen for `seconds`: `[told, side, side]`.
fn watch(tab: &mut Tab, seconds: f64) -> Vec<Vec<i64>> {
    let at: Vec<Value> = cells(tab).iter().map(|(x, y)| json!([x, y])).collect();
    let seen = tab.eval(&format!(
        "new Promise((done) => {{
           const at = {}, c = document.getElementById('canvas'), seen = [], start = performance.now();
           (function look() {{
             const b = c.getBoundingClientRect();
             const colours = at.map(([x, y]) => [...c.getContext('2d').getImageData(x - b.x, y - b.y, 1, 1).data]);
             seen.push([Number.parseInt(document.getElementById('frame-told').textContent), ...colours]);
             if (performance.now() - start < {}) requestAnimationFrame(look); else done(seen);
           }})();
         }})",
        Value::from(at),
        1000.0 * seconds
    ));
    let colour = |v: &Value| std::array::from_fn(|i| v[i].as_u64().unwrap() as u8);
    let line = |line: &Value| {
        let colours = line.as_array().unwrap()[1..].iter();
        std::iter::once(line[0].as_i64().unwrap())
            .chain(colours.map(|v| frame_of(colour(v))))
            .collect()
    };
    seen.as_array().unwrap().iter().map(line).collect()
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn sides_never_differ_in_frame_while_they_play() {
    let made = clip_page(61, &[512, 512], Around::Noise);
    let length = std::fs::metadata(&made.path).unwrap().len();
    let start = std::time::Instant::now();
    let mut tab = Tab::open(&made.path, DESKTOP);
    println!(
        "a page of {} MB shows its first frame after {:.1} s",
        length / 1_000_000,
        start.elapsed().as_secs_f64()
    );
    tab.key("s");
    tab.key(" ");
    tab.shot("clip_playing");
    let seen = watch(&mut tab, 3.0);
    for line in &seen {
        assert!(line.iter().all(|frame| *frame == line[0]), "{line:?}");
    }
    let mut shown: Vec<i64> = seen.iter().map(|line| line[0]).collect();
    shown.dedup();
    println!("{} frames of 48 were shown in 3 s: {shown:?}", shown.len());
    assert!(shown.len() > FEWEST, "{shown:?}");
    // Onwards only, but for the end of the clip.
    assert!(shown.windows(2).filter(|w| w[1] < w[0]).count() <= 1);
    tab.key(" ");
    let stopped = frames(&mut tab);
    assert!(stopped.iter().all(|frame| *frame == stopped[0]));
    assert_eq!(
        watch(&mut tab, 0.5).last().unwrap()[0],
        stopped[0],
        "it stands"
    );
    // A step from where it stopped.
    tab.key(",");
    assert_eq!(told(&mut tab), (stopped[0] + 60) % 61);
    // At four times the speed frames may be left out, but on all sides.
    for _ in 0..2 {
        tab.key(">");
    }
    assert_eq!(tab.eval("document.getElementById('speed').value"), "4");
    tab.key("k");
    let seen = watch(&mut tab, 1.0);
    assert!(seen.iter().all(|line| line.iter().all(|f| *f == line[0])));
    assert!(seen.iter().any(|line| line[0] != seen[0][0]));
    tab.key("k");
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn clips_larger_than_the_budget_still_play() {
    let made = clip_page(40, &[256, 256], Around::TheSame);
    let mut tab = Tab::start();
    // A device that says it has 32 MiB: 4 MiB of bitmaps, where a clip takes 10.
    let source = "Object.defineProperty(navigator, 'deviceMemory', { value: 1 / 32 })";
    tab.send(
        "Page.addScriptToEvaluateOnNewDocument",
        json!({ "source": source }),
    );
    tab.resize(DESKTOP, 1.0);
    tab.go(&made.path, "#row=1&image=1&mode=side");
    tab.key(" ");
    let seen = watch(&mut tab, 4.0);
    assert!(seen.iter().all(|line| line.iter().all(|f| *f == line[0])));
    let mut shown: Vec<i64> = seen.iter().map(|line| line[0]).collect();
    shown.dedup();
    assert!(shown.len() > FEWEST, "{shown:?}");
    tab.key(" ");
    for frame in [3, 39, 20, 0] {
        tab.eval(&format!("(() => {{ const s = document.getElementById('frame'); s.value = {frame}; s.dispatchEvent(new Event('input')); }})()"));
        tab.settle();
        assert_eq!(frames(&mut tab), [frame; 3]);
    }
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn the_worst_frame_and_the_chart_lead_to_their_frames() {
    let mut row = clips(20, &[256, 256], 2, Around::TheSame, RowOptions::default());
    // Only the numbers are others.
    let clip = row.pictures[1].as_mut().unwrap().clip.as_mut().unwrap();
    clip.worst[0].as_mut().unwrap().at = 7;
    clip.by_frame[7][0] = Some(12.5);
    let made = write(&["a", "b"], vec![row]);
    let mut tab = Tab::open(&made.path, DESKTOP);
    tab.key("s");
    // Every second frame is there.
    assert_eq!(
        tab.eval("document.querySelector('.worst[data-of=\"1\"] button').textContent"),
        "frame 14"
    );
    tab.press(".worst[data-of='1'] button");
    assert_eq!(frames(&mut tab), [14; 3]);
    assert_eq!(
        tab.eval("document.querySelector('.frames .legend b').textContent"),
        "12.50"
    );
    assert_eq!(
        tab.eval("document.querySelectorAll('.frames polyline').length"),
        1
    );
    let at = tab.middle(".frames .plot");
    tab.click(at);
    let [low, high] = [8, 10];
    let frame = told(&mut tab);
    assert!(frame == low || frame == high, "{frame}");
    tab.shot("clip_chart");
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn rows_of_images_have_no_transport_and_space_flips_there() {
    let image = |colour| {
        Some(Input::Pixels {
            file: "x.png".into(),
            pixels: flat(32, 32, colour),
        })
    };
    let inputs = [image(RED), image([9, 9, 9])];
    let images = row("images", &inputs, &RowOptions::default(), &mut || ()).unwrap();
    let clip = clips(5, &[32, 32], 1, Around::TheSame, RowOptions::default());
    let made = write(&["a", "b"], vec![clip, images]);
    let mut tab = Tab::open(&made.path, DESKTOP);
    let hidden = "document.getElementById('transport').hidden";
    assert_eq!(tab.eval(hidden), false);
    tab.key(" ");
    tab.key("PageDown");
    assert_eq!(tab.eval(hidden), true);
    assert_eq!(middle_pixel(&mut tab), RED);
    tab.key(" ");
    assert_eq!(middle_pixel(&mut tab), [9, 9, 9]);
    tab.key(".");
    tab.key("x");
    assert_eq!(middle_pixel(&mut tab), RED);
    tab.key("PageUp");
    assert_eq!(
        frame_of(middle_pixel(&mut tab)),
        0,
        "another row does not play"
    );
    tab.key("?");
    let help = tab.eval("document.getElementById('keys').textContent");
    let help = help.as_str().unwrap();
    assert!(help.contains("play or pause") && help.contains("next frame"));
    tab.close();
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn clips_fit_on_every_screen() {
    let made = clip_page(61, &[512, 512, 256], Around::TheSame);
    let mut tab = Tab::start();
    for (screen, size, ratio, scheme) in [
        ("desktop", DESKTOP, 1.0, "light"),
        ("dark", DESKTOP, 1.0, "dark"),
        ("phone", (390, 844), 3.0, "light"),
    ] {
        tab.resize(size, ratio);
        tab.prefer(scheme);
        for mode in ["flip", "wipe", "side", "difference"] {
            tab.go(&made.path, &format!("#row=1&image=2&mode={mode}&frame=23"));
            let fits = "document.documentElement.scrollWidth <= innerWidth";
            assert_eq!(tab.eval(fits), true, "{screen} {mode}");
            assert_eq!(told(&mut tab), 23);
            tab.shot(&format!("clip_{screen}_{mode}"));
        }
        assert_eq!(tab.eval("document.getElementById('failure').hidden"), true);
        let small = "[...document.querySelectorAll('.bar button')].filter((e) => e.getBoundingClientRect().width && e.getBoundingClientRect().height < 30).map((e) => e.outerHTML)";
        assert_eq!(tab.eval(small), json!([]), "{screen}");
    }
    tab.close();
}
