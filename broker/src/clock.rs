//! The one place that reads the clock. Everything else is handed `now`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub type Millis = u64;

/// Wall time that only goes forward: the wall clock at the start plus what a monotonic clock counted since, so a
/// clock that is set back while the server runs reorders nothing.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    started_at: Millis,
}

impl Clock {
    /// Reads both clocks once.
    pub fn start() -> Clock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { started: Instant::now(), started_at: since_epoch.as_millis() as Millis }
    }

    /// The time now.
    pub fn now(&self) -> Millis {
        self.started_at + self.started.elapsed().as_millis() as Millis
    }
}

/// A point in time on this machine until which something is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now; zero does not wait at all.
    pub fn after(duration: Duration) -> Deadline {
        Deadline(Instant::now() + duration)
    }

    /// Whether it has come.
    pub fn is_over(self) -> bool {
        Instant::now() >= self.0
    }

    /// For calls of libraries that take an instant.
    pub fn instant(self) -> Instant {
        self.0
    }
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins now.
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Microseconds since the start.
    pub fn micros(self) -> u64 {
        self.0.elapsed().as_micros() as u64
    }
}
