//! A batch of the real engines was written half when the machine stopped: opening finds all or nothing of it.

use std::io::Read;
use std::path::{Path, PathBuf};

use hubbub_bridge::store::{self, Store};
use hubbub_config::{Engine, StoreConfig};

use crate::proof::{all, is_whole};
use crate::script::script;
use crate::stage::{batch, open, turn};

/// More than what the script makes of a log. A journal of fjall is made 64 MiB long at once, nearly all of it zeros.
const LOG_BYTES: usize = 1024 * 1024;

/// Places at which a write is cut.
const CUTS: usize = 4;

#[test]
fn a_batch_that_was_written_half_is_there_wholly_or_not_at_all_in_fjall() {
    tears_every_batch(Engine::Fjall, "fjall/0.jnl");
}

#[test]
fn a_batch_that_was_written_half_is_there_wholly_or_not_at_all_in_sled() {
    tears_every_batch(Engine::Sled, "db");
}

/// Plays the script, and after each operation looks at what opening finds if only a part of its batch reached the log.
fn tears_every_batch(engine: Engine, log: &str) {
    let home = tempfile::tempdir().unwrap();
    let live = settings(engine, home.path().join("live"));
    let store = store::open(&live).unwrap();
    let mut bridge = open(store.clone()).unwrap();
    let mut torn = 0;
    for (number, operation) in script().into_iter().enumerate() {
        let before = Copy::of(&live.path, log, &*store);
        turn(&mut bridge, vec![batch(&[operation])]).unwrap();
        let after = Copy::of(&live.path, log, &*store);
        for cut in before.cuts(&after) {
            let folder = home.path().join(format!("{number}-{cut}"));
            before.written_half(&after, cut, &live.path, &folder, log);
            let opened = store::open(&settings(engine, folder.clone()));
            let opened = opened.unwrap_or_else(|error| panic!("operation {number}, cut at {cut}: {error}"));
            let found = all_but_the_count(&*opened);
            assert!(
                found == before.data || found == after.data,
                "operation {number}, cut at {cut}: neither what was there before nor what is there after"
            );
            is_whole(&*opened);
            drop(opened);
            std::fs::remove_dir_all(folder).unwrap();
            torn += 1;
        }
    }
    assert!(torn > 10 * CUTS, "only {torn} batches were torn");
}

/// A folder at one moment.
struct Copy {
    /// The log, without the zeros at its end.
    log: Vec<u8>,
    count: Vec<u8>,
    data: Vec<store::Pair>,
}

impl Copy {
    fn of(folder: &Path, log: &str, store: &dyn Store) -> Copy {
        let mut bytes = Vec::new();
        std::fs::File::open(folder.join(log))
            .unwrap()
            .take(LOG_BYTES as u64)
            .read_to_end(&mut bytes)
            .unwrap();
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        assert!(bytes.len() < LOG_BYTES, "the log is longer than thought");
        let count = std::fs::read(folder.join("hubbub-commits")).unwrap();
        Copy { log: bytes, count, data: all_but_the_count(store) }
    }

    /// Places between the first and the last byte that is different afterwards.
    fn cuts(&self, after: &Copy) -> Vec<usize> {
        let same = self.log.iter().zip(&after.log).take_while(|(before, after)| before == after).count();
        let length = after.log.len() - same;
        if self.log.len() == after.log.len() && length == 0 {
            return Vec::new();
        }
        (0..CUTS).map(|cut| same + length * cut / CUTS).collect()
    }

    /// The folder as it was, with the new log up to the cut. Its count is the old one: nothing was acknowledged.
    fn written_half(&self, after: &Copy, cut: usize, from: &Path, to: &Path, log: &str) {
        copy_folder(from, to, log);
        let mut bytes = after.log[..cut].to_vec();
        bytes.extend(self.log.iter().skip(cut));
        std::fs::write(to.join(log), bytes).unwrap();
        std::fs::write(to.join("hubbub-commits"), &self.count).unwrap();
    }
}

fn copy_folder(from: &Path, to: &Path, but: &str) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let name = entry.file_name().to_string_lossy().into_owned();
        let inside = but.strip_prefix(&format!("{name}/"));
        if source.is_dir() {
            copy_folder(&source, &target, inside.unwrap_or_default());
        } else if name != but {
            std::fs::copy(source, target).unwrap();
        }
    }
}

fn settings(engine: Engine, path: PathBuf) -> StoreConfig {
    StoreConfig { engine, path, cache_bytes: 1024 * 1024, ..StoreConfig::default() }
}

fn all_but_the_count(store: &dyn Store) -> Vec<store::Pair> {
    let commits = store::keys::commits();
    all(store).into_iter().filter(|(key, _)| *key != commits).collect()
}
