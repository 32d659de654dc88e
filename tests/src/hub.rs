//! `hubbub serve` as a child process, with a folder and ports of its own.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::certificates::Pair;
use crate::http::{self, Http};
use crate::person::Arrival;
use crate::tool::{self, Ended, Tool};
use crate::{Client, Connect, PATIENCE, RawClient, Way, binary};

/// How a hub is to run.
#[derive(Clone)]
pub struct Settings {
    dev: bool,
    rules: Option<String>,
    values: BTreeMap<String, String>,
    /// Bytes.
    largest_file: Option<u64>,
    /// Says what time it is.
    clock: Option<PathBuf>,
}

/// A running hub. Dropping it kills it, and prints its log if the test is failing.
pub struct Hub {
    settings: Settings,
    folder: TempDir,
    child: Child,
    at: Addresses,
}

/// Where a hub listens, as it said itself.
#[derive(Debug, Clone, Copy, Default)]
struct Addresses {
    mqtt: Option<SocketAddr>,
    websocket: Option<SocketAddr>,
    mqtts: Option<SocketAddr>,
    wss: Option<SocketAddr>,
    http: Option<SocketAddr>,
    compat: Option<SocketAddr>,
}

/// The file with the rights, in the folder of a hub.
const RULES: &str = "rules.acl";

impl Settings {
    /// With `--dev`: every user name is believed, and topics that are not chat are open to everybody.
    pub fn dev() -> Settings {
        let listen = ["listen.mqtt", "listen.websocket", "listen.http"];
        let mut values: BTreeMap<_, _> = listen.map(|key| (key.to_owned(), "127.0.0.1:0".to_owned())).into();
        let level = "info,hubbub=debug,hubbub_broker=debug,hubbub_bridge=debug";
        values.insert("log.level".into(), level.into());
        Settings { dev: true, rules: None, values, largest_file: None, clock: None }
    }

    /// Without `--dev`: users log in with passwords.
    pub fn with_login() -> Settings {
        Settings { dev: false, ..Settings::dev() }
    }

    /// With these rights on topics that are not chat, in the words of the file `acl.file`.
    pub fn rules(mut self, rules: &str) -> Settings {
        self.rules = Some(rules.into());
        self
    }

    /// With one setting, named as in `hubbub.toml`: `section.key`.
    pub fn set(mut self, key: &str, value: impl Into<String>) -> Settings {
        self.values.insert(key.into(), value.into());
        self
    }

    /// With TLS, and these certificates.
    pub fn with_tls(self, pairs: &[&Pair]) -> Settings {
        let list = |file: fn(&Pair) -> &Path| {
            pairs.iter().map(|pair| file(pair).to_str().unwrap()).collect::<Vec<_>>().join(",")
        };
        self.set("listen.mqtts", "127.0.0.1:0")
            .set("listen.wss", "127.0.0.1:0")
            .set("tls.certificates", list(|pair| &pair.certificate))
            .set("tls.keys", list(|pair| &pair.key))
    }

    /// Whether every user name is believed.
    pub fn is_dev(&self) -> bool {
        self.dev
    }

    /// The system lets it write no file larger than this: a disk that is full, as far as it can tell.
    pub fn largest_file(mut self, bytes: u64) -> Settings {
        self.largest_file = Some(bytes);
        self
    }

    /// Its wall clock shows the time of this machine and what the file says, as in "+1d"; the file may change while it runs.
    pub fn clock(mut self, file: &Path) -> Settings {
        self.clock = Some(file.into());
        self
    }

    /// Starts a hub in a new folder and waits until it is ready.
    pub fn start(self) -> Hub {
        self.start_in(new_folder())
    }

    /// Starts a hub in this folder and waits until it is ready.
    pub fn start_in(self, folder: TempDir) -> Hub {
        let (child, at) = start(&self, folder.path()).unwrap_or_else(|why| panic!("{why}"));
        Hub { settings: self, folder, child, at }
    }

    /// Runs `hubbub serve` to its end, where it is not expected to serve.
    pub fn is_refused(self) -> Ended {
        tool::run(&mut self.serve(new_folder().path()))
    }

    /// `hubbub` with these arguments, these settings and this folder.
    pub fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary::hubbub());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HUBBUB_")) {
            command.env_remove(name);
        }
        for (key, value) in &self.values {
            command.env(format!("HUBBUB_{}", key.replace('.', "_").to_uppercase()), value);
        }
        if !self.values.contains_key("store.path") {
            command.env("HUBBUB_STORE_PATH", folder.join("data"));
        }
        if let Some(rules) = &self.rules {
            let file = folder.join(RULES);
            std::fs::write(&file, rules).unwrap();
            command.env("HUBBUB_ACL_FILE", file);
        }
        // Not the repository: a `hubbub.toml` that lies there is not meant for tests.
        command.current_dir(folder).args(arguments);
        command
    }

    fn serve(&self, folder: &Path) -> Command {
        let mut serve = self.command(folder, if self.dev { &["serve", "--dev"] } else { &["serve"] });
        if let Some(file) = &self.clock {
            serve.env("LD_PRELOAD", clockwork()).env("FAKETIME_TIMESTAMP_FILE", file);
            // What measures durations goes on as it is; nobody sets that back.
            serve.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_NO_CACHE", "1");
        }
        match self.largest_file {
            None => serve,
            Some(bytes) => {
                // `ulimit -f` counts blocks of 512 bytes; who writes more gets an error in place of the signal.
                let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", bytes / 512);
                tool::through_a_shell(&script, &serve)
            }
        }
    }
}

/// The library that shows a program another time.
///
/// # Panics
/// If it is not installed.
fn clockwork() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut files = folders.map(|folder| folder.join("faketime/libfaketime.so.1"));
    files.find(|file| file.exists()).expect("Debian's package faketime, which tests/run installs")
}

impl Hub {
    /// A hub with `--dev` and no other wishes.
    pub fn start() -> Hub {
        Settings::dev().start()
    }

    /// Somebody who is about to arrive; see [`Arrival`].
    pub fn person(&self, name: &str) -> Arrival {
        Arrival::new(Way::tcp(self.mqtt()), name)
    }

    /// A plain MQTT client, connected.
    ///
    /// # Panics
    /// If it is refused.
    pub fn client(&self, connect: Connect) -> Client {
        Client::connect(self.mqtt(), connect).unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    /// A bare socket to the MQTT port.
    pub fn socket(&self) -> RawClient {
        RawClient::connect(self.mqtt())
    }

    /// Where MQTT is spoken.
    pub fn mqtt(&self) -> SocketAddr {
        self.at.mqtt.expect("the hub said where it speaks MQTT")
    }

    /// Where MQTT is spoken over WebSocket.
    pub fn websocket(&self) -> SocketAddr {
        self.at.websocket.expect("the hub said where it speaks WebSocket")
    }

    /// Where MQTT is spoken over TLS.
    pub fn mqtts(&self) -> SocketAddr {
        self.at.mqtts.expect("the hub said where it speaks MQTT over TLS")
    }

    /// Where MQTT is spoken over WebSocket over TLS.
    pub fn wss(&self) -> SocketAddr {
        self.at.wss.expect("the hub said where it speaks WebSocket over TLS")
    }

    /// Where clients known by their client id alone come in.
    pub fn compat(&self) -> SocketAddr {
        self.at.compat.expect("the hub said where clients without a user come in")
    }

    /// GET from the HTTP port.
    pub fn get(&self, path: &str) -> Http {
        http::get(self.at.http.expect("the hub said where it speaks HTTP"), path)
    }

    /// A counter or gauge of `/metrics`, named without `hubbub_`.
    pub fn counter(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").text();
        let mut samples = metrics.lines().filter_map(|line| line.strip_prefix("hubbub_")?.split_once(' '));
        let (_, value) =
            samples.find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no counter {name}"));
        value.parse().unwrap()
    }

    /// The address of the HTTP port.
    pub fn http(&self) -> SocketAddr {
        self.at.http.expect("the hub said where it speaks HTTP")
    }

    /// `hubbub` with these arguments, and the settings and folder of this hub.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.settings.command(self.folder.path(), arguments)
    }

    /// `hubbub user add`; it may be running or not.
    pub fn adds_user(&self, name: &str, password: &str) {
        self.sets_password("add", name, password);
    }

    /// `hubbub user passwd`; it may be running or not.
    pub fn changes_password(&self, name: &str, password: &str) {
        self.sets_password("passwd", name, password);
    }

    fn sets_password(&self, action: &str, name: &str, password: &str) {
        let mut tool = Tool::start(&mut self.command(&["user", action, name, "--password-stdin"]));
        tool.types(&format!("{password}\n"));
        let ended = tool.ends();
        assert!(ended.status.success(), "user {action} {name}: {ended:?}");
    }

    /// The number of its process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// How to get in from elsewhere, as a proxy on this machine says; for a hub with `listen.proxy_from = 127.0.0.1`.
    pub fn from(&self, address: &str) -> Way {
        let (family, own) = if address.contains(':') { ("TCP6", "::1") } else { ("TCP4", "127.0.0.1") };
        Way::tcp(self.mqtt()).behind(format!("PROXY {family} {address} {own} 4711 1883\r\n").as_bytes())
    }

    /// Memory that it holds, in bytes (`VmRSS` of Linux).
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is running");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Everything that it wrote so far, to standard output and error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_of(self.folder.path())).unwrap_or_default()
    }

    /// From the next start on it may write files of any size.
    pub fn gets_room(&mut self) {
        self.settings.largest_file = None;
    }

    /// Ends the process as a power cut would, without a goodbye.
    pub fn kill9(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Starts it again, after [`Hub::kill9`] or [`Hub::stop`], with the same folder on the same ports.
    pub fn restart(&mut self) {
        let ports = [
            ("listen.mqtt", self.at.mqtt),
            ("listen.websocket", self.at.websocket),
            ("listen.mqtts", self.at.mqtts),
            ("listen.wss", self.at.wss),
            ("listen.http", self.at.http),
            ("compat.listen", self.at.compat),
        ];
        for (key, address) in ports {
            if let Some(address) = address {
                self.settings.values.insert(key.into(), address.to_string());
            }
        }
        let started = start(&self.settings, self.folder.path());
        (self.child, self.at) = started.unwrap_or_else(|why| panic!("{why}"));
    }

    /// Starts it again like [`Hub::restart`], with other rights on topics that are not chat.
    pub fn restart_with_rules(&mut self, rules: &str) {
        self.settings.rules = Some(rules.into());
        self.restart();
    }

    /// Starts it again as [`Hub::restart`] does, and kills it so long after that, ready or not.
    pub fn dies_while_starting(&mut self, after: Duration) {
        let log = OpenOptions::new().create(true).append(true).open(log_of(self.folder.path())).unwrap();
        let mut command = self.settings.serve(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = command.spawn().expect("it started before");
        thread::sleep(after);
        self.kill9();
    }

    /// Asks it to stop (SIGTERM) without waiting.
    pub fn is_told_to_stop(&self) {
        self.signal("-TERM");
    }

    /// Asks it to read its files again (SIGHUP) without waiting.
    pub fn is_told_to_reload(&self) {
        self.signal("-HUP");
    }

    /// Has it read other rights on topics that are not chat (SIGHUP), and waits until they hold.
    pub fn reloads_rules(&mut self, rules: &str) {
        let before = self.counter("rights_changes_total");
        self.writes_rules(rules);
        self.is_told_to_reload();
        tool::eventually("the rules are read again", || self.counter("rights_changes_total") > before);
    }

    /// Puts other rights into their file, which nobody reads yet.
    pub fn writes_rules(&mut self, rules: &str) {
        self.settings.rules = Some(rules.into());
        std::fs::write(self.folder.path().join(RULES), rules).unwrap();
    }

    fn signal(&self, signal: &str) {
        tool::succeeds(Command::new("kill").args([signal, &self.child.id().to_string()]));
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it goes on.
    pub fn ends(&mut self) -> ExitStatus {
        let mut status = None;
        tool::eventually("the hub ends", || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        status.unwrap()
    }

    /// Stops it (SIGTERM).
    ///
    /// # Panics
    /// If it does not end with status 0.
    pub fn stop(&mut self) {
        self.is_told_to_stop();
        let status = self.ends();
        assert_eq!(status.code(), Some(0), "exit status after SIGTERM: {status}");
    }

    /// Says that it still does everything: a publish travels, `/healthz` agrees.
    pub fn is_healthy(&self) {
        let mut one = self.person("healthy").on("one").arrives();
        let mut two = self.person("sound").on("two").arrives();
        one.says("sound", "are you there?");
        two.sees(crate::message("are you there?").from("healthy"));
        let health = self.get("/healthz");
        assert_eq!(health.status(), 200, "/healthz says {}", health.text());
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // Already ended: then there is nothing to kill, and that is fine.
        self.child.kill().ok();
        self.child.wait().ok();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(120)..];
            eprintln!("---- the last {} lines of the hub's log ----\n{}", last.len(), last.join("\n"));
        }
    }
}

/// A folder that goes when it is dropped.
pub fn new_folder() -> TempDir {
    tempfile::Builder::new().prefix("hubbub-test-").tempdir().unwrap()
}

fn start(settings: &Settings, folder: &Path) -> Result<(Child, Addresses), String> {
    let log = OpenOptions::new().create(true).append(true).open(log_of(folder)).unwrap();
    let mut command = settings.serve(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone().unwrap());
    let mut child = command.spawn().map_err(|error| format!("{command:?} does not start: {error}"))?;
    let lines = copy_lines(child.stdout.take().unwrap(), log);
    match read_addresses(&lines) {
        Ok(at) => Ok((child, at)),
        Err(why) => {
            child.kill().ok();
            let status = child.wait().unwrap();
            let log = std::fs::read_to_string(log_of(folder)).unwrap_or_default();
            Err(format!("the hub {why} ({status}). It said:\n{log}"))
        }
    }
}

/// Reads what the hub announces: `mqtt 127.0.0.1:1883` and so on, up to the line that begins with `ready`.
fn read_addresses(lines: &Receiver<String>) -> Result<Addresses, &'static str> {
    let deadline = Instant::now() + PATIENCE;
    let mut at = Addresses::default();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left).map_err(|_| "did not become ready")?;
        let (kind, rest) = line.trim_start().split_once(' ').unwrap_or((&line, ""));
        match kind {
            "mqtt" => at.mqtt = at.mqtt.or(address(rest)),
            "websocket" => at.websocket = at.websocket.or(address(rest)),
            "mqtts" => at.mqtts = at.mqtts.or(address(rest)),
            "wss" => at.wss = at.wss.or(address(rest)),
            "http" => at.http = at.http.or(address(rest)),
            "compat" => at.compat = at.compat.or(address(rest)),
            _ if kind.starts_with("ready") => return Ok(at),
            _ => {}
        }
    }
}

fn address(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    text.split('/').next()?.parse().ok()
}

fn copy_lines(stdout: ChildStdout, mut log: File) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            writeln!(log, "{line}").ok();
            // Nobody listens any more once it is ready; the log goes on.
            sender.send(line).ok();
        }
    });
    lines
}

fn log_of(folder: &Path) -> PathBuf {
    folder.join("hub.log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_addresses_are_read_with_and_without_a_scheme() {
        let expected = Some("127.0.0.1:8083".parse().unwrap());
        assert_eq!(address("  127.0.0.1:8083"), expected);
        assert_eq!(address("  ws://127.0.0.1:8083/mqtt"), expected);
        assert_eq!(address("off"), None);
    }
}
