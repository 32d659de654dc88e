//! Slow work of logins: so much at once, so much that waits, and no more.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use hubbub_broker::policy::LoginRefusal;

/// Lets through as many as may work, in the order in which they came.
pub(crate) struct Turnstile {
    /// Those at work and those that wait.
    places: Arc<Semaphore>,
    work: Arc<Semaphore>,
}

/// Somebody's turn. It goes along with the work, also if nobody waits for its result any more.
pub(crate) struct Turn {
    _place: OwnedSemaphorePermit,
    _work: OwnedSemaphorePermit,
}

impl Turnstile {
    pub fn new(at_work: usize, waiting: usize) -> Turnstile {
        let places = Arc::new(Semaphore::new(at_work + waiting));
        Turnstile { places, work: Arc::new(Semaphore::new(at_work)) }
    }

    /// Waits for a turn; refuses at once if too many wait.
    pub async fn enter(&self) -> Result<Turn, LoginRefusal> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| LoginRefusal::Busy)?;
        let work = self.work.clone().acquire_owned().await.map_err(|_| LoginRefusal::Unavailable)?;
        Ok(Turn { _place: place, _work: work })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_finds_too_many_waiting_is_refused_at_once() {
        let turnstile = Turnstile::new(1, 1);
        let working = turnstile.enter().await.unwrap();
        let mut waiting = Box::pin(turnstile.enter());
        assert!(
            std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await
        );
        assert_eq!(turnstile.enter().await.err(), Some(LoginRefusal::Busy));
        drop(working);
        let next = waiting.await.unwrap();
        drop(next);
        assert!(turnstile.enter().await.is_ok());
    }
}
