//! What is on its way to a client and how large it is, so that taking it needs no look at the disk.

use std::collections::BTreeMap;

use bytes::Bytes;

use hubbub_broker::lane;

use super::QueuedHead;

/// Entries of one session that are remembered; those beyond it are looked up when they are taken.
const MOST: usize = 512;

/// What an entry of a queue counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// Bytes on disk.
    pub entry: usize,
    /// Bytes of its payload; nothing for an entry that cannot be read, which is not counted.
    pub payload: Option<u64>,
}

impl Size {
    /// Of an entry as it is stored.
    pub fn of(entry: Vec<u8>) -> Size {
        let len = entry.len();
        let payload = match lane::take::<QueuedHead>(&mut Bytes::from(entry)) {
            Ok(Some((_, Some(message)))) => Some(message.payload.len() as u64),
            _ => None,
        };
        Size { entry: len, payload }
    }
}

/// By position; every one of them is on disk.
#[derive(Debug, Default)]
pub(super) struct OnTheWay(BTreeMap<u64, Size>);

impl OnTheWay {
    pub fn note(&mut self, position: u64, size: Size) {
        if self.0.len() < MOST {
            self.0.insert(position, size);
        }
    }

    /// The size of an entry that goes, if it is known.
    pub fn take(&mut self, position: u64) -> Option<Size> {
        self.0.remove(&position)
    }

    /// The client is away.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}
