//! The short road between two edges: batches go straight into a mailbox of the reader, bounded in bytes.
//!
//! What travels here is transient, so a mailbox that is full refuses: its reader sees the gap in the numbers, as on the
//! lanes of the spine. The figures that decided for it are in ARCHITECTURE.md.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

/// A batch on its way.
#[derive(Debug)]
pub struct Letter {
    /// Who sends it, as in [`crate::spine::Batch`].
    pub sender: u8,
    /// Its number among those of this sender for this mailbox.
    pub number: u64,
    /// What was sent before has a smaller one, whoever sent it.
    pub stamp: u64,
    /// The frames.
    pub frames: Bytes,
}

/// Letters that may wait besides the bound in bytes, which counts for nothing where they are small.
const LETTERS: usize = 65_536;

/// Where letters for one edge are posted.
#[derive(Debug, Clone)]
pub struct Slit {
    letters: mpsc::Sender<Letter>,
    waiting: Arc<AtomicUsize>,
    bound: usize,
}

/// Where one edge takes them out.
#[derive(Debug)]
pub struct Mailbox {
    letters: mpsc::Receiver<Letter>,
    /// Looked at, and not taken yet.
    first: Option<Letter>,
    waiting: Arc<AtomicUsize>,
}

/// A mailbox in which at most so many bytes wait, and one letter more.
pub fn mailbox(bound: usize) -> (Slit, Mailbox) {
    let (sender, letters) = mpsc::channel(LETTERS);
    let waiting = Arc::new(AtomicUsize::new(0));
    (Slit { letters: sender, waiting: waiting.clone(), bound }, Mailbox { letters, first: None, waiting })
}

impl Slit {
    /// Posts a letter; one that finds the mailbox full is lost, and so is one for an edge that has ended.
    pub fn post(&self, letter: Letter) {
        if self.waiting.load(Ordering::Relaxed) >= self.bound {
            return;
        }
        // Before it can be taken out.
        let bytes = letter.frames.len();
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        if self.letters.try_send(letter).is_err() {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Mailbox {
    /// The next letter; nothing once nobody can post any more. May be dropped while it waits without losing anything.
    pub async fn next(&mut self) -> Option<Letter> {
        let letter = match self.first.take() {
            Some(letter) => letter,
            None => self.letters.recv().await?,
        };
        self.takes(&letter);
        Some(letter)
    }

    /// The next letter, if it is here and was sent before this.
    pub fn next_before(&mut self, stamp: u64) -> Option<Letter> {
        let letter = self.first.take().or_else(|| self.letters.try_recv().ok())?;
        if letter.stamp < stamp {
            self.takes(&letter);
            return Some(letter);
        }
        self.first = Some(letter);
        None
    }

    fn takes(&self, letter: &Letter) {
        self.waiting.fetch_sub(letter.frames.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(number: u64, bytes: usize) -> Letter {
        Letter { sender: 1, number, stamp: number, frames: vec![7; bytes].into() }
    }

    #[tokio::test]
    async fn a_full_mailbox_takes_letters_again_when_it_is_emptied() {
        let (slit, mut mailbox) = mailbox(10);
        [letter(0, 6), letter(1, 6), letter(2, 1)].into_iter().for_each(|letter| slit.post(letter));
        assert_eq!(mailbox.next().await.unwrap().number, 0);
        slit.post(letter(3, 1));
        assert_eq!(mailbox.next().await.unwrap().number, 1);
        assert_eq!(mailbox.next().await.unwrap().number, 3, "the one that found it full is lost");
        drop(slit);
        assert!(mailbox.next().await.is_none());
    }

    #[tokio::test]
    async fn a_letter_that_was_sent_later_waits() {
        let (slit, mut mailbox) = mailbox(10);
        (3..5).for_each(|number| slit.post(letter(number, 1)));
        assert_eq!(mailbox.next_before(4).unwrap().number, 3);
        assert!(mailbox.next_before(4).is_none());
        assert_eq!(mailbox.next().await.unwrap().number, 4);
        assert!(mailbox.next_before(9).is_none());
    }
}
