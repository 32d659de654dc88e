//! What is read from the disk behind the commit of a turn: pages for readers, and answers to requests.

use std::collections::{HashMap, VecDeque};

use ahash::RandomState;
use bytestring::ByteString;

use hubbub_broker::lane::{Place, Source};

use crate::rpc::Request;

/// One thing to read.
#[derive(Debug)]
pub enum Later {
    /// A page of a queue or an inbox.
    Page(Page),
    /// The answer to a request.
    Answer(Request),
}

/// A page of a queue or an inbox.
#[derive(Debug)]
pub struct Page {
    /// Who asks.
    pub at: Place,
    /// Of which kind.
    pub source: Source,
    /// Whose: a client id for a queue, a user for an inbox.
    pub owner: ByteString,
    /// The first position.
    pub from: u64,
    /// Entries at most.
    pub max: usize,
}

/// Edge, slot, and what is read.
type Reader = (u8, u32, Source);

/// What waits to be read: one page for each reader, and of each user only so many requests, which may be sent as fast as
/// somebody likes.
#[derive(Debug)]
pub struct Backlog {
    /// In turn.
    readers: VecDeque<Reader>,
    pages: HashMap<Reader, Page, RandomState>,
    requests: VecDeque<Request>,
    of_user: HashMap<ByteString, usize, RandomState>,
    requests_max: usize,
    page_is_next: bool,
}

impl Backlog {
    /// Nothing waits. Of each user there may be so many requests.
    pub fn new(requests_max: usize) -> Backlog {
        Backlog {
            readers: VecDeque::new(),
            pages: HashMap::default(),
            requests: VecDeque::new(),
            of_user: HashMap::default(),
            requests_max,
            page_is_next: false,
        }
    }

    /// One more page, in place of one that the same slot asked for before: whoever did so does not read any more.
    pub fn page(&mut self, page: Page) {
        let reader = (page.at.edge, page.at.slot, page.source);
        if self.pages.insert(reader, page).is_none() {
            self.readers.push_back(reader);
        }
    }

    /// One more request; `false` if there are too many of its user.
    pub fn request(&mut self, request: Request) -> bool {
        let count = self.of_user.entry(request.user().clone()).or_default();
        if *count >= self.requests_max {
            return false;
        }
        *count += 1;
        self.requests.push_back(request);
        true
    }

    /// What is read next: pages and requests in turn, so that neither holds up the other.
    pub fn next(&mut self) -> Option<Later> {
        self.page_is_next = !self.page_is_next;
        if self.page_is_next || self.requests.is_empty() {
            self.next_page().or_else(|| self.next_answer())
        } else {
            self.next_answer()
        }
    }

    fn next_page(&mut self) -> Option<Later> {
        let reader = self.readers.pop_front()?;
        self.pages.remove(&reader).map(Later::Page)
    }

    fn next_answer(&mut self) -> Option<Later> {
        let request = self.requests.pop_front()?;
        if let Some(count) = self.of_user.get_mut(request.user()) {
            *count -= 1;
            if *count == 0 {
                self.of_user.remove(request.user());
            }
        }
        Some(Later::Answer(request))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.readers.is_empty() && self.requests.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use hubbub_broker::message::Message;

    use super::*;

    fn request(user: &str) -> Request {
        let message = Message { topic: "rpc/history/1".into(), ..Message::default() };
        Request::read(&user.into(), &message).unwrap()
    }

    fn page(slot: u32, from: u64) -> Page {
        let at = Place { edge: 0, slot, generation: 0, reader: 0 };
        Page { at, source: Source::Queue, owner: "bob".into(), from, max: 1 }
    }

    #[test]
    fn whoever_asks_without_end_is_refused_and_holds_up_nobody() {
        let mut backlog = Backlog::new(3);
        assert_eq!((0..100).filter(|_| backlog.request(request("mallory"))).count(), 3);
        assert!(backlog.request(request("bob")));
        (0..2).for_each(|slot| backlog.page(page(slot, 0)));
        let kinds = std::iter::from_fn(|| backlog.next()).map(|later| matches!(later, Later::Page(_)));
        assert_eq!(kinds.collect::<Vec<_>>(), [true, false, true, false, false, false]);
        assert!(backlog.is_empty() && backlog.request(request("mallory")));
    }

    #[test]
    fn a_reader_that_begins_anew_again_and_again_is_read_for_once() {
        let mut backlog = Backlog::new(3);
        (0..100).for_each(|from| backlog.page(page(7, from)));
        assert!(matches!(backlog.next(), Some(Later::Page(Page { from: 99, .. }))), "the last one");
        assert!(backlog.next().is_none() && backlog.is_empty());
    }
}
