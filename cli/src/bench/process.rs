//! Processor time and memory of this process and of the broker, from `/proc` (Linux).

use std::fs;

use anyhow::{Context, Result, anyhow};

/// Kernel ticks a second in `/proc/PID/stat`: 100 on every Linux architecture that Rust servers run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process whose use of the machine is measured.
#[derive(Clone, Copy)]
pub struct Process {
    pid: u32,
}

impl Process {
    /// The benchmark itself.
    pub fn own() -> Self {
        Self { pid: std::process::id() }
    }

    /// Another process; fails at once when there is none, or when it may not be read.
    pub fn with_pid(pid: u32) -> Result<Self> {
        let process = Self { pid };
        process.cpu_seconds()?;
        Ok(process)
    }

    /// Processor seconds used since its start, by all threads, in user and kernel mode.
    pub fn cpu_seconds(self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.pid);
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let ticks = parse_ticks(&stat).ok_or_else(|| anyhow!("{path} is not understood: {stat}"))?;
        Ok(ticks as f64 / TICKS_PER_SECOND)
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most resident memory that it ever had, in bytes.
    pub fn peak_bytes(self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// Is it there, and not only waiting to be reaped?
    pub fn is_alive(self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| !matches!(rest.trim_start().chars().next(), None | Some('Z')))
    }

    /// Its number.
    pub fn pid(self) -> u32 {
        self.pid
    }

    fn memory(self, field: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid);
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        parse_memory(&status, field).ok_or_else(|| anyhow!("{path} has no {field}"))
    }
}

/// Files this process may open, or `None` when that is unlimited or unknown.
pub fn open_file_limit() -> Option<usize> {
    parse_open_files(&fs::read_to_string("/proc/self/limits").ok()?)
}

/// utime + stime. The command name may contain spaces and brackets, so counting starts behind the last bracket.
fn parse_ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn parse_memory(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn parse_open_files(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_a_nasty_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 1000 1 1";
        assert_eq!(parse_ticks(stat), Some(300));
        assert_eq!(parse_ticks("42 (short) S 1"), None);
    }

    #[test]
    fn memory_and_limits_are_read() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(parse_memory(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(parse_memory(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(
            parse_open_files("Max open files            20000                20000                files"),
            Some(20_000)
        );
        assert_eq!(
            parse_open_files("Max open files            unlimited            unlimited            files"),
            None
        );
    }

    #[test]
    fn our_own_memory_is_not_zero() {
        assert!(Process::own().resident_bytes().unwrap() > 0);
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let error = Process::with_pid(u32::MAX).err().unwrap();
        assert!(error.to_string().contains("/proc/4294967295/stat"), "{error}");
    }
}
