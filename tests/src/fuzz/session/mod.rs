//! A whole session, between a client that may say anything and a bridge that stores, answers late, loses and crashes.
//!
//! | part | what it is |
//! |---|---|
//! | `desk` | carries out what the session wants, as an edge does |
//! | `client` | holds what the session sends against the specification |
//! | `app` | what a person behind the client would have got |
//! | `bridge` | what is on disk, and the lanes in both directions |
//! | `said`, `parcel` | packets and messages, made of a few bytes |

mod app;
mod bridge;
mod client;
mod desk;
mod parcel;
mod said;

use arbitrary::{Arbitrary, Unstructured};
use hubbub_broker::goodbye::Goodbye;
use hubbub_broker::lane::Source;

use self::desk::{Desk, Fate};
use self::parcel::{Level, Parcel};
use self::said::{Hello, Saying};

/// A session fed with whatever the case says. It stops at the first promise that is not kept.
pub fn session(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut desk = Desk::default();
    while !input.is_empty()
        && let Ok(step) = Step::arbitrary(&mut input)
    {
        step.happens(&mut desk);
    }
    desk.comes_to_rest();
}

/// One thing that happens.
#[derive(Debug, Arbitrary)]
enum Step<'a> {
    /// The client connects, and takes over if it is connected already.
    Connect(Hello),
    /// The link breaks.
    Lose,
    /// The client sends bytes that may mean anything.
    Bytes(&'a [u8]),
    Publish(Saying, Fate),
    /// The client says what is next for one of the messages in flight.
    Ack(u8),
    /// The client says something else for one of the messages in flight.
    WrongAck {
        which: u8,
        kind: u8,
        refused: bool,
    },
    Release(u8),
    Subscribe {
        filters: u8,
        bad: bool,
    },
    Disconnect(Option<u8>),
    /// A message that is not stored for the session.
    Deliver(Parcel),
    /// A message that is stored for the session.
    Store {
        inbox: bool,
        parcel: Parcel,
    },
    /// So many messages were queued and taken that packet identifiers begin anew.
    Jump(u8),
    /// The session begins to read its inbox.
    Attach(Level),
    Detach,
    /// The bridge works off what it was told.
    Commit,
    /// Something arrives from the bridge.
    Arrive(u8),
    /// What was on its way from the bridge is lost, and the edge notices.
    Gap,
    /// The process ends and starts again.
    Crash,
    /// The client reads what is in the out buffer.
    Read,
    /// Milliseconds pass.
    Wait(u16),
}

impl Step<'_> {
    fn happens(self, desk: &mut Desk) {
        match self {
            Step::Connect(hello) => desk.connect(&hello.packet()),
            Step::Lose => desk.end(Goodbye::LinkLost),
            Step::Bytes(bytes) => desk.bytes(bytes),
            Step::Publish(saying, fate) => {
                desk.fate = fate;
                desk.says(saying.packet());
                desk.fate = Fate::default();
            }
            Step::Ack(which) => desk.ack(which),
            Step::WrongAck { which, kind, refused } => desk.wrong_ack(which, kind, refused),
            Step::Release(packet_id) => desk.says(said::release(packet_id)),
            Step::Subscribe { filters, bad } => desk.says(said::subscribe(filters, bad)),
            Step::Disconnect(expiry) => desk.says(said::disconnect(expiry)),
            Step::Deliver(parcel) => desk.deliver(parcel),
            Step::Store { inbox: false, parcel } => desk.store(Source::Queue, parcel),
            Step::Store { inbox: true, parcel } => desk.store(Source::Inbox, parcel),
            Step::Jump(back) => desk.bridge.jump(back),
            Step::Attach(level) => desk.attach(Source::Inbox, level.into()),
            Step::Detach => desk.detach(),
            Step::Commit => desk.bridge.commit(),
            Step::Arrive(count) => (0..=count % 8).take_while(|_| desk.arrive()).for_each(drop),
            Step::Gap => desk.gap(),
            Step::Crash => desk.crash(),
            Step::Read => desk.read(),
            Step::Wait(millis) => desk.wait(millis),
        }
    }
}
