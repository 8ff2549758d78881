//! A browser without a window, to look at the page of `vgpio run --web`: Chromium, over its `DevTools` protocol.
#![expect(clippy::indexing_slicing, reason = "an index that a JSON value does not have gives null")]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

use crate::scene::PATIENCE;

/// Between two looks at the page.
const TICK: Duration = Duration::from_millis(20);

/// Where Chromium is, if it is installed.
pub fn program() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let candidates = std::env::split_paths(&folders).flat_map(|folder| names.map(|name| folder.join(name)));
    candidates.into_iter().find(|path| path.is_file())
}

/// A page in a browser of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    devtools: WebSocket<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    last: u64,
    _folder: TempDir,
}

impl Browser {
    /// Starts a browser with a window of that size, and opens an address in it.
    ///
    /// # Errors
    ///
    /// When there is no browser, or it does not do as it is told.
    pub fn open(url: &str, (width, height): (u32, u32), dark: bool) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("browser").tempdir().context("Cannot make a folder")?;
        let mut child = Command::new(program().context("There is no Chromium: install the package chromium")?)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0"])
            .arg(format!("--window-size={width},{height}"))
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("Cannot start the browser")?;
        let said = BufReader::new(child.stderr.take().context("The browser has no output")?);
        let address = address_of_devtools(said)?;
        let (devtools, _) = tungstenite::connect(&address).context("Cannot talk to the browser")?;
        if let MaybeTlsStream::Plain(stream) = devtools.get_ref() {
            stream.set_read_timeout(Some(PATIENCE)).context("Cannot talk to the browser")?;
        }
        let mut browser = Self { child, devtools, session: None, last: 0, _folder: folder };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &attach)?;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        browser.call("Emulation.setDeviceMetricsOverride", &screen)?;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.call("Emulation.setEmulatedMedia", &media)?;
        let opened = browser.call("Page.navigate", &json!({ "url": url }))?;
        ensure!(opened.get("errorText").is_none(), "The browser cannot open {url}: {opened}");
        Ok(browser)
    }

    /// The value of an expression in the page.
    ///
    /// # Errors
    ///
    /// When it has none.
    pub fn evaluate(&mut self, expression: &str) -> anyhow::Result<Value> {
        let question = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", &question)?;
        ensure!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression in the page is true.
    ///
    /// # Errors
    ///
    /// With what the page shows, when it never is.
    pub fn expect(&mut self, expression: &str) -> anyhow::Result<()> {
        let begin = Instant::now();
        // While the page is not there yet, there is nothing that the expression could look at.
        while !self.evaluate(expression).is_ok_and(|value| value == true) {
            if begin.elapsed() > PATIENCE {
                let page = self.evaluate("document.body.innerText")?;
                bail!("Expected of the page: {expression}. It shows: {page}");
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// Clicks on what a selector finds, as with a mouse.
    ///
    /// # Errors
    ///
    /// When it finds nothing.
    pub fn click(&mut self, selector: &str) -> anyhow::Result<()> {
        let place = self.evaluate(&format!(
            "(() => {{ const r = document.querySelector({selector:?}).getBoundingClientRect();
               return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        ))?;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", &event)?;
        }
        Ok(())
    }

    /// Types a key, such as `Tab`, or text.
    ///
    /// # Errors
    ///
    /// When the browser does not take it.
    pub fn press(&mut self, key: &str) -> anyhow::Result<()> {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            " " => (32, " "),
            other => bail!("The key {other:?} is not known here"),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", &event)?;
        }
        Ok(())
    }

    /// Types text into what has the focus.
    ///
    /// # Errors
    ///
    /// When the browser does not take it.
    pub fn type_in(&mut self, text: &str) -> anyhow::Result<()> {
        self.call("Input.insertText", &json!({ "text": text })).map(drop)
    }

    /// A picture of the page, as PNG in base64.
    ///
    /// # Errors
    ///
    /// When the browser makes none.
    pub fn picture(&mut self) -> anyhow::Result<String> {
        let picture = self.call("Page.captureScreenshot", &json!({ "format": "png" }))?;
        picture["data"].as_str().map(str::to_owned).context("There is no picture")
    }

    fn call(&mut self, method: &str, parameters: &Value) -> anyhow::Result<Value> {
        self.last = self.last.saturating_add(1);
        let mut call = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        self.devtools.send(Message::text(call.to_string())).context("The browser has gone")?;
        loop {
            let Message::Text(text) = self.devtools.read().with_context(|| format!("No answer to {method}"))? else {
                continue;
            };
            let answer: Value = serde_json::from_str(&text)?;
            if answer["id"] == self.last {
                ensure!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].clone());
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends all its processes itself, if it is asked.
        let asked = self.devtools.send(Message::text(r#"{"id":0,"method":"Browser.close"}"#)).is_ok();
        let begin = Instant::now();
        while asked && begin.elapsed() < PATIENCE && self.child.try_wait().is_ok_and(|status| status.is_none()) {
            std::thread::sleep(TICK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The browser says where its `DevTools` are among other things; the rest of what it says interests nobody.
fn address_of_devtools(said: impl BufRead + Send + 'static) -> anyhow::Result<String> {
    let mut lines = said.lines();
    let mut all = String::new();
    for line in lines.by_ref() {
        let line = line.context("The browser cannot be read")?;
        if let Some(address) = line.strip_prefix("DevTools listening on ") {
            let address = address.to_owned();
            // Somebody has to read it, or the browser stops.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(address);
        }
        all.push_str(&line);
        all.push('\n');
    }
    bail!("The browser ended at once:\n{all}")
}
