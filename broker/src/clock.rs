//! The one place that reads the clock. Everything else is handed `now`.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

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

    /// The instant, for timers of the runtime, at which [`Clock::now`] will be `at`.
    pub fn instant(&self, at: Millis) -> Instant {
        self.started + std::time::Duration::from_millis(at.saturating_sub(self.started_at))
    }
}
