//! Bytes that wait to be written to one client.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use crate::tally::Sent;

/// Payloads from this size on are shared between receivers; smaller ones are cheaper to copy than to count.
const SHARE_FROM: usize = 2048;

/// Segments that one vectored write takes at most.
pub const SLICES: usize = 16;

/// Bytes that wait to be written to one client: copied packets, and shared payloads between them.
#[derive(Debug, Default)]
pub struct OutBuffer {
    /// Only where there were large payloads.
    #[expect(clippy::box_collection, reason = "an idle connection has none, and pays one pointer for it")]
    sealed: Option<Box<VecDeque<Bytes>>>,
    sealed_len: usize,
    tail: BytesMut,
    sent: Sent,
}

impl OutBuffer {
    /// Where bytes go that are no packets: those of the layers below MQTT.
    pub fn raw(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Where the next packet is encoded to.
    pub fn packet(&mut self) -> &mut BytesMut {
        self.sent.packets += 1;
        &mut self.tail
    }

    /// Where the next PUBLISH is encoded to; its payload is pushed behind it.
    pub fn publish(&mut self, payload_bytes: usize) -> &mut BytesMut {
        self.sent.publishes += 1;
        self.sent.payload_bytes += payload_bytes;
        self.packet()
    }

    /// Takes back the last packet, if it has no payload: everything behind `len` bytes.
    pub fn take_back(&mut self, len: usize) {
        self.sent.packets -= 1;
        self.tail.truncate(len.saturating_sub(self.sealed_len));
    }

    /// What went in, and how many bytes went out, since this was last asked.
    pub fn take_sent(&mut self) -> Sent {
        std::mem::take(&mut self.sent)
    }

    /// Appends a payload, shared if that is worth it.
    pub fn push(&mut self, payload: &Bytes) {
        if payload.len() < SHARE_FROM {
            return self.tail.extend_from_slice(payload);
        }
        self.seal();
        self.put_sealed(payload.clone());
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.sealed_len + self.tail.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything that waits, if it is one segment.
    pub fn only_slice(&self) -> Option<&[u8]> {
        (self.sealed_len == 0).then_some(&self.tail[..])
    }

    /// The segments in front, for one vectored write; gives back how many there are.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let parts = self
            .sealed
            .iter()
            .flat_map(|sealed| sealed.iter())
            .map(|part| &part[..])
            .chain(std::iter::once(&self.tail[..]));
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(parts.filter(|part| !part.is_empty())) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        count
    }

    /// Takes away what was written.
    pub fn advance(&mut self, mut written: usize) {
        self.sent.bytes += written;
        while let Some(sealed) = &mut self.sealed
            && let Some(front) = sealed.front_mut()
        {
            let step = written.min(front.len());
            front.advance(step);
            written -= step;
            self.sealed_len -= step;
            if !front.is_empty() {
                return;
            }
            sealed.pop_front();
        }
        self.tail.advance(written);
    }

    /// Takes everything out, as one piece.
    pub fn take(&mut self) -> Bytes {
        if self.sealed_len == 0 {
            return self.tail.split().freeze();
        }
        let mut all = BytesMut::with_capacity(self.len());
        self.sealed
            .take()
            .into_iter()
            .flat_map(|sealed| *sealed)
            .for_each(|part| all.extend_from_slice(&part));
        self.sealed_len = 0;
        all.extend_from_slice(&self.tail.split());
        all.freeze()
    }

    /// Gives memory back once there is nothing to write.
    pub fn release(&mut self) {
        if self.is_empty() {
            *self = OutBuffer { sent: self.sent, ..OutBuffer::default() };
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let tail = self.tail.split().freeze();
            self.put_sealed(tail);
        }
    }

    fn put_sealed(&mut self, part: Bytes) {
        self.sealed_len += part.len();
        self.sealed.get_or_insert_default().push_back(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            parts in prop::collection::vec((0usize..5000, any::<u8>()), 0..30),
            steps in prop::collection::vec(1usize..6000, 1..200),
        ) {
            let (mut buffer, mut want, mut got) = (OutBuffer::default(), Vec::new(), Vec::new());
            for (len, byte) in parts {
                let part = Bytes::from(vec![byte; len]);
                want.extend_from_slice(&part);
                buffer.push(&part);
            }
            prop_assert_eq!(buffer.len(), want.len());
            for step in steps {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = buffer.slices(&mut slices);
                let front: Vec<u8> = slices[..count].iter().flat_map(|s| s.iter().copied()).take(step).collect();
                buffer.advance(front.len());
                got.extend(front);
            }
            got.extend_from_slice(&buffer.take());
            prop_assert_eq!(got, want);
            prop_assert!(buffer.is_empty());
        }
    }
}
