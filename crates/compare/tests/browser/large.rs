//! Twelve images of 4096 x 4096: the page must stay responsive. What it takes is printed, not asserted.

use std::time::Instant;

use vae2x_compare::page::{Input, RowOptions, row};

use crate::chromium::Tab;
use crate::pages::{middle_pixel, picture, write};

const SIDE: usize = 4096;
const COUNT: usize = 12;

/// An image that compresses as badly as a photo: `number` in blue, noise in the low bits of the others.
fn noisy(number: usize) -> vae2x_core::Array {
    let noise = |x: usize, y: usize| {
        (x.wrapping_mul(0x9E37_79B1)
            ^ y.wrapping_mul(0x85EB_CA77)
            ^ (x * y).wrapping_mul(0xC2B2_AE3D))
            >> 13
    };
    picture(SIDE, SIDE, |x, y| {
        let n = noise(x, y);
        [
            (x / 32) as u8 + (n & 31) as u8,
            (y / 32) as u8 + (n >> 5 & 31) as u8,
            20 * number as u8,
        ]
    })
}

/// Milliseconds from a key's press to the frame that shows the other image.
fn flip_ms(tab: &mut Tab, digit: usize) -> f64 {
    tab.eval(&format!(
        "new Promise((done) => {{
           const start = performance.now();
           document.body.dispatchEvent(new KeyboardEvent('keydown', {{ key: '{digit}', code: 'Digit{digit}', bubbles: true }}));
           (function look() {{
             const b = document.querySelector('.label b');
             if (b.textContent.startsWith('{digit} ') && document.getElementById('stage').getAttribute('aria-busy') === 'false') done(performance.now() - start);
             else requestAnimationFrame(look);
           }})();
         }})"
    ))
    .as_f64()
    .unwrap()
}

fn longest_tasks(tab: &mut Tab) -> String {
    let tasks = tab.eval("window.tasks.splice(0).sort((a, b) => b - a).map(Math.round)");
    let tasks: Vec<u64> = serde_json::from_value(tasks).unwrap();
    format!(
        "{} tasks of the main thread above 50 ms, longest {:?}",
        tasks.len(),
        &tasks[..tasks.len().min(5)]
    )
}

#[test]
#[ignore = "needs Chromium: tools/browser.sh"]
fn twelve_large_pictures() {
    let names: Vec<String> = (1..=COUNT).map(|n| format!("picture {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let input = |n| {
        Some(Input::Pixels {
            file: format!("{n}.png"),
            pixels: noisy(n),
        })
    };
    let inputs: Vec<_> = (0..COUNT).map(input).collect();
    let options = RowOptions {
        skip_numbers: true,
        ..Default::default()
    };
    let made = write(
        &names,
        vec![row("large", &inputs, &options, &mut || ()).unwrap()],
    );
    drop(inputs);
    println!(
        "page: {} MB",
        std::fs::metadata(&made.path).unwrap().len() / 1_000_000
    );
    let mut tab = Tab::start();
    tab.resize((1440, 900), 1.0);
    let watch = "window.tasks = []; new PerformanceObserver((list) => tasks.push(...list.getEntries().map((e) => e.duration))).observe({ type: 'longtask', buffered: true })";
    tab.send(
        "Page.addScriptToEvaluateOnNewDocument",
        serde_json::json!({ "source": watch }),
    );
    let start = Instant::now();
    tab.go(&made.path, "");
    println!(
        "first picture after {:.1} s; {}",
        start.elapsed().as_secs_f64(),
        longest_tasks(&mut tab)
    );
    tab.until("document.readyState === 'complete'");
    println!(
        "whole file read after {:.1} s; {}",
        start.elapsed().as_secs_f64(),
        longest_tasks(&mut tab)
    );
    for (what, keys) in [("fitted", "0"), ("1:1", "z")] {
        tab.key(keys);
        let first: Vec<u64> = (1..=9)
            .rev()
            .map(|digit| flip_ms(&mut tab, digit).round() as u64)
            .collect();
        println!(
            "{what}: first flips {first:?} ms; {}",
            longest_tasks(&mut tab)
        );
        let again: Vec<u64> = (1..=9)
            .map(|digit| flip_ms(&mut tab, digit).round() as u64)
            .collect();
        println!(
            "{what}: flips again {again:?} ms; {}",
            longest_tasks(&mut tab)
        );
        assert_eq!(middle_pixel(&mut tab)[2], 160, "the ninth");
    }
    for (what, key) in [("side by side", "s"), ("difference", "d"), ("wipe", "w")] {
        let start = Instant::now();
        tab.key(key);
        println!(
            "{what}: {:.2} s; {}",
            start.elapsed().as_secs_f64(),
            longest_tasks(&mut tab)
        );
    }
    let middle = tab.middle("#canvas");
    let start = Instant::now();
    for _ in 0..20 {
        tab.wheel(middle, -60.0);
    }
    println!(
        "20 steps of the wheel: {:.2} s; {}",
        start.elapsed().as_secs_f64(),
        longest_tasks(&mut tab)
    );
    tab.close();
}
