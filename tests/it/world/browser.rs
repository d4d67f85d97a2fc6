//! Headless Chromium under a chromedriver of its own, with the flags that keep it on this machine.

use super::SOON;
use super::real_parts::part;
use rustix::process::{Pid, Signal, kill_process_group};
use std::path::PathBuf;
use std::process::Stdio;
use tempfile::TempDir;
use thirtyfour::LoggingPrefsLogLevel;
use thirtyfour::common::capabilities::chromium::ChromiumLikeCapabilities;
use thirtyfour::prelude::*;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const FLAGS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--force-color-profile=srgb",
];

/// One browser with an empty profile.
pub struct Browser {
    /// To drive it with.
    pub driver: WebDriver,
    chromedriver: Child,
    _profile: TempDir,
}

impl Drop for Browser {
    /// A test that failed leaves no browser behind: chromedriver and what it started are one process group.
    fn drop(&mut self) {
        // Else the driver's own drop waits for an answer from what is killed here.
        let _quit_before = self.driver.clone().leak();
        if let Some(group) = self.chromedriver.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            let _already_gone = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Browser {
    /// Starts one, with JavaScript on or off.
    pub async fn start(javascript: bool) -> Browser {
        Browser::start_with(javascript, &[]).await
    }

    /// The same with further flags.
    pub async fn start_with(javascript: bool, flags: &[&str]) -> Browser {
        let chromium = part("PARAPH_TEST_CHROMIUM");
        let profile = tempfile::tempdir().expect("a profile");
        let (chromedriver, port) = chromedriver().await;
        let mut wishes = DesiredCapabilities::chrome();
        let mut prepare = || -> WebDriverResult<()> {
            wishes.set_binary(&chromium.display().to_string())?;
            for flag in FLAGS.iter().chain(flags) {
                wishes.add_arg(flag)?;
            }
            wishes.add_arg(&format!("--user-data-dir={}", profile.path().display()))?;
            wishes.set_browser_log_level(LoggingPrefsLogLevel::All)?;
            if !javascript {
                wishes.add_experimental_option("prefs", serde_json::json!({"profile.managed_default_content_settings.javascript": 2}))?;
            }
            Ok(())
        };
        prepare().expect("capabilities");
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), wishes).await.expect("Chromium starts");
        let browser = Browser { driver, chromedriver, _profile: profile };
        browser.size(1280, 900).await;
        browser
    }

    /// Goes to an address.
    pub async fn visit(&self, url: &str) {
        self.driver.goto(url).await.expect("the page loads");
    }

    /// Waits for the element.
    pub async fn find(&self, css: &str) -> WebElement {
        self.waiting(By::Css(css), css).await
    }

    /// Waits for an element whose visible text is this, by its kind.
    pub async fn find_text(&self, kind: &str, text: &str) -> WebElement {
        let path = format!("//{kind}[contains(normalize-space(.), {text:?})]");
        self.waiting(By::XPath(path.as_str()), &path).await
    }

    async fn waiting(&self, by: By, what: &str) -> WebElement {
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            match self.driver.query(by.clone()).wait(SOON, std::time::Duration::from_millis(50)).and_displayed().first().await {
                Ok(found) => return found,
                // The page put something in its place while it was looked at.
                Err(error) if error.to_string().contains("stale element") && tokio::time::Instant::now() < deadline => {}
                Err(error) => panic!("no {what} on the page ({error}); it says:\n{}", self.text().await),
            }
        }
    }

    /// Waits until the page says this.
    pub async fn says(&self, text: &str) {
        let deadline = tokio::time::Instant::now() + SOON;
        while !self.text().await.contains(text) {
            assert!(tokio::time::Instant::now() < deadline, "the page never said {text:?}; it says:\n{}", self.text().await);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// All that the page says.
    pub async fn text(&self) -> String {
        match self.driver.find(By::Tag("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// The window's size in CSS pixels, as a page sees it.
    pub async fn size(&self, width: u32, height: u32) {
        let metrics = serde_json::json!({"width": width, "height": height, "deviceScaleFactor": if width < 500 { 2 } else { 1 }, "mobile": width < 500});
        self.driver.cdp().send_raw("Emulation.setDeviceMetricsOverride", metrics).await.expect("a size");
    }

    /// What the page is told of the person's taste: `light` or `dark`.
    pub async fn theme(&self, theme: &str) {
        let media = serde_json::json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
        self.driver.cdp().send_raw("Emulation.setEmulatedMedia", media).await.expect("a theme");
    }

    /// Saves the page as `target/screenshots/NAME.png`, whole or what the window shows.
    async fn picture(&self, name: &str, whole: bool) {
        let shot = self.driver.cdp().send_raw("Page.captureScreenshot", serde_json::json!({"captureBeyondViewport": whole})).await.expect("a picture");
        let data = shot["data"].as_str().expect("data");
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data).expect("base64");
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{name}.png")), bytes).expect("a file");
    }

    /// Light, dark and phone-sized pictures of the page as it is; light and wide again afterwards.
    pub async fn pictures(&self, name: &str) {
        for theme in ["light", "dark"] {
            self.theme(theme).await;
            self.picture(&format!("{name}-{theme}"), true).await;
            self.size(390, 844).await;
            self.picture(&format!("{name}-phone-{theme}"), false).await;
            assert!(!self.scrolls_sideways().await, "{name} is wider than a phone");
            self.size(1280, 900).await;
        }
        self.theme("light").await;
    }

    /// Whether the page is wider than the window.
    async fn scrolls_sideways(&self) -> bool {
        let layout = self.driver.cdp().send_raw("Page.getLayoutMetrics", serde_json::json!({})).await.expect("a layout");
        let width = |which: &str, what: &str| layout[which][what].as_f64().expect("a width");
        width("cssContentSize", "width") > width("cssLayoutViewport", "clientWidth") + 0.5
    }

    /// Ends the browser; nothing may have gone wrong on its console meanwhile.
    pub async fn close_without_errors(mut self) {
        let log = self.driver.browser_log().await.expect("the browser's log");
        let bad: Vec<_> = log.iter().filter(|entry| entry.level == "SEVERE" || entry.level == "WARNING").map(|entry| &entry.message).collect();
        assert!(bad.is_empty(), "the browser complained: {bad:#?}");
        self.driver.clone().quit().await.expect("the browser ends");
        self.chromedriver.start_kill().expect("a signal to chromedriver");
    }
}

/// A chromedriver on a free port, which it prints.
async fn chromedriver() -> (Child, String) {
    let mut child = Command::new(part("PARAPH_TEST_CHROMEDRIVER"))
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .expect("chromedriver starts");
    let mut lines = BufReader::new(child.stdout.take().expect("standard output")).lines();
    let port = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some((_, port)) = line.split_once("successfully on port ") {
                return Some(port.trim_end_matches('.').to_owned());
            }
        }
        None
    };
    let port = tokio::time::timeout(SOON, port).await.ok().flatten().expect("chromedriver names its port");
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, port)
}
