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

/// What waits to be read. A reader asks for one page after the other, so those are as many as there are readers; requests may be
/// sent as fast as somebody likes, so there are only so many of each user.
#[derive(Debug)]
pub struct Backlog {
    pages: VecDeque<Page>,
    requests: VecDeque<Request>,
    of_user: HashMap<ByteString, usize, RandomState>,
    requests_max: usize,
    page_is_next: bool,
}

impl Backlog {
    /// Nothing waits. Of each user there may be so many requests.
    pub fn new(requests_max: usize) -> Backlog {
        Backlog {
            pages: VecDeque::new(),
            requests: VecDeque::new(),
            of_user: HashMap::default(),
            requests_max,
            page_is_next: false,
        }
    }

    /// One more page.
    pub fn page(&mut self, page: Page) {
        self.pages.push_back(page);
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
            self.pages.pop_front().map(Later::Page).or_else(|| self.next_answer())
        } else {
            self.next_answer()
        }
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
        self.pages.is_empty() && self.requests.is_empty()
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

    fn page(from: u64) -> Page {
        let at = Place { edge: 0, slot: 0, generation: 0, reader: 0 };
        Page { at, source: Source::Queue, owner: "bob".into(), from, max: 1 }
    }

    #[test]
    fn whoever_asks_without_end_is_refused_and_holds_up_nobody() {
        let mut backlog = Backlog::new(3);
        assert_eq!((0..100).filter(|_| backlog.request(request("mallory"))).count(), 3);
        assert!(backlog.request(request("bob")));
        (0..2).for_each(|from| backlog.page(page(from)));
        let kinds = std::iter::from_fn(|| backlog.next()).map(|later| matches!(later, Later::Page(_)));
        assert_eq!(kinds.collect::<Vec<_>>(), [true, false, true, false, false, false]);
        assert!(backlog.is_empty() && backlog.request(request("mallory")));
    }
}
