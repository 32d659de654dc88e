//! How far it is, on the standard error, if somebody sits there.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two looks at the clock.
const EVERY: u64 = 1024;
const PAUSE: Duration = Duration::from_millis(200);

/// Counts, and says so now and then.
pub struct Progress {
    what: &'static str,
    count: u64,
    said: Instant,
    /// Nobody reads it otherwise.
    terminal: bool,
    begun: bool,
}

impl Progress {
    /// Of these things.
    pub fn new(what: &'static str) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        Progress { what, count: 0, said: Instant::now(), terminal, begun: false }
    }

    /// So many more.
    pub fn add(&mut self, count: u64) {
        self.count += count;
        if self.terminal && self.count.is_multiple_of(EVERY) && self.said.elapsed() >= PAUSE {
            self.said = Instant::now();
            self.begun = true;
            let mut err = std::io::stderr().lock();
            // Whoever closed it does not want to know.
            let _ = write!(err, "\r{} {} ", self.count, self.what).and_then(|()| err.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.begun {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
