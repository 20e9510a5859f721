//! The page without its images: style, controls, tables, the report as JSON and the scripts.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::{Page, tables};

const STYLE: &str = concat!(include_str!("page.css"), include_str!("clips.css"));
const WORKER: &str = include_str!("worker.js");
/// In the order in which they need each other.
const SCRIPTS: [&str; 8] = [
    include_str!("view.js"),
    include_str!("store.js"),
    include_str!("player.js"),
    include_str!("viewer.js"),
    include_str!("frame_chart.js"),
    include_str!("controls.js"),
    include_str!("input.js"),
    include_str!("start.js"),
];
/// Nothing is loaded from anywhere, and no script runs but the page's own, which is named by its hash.
const POLICY: &str = "default-src 'none'; script-src 'sha256-lOgewcvBz+RzO+0aqg4TFqHOFAHnIOde0oZJrLUqegc=' blob:; worker-src blob:; style-src 'unsafe-inline'; \
                      img-src data:; form-action 'none'; base-uri 'none'";

/// Everything up to the images; the body is left open.
pub(super) fn head(page: &Page) -> Markup {
    let body = body(page).into_string();
    html! {
        (DOCTYPE)
        (PreEscaped("<html lang=\"en\">"))
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(POLICY);
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="generator" content=(concat!("vae2x ", env!("CARGO_PKG_VERSION")));
            link rel="icon" href="data:,";
            title { (page.title) }
            style { (PreEscaped(STYLE)) }
        }
        (PreEscaped("<body data-mode=\"flip\">"))
        (PreEscaped(body))
        script #worker type="text/plain" { (PreEscaped(WORKER)) }
        script #report type="application/json" { (PreEscaped(json_in_html(&page.report()))) }
        script { (PreEscaped(script())) }
    }
}

/// The page's own script. [`POLICY`] has its hash, so neither depends on the page.
fn script() -> String {
    format!("(() => {{\n\"use strict\";\n{}}})();", SCRIPTS.join("\n"))
}

/// JSON that no HTML parser takes for the end of its element.
fn json_in_html(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c")
}

fn body(page: &Page) -> Markup {
    html! {
        header.bar {
            h1 { (page.title) }
            (rows(page))
            div.group.modes role="group" aria-label="How to compare" {
                (button("flip", "Flip")) (button("wipe", "Wipe")) (button("side", "Side by side")) (button("difference", "Difference"))
            }
            div.group role="group" aria-label="Zoom" {
                button type="button" data-do="zoom-out" aria-label="Zoom out" { "−" }
                output #zoom aria-label="Zoom" {}
                button type="button" data-do="zoom-in" aria-label="Zoom in" { "+" }
                (button("fit", "Fit")) (button("actual", "1:1"))
            }
            div.group role="group" aria-label="View" {
                (button("smooth", "Smooth")) (button("loupe", "Loupe"))
                button type="button" data-do="numbers" aria-pressed="true" { "Numbers" }
            }
            div.group role="group" aria-label="Page" {
                button type="button" data-do="theme" aria-label="Dark" { "◐" }
                button type="button" data-do="help" aria-label="Keys" { "?" }
            }
        }
        div.bar {
            div #images role="group" aria-label="Pictures" {}
            label.for-pairs { "against" select #against {} }
            label.for-difference { "amplified" input #gain type="range" min="0" max="5" step="1"; output #gain-value {} }
        }
        main {
            div.seen {
                (stage())
                (transport())
            }
            aside #numbers aria-label="Numbers and files" {
                (tables::rows(page))
                (tables::means(page))
            }
        }
        (help())
        noscript { "This page shows its pictures with scripts, which this browser does not run." }
    }
}

fn button(command: &str, text: &str) -> Markup {
    html! { button type="button" data-do=(command) { (text) } }
}

fn rows(page: &Page) -> Markup {
    html! {
        div.group.rows role="group" aria-label="Row" hidden[page.rows.len() < 2] {
            button type="button" data-do="previous-row" aria-label="Previous row" { "↑" }
            select #rows aria-label="Row" {
                @for (i, row) in page.rows.iter().enumerate() { option value=(i) { (row.name) } }
            }
            button type="button" data-do="next-row" aria-label="Next row" { "↓" }
        }
    }
}

fn stage() -> Markup {
    html! {
        div #stage tabindex="0" role="group" aria-label="Pictures; press ? for keys" {
            canvas #canvas role="img" {}
            div #labels aria-hidden="true" {}
            div #handle role="slider" tabindex="0" aria-label="Wipe" aria-valuemin="0" aria-valuemax="100" hidden {}
            div #mark hidden {}
            p #failure role="alert" hidden {}
            div #loupe role="group" aria-label="Loupe" hidden {}
        }
        p #said.unseen role="status" {}
    }
}

fn transport() -> Markup {
    html! {
        div #transport.bar role="group" aria-label="Frames" hidden {
            div.group {
                button type="button" data-do="previous-frame" aria-label="Previous frame" { (icon("M15 5 L7 12 L15 19 Z M5 5 h2 v14 h-2 Z")) }
                button type="button" data-do="play" aria-label="Play" { (icon("M7 4 L20 12 L7 20 Z")) (icon("M6 4 h4 v16 h-4 Z M14 4 h4 v16 h-4 Z")) }
                button type="button" data-do="next-frame" aria-label="Next frame" { (icon("M9 5 L17 12 L9 19 Z M17 5 h2 v14 h-2 Z")) }
            }
            input #frame type="range" min="0" max="0" step="1" value="0" aria-label="Frame";
            output #frame-told {}
            select #speed aria-label="Speed" {}
        }
    }
}

fn icon(path: &str) -> Markup {
    html! { svg viewBox="0 0 24 24" aria-hidden="true" { path d=(path) {} } }
}

fn help() -> Markup {
    html! {
        dialog #help aria-label="Keys" {
            h2 { "Keys" form method="dialog" { button { "Close" } } }
            table { tbody #keys {} }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script that is changed needs its new hash in the policy, or no browser runs it.
    #[test]
    fn the_policy_names_the_script() {
        use base64::{Engine, prelude::BASE64_STANDARD};
        use sha2::{Digest, Sha256};
        let hash = BASE64_STANDARD.encode(Sha256::digest(script()));
        assert!(POLICY.contains(&format!("'sha256-{hash}'")), "{hash}");
        assert!(!POLICY.contains("script-src 'unsafe-inline'"));
    }

    #[test]
    fn json_cannot_end_its_element() {
        let text = json_in_html(&serde_json::json!({ "name": "</script><b>&" }));
        assert!(
            !text.contains('<') && text.contains("\\u003c/script>"),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap()["name"],
            "</script><b>&"
        );
    }

    #[test]
    fn no_script_ends_its_element() {
        for script in SCRIPTS.iter().chain([&WORKER]) {
            assert!(!script.to_ascii_lowercase().contains("</script") && !script.contains("<!--"));
        }
        assert!(!STYLE.contains("</"));
    }
}
