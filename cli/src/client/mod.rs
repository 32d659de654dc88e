//! A client of any MQTT server: connect, publish, subscribe, come back.
//!
//! `Connection` is what commands use. Below it, a `Link` is one connection from CONNECT to its end, with `v4` and `v5` as
//! the only places that know the library's two halves.

pub mod address;
mod backoff;
mod connection;
mod goodbye;
mod link;
pub mod message;
pub mod options;
mod outbox;
pub mod properties;
mod shutdown;
pub mod tls;
mod v4;
mod v5;
pub mod words;

pub use connection::{Connection, Event, Retry};
pub use message::{Draft, Message, Qos, Receipt, Refusal, Subscription};
pub use outbox::Key;
pub use shutdown::Shutdown;

use crate::exit::{Exit, Failure};
use std::time::Duration;

/// Tells the person at the terminal what happens to the connection.
pub fn announce(event: &Event) {
    match event {
        Event::Down(goodbye, delay) if delay.is_zero() => {
            eprintln!("hubbub: {}; connecting again", goodbye.message)
        }
        Event::Down(goodbye, delay) => {
            eprintln!("hubbub: {}; trying again in {:.0} s", goodbye.message, delay.as_secs_f64());
        }
        Event::Subscribed(grants) => {
            for refusal in grants.iter().filter_map(|grant| grant.as_ref().err()) {
                eprintln!("hubbub: not subscribed: {refusal}");
            }
        }
        _ => {}
    }
}

/// A subscription of which nothing was granted is a failure.
pub fn check_granted(grants: &[Result<Qos, Refusal>]) -> Result<(), Failure> {
    let refusals: Vec<&Refusal> = grants.iter().filter_map(|grant| grant.as_ref().err()).collect();
    match refusals.first() {
        Some(first) if refusals.len() == grants.len() => Err(refused("not subscribed", first)),
        _ => Ok(()),
    }
}

/// The failure that a refusal leads to.
pub fn refused(what_failed: &str, refusal: &Refusal) -> Failure {
    let exit = if refusal.rights { Exit::Refused } else { Exit::Failed };
    Failure::new(exit, format!("{what_failed}: {refusal}"))
}

/// Runs the asynchronous part of a command on a runtime of its own.
pub fn run<T>(command: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let result = runtime.block_on(command);
    // Without waiting: a thread that reads the terminal ends only with the next line.
    runtime.shutdown_background();
    Ok(result)
}

/// Resolves when the time is up; without a limit never.
pub async fn time_limit(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// The end by `-W`.
pub fn timed_out() -> Failure {
    Failure::new(Exit::TimedOut, "timed out")
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod grant_tests {
    use super::*;

    #[test]
    fn one_granted_filter_is_enough() {
        let refusal = Refusal { what: "not authorised".into(), why: None, rights: true };
        let denied = Err(refusal);
        assert!(check_granted(&[denied.clone(), Ok(Qos::AtMostOnce)]).is_ok());
        assert_eq!(check_granted(&[denied.clone(), denied]).unwrap_err().exit, Exit::Refused);
    }
}
