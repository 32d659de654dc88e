//! Ctrl-C and SIGTERM as a future.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears the wish to end.
#[derive(Debug)]
pub struct Shutdown {
    interrupt: Signal,
    terminate: Signal,
}

impl Shutdown {
    /// Listens from now on; the signals no longer end the process by themselves.
    pub fn listen() -> std::io::Result<Shutdown> {
        Ok(Shutdown {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Resolves with the first signal. May be abandoned and called again.
    pub async fn wanted(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
