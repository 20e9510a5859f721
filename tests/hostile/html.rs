//! Pages made of hostile names: nothing in them becomes markup, and a policy stands before the first script.

use crate::case::trial;
use crate::make::png::photo;
use crate::make::tensors::plain_latent;
use crate::room::Room;
use libtest_mimic::Trial;

/// Names that would run something where they are taken for markup.
const NAMES: &[&str] = &[
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'-alert(1)-'",
    "javascript:alert(1)",
    "</script><script>alert(2)<!--",
    "<!--<script>",
    "]]><b>",
    "&lt;script&gt;",
    "\u{202e}gnp.exe",
    "a\nb",
    "\u{2028}\u{2029}",
    "{{7*7}}",
    "${alert(1)}",
    "<svg onload=alert(1)>",
    "-->",
];
const GROUP: &str = "</script><script>alert(9)</script>\" onmouseover";
/// What runs scripts, in elements, attributes and addresses.
const ACTIVE: &[&str] = &[
    "<img", "<svg", "<i>", "<iframe", "<object", "<embed", "<base",
];
/// What makes elements of text.
const INJECTING: &[&str] = &[
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "eval(",
];
/// What a policy must say: `default-src` does not cover the last two.
const POLICY: &[&str] = &[
    "default-src 'none'",
    "form-action 'none'",
    "base-uri 'none'",
];

pub fn cases() -> Vec<Trial> {
    vec![
        trial("html compare of hostile names", compare),
        trial("html spectrum of hostile names", spectrum),
    ]
}

fn compare(room: &Room) -> Result<(), String> {
    for (i, name) in NAMES.iter().enumerate() {
        let file = name.replace('/', "\u{2215}");
        room.write(&format!("a/{file}.png"), photo(40, 40, i as u64));
        room.write(&format!("b/{file}.png"), photo(40, 40, 50 + i as u64));
    }
    room.ok(&[
        "compare",
        &format!("{GROUP}=a"),
        "b' \"<i>=b",
        "-o",
        "o.html",
    ])?;
    let page = String::from_utf8(room.read("o.html")).map_err(|e| e.to_string())?;
    let scripts = page.matches("<script").count();
    // Three of its own and two images for each name.
    let expected = 3 + 2 * NAMES.len();
    if scripts != expected {
        return Err(format!("{scripts} script elements; expected {expected}"));
    }
    let start = page.find("<script id=\"report\"").ok_or("no report")?;
    let report = &page[start..];
    let json = &report
        [report.find('>').ok_or("no report")? + 1..report.find("</script>").ok_or("no end")?];
    let report: serde_json::Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
    if report["names"][0] != GROUP {
        return Err(format!("the report has the name {}", report["names"][0]));
    }
    // The marks on the buttons of the player are the page's own.
    inert(&page.replace(
        "<svg viewBox=\"0 0 24 24\" aria-hidden",
        "<icon aria-hidden",
    ))
}

fn spectrum(room: &Room) -> Result<(), String> {
    if cfg!(not(feature = "train")) {
        return Ok(());
    }
    room.write("la/x.safetensors", plain_latent([1, 1, 16, 16], 1));
    room.write("lb/x.safetensors", plain_latent([1, 1, 16, 16], 2));
    let groups = [
        "<script>alert(1)</script>\"'=la",
        "b<svg/onload2060alert(1)><img>&=lb",
    ];
    room.ok(&[
        "spectrum",
        groups[0],
        groups[1],
        "-o",
        "s.html",
        "--latent-space",
        "normalized",
    ])?;
    let page = String::from_utf8(room.read("s.html")).map_err(|e| e.to_string())?;
    if page.contains("<script>alert(1)") || page.contains("<svg/onload") {
        return Err("a name became an element".into());
    }
    inert(&page.replace("<svg ", "<chart "))
}

/// No element, handler or address beside the page's own.
fn inert(page: &str) -> Result<(), String> {
    let policy = page
        .find("http-equiv=\"Content-Security-Policy\"")
        .ok_or("no policy")?;
    if page.find("<script").is_some_and(|script| script < policy) {
        return Err("a script stands before the policy".into());
    }
    let text = page[policy..]
        .split("content=\"")
        .nth(1)
        .and_then(|t| t.split('"').next())
        .ok_or("no policy")?;
    let text = text.replace("&#39;", "'");
    if let Some(missing) = POLICY.iter().find(|directive| !text.contains(*directive)) {
        return Err(format!("the policy lacks {missing}: {text}"));
    }
    if text.contains("connect-src") {
        return Err(format!("the policy lets the page connect: {text}"));
    }
    let (markup, scripts) = split(page);
    if let Some(found) = ACTIVE.iter().find(|tag| markup.contains(*tag)) {
        return Err(format!("a name became {found}"));
    }
    if let Some(found) = INJECTING.iter().find(|word| scripts.contains(*word)) {
        return Err(format!("a script uses {found}"));
    }
    for tag in markup
        .split('<')
        .skip(1)
        .filter_map(|t| t.split('>').next())
    {
        let attributes = tag.split_whitespace().skip(1);
        let handler = attributes
            .clone()
            .find(|a| a.starts_with("on") && a.contains('='));
        let address = ["src=", "href=", "action="]
            .iter()
            .find_map(|name| tag.split(&format!(" {name}\"")).nth(1));
        if let Some(found) =
            handler.or(address.filter(|a| !a.starts_with("data:") && !a.starts_with('#')))
        {
            return Err(format!("the page has {found}"));
        }
    }
    Ok(())
}

/// What is outside of the script elements, and what is in them.
fn split(page: &str) -> (String, String) {
    let (mut markup, mut scripts) = (String::new(), String::new());
    for part in page.split("</script>") {
        let (outside, inside) = part.split_once("<script").unwrap_or((part, ""));
        markup += outside;
        scripts += inside;
    }
    (markup, scripts)
}
