//! Who publishes what, and who should hear it.

use super::envelope;
use super::groups::Circles;
use super::stamp::{Stamp, StampForm};
use super::target::Client;

/// What a scenario sets up; [`Traffic`](super::traffic::Traffic) carries it out.
pub struct Plan {
    /// Heading of the report.
    pub title: String,
    /// All connections; the place in this list is the *seat*.
    pub clients: Vec<Client>,
    /// What each seat should hear.
    pub ears: Vec<Ear>,
    /// Seat of each publisher, and the topics to which it writes in turn.
    pub publishers: Vec<(usize, Vec<String>)>,
    /// Subscribers that hear each message; 0 if they are away.
    pub copies: u64,
    /// How payloads look.
    pub form: PayloadForm,
}

/// What one seat should hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ear {
    /// Nothing.
    Nobody,
    /// One publisher.
    From(u32),
    /// All publishers; it is the only subscriber.
    Everybody,
    /// The only publisher; it is the subscriber of this number among many.
    Copy(u32),
    /// Everybody who writes to a group of this user.
    Member(Circles, u32),
}

/// How a stamp travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadForm {
    /// The payload arrives as it was sent.
    Raw,
    /// It is sent as text and arrives as the body of a JSON envelope.
    Envelope,
}

impl Ear {
    /// The number of the stream that a message of `publisher` belongs to, or `None` if it should not be heard here.
    pub fn stream(self, publisher: u32) -> Option<usize> {
        match self {
            Self::Nobody => None,
            Self::From(expected) => (expected == publisher).then_some(publisher as usize),
            Self::Everybody => Some(publisher as usize),
            Self::Copy(subscriber) => (publisher == 0).then_some(subscriber as usize),
            Self::Member(circles, user) => circles.stream(user, publisher),
        }
    }
}

impl PayloadForm {
    /// How the stamp is written.
    pub fn stamp_form(self) -> StampForm {
        match self {
            Self::Raw => StampForm::Binary,
            Self::Envelope => StampForm::Text,
        }
    }

    /// The stamp of an arriving payload.
    pub fn read(self, payload: &[u8]) -> Option<Stamp> {
        match self {
            Self::Raw => StampForm::Binary.read(payload),
            Self::Envelope => StampForm::Text.read(envelope::body(payload)?),
        }
    }
}

impl Plan {
    /// Streams that are tracked: one per publisher and hearing subscriber.
    pub fn stream_count(&self) -> usize {
        self.publishers.len() * self.copies as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ears_hear_their_own_streams_only() {
        assert_eq!(Ear::Nobody.stream(0), None);
        assert_eq!((Ear::From(3).stream(3), Ear::From(3).stream(4)), (Some(3), None));
        assert_eq!(Ear::Everybody.stream(4), Some(4));
        assert_eq!((Ear::Copy(9).stream(0), Ear::Copy(9).stream(1)), (Some(9), None));
    }

    #[test]
    fn a_stamp_is_found_in_an_envelope() {
        let stamp = Stamp { run: 1, publisher: 2, seq: 3, sent_ns: 4 };
        let mut text = vec![b'x'; 64];
        StampForm::Text.write(stamp, &mut text);
        let envelope =
            format!(r#"{{"n":1,"from":"u0","body":"{}","ts":5}}"#, String::from_utf8(text).unwrap());
        assert_eq!(PayloadForm::Envelope.read(envelope.as_bytes()), Some(stamp));
        assert_eq!(PayloadForm::Envelope.read(br#"{"n":1,"body":"left over"}"#), None);
    }
}
