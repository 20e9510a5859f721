//! A Chromium without a window, driven over its debugging protocol: one socket to the browser, one page per [`Tab`].
//!
//! Protocol: <https://chromedevtools.github.io/devtools-protocol/>. Everything here panics on failure, as tests do. What a page says on
//! the console, throws or asks of the network is kept, and [`Tab::close`] fails if there was any of it.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};
use vae2x_core::Array;
use vae2x_media::picture::decode_image;

/// Names under which it is found on the path; `VAE2X_CHROMIUM` names another program.
const PROGRAMS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];
/// For anything that a page is waited for; large images on two cores take seconds.
const PATIENCE: Duration = Duration::from_secs(90);
const SHIFT: u8 = 8;

/// A pointer's or key's place on the page, in CSS pixels.
pub type Point = (f64, f64);

/// A page in a browser of its own.
pub struct Tab {
    browser: Child,
    /// Deleted when the browser is gone.
    _profile: tempfile::TempDir,
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    session: String,
    next: u64,
    problems: Vec<String>,
}

impl Tab {
    /// A page of `width` x `height` CSS pixels that shows the file `path`.
    pub fn open(path: &Path, size: (u32, u32)) -> Self {
        let mut tab = Self::start();
        tab.resize(size, 1.0);
        tab.go(path, "");
        tab
    }

    /// An empty page.
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("a folder for the browser");
        let mut command = Command::new(program());
        command.args([
            "--headless=new",
            "--remote-debugging-port=0",
            "--no-first-run",
            "--hide-scrollbars",
            "--mute-audio",
        ]);
        if is_root() {
            command.arg("--no-sandbox");
        }
        command
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank");
        let mut browser = command
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the browser starts");
        let address = address(&mut browser);
        let (socket, _) = tungstenite::connect(address).expect("the browser listens");
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream
                .set_read_timeout(Some(PATIENCE))
                .expect("a socket has timeouts");
        }
        let mut tab = Self {
            browser,
            _profile: profile,
            socket,
            session: String::new(),
            next: 0,
            problems: vec![],
        };
        let target =
            tab.send("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = tab.send(
            "Target.attachToTarget",
            json!({ "targetId": target, "flatten": true }),
        );
        tab.session = attached["sessionId"].as_str().expect("a session").into();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            tab.send(&format!("{domain}.enable"), json!({}));
        }
        tab
    }

    /// Shows the file `path` at the place `hash` and waits until its images are drawn.
    pub fn go(&mut self, path: &Path, hash: &str) {
        // Away first: another hash alone would not load the page again.
        self.send("Page.navigate", json!({ "url": "about:blank" }));
        self.until("location.href === 'about:blank'");
        self.send(
            "Page.navigate",
            json!({ "url": format!("file://{}{hash}", path.display()) }),
        );
        self.until("document.getElementById('stage')?.getAttribute('aria-busy') === 'false'");
    }

    pub fn resize(&mut self, (width, height): (u32, u32), ratio: f64) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": ratio, "mobile": ratio > 1.0 });
        self.send("Emulation.setDeviceMetricsOverride", metrics);
        let touch = json!({ "enabled": ratio > 1.0, "maxTouchPoints": 2 });
        self.send("Emulation.setTouchEmulationEnabled", touch);
    }

    /// What the system prefers: "dark" or "light".
    pub fn prefer(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.send(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        );
    }

    /// Sends a command and waits for its result.
    #[track_caller]
    pub fn send(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket
            .send(Message::text(message.to_string()))
            .expect("the browser listens");
        loop {
            let Message::Text(text) = self
                .socket
                .read()
                .unwrap_or_else(|e| panic!("{method}: {e}"))
            else {
                continue;
            };
            let mut answer: Value = serde_json::from_str(&text).expect("JSON");
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
            self.note(&answer);
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        let problem = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => params["exceptionDetails"].to_string(),
            Some("Runtime.consoleAPICalled") => params["args"].to_string(),
            // The tests read the canvas more often than the page does.
            Some("Log.entryAdded")
                if params["entry"]["text"]
                    .as_str()
                    .is_some_and(|t| t.contains("willReadFrequently")) =>
            {
                return;
            }
            Some("Log.entryAdded") => params["entry"].to_string(),
            Some("Network.requestWillBeSent") => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                if ["file:", "data:", "blob:", "about:"]
                    .iter()
                    .any(|own| url.starts_with(own))
                {
                    return;
                }
                format!("a request to {url}")
            }
            _ => return,
        };
        self.problems.push(problem);
    }

    /// The value of a JavaScript expression, promises awaited.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut result = self.send("Runtime.evaluate", params);
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {}",
            result["exceptionDetails"]
        );
        result["result"]["value"].take()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn until(&mut self, condition: &str) {
        let start = Instant::now();
        while self.eval(&format!("Boolean({condition})")) != true {
            assert!(
                start.elapsed() < PATIENCE,
                "never true: {condition}; problems: {:?}",
                self.problems
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until what was asked for is on the canvas.
    #[track_caller]
    pub fn settle(&mut self) {
        self.eval(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))",
        );
        self.until("document.getElementById('stage').getAttribute('aria-busy') === 'false'");
    }

    /// Presses a key by the name that KeyboardEvent.key has, letters and digits by themselves.
    #[track_caller]
    pub fn key(&mut self, key: &str) {
        self.key_with(key, 0);
    }

    #[track_caller]
    pub fn shift_key(&mut self, key: &str) {
        self.key_with(key, SHIFT);
    }

    #[track_caller]
    fn key_with(&mut self, key: &str, modifiers: u8) {
        let code = match key.as_bytes() {
            [digit @ b'0'..=b'9'] => format!("Digit{}", *digit as char),
            [letter @ b'a'..=b'z'] => format!("Key{}", letter.to_ascii_uppercase() as char),
            b" " => "Space".into(),
            _ => key.into(),
        };
        let text = match key {
            "Enter" => "\r",
            _ if key.chars().count() == 1 => key,
            _ => "",
        };
        let virtual_key = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            " " => 32,
            "PageUp" => 33,
            "PageDown" => 34,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => 0,
        };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({
                "type": kind, "key": key, "code": code, "modifiers": modifiers, "windowsVirtualKeyCode": virtual_key,
                "text": if kind == "keyDown" { text } else { "" },
            });
            self.send("Input.dispatchKeyEvent", event);
        }
        self.settle();
    }

    fn mouse(&mut self, kind: &str, (x, y): Point, modifiers: u8) {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        let event = json!({ "type": kind, "x": x, "y": y, "button": button, "clickCount": 1, "modifiers": modifiers });
        self.send("Input.dispatchMouseEvent", event);
    }

    #[track_caller]
    pub fn click(&mut self, at: Point) {
        self.mouse("mousePressed", at, 0);
        self.mouse("mouseReleased", at, 0);
        self.settle();
    }

    #[track_caller]
    pub fn shift_click(&mut self, at: Point) {
        self.mouse("mousePressed", at, SHIFT);
        self.mouse("mouseReleased", at, SHIFT);
        self.settle();
    }

    #[track_caller]
    pub fn hover(&mut self, at: Point) {
        self.mouse("mouseMoved", at, 0);
        self.settle();
    }

    #[track_caller]
    pub fn drag(&mut self, from: Point, to: Point) {
        self.mouse("mousePressed", from, 0);
        for step in 1..=4 {
            let part = f64::from(step) / 4.0;
            let at = (
                from.0 + (to.0 - from.0) * part,
                from.1 + (to.1 - from.1) * part,
            );
            let event = json!({ "type": "mouseMoved", "x": at.0, "y": at.1, "button": "left", "buttons": 1 });
            self.send("Input.dispatchMouseEvent", event);
        }
        self.mouse("mouseReleased", to, 0);
        self.settle();
    }

    #[track_caller]
    pub fn wheel(&mut self, (x, y): Point, delta: f64) {
        let event = json!({ "type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": delta });
        self.send("Input.dispatchMouseEvent", event);
        self.settle();
    }

    /// Fingers go down, along their paths together, and up.
    #[track_caller]
    pub fn touch(&mut self, paths: &[&[Point]]) {
        let at = |step: usize| -> Value {
            paths
                .iter()
                .enumerate()
                .map(|(id, path)| json!({ "x": path[step].0, "y": path[step].1, "id": id }))
                .collect()
        };
        self.send(
            "Input.dispatchTouchEvent",
            json!({ "type": "touchStart", "touchPoints": at(0) }),
        );
        for step in 1..paths[0].len() {
            self.send(
                "Input.dispatchTouchEvent",
                json!({ "type": "touchMove", "touchPoints": at(step) }),
            );
        }
        self.send(
            "Input.dispatchTouchEvent",
            json!({ "type": "touchEnd", "touchPoints": [] }),
        );
        self.settle();
    }

    /// The middle of the first element that a selector finds.
    #[track_caller]
    pub fn middle(&mut self, selector: &str) -> Point {
        let script = format!(
            "(() => {{ const b = document.querySelector({selector:?}).getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }})()"
        );
        let at = self.eval(&script);
        (at[0].as_f64().expect("x"), at[1].as_f64().expect("y"))
    }

    #[track_caller]
    pub fn press(&mut self, selector: &str) {
        let at = self.middle(selector);
        self.click(at);
    }

    /// What a user sees, `[3, H, W]` in [-1, 1]; also saved as `NAME.png` in the folder `VAE2X_SHOTS` if that is set.
    pub fn shot(&mut self, name: &str) -> Array {
        let data = self.send("Page.captureScreenshot", json!({ "format": "png" }));
        let png = base64::engine::general_purpose::STANDARD
            .decode(data["data"].as_str().expect("base64"))
            .expect("base64");
        if let Some(folder) = std::env::var_os("VAE2X_SHOTS") {
            std::fs::write(PathBuf::from(folder).join(format!("{name}.png")), &png)
                .expect("the folder can be written");
        }
        decode_image(Path::new("screenshot"), &png)
            .expect("a PNG")
            .pixels
    }

    /// Fails if the page complained or asked the network for anything.
    #[track_caller]
    pub fn close(mut self) {
        self.eval("1");
        assert!(self.problems.is_empty(), "{:#?}", self.problems);
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}

fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("VAE2X_CHROMIUM") {
        return program.into();
    }
    let folders: Vec<PathBuf> = std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .collect();
    let candidates = folders
        .iter()
        .flat_map(|folder| PROGRAMS.map(|name| folder.join(name)));
    candidates.into_iter().find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("Chromium is missing; install it (Debian: apt-get install chromium) or name it in VAE2X_CHROMIUM")
    })
}

/// The superuser must go without the sandbox.
#[cfg(unix)]
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    tempfile::tempfile()
        .and_then(|file| file.metadata())
        .is_ok_and(|data| data.uid() == 0)
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

/// The socket's address, which the browser prints.
fn address(browser: &mut Child) -> String {
    let mut lines = BufReader::new(browser.stderr.take().expect("piped")).lines();
    let mut said = Vec::new();
    let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let address = line
            .split_once("DevTools listening on ")
            .map(|(_, address)| address.to_owned());
        said.push(line);
        address
    });
    // It must be able to go on printing.
    std::thread::spawn(move || lines.for_each(drop));
    address.unwrap_or_else(|| panic!("the browser does not start: {}", said.join("\n")))
}
