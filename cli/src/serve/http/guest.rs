//! Connections to the pages: so many at once, each for so long, and nobody waits for somebody who is slow.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Connections at once.
const MOST: usize = 64;

/// How long a request with its answer may take, and one piece of an answer that is a stream.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
pub struct Guest {
    peer: SocketAddr,
    /// Whether it has shown the token.
    known: AtomicBool,
    /// When it has to be done.
    until: Mutex<Instant>,
}

/// Everybody who is there, the longest first.
#[derive(Default)]
pub struct Guests {
    here: VecDeque<(Arc<Guest>, JoinHandle<()>)>,
}

impl Guest {
    /// Who has just come, from there.
    pub fn new(peer: SocketAddr) -> Guest {
        Guest { peer, known: AtomicBool::new(false), until: Mutex::new(Instant::now() + PATIENCE) }
    }

    /// Where from.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// It has shown the token: it keeps its place.
    pub fn is_known(&self) {
        self.known.store(true, Ordering::Relaxed);
    }

    /// It took a piece of a long answer: it may go on.
    pub fn moves(&self) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + PATIENCE;
    }

    /// Serves it, until it is done or its time is over.
    pub async fn attend<T>(&self, connection: impl Future<Output = T>) {
        tokio::pin!(connection);
        loop {
            let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
            tokio::select! {
                _ = &mut connection => return,
                () = tokio::time::sleep_until(until) => {}
            }
            if *self.until.lock().unwrap_or_else(PoisonError::into_inner) <= Instant::now() {
                return;
            }
        }
    }
}

impl Guests {
    /// Sees that there is a place: if need be the one who has been there longest goes, unless it has shown the token.
    /// `false` if all have.
    pub fn make_room(&mut self) -> bool {
        self.here.retain(|(_, task)| !task.is_finished());
        if self.here.len() < MOST {
            return true;
        }
        let longest = self.here.iter().position(|(guest, _)| !guest.known.load(Ordering::Relaxed));
        let gone = longest.and_then(|place| self.here.remove(place));
        gone.inspect(|(_, task)| task.abort()).is_some()
    }

    /// Gives it the place.
    pub fn welcome(&mut self, guest: Arc<Guest>, task: JoinHandle<()>) {
        self.here.push_back((guest, task));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_house() -> (Guests, Vec<Arc<Guest>>) {
        let mut guests = Guests::default();
        let come = (0..MOST).map(|port| {
            assert!(guests.make_room());
            let guest = Arc::new(Guest::new(([127, 0, 0, 1], port as u16).into()));
            guests.welcome(guest.clone(), tokio::spawn(std::future::pending()));
            guest
        });
        let come = come.collect();
        (guests, come)
    }

    #[tokio::test]
    async fn nobody_waits_for_a_guest_who_is_slow() {
        let (mut guests, come) = full_house();
        come[0].is_known();
        for gone in &come[1..] {
            assert!(guests.make_room());
            assert!(!guests.here.iter().any(|(guest, _)| Arc::ptr_eq(guest, gone)), "the longest there goes");
            guests.welcome(Arc::new(Guest::new(gone.peer())), tokio::spawn(std::future::pending()));
            assert_eq!(guests.here.len(), MOST);
        }
        assert!(Arc::ptr_eq(&guests.here[0].0, &come[0]), "who has shown the token stays");
        guests.here.iter().for_each(|(guest, _)| guest.is_known());
        assert!(!guests.make_room(), "there is nobody who could be asked to go");
    }

    #[tokio::test]
    async fn whoever_is_done_has_left_a_place() {
        let (mut guests, _) = full_house();
        guests.here[7].1.abort();
        while !guests.here[7].1.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(guests.make_room());
        assert_eq!(guests.here.len(), MOST - 1);
    }

    #[tokio::test]
    async fn a_guest_has_so_much_time_and_more_while_it_moves() {
        let guest = Guest::new(([127, 0, 0, 1], 1).into());
        *guest.until.lock().unwrap() = Instant::now();
        guest.attend(std::future::pending::<()>()).await;
        let before = Instant::now();
        guest.moves();
        assert!(*guest.until.lock().unwrap() >= before + PATIENCE);
        assert_eq!(guest.attend(async { 1 }).await, ());
    }
}
