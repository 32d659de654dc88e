//! The rounds: load, kill, restart, resume; and the end, when everything is drained.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use hubbub_tests::{Hub, PATIENCE, Publish, Settings};

use crate::cast::{self, Cast, cast};
use crate::device::Device;
use crate::dice::Dice;
use crate::proof;

/// In a seed: ordinary messages are large enough to fill memory tables and to start new journals.
pub const LARGE: u64 = 1 << 63;

/// Kills of one story, whose people and data folder stay the same.
const KILLS_OF_A_STORY: usize = 25;

/// Tells the stories of these seeds, with so many kills; `HUBBUB_CRASHES` asks for a long run of that many in all, to which
/// each test adds its quarter with further seeds.
pub fn survives(engine: &str, seeds: &[u64], kills: usize) {
    let long = std::env::var("HUBBUB_CRASHES").ok().map(|text| text.parse::<usize>().expect("a number"));
    let mut left = long.map_or(kills, |all| all.div_ceil(4));
    let mut told = 0;
    while left > 0 {
        let seed = seeds[told % seeds.len()].wrapping_add((told as u64) << 32);
        let kills = left.min(KILLS_OF_A_STORY);
        Story::begin(engine, seed).told(kills);
        left -= kills;
        told += 1;
    }
}

struct Story {
    hub: Hub,
    cast: Cast,
    dice: Dice,
    engine: String,
    seed: u64,
}

impl Story {
    fn begin(engine: &str, seed: u64) -> Story {
        // With a small cache, tables go to disk and are merged while the hub is being killed.
        let settings = Settings::dev()
            .set("store.engine", engine)
            .set("store.cache_bytes", "8MiB")
            .set("session.durable_queue_messages", "10000000")
            .set("log.level", "warn");
        let hub = settings.start();
        let ballast = if seed & LARGE == 0 { 0 } else { 4000 };
        let mut cast = cast(seed, ballast);
        cast.all().for_each(|device| device.moves_in(hub.mqtt()));
        Story { hub, cast, dice: Dice::new(seed), engine: engine.to_owned(), seed }
    }

    fn told(mut self, kills: usize) {
        eprintln!("{}, seed 0x{:x}: {kills} kills", self.engine, self.seed);
        for _ in 0..kills {
            self.round();
            self.comes_back();
            self.retained_is_not_older_than_acknowledged();
        }
        self.everything_is_drained();
        proof::holds(&self.cast);
        let all = || self.cast.present.iter().chain(&self.cast.away);
        let repeats: u64 = all().map(|device| device.repeats).sum();
        let heard: usize = all().map(|device| device.heard.len()).sum();
        let acknowledged: usize =
            all().flat_map(|device| &device.streams).map(|stream| stream.acknowledged.len()).sum();
        eprintln!(
            "{}, seed 0x{:x}: survived {kills} kills; {acknowledged} publishes acknowledged, {heard} deliveries, \
             {repeats} repeated",
            self.engine, self.seed
        );
    }

    /// Everybody lives until the hub is killed: after so many acknowledgements, and a moment.
    fn round(&mut self) {
        let few = self.dice.one_in(4);
        let acknowledgements = self.dice.below(if few { 30 } else { 1500 });
        let moment = Duration::from_micros(self.dice.below(8000));
        let address = self.hub.mqtt();
        thread::scope(|scope| {
            let (progress, acknowledged) = channel();
            let threads: Vec<_> = self
                .cast
                .present
                .iter_mut()
                .map(|device| {
                    let progress = progress.clone();
                    // Nobody listens any more once the hub is to be killed.
                    scope.spawn(move || {
                        device.lives(address, |count| _ = progress.send(count));
                    })
                })
                .collect();
            drop(progress);
            let failed = !goes_by(&acknowledged, acknowledgements, moment);
            self.hub.kill9();
            threads.into_iter().for_each(|thread| thread.join().expect("nobody was surprised"));
            assert!(!failed, "fewer than {acknowledgements} publishes were acknowledged");
        });
    }

    /// Starts again; one time in five it is killed once more while it starts.
    fn comes_back(&mut self) {
        if self.dice.one_in(5) {
            self.hub.dies_while_starting(Duration::from_millis(self.dice.below(150)));
        }
        self.hub.restart();
    }

    /// A newcomer sees the last value that was acknowledged, or a later one.
    fn retained_is_not_older_than_acknowledged(&self) {
        let streams = self.cast.present.iter().flat_map(|device| &device.streams);
        for stream in streams.filter(|stream| stream.retain) {
            let Some((acknowledged, _)) = stream.acknowledged.last_key_value() else { continue };
            let mut newcomer = self.hub.person("newcomer").connects();
            newcomer.subscribe(&stream.topic, 1);
            let text = newcomer.receives_on(&stream.topic).text();
            let number = text.rsplit_once('-').and_then(|(_, number)| number.parse::<u64>().ok());
            let number = number.unwrap_or_else(|| panic!("{text:?} is retained"));
            assert!(
                (*acknowledged..=stream.sent).contains(&number),
                "{number} is retained on {}, {acknowledged} was acknowledged, {} sent",
                stream.topic,
                stream.sent
            );
        }
    }

    /// First everything that was sent is acknowledged; then a last message follows to everybody, and all read up to it.
    fn everything_is_drained(&mut self) {
        let address = self.hub.mqtt();
        run_all(self.cast.present.iter_mut(), |device| device.finishes(address, |_| true));
        let mut closer = self.hub.person("closer").connects();
        closer.publish(Publish::new(cast::END, "end-1").qos(2));
        for user in ["ann", "ben", "cid", "zoe"] {
            closer.publish(Publish::new(format!("dm/{user}"), format!("end:{user}-1")).qos(2));
        }
        run_all(self.cast.all().filter(|device| !device.subscriptions.is_empty()), |device| {
            let wanted = if device.has_inbox() { format!("end:{}", device.user()) } else { "end".to_owned() };
            device.finishes(address, |device| device.heard.iter().any(|heard| heard.stream == wanted));
        });
        self.retained_is_not_older_than_acknowledged();
    }
}

/// Waits for so many acknowledgements and so much longer; `false` if they do not come.
fn goes_by(acknowledged: &Receiver<u64>, mut wanted: u64, moment: Duration) -> bool {
    while wanted > 0 {
        match acknowledged.recv_timeout(PATIENCE) {
            Ok(count) => wanted = wanted.saturating_sub(count),
            Err(_) => return false,
        }
    }
    let end = Instant::now() + moment;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if acknowledged.recv_timeout(left).is_err() {
            break;
        }
    }
    true
}

fn run_all<'a>(devices: impl Iterator<Item = &'a mut Device>, act: impl Fn(&mut Device) + Sync) {
    let act = &act;
    thread::scope(|scope| {
        let threads: Vec<_> = devices.map(|device| scope.spawn(move || act(device))).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("nobody was surprised"));
    });
}
