//! Lets a walk show one moment while commits go on, for an engine without snapshots.

use std::collections::BTreeMap;

use super::{Pair, StoreError};

/// Pairs that a walk reads at a time; commits wait for no more than that.
pub(super) const PAGE: usize = 512;

/// Bytes that are kept for a walk. Beyond them it fails: memory is not for data.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// A walk under way, and what it still has to show although commits have replaced it.
#[derive(Default)]
pub(super) struct Moment {
    /// Everything before this was shown.
    from: Vec<u8>,
    /// Values of that moment, of keys that were written since; none for keys that were not there.
    kept: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    is_over: bool,
}

impl Moment {
    /// Where the next page begins; none at the end. Fails if too much was written meanwhile.
    pub(super) fn goes_on_at(&self) -> Result<Option<Vec<u8>>, StoreError> {
        if self.bytes > MOST_BYTES {
            let reason =
                "too much was written while all of it was being read; try again with the server stopped";
            return Err(StoreError::Failed(reason.into()));
        }
        Ok((!self.is_over).then(|| self.from.clone()))
    }

    /// Whether the value of this key has to be kept before it is replaced.
    pub(super) fn wants(&self, key: &[u8]) -> bool {
        let fails_anyway = self.bytes > MOST_BYTES;
        !self.is_over && !fails_anyway && key >= self.from.as_slice() && !self.kept.contains_key(key)
    }

    /// Keeps the value of a key that is about to be replaced.
    pub(super) fn keep(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.kept.insert(key.to_vec(), value);
    }

    /// The pairs that the moment had where the store now has `found`, a page of it. Goes on behind them.
    pub(super) fn page(&mut self, found: Vec<Pair>) -> Vec<Pair> {
        let end =
            found.last().filter(|_| found.len() == PAGE).map(|(last, _)| [last.as_slice(), &[0]].concat());
        self.is_over = end.is_none();
        let rest = end.as_ref().map(|end| self.kept.split_off(end)).unwrap_or_default();
        let kept = std::mem::replace(&mut self.kept, rest);
        let size =
            |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| key.len() + value.as_ref().map_or(0, Vec::len);
        self.bytes -= kept.iter().map(size).sum::<usize>();
        self.from = end.unwrap_or_default();
        let mut page: BTreeMap<Vec<u8>, Option<Vec<u8>>> =
            found.into_iter().map(|(key, value)| (key, Some(value))).collect();
        page.extend(kept);
        page.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}
