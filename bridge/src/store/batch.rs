//! What is written together.

/// An ordered list of writes that is applied whole; the last write of a key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    writes: Vec<Write>,
}

/// One write of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a key, new or not.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key; no error if it is absent.
    Delete(Vec<u8>),
}

impl Batch {
    /// A batch without writes.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.writes.push(Write::Put(key.into(), value.into()));
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.writes.push(Write::Delete(key.into()));
    }

    /// Appends all writes of another batch, which win over those already here.
    pub fn append(&mut self, other: Batch) {
        self.writes.extend(other.writes);
    }

    /// Number of writes, repeated keys counted each time.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// True when there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The writes in the order they were asked for.
    pub fn into_writes(self) -> Vec<Write> {
        self.writes
    }
}
