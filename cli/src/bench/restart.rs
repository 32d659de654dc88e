//! A broker that is killed and started again in the middle of a run.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::process::Process;

/// Between two attempts to connect.
const ATTEMPT_GAP: Duration = Duration::from_millis(10);

/// A kernel that has not closed the sockets of a killed process by then will not.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// The broker after its restart.
pub struct Restarted {
    /// Its new process.
    pub broker: Process,
    /// From the command until somebody listened.
    pub seconds: f64,
}

/// Ends `broker` with SIGKILL, runs `command`, and waits until somebody listens at `address` again.
///
/// The command starts a broker in the background and prints its process id.
pub fn kill_and_restart(
    broker: Process,
    address: SocketAddr,
    command: &str,
    patience: Duration,
) -> Result<Restarted> {
    kill(broker)?;
    let began = Instant::now();
    while TcpStream::connect(address).is_ok() {
        ensure!(began.elapsed() < END_PATIENCE, "somebody still listens at {address} after SIGKILL");
        std::thread::sleep(ATTEMPT_GAP);
    }
    let began = Instant::now();
    let broker = start(command)?;
    while TcpStream::connect(address).is_err() {
        ensure!(broker.is_alive(), "the broker that `{command}` started has ended");
        ensure!(began.elapsed() < patience, "nobody listens at {address} {patience:?} after `{command}`");
        std::thread::sleep(ATTEMPT_GAP);
    }
    Ok(Restarted { broker, seconds: began.elapsed().as_secs_f64() })
}

fn kill(broker: Process) -> Result<()> {
    let pid = broker.pid().to_string();
    let status = Command::new("kill").args(["-KILL", &pid]).status().context("cannot run kill")?;
    ensure!(status.success(), "cannot kill process {pid}");
    Ok(())
}

/// Reads one line only: the broker may hold on to the pipe for the rest of its life.
fn start(command: &str) -> Result<Process> {
    let mut shell = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run sh")?;
    let mut line = String::new();
    if let Some(stdout) = shell.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).context("--restart-command")?;
    }
    match line.trim().parse() {
        Ok(pid) => Process::with_pid(pid).context("--restart-command"),
        Err(_) => bail!("--restart-command has to print the process id of the broker, not {line:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_in_the_background_says_its_process_id() {
        let started = start("sleep 30 > /dev/null & echo $!").unwrap();
        assert!(started.is_alive());
        kill(started).unwrap();
    }

    #[test]
    fn a_command_that_says_nothing_is_an_error() {
        let error = start("echo started").err().unwrap().to_string();
        assert!(error.contains("process id"), "{error}");
    }
}
