//! Programs that we did not write, with a time limit and their output kept.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// What a program said until it ended.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A running program whose lines are read one at a time.
pub struct Tool {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Line>,
    seen: Vec<String>,
}

enum Line {
    Out(String),
    Err(String),
}

impl Tool {
    /// Starts it.
    ///
    /// # Panics
    /// If it is not installed; the message says how to install it.
    pub fn start(command: &mut Command) -> Tool {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}. {}", how_to_install(command)));
        let (sender, lines) = channel();
        let errors = sender.clone();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        thread::spawn(move || each_line(stdout, |line| sender.send(Line::Out(line)).is_ok()));
        thread::spawn(move || each_line(stderr, |line| errors.send(Line::Err(line)).is_ok()));
        let stdin = child.stdin.take();
        Tool { name, child, stdin, lines, seen: Vec::new() }
    }

    /// Types into it.
    pub fn types(&mut self, text: &str) {
        self.stdin
            .as_mut()
            .expect("stdin is open")
            .write_all(text.as_bytes())
            .expect("the tool reads its input");
    }

    /// The next line on standard output.
    ///
    /// # Panics
    /// If none comes in time.
    pub fn line(&mut self) -> String {
        self.line_where(|_, out| out)
    }

    /// Reads on until a line, of output or error, contains this; tools announce on either that they are ready.
    pub fn says(&mut self, part: &str) -> String {
        self.line_where(|line, _| line.contains(part))
    }

    /// Reads standard output and error to their end and waits.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn ends(mut self) -> Ended {
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let deadline = Instant::now() + PATIENCE * 2;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Line::Out(line)) => stdout.extend([line.as_str(), "\n"]),
                Ok(Line::Err(line)) => stderr.extend([line.as_str(), "\n"]),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{} does not end. It said: {}\n{stdout}{stderr}", self.name, self.seen.join("\n"))
                }
            }
        }
        let status = self.child.wait().expect("a child can be waited for");
        Ended { status, stdout, stderr }
    }

    /// Ends it at once, without a goodbye.
    pub fn kill9(mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn line_where(&mut self, wanted: impl Fn(&str, bool) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (line, out) =
                match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(Line::Out(line)) => (line, true),
                    Ok(Line::Err(line)) => (line, false),
                    Err(why) => {
                        panic!("{} says nothing more ({why}). It said: {}", self.name, self.seen.join("\n"))
                    }
                };
            self.seen.push(line.clone());
            if wanted(&line, out) {
                return line;
            }
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // Already ended: then there is nothing to kill, and that is fine.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Ended {
    Tool::start(command).ends()
}

/// Runs a program to its end and wants success.
///
/// # Panics
/// With everything it said, if it fails.
pub fn succeeds(command: &mut Command) -> String {
    let name = format!("{command:?}");
    let ended = run(command);
    assert!(ended.status.success(), "{name}: {}\n{}{}", ended.status, ended.stdout, ended.stderr);
    ended.stdout
}

/// The same program with the same arguments, environment and folder, which this script starts as `"$0" "$@"`.
pub fn through_a_shell(script: &str, program: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    if let Some(folder) = program.get_current_dir() {
        shell.current_dir(folder);
    }
    shell
}

/// Asks until the answer is yes.
///
/// # Panics
/// If it stays no.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: still not so after {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn each_line(stream: impl Read, mut take: impl FnMut(String) -> bool) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
        if !take(text) {
            return;
        }
        line.clear();
    }
}

fn how_to_install(command: &Command) -> &'static str {
    match command.get_program().to_str() {
        Some(name) if name.starts_with("mosquitto") => "Install it with `apt-get install mosquitto-clients`.",
        Some("node" | "npm") => "Install it with `apt-get install nodejs npm`.",
        Some(name) if name.contains("python") => "Install it with `apt-get install python3 python3-venv`.",
        _ => "",
    }
}
