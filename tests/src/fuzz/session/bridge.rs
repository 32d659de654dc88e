//! The bridge as a session sees it: what is on disk for it, and what is on its way in either direction.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hubbub_broker::lane::Source;

use super::parcel::Parcel;

/// Entries of a page; few, so that there are many pages.
const PAGE: usize = 3;

/// Packet identifiers of the queue: after so many positions the same one comes again.
const PACKET_IDS: u64 = 0x7fff;

/// What is on disk for the session, and the two lanes.
#[derive(Debug, Default)]
pub(super) struct Bridge {
    queue: Stream,
    inbox: Stream,
    /// QoS 2 packet identifiers of the client between PUBLISH and PUBREL.
    pub inbound: BTreeSet<u16>,
    /// Packet identifiers of queue entries between PUBREC and PUBCOMP.
    pub released: BTreeSet<u16>,
    /// Positions of the queue that it was told to be received.
    told_received: BTreeSet<u64>,
    jumped: bool,
    to_bridge: VecDeque<ToBridge>,
    to_edge: VecDeque<ToEdge>,
}

/// The queue or the inbox.
#[derive(Debug, Default)]
pub(super) struct Stream {
    head: u64,
    /// What the device took of an inbox.
    cursor: u64,
    /// The same, by what the bridge was told but may not have committed.
    told: u64,
    pub stored: BTreeMap<u64, Parcel>,
    /// The number of the reader.
    reader: Option<u32>,
}

/// What the edge tells the bridge.
#[derive(Debug)]
pub(super) enum ToBridge {
    /// Something is waited for; a packet identifier may have to be remembered, or forgotten.
    Work {
        token: u64,
        code: u8,
        remember: Option<u16>,
        forget: Option<u16>,
    },
    Attach {
        source: Source,
        reader: u32,
        owed: bool,
    },
    Detach(Source),
    Fetch {
        source: Source,
        reader: u32,
        from: u64,
    },
    Taken {
        source: Source,
        position: u64,
    },
    Received {
        position: u64,
        packet_id: u16,
    },
    Completed(u16),
}

/// What the bridge tells the edge.
#[derive(Debug)]
pub(super) enum ToEdge {
    Done { token: u64, code: u8 },
    Entry { source: Source, reader: u32, position: u64, parcel: Parcel, fetched: bool },
    Page { source: Source, reader: u32, next: u64, more: bool },
    Released(u16),
}

impl Bridge {
    pub fn stream(&mut self, source: Source) -> &mut Stream {
        if source == Source::Queue { &mut self.queue } else { &mut self.inbox }
    }

    /// Stores a message and pushes it to whoever reads.
    pub fn store(&mut self, source: Source, parcel: Parcel) {
        let stream = self.stream(source);
        stream.head += 1;
        let position = stream.head;
        stream.stored.insert(position, parcel);
        if let Some(reader) = stream.reader {
            self.to_edge.push_back(ToEdge::Entry { source, reader, position, parcel, fetched: false });
        }
    }

    /// An entry of the queue, or an inbox up to an entry, is taken; gives back what that is, but for what was taken before.
    pub fn told_taken(&mut self, source: Source, position: u64) -> Vec<Parcel> {
        let taken = self.taken_by(source, position);
        self.tell(ToBridge::Taken { source, position });
        let stream = self.stream(source);
        stream.told = stream.told.max(position);
        taken
    }

    /// An entry of the queue is received; gives back what that is, but for what was told before.
    pub fn told_received(&mut self, position: u64, packet_id: u16) -> Option<Parcel> {
        self.tell(ToBridge::Received { position, packet_id });
        let is_new = self.told_received.insert(position);
        self.queue.stored.get(&position).filter(|_| is_new).copied()
    }

    /// What [`Bridge::told_taken`] gives back, before it is told.
    pub fn taken_by(&mut self, source: Source, position: u64) -> Vec<Parcel> {
        let stream = self.stream(source);
        let from = if source == Source::Queue { position } else { stream.told + 1 };
        let taken = stream.stored.iter().filter(|(at, _)| (from..=position).contains(at));
        taken.map(|(_, parcel)| *parcel).collect()
    }

    /// As if thousands of messages had been queued and taken: packet identifiers come round to about where they were.
    pub fn jump(&mut self, back: u8) {
        self.jumped = true;
        self.queue.head += PACKET_IDS - u64::from(back % 8);
    }

    pub fn tell(&mut self, told: ToBridge) {
        self.to_bridge.push_back(told);
    }

    /// One turn of the committer: applies everything that it was told, then reads the pages.
    pub fn commit(&mut self) {
        let mut pages = Vec::new();
        for told in std::mem::take(&mut self.to_bridge) {
            self.apply(told, &mut pages);
        }
        for (source, reader, from) in pages {
            self.page(source, reader, from);
        }
    }

    fn apply(&mut self, told: ToBridge, pages: &mut Vec<(Source, u32, u64)>) {
        match told {
            ToBridge::Work { token, code, remember, forget } => {
                self.inbound.extend(remember.filter(|_| code < 0x80));
                forget.map(|packet_id| self.inbound.remove(&packet_id));
                self.to_edge.push_back(ToEdge::Done { token, code });
            }
            ToBridge::Attach { source, reader, owed } => {
                let stream = self.stream(source);
                stream.reader = Some(reader);
                let from = match source {
                    Source::Queue => 0,
                    Source::Inbox if owed => stream.cursor + 1,
                    Source::Inbox => stream.head + 1,
                };
                pages.push((source, reader, from));
            }
            ToBridge::Detach(source) => self.stream(source).reader = None,
            ToBridge::Fetch { source, reader, from } => pages.push((source, reader, from)),
            ToBridge::Taken { source: Source::Queue, position } => drop(self.queue.stored.remove(&position)),
            ToBridge::Taken { source: Source::Inbox, position } => {
                self.inbox.cursor = self.inbox.cursor.max(position);
            }
            ToBridge::Received { position, packet_id } => {
                self.queue.stored.remove(&position);
                self.released.insert(packet_id);
                self.to_edge.push_back(ToEdge::Released(packet_id));
            }
            ToBridge::Completed(packet_id) => drop(self.released.remove(&packet_id)),
        }
    }

    fn page(&mut self, source: Source, reader: u32, from: u64) {
        let stream = self.stream(source);
        let mut found: Vec<_> =
            stream.stored.range(from..).take(PAGE + 1).map(|(at, parcel)| (*at, *parcel)).collect();
        let more = found.len() > PAGE;
        found.truncate(PAGE);
        let mut next = found.last().map_or(from, |(position, _)| position + 1);
        if source == Source::Queue && !more {
            next = next.max(stream.head + 1);
        }
        for (position, parcel) in found {
            self.to_edge.push_back(ToEdge::Entry { source, reader, position, parcel, fetched: true });
        }
        self.to_edge.push_back(ToEdge::Page { source, reader, next, more });
    }

    /// The next thing that arrives at the edge.
    pub fn arrives(&mut self) -> Option<ToEdge> {
        self.to_edge.pop_front()
    }

    /// What is on its way to the edge is lost.
    pub fn lose_frames(&mut self) {
        self.to_edge.clear();
    }

    /// The process ends: what was not committed is lost, and nobody reads.
    ///
    /// A packet identifier that came round, and was used again while the disk had not heard that it was free, is not told
    /// from its predecessor after a crash. It takes a message that stays unacknowledged while 32,766 others come and go,
    /// and a crash within the commit that follows its acknowledgement: not a promise that is checked here.
    pub fn crash(&mut self) {
        if self.jumped {
            self.commit();
        }
        self.to_bridge.clear();
        self.to_edge.clear();
        (self.queue.reader, self.inbox.reader) = (None, None);
        self.inbox.told = self.inbox.cursor;
        self.told_received.clear();
    }
}
