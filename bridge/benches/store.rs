//! What the engines cost: the writes of chat messages in batches, and a queue that fills and drains for ever.
//!
//! `cargo bench -p hubbub-bridge --bench store -- [chat|churn] [seconds]`

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use hubbub_bridge::store::{Batch, FjallStore, SledStore, Store, keys};

const CACHE_BYTES: u64 = 64 * 1024 * 1024;
const BODY: usize = 250;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let seconds = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(5);
    let workload: fn(&dyn Store, Duration) -> u64 = match words.first().map(String::as_str) {
        Some("churn") => churn,
        _ => chat,
    };
    for engine in ["sled", "fjall"] {
        let home = tempfile::tempdir().unwrap();
        let store = open(engine, home.path());
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let messages = workload(&*store, Duration::from_secs(seconds));
        let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        println!(
            "{engine}: {:.0} messages/s, {:.1} us cpu each, {} MiB on disk, {} MiB resident",
            messages as f64 / wall,
            cpu * 1e6 / messages as f64,
            folder_bytes(home.path()) >> 20,
            resident_kib() >> 10,
        );
        drop(store);
        let start = Instant::now();
        let store = open(engine, home.path());
        let n = store.scan(keys::everything(), hubbub_bridge::store::Order::Forward, 10).unwrap().len();
        println!("{engine}: reopened in {:.2} s ({n})", start.elapsed().as_secs_f64());
    }
}

fn open(engine: &str, path: &Path) -> Box<dyn Store> {
    match engine {
        "sled" => Box::new(SledStore::open(path, CACHE_BYTES).unwrap()),
        _ => Box::new(FjallStore::open(path, CACHE_BYTES).unwrap()),
    }
}

/// Seven writes a message, as a direct message makes them; 256 messages a batch.
fn chat(store: &dyn Store, how_long: Duration) -> u64 {
    let (start, mut n) = (Instant::now(), 0u64);
    while start.elapsed() < how_long {
        let mut batch = Batch::new();
        for _ in 0..256 {
            n += 1;
            let (from, to) = (format!("user{}", n % 100), format!("user{}", (n * 7 + 1) % 100));
            let cid = format!("{from}~{to}");
            batch.put(keys::message(&cid, n), noise(n));
            batch.put(keys::conversation(&cid), n.to_be_bytes());
            for user in [&from, &to] {
                batch.put(keys::inbox(user, n), noise(n)[..40].to_vec());
                batch.put(keys::inbox_head(user), n.to_be_bytes());
            }
            batch.put(keys::taken(&to), n.to_be_bytes());
        }
        store.commit(batch).unwrap();
    }
    n
}

/// Entries of 1,000 queues, each deleted 100,000 messages after it was written.
fn churn(store: &dyn Store, how_long: Duration) -> u64 {
    let (start, mut n) = (Instant::now(), 0u64);
    let key = |n: u64| keys::queued(&format!("client{}", n % 1000), n);
    while start.elapsed() < how_long {
        let mut batch = Batch::new();
        for _ in 0..256 {
            n += 1;
            batch.put(key(n), noise(n));
            if n > 100_000 {
                batch.delete(key(n - 100_000));
            }
        }
        store.commit(batch).unwrap();
    }
    n
}

fn noise(n: u64) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'a' + (state % 26) as u8
    })
    .take(BODY)
    .collect()
}

fn folder_bytes(path: &Path) -> u64 {
    std::fs::read_dir(path).map_or(0, |entries| {
        entries
            .flatten()
            .map(|entry| match entry.metadata() {
                Ok(meta) if meta.is_dir() => folder_bytes(&entry.path()),
                Ok(meta) => std::os::unix::fs::MetadataExt::blocks(&meta) * 512,
                Err(_) => 0,
            })
            .sum()
    })
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
