//! The road between edges and bridge: an embedded rumqttd router that carries batches over a few fixed lanes. From edge
//! to edge there is a shorter one (`mailbox.rs`), which is used through the same ends.
//!
//! This is the only place that names rumqttd. What users make up (topics, payloads, client ids) travels inside the
//! payload of a lane and never becomes a topic or client id of the router: its topics are the ASCII names of
//! [`Lane`], subscribed before anything is published. Every batch carries its sender and a number, so that a gap is
//! seen by the reader; a watchdog sends a heartbeat through every lane and reports a router that died or stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rumqttd::local::{LinkRx, LinkTx};
use rumqttd::protocol::{Packet, Publish};
use rumqttd::{Broker, Notification, RouterConfig};
use smallvec::SmallVec;
use thiserror::Error;

use crate::clock::{Clock, Deadline};
use crate::lane::{self, ToBridge, ToEdge};
use crate::mailbox::{Letter, Mailbox, Slit, mailbox};

/// The name under which the router logs its own business, for filters.
pub const LOG_TARGET: &str = "rumqttd";

/// A fixed road through the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// From the edges to the bridge.
    Bridge,
    /// To one edge.
    Edge(u8),
    /// To all edges.
    All,
}

impl Lane {
    fn topic(self) -> String {
        match self {
            Lane::Bridge => "bridge".to_owned(),
            Lane::Edge(edge) => format!("edge{edge}"),
            Lane::All => "edges".to_owned(),
        }
    }
}

/// How the spine is built; see the section `spine` of the configuration.
#[derive(Debug, Clone)]
pub struct SpineSettings {
    /// How many edges there are.
    pub edges: u8,
    /// Bytes in a segment of a lane's log.
    pub segment_bytes: usize,
    /// Segments that a lane keeps in memory; a reader that falls further behind has a gap.
    pub segments: usize,
    /// Time between two heartbeats.
    pub heartbeat: Duration,
    /// Silence on a lane after which the spine counts as dead.
    pub stall: Duration,
}

/// The spine cannot carry any more: the process has to end.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpineError {
    /// The router thread is gone.
    #[error("the message router has stopped")]
    Dead,
    /// It did not answer while it was being built.
    #[error("the message router does not start: {0}")]
    Start(String),
    /// A lane carried nothing for too long.
    #[error("lane {lane} of the message router has carried nothing for {silent_ms} ms")]
    Stalled {
        /// Which lane.
        lane: String,
        /// For how long.
        silent_ms: u64,
    },
}

/// One end of the spine for an edge or for the bridge.
pub struct End {
    /// For sending.
    pub tx: SpineTx,
    /// For receiving.
    pub rx: SpineRx,
}

/// The whole spine, before its ends are handed out.
pub struct Spine {
    /// The bridge's end.
    pub bridge: End,
    /// The end of each edge.
    pub edges: Vec<End>,
    /// Has to be run by a thread of its own.
    pub watchdog: Watchdog,
}

impl Spine {
    /// Starts the router and connects all ends; nothing is published before every lane is subscribed.
    pub fn start(settings: &SpineSettings, clock: Clock) -> Result<Spine, SpineError> {
        let broker = Broker::new(router_config(settings));
        let beat = || Arc::new(AtomicU64::new(clock.now()));
        let bridge_beats = vec![(Lane::Bridge, beat())];
        let edge_beats: Vec<Vec<_>> =
            (0..settings.edges).map(|edge| vec![(Lane::Edge(edge), beat()), (Lane::All, beat())]).collect();

        let stamps = Arc::default();
        let bridge = connect(&broker, 0, "bridge", &bridge_beats, clock, &stamps)?;
        let bound = settings.segment_bytes * settings.segments;
        let (slits, mailboxes): (Vec<_>, Vec<_>) = (0..settings.edges).map(|_| mailbox(bound)).unzip();
        let slits: Arc<[Slit]> = slits.into();
        let edges = (0..settings.edges).zip(&edge_beats).zip(mailboxes).map(|((edge, beats), mailbox)| {
            let mut end = connect(&broker, edge + 1, &format!("edge{edge}"), beats, clock, &stamps)?;
            (end.tx.slits, end.rx.mailbox) = (slits.clone(), Some(mailbox));
            Ok(end)
        });
        let edges = edges.collect::<Result<_, _>>()?;
        let tx = connect(&broker, u8::MAX, "watchdog", &[], clock, &stamps)?.tx;
        let beats = bridge_beats.into_iter().chain(edge_beats.into_iter().flatten()).collect();
        let lanes = (0..settings.edges).map(Lane::Edge).chain([Lane::Bridge, Lane::All]).collect();
        let watchdog =
            Watchdog { tx, lanes, beats, clock, heartbeat: settings.heartbeat, stall: settings.stall };
        Ok(Spine { bridge, edges, watchdog })
    }
}

fn router_config(settings: &SpineSettings) -> rumqttd::Config {
    let router = RouterConfig {
        max_connections: usize::from(settings.edges) + 4,
        max_outgoing_packet_count: 200,
        max_segment_size: settings.segment_bytes,
        max_segment_count: settings.segments,
        ..RouterConfig::default()
    };
    rumqttd::Config { id: 0, router, ..rumqttd::Config::default() }
}

fn connect(
    broker: &Broker,
    sender: u8,
    name: &str,
    lanes: &[(Lane, Arc<AtomicU64>)],
    clock: Clock,
    stamps: &Arc<AtomicU64>,
) -> Result<End, SpineError> {
    let start = |error: &dyn std::fmt::Display| SpineError::Start(error.to_string());
    let (mut link, mut notifications) = broker.link(name).map_err(|e| start(&e))?;
    for (lane, _) in lanes {
        link.subscribe(lane.topic()).map_err(|e| start(&e))?;
        let deadline = Deadline::after(Duration::from_secs(10));
        loop {
            match notifications.recv_deadline(deadline.instant()).map_err(|e| start(&e))? {
                Some(Notification::DeviceAck(_)) => break,
                _ => continue,
            }
        }
    }
    let beats = lanes.iter().map(|(lane, beat)| (Bytes::from(lane.topic()), beat.clone())).collect();
    Ok(End {
        tx: SpineTx { link, sender, next: Default::default(), slits: Arc::default(), stamps: stamps.clone() },
        rx: SpineRx {
            link: notifications,
            expected: Default::default(),
            beats,
            clock,
            mailbox: None,
            held: None,
        },
    })
}

/// Sends batches. One per edge, and one for the bridge.
pub struct SpineTx {
    link: LinkTx,
    sender: u8,
    next: std::collections::HashMap<Lane, u64>,
    /// The mailboxes of the edges, for an edge; nobody else has them.
    slits: Arc<[Slit]>,
    /// Counts the batches of all senders, so that a reader of both roads knows which was sent first.
    stamps: Arc<AtomicU64>,
}

impl SpineTx {
    /// Sends one batch over each lane named, whose frames are taken out of the buffer; the router is woken once. From edge to
    /// edge a batch goes into the mailbox.
    ///
    /// Blocks while the router's queue of wake-ups is full.
    pub fn send<'a>(
        &mut self,
        batches: impl IntoIterator<Item = (Lane, &'a mut BytesMut)>,
    ) -> Result<(), SpineError> {
        let stamp = self.stamp();
        let mut packets: SmallVec<[Publish; 2]> = SmallVec::new();
        for (lane, frames) in batches {
            match lane {
                Lane::Edge(edge) if !self.slits.is_empty() => self.post(stamp, edge, frames),
                _ => packets.push(self.packet(stamp, lane, frames)),
            }
        }
        let Some(Publish { topic, payload, .. }) = packets.pop() else { return Ok(()) };
        self.link.buffer().extend(packets.into_iter().map(|p| Packet::Publish(p, None)));
        self.link.publish(topic, payload).map(drop).map_err(|_| SpineError::Dead)
    }

    /// Sends one batch unless the router's queue of wake-ups is full; then it goes along with a later one.
    fn try_send(&mut self, lane: Lane, frames: &mut BytesMut) {
        let Publish { topic, payload, .. } = self.packet(self.stamp(), lane, frames);
        let _ = self.link.try_publish(topic, payload);
    }

    fn post(&mut self, stamp: u64, edge: u8, frames: &mut BytesMut) {
        let number = self.number(Lane::Edge(edge));
        if let Some(slit) = self.slits.get(usize::from(edge)) {
            slit.post(Letter { sender: self.sender, number, stamp, frames: frames.split().freeze() });
        }
    }

    fn stamp(&self) -> u64 {
        self.stamps.fetch_add(1, Ordering::Relaxed)
    }

    fn number(&mut self, lane: Lane) -> u64 {
        let next = self.next.entry(lane).or_insert(0);
        *next += 1;
        *next - 1
    }

    /// Who sends, the number of the batch and its stamp stand behind the frames: in front there would have to be room, or a copy.
    fn packet(&mut self, stamp: u64, lane: Lane, frames: &mut BytesMut) -> Publish {
        let number = self.number(lane);
        frames.put_u8(self.sender);
        frames.put_u64(number);
        frames.put_u64(stamp);
        Publish::new(Bytes::from(lane.topic()), frames.split().freeze(), false)
    }
}

/// Bytes that stand behind the frames of a batch.
const TRAILER: usize = 1 + 8 + 8;

/// A batch that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// 0 is the bridge, `n + 1` is edge n.
    pub sender: u8,
    /// How many batches of this sender were lost on this lane just before; 0 is the rule.
    pub lost: u64,
    /// The frames.
    pub frames: Bytes,
}

/// Receives batches.
pub struct SpineRx {
    link: LinkRx,
    expected: std::collections::HashMap<(Bytes, u8), u64>,
    /// What other edges send to an edge.
    mailbox: Option<Mailbox>,
    /// What came over a lane while letters that were sent before it wait, with its stamp.
    held: Option<(u64, Batch)>,
    beats: Vec<(Bytes, Arc<AtomicU64>)>,
    clock: Clock,
}

impl SpineRx {
    /// The next batch. May be dropped while it waits without losing anything.
    ///
    /// What came over a lane and what came by mailbox is put into the order in which it was sent, as far as both are here.
    pub async fn next(&mut self) -> Result<Batch, SpineError> {
        loop {
            if let Some((stamp, batch)) = self.held.take() {
                return Ok(match self.letter_before(stamp) {
                    Some(letter) => {
                        self.held = Some((stamp, batch));
                        self.take(letter)
                    }
                    None => batch,
                });
            }
            let letter = async {
                match &mut self.mailbox {
                    Some(mailbox) => mailbox.next().await,
                    None => std::future::pending().await,
                }
            };
            // The lane first, or a mailbox that is never empty would hold it up.
            tokio::select! {
                biased;
                notification = self.link.next() => {
                    let notification = notification.map_err(|_| SpineError::Dead)?;
                    self.held = self.batch(notification)?;
                }
                Some(letter) = letter => return Ok(self.take(letter)),
            }
        }
    }

    fn letter_before(&mut self, stamp: u64) -> Option<Letter> {
        self.mailbox.as_mut()?.next_before(stamp)
    }

    /// The next batch, on a thread that may block; nothing if none comes before the deadline.
    pub fn next_before(&mut self, deadline: Deadline) -> Result<Option<Batch>, SpineError> {
        loop {
            let notification = match self.link.recv_deadline(deadline.instant()) {
                Ok(notification) => notification,
                Err(_) if deadline.is_over() => return Ok(None),
                Err(_) => return Err(SpineError::Dead),
            };
            if let Some((_, batch)) = self.batch(notification)? {
                return Ok(Some(batch));
            }
        }
    }

    fn batch(&mut self, notification: Option<Notification>) -> Result<Option<(u64, Batch)>, SpineError> {
        match notification {
            Some(Notification::Forward(forward)) => Ok(self.open(forward.publish)),
            // The router pauses a link that it has filled and waits to hear that it has been emptied.
            Some(Notification::Unschedule) => {
                self.link.ready().map_err(|_| SpineError::Dead)?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn open(&mut self, publish: Publish) -> Option<(u64, Batch)> {
        if let Some((_, beat)) = self.beats.iter().find(|(topic, _)| *topic == publish.topic) {
            beat.store(self.clock.now(), Ordering::Relaxed);
        }
        let mut frames = publish.payload;
        let mut trailer = frames.split_off(frames.len().checked_sub(TRAILER)?);
        let (sender, number) = (trailer.try_get_u8().ok()?, trailer.try_get_u64().ok()?);
        let stamp = trailer.try_get_u64().ok()?;
        let lost = self.missing(publish.topic, sender, number);
        Some((stamp, Batch { sender, lost, frames }))
    }

    fn take(&mut self, Letter { sender, number, frames, .. }: Letter) -> Batch {
        Batch { sender, lost: self.missing(Bytes::new(), sender, number), frames }
    }

    /// How many batches between the last one of this sender and this one did not arrive.
    fn missing(&mut self, lane: Bytes, sender: u8, number: u64) -> u64 {
        let expected = self.expected.entry((lane, sender)).or_insert(0);
        let lost = number.saturating_sub(*expected);
        *expected = number + 1;
        lost
    }
}

/// Sends a heartbeat through every lane, and notices when one does not arrive.
pub struct Watchdog {
    tx: SpineTx,
    lanes: Vec<Lane>,
    beats: Vec<(Lane, Arc<AtomicU64>)>,
    clock: Clock,
    heartbeat: Duration,
    stall: Duration,
}

impl Watchdog {
    /// Beats until the spine is found dead, and says how; `stop` ends it without an error.
    pub fn run(mut self, stop: &std::sync::mpsc::Receiver<()>) -> Result<(), SpineError> {
        use std::sync::mpsc::RecvTimeoutError::Timeout;
        while stop.recv_timeout(self.heartbeat) == Err(Timeout) {
            // First: sending may find the router's queue full, and must not wait for a router that stands still.
            self.check()?;
            self.beat();
        }
        Ok(())
    }

    /// A router whose queue is full gets no heartbeat; [`Watchdog::check`] will see that none arrived.
    fn beat(&mut self) {
        let (mut to_bridge, mut to_edge) = (BytesMut::new(), BytesMut::new());
        lane::put(&mut to_bridge, &ToBridge::Heartbeat, None);
        lane::put(&mut to_edge, &ToEdge::Heartbeat, None);
        for lane in self.lanes.clone() {
            let mut frames = if lane == Lane::Bridge { to_bridge.clone() } else { to_edge.clone() };
            self.tx.try_send(lane, &mut frames);
        }
    }

    fn check(&self) -> Result<(), SpineError> {
        let now = self.clock.now();
        for (lane, beat) in &self.beats {
            let silent_ms = now.saturating_sub(beat.load(Ordering::Relaxed));
            if u128::from(silent_ms) > self.stall.as_millis() {
                return Err(SpineError::Stalled { lane: lane.topic(), silent_ms });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> SpineSettings {
        SpineSettings {
            edges: 2,
            segment_bytes: 64 * 1024,
            segments: 4,
            heartbeat: Duration::from_millis(5),
            stall: Duration::from_millis(200),
        }
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    /// The next batch for an edge.
    fn next(edge: &mut End) -> Batch {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(edge.rx.next()).unwrap()
    }

    #[test]
    fn batches_arrive_in_order_on_their_lane() {
        let mut spine = Spine::start(&settings(), Clock::start()).unwrap();
        for n in 0..500u32 {
            let mut texts = [(); 2].map(|()| BytesMut::from(&*n.to_string()));
            let [first, second] = &mut texts;
            spine.edges[0].tx.send([(Lane::Bridge, first), (Lane::Edge(1), second)]).unwrap();
        }
        let expected = |n: u32| Batch { sender: 1, lost: 0, frames: Bytes::from(n.to_string()) };
        for n in 0..500 {
            assert_eq!(spine.bridge.rx.next_before(soon()).unwrap().unwrap(), expected(n));
            assert_eq!(next(&mut spine.edges[1]), expected(n));
        }
    }

    #[test]
    fn what_follows_from_a_batch_does_not_overtake_it() {
        let mut spine = Spine::start(&settings(), Clock::start()).unwrap();
        for _ in 0..500 {
            let mut frames = [(); 2].map(|()| BytesMut::from("cause"));
            let [to_bridge, to_edge] = &mut frames;
            spine.edges[0].tx.send([(Lane::Bridge, to_bridge), (Lane::Edge(1), to_edge)]).unwrap();
            spine.bridge.rx.next_before(soon()).unwrap().unwrap();
            spine.bridge.tx.send([(Lane::Edge(1), &mut BytesMut::from("effect"))]).unwrap();
            assert_eq!([(); 2].map(|()| next(&mut spine.edges[1]).sender), [1, 0]);
        }
    }

    #[test]
    fn letters_without_end_hold_nothing_up() {
        let mut spine = Spine::start(&settings(), Clock::start()).unwrap();
        let posts = |edge: &mut End| edge.tx.send([(Lane::Edge(1), &mut BytesMut::from("x"))]).unwrap();
        let [from, to] = &mut spine.edges[..] else { panic!("two edges") };
        (0..100).for_each(|_| posts(from));
        spine.bridge.tx.send([(Lane::Edge(1), &mut BytesMut::from("answer"))]).unwrap();
        // Each time one is taken there is another one.
        let deadline = soon();
        let mut read = 0;
        while next(to).sender != 0 {
            posts(from);
            read += 1;
            assert!(!deadline.is_over(), "{read} letters, and no answer");
        }
    }

    #[test]
    fn a_reader_that_falls_behind_sees_the_gap() {
        let mut spine = Spine::start(&settings(), Clock::start()).unwrap();
        let block = vec![7; 16 * 1024];
        let count = 600;
        for _ in 0..count {
            spine.bridge.tx.send([(Lane::Edge(0), &mut BytesMut::from(&block[..]))]).unwrap();
        }
        spine.bridge.tx.send([(Lane::Edge(1), &mut BytesMut::from("end"))]).unwrap();
        spine.edges[1].rx.next_before(soon()).unwrap().unwrap();
        let (mut got, mut lost) = (0, 0);
        while got + lost < count {
            let batch = spine.edges[0].rx.next_before(soon()).unwrap().unwrap();
            got += 1;
            lost += batch.lost;
        }
        assert_eq!(got + lost, count, "every batch arrived or was counted as lost");
        assert!(lost > 0, "link and lane hold fewer than 300 of the 600 batches");
    }

    #[test]
    fn a_dead_router_is_noticed() {
        let mut spine = Spine::start(&settings(), Clock::start()).unwrap();
        // What the rest of this crate never does: a topic whose first character is not ASCII panics the router.
        spine.edges[0].tx.link.publish("聊天", "x").unwrap();
        let (_stop, stopped) = std::sync::mpsc::channel();
        assert!(spine.watchdog.run(&stopped).is_err());
    }

    #[test]
    fn a_lane_that_nobody_reads_is_noticed() {
        let spine = Spine::start(&settings(), Clock::start()).unwrap();
        let (_stop, stopped) = std::sync::mpsc::channel();
        assert!(matches!(spine.watchdog.run(&stopped), Err(SpineError::Stalled { .. })));
    }
}
