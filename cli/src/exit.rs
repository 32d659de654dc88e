//! Exit statuses: what a script learns from the way a command ended.

use std::fmt;

/// How a command can end other than well. The numbers are those of `sysexits.h`, and 27 is what `mosquitto_sub` uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Anything that has no number of its own.
    Failed = 1,
    /// `-W` seconds went by.
    TimedOut = 27,
    /// The command line makes no sense.
    Usage = 64,
    /// The server cannot be reached, or left and did not come back.
    Unavailable = 69,
    /// The server refused the login, or the right to do this.
    Refused = 77,
    /// The configuration has mistakes.
    Configuration = 78,
}

/// An end with a status and one sentence for the person at the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The status of the process.
    pub exit: Exit,
    /// One sentence, without a full stop, that may name the remedy.
    pub message: String,
}

impl Failure {
    /// A failure with its status and its sentence.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }

    /// The command line makes no sense.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The status that belongs to an error, looking through the context that was put around it.
pub fn status_of(error: &anyhow::Error) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.exit;
    }
    if error.downcast_ref::<hubbub_config::Mistakes>().is_some() {
        return Exit::Configuration;
    }
    Exit::Failed
}

/// Is this the reader of our output going away (`hubbub sub … | head -1`)? That is an end, and no failure.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The end of every help page: examples, then the statuses.
pub fn help_tail(examples: &str) -> String {
    let mut text = String::new();
    if !examples.is_empty() {
        text.push_str("Examples:\n");
        for line in examples.trim().lines() {
            text.push_str("  ");
            text.push_str(line.trim_start());
            text.push('\n');
        }
        text.push('\n');
    }
    text.push_str(STATUSES);
    text
}

const STATUSES: &str = "\
Exit status:
   0  done
   1  failed
  27  timed out (-W)
  64  the command line makes no sense
  69  the server cannot be reached, or did not come back
  77  refused: login, or rights
  78  the configuration has mistakes";

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_status_survives_added_context() {
        let error: anyhow::Result<()> = Err(Failure::new(Exit::Refused, "no").into());
        assert_eq!(status_of(&error.context("while publishing").unwrap_err()), Exit::Refused);
        assert_eq!(status_of(&anyhow::anyhow!("odd")), Exit::Failed);
    }

    #[test]
    fn the_help_names_every_status() {
        use Exit::{Configuration, Failed, Refused, TimedOut, Unavailable, Usage};
        for exit in [Failed, TimedOut, Usage, Unavailable, Refused, Configuration] {
            assert!(STATUSES.contains(&format!(" {}  ", exit as u8)), "{exit:?} is missing in the help");
        }
    }

    #[test]
    fn a_reader_that_left_is_recognised() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&anyhow::Error::from(broken).context("printing")));
        assert!(!is_closed_pipe(&anyhow::anyhow!("odd")));
    }
}
