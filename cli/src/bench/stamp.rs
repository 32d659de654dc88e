//! The head of every payload: who sent it, as which number of his messages, and when.

/// Identity and age of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Random per run, so that left-overs of an earlier run are told apart.
    pub run: u32,
    /// Number of the publisher, from 0.
    pub publisher: u32,
    /// Number of the message among those of its publisher, from 0, without gaps.
    pub seq: u64,
    /// Nanoseconds since the start of the run.
    pub sent_ns: u64,
}

/// How a stamp is written into a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StampForm {
    /// Big-endian numbers.
    Binary,
    /// `hb.` and hexadecimal numbers between dots, for payloads that travel inside JSON.
    Text,
}

const BINARY_LENGTH: usize = 24;
const TEXT_LENGTH: usize = 54;
const TEXT_MARK: &[u8] = b"hb.";

impl StampForm {
    /// Bytes at the head of the payload; the shortest payload that can be measured.
    pub fn length(self) -> usize {
        match self {
            Self::Binary => BINARY_LENGTH,
            Self::Text => TEXT_LENGTH,
        }
    }

    /// Overwrites the head of `payload`, which is at least [`length`](Self::length) bytes long.
    pub fn write(self, stamp: Stamp, payload: &mut [u8]) {
        match self {
            Self::Binary => write_binary(stamp, payload),
            Self::Text => write_text(stamp, payload),
        }
    }

    /// The stamp at the head of `payload`, or `None` when there is none.
    pub fn read(self, payload: &[u8]) -> Option<Stamp> {
        match self {
            Self::Binary => read_binary(payload),
            Self::Text => read_text(payload),
        }
    }
}

fn write_binary(stamp: Stamp, payload: &mut [u8]) {
    payload[..4].copy_from_slice(&stamp.run.to_be_bytes());
    payload[4..8].copy_from_slice(&stamp.publisher.to_be_bytes());
    payload[8..16].copy_from_slice(&stamp.seq.to_be_bytes());
    payload[16..24].copy_from_slice(&stamp.sent_ns.to_be_bytes());
}

fn read_binary(payload: &[u8]) -> Option<Stamp> {
    let (run, rest) = payload.split_first_chunk()?;
    let (publisher, rest) = rest.split_first_chunk()?;
    let (seq, rest) = rest.split_first_chunk()?;
    let (sent_ns, _) = rest.split_first_chunk()?;
    Some(Stamp {
        run: u32::from_be_bytes(*run),
        publisher: u32::from_be_bytes(*publisher),
        seq: u64::from_be_bytes(*seq),
        sent_ns: u64::from_be_bytes(*sent_ns),
    })
}

/// `hb.RRRRRRRR.PPPPPPPP.SSSSSSSSSSSSSSSS.TTTTTTTTTTTTTTTT`
fn write_text(stamp: Stamp, payload: &mut [u8]) {
    payload[..3].copy_from_slice(TEXT_MARK);
    write_hex(u64::from(stamp.run), &mut payload[3..11]);
    payload[11] = b'.';
    write_hex(u64::from(stamp.publisher), &mut payload[12..20]);
    payload[20] = b'.';
    write_hex(stamp.seq, &mut payload[21..37]);
    payload[37] = b'.';
    write_hex(stamp.sent_ns, &mut payload[38..54]);
}

fn read_text(payload: &[u8]) -> Option<Stamp> {
    let head = payload.get(..TEXT_LENGTH)?;
    let dotted = head.starts_with(TEXT_MARK) && head[11] == b'.' && head[20] == b'.' && head[37] == b'.';
    if !dotted {
        return None;
    }
    Some(Stamp {
        run: read_hex(&head[3..11])? as u32,
        publisher: read_hex(&head[12..20])? as u32,
        seq: read_hex(&head[21..37])?,
        sent_ns: read_hex(&head[38..54])?,
    })
}

fn write_hex(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

fn read_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, &digit| Some(number << 4 | u64::from(char::from(digit).to_digit(16)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { run: 0xDEAD_BEEF, publisher: 7, seq: 1 << 40, sent_ns: 5_000_000_000 };

    #[test]
    fn a_stamp_survives_both_forms_and_leaves_the_rest_alone() {
        for form in [StampForm::Binary, StampForm::Text] {
            let mut payload = vec![b'x'; 64];
            form.write(STAMP, &mut payload);
            assert_eq!(form.read(&payload), Some(STAMP));
            assert!(payload[form.length()..].iter().all(|&byte| byte == b'x'));
        }
    }

    #[test]
    fn the_text_form_is_readable() {
        let mut payload = vec![b' '; TEXT_LENGTH];
        StampForm::Text.write(STAMP, &mut payload);
        assert_eq!(payload, b"hb.deadbeef.00000007.0000010000000000.000000012a05f200");
    }

    #[test]
    fn what_others_send_is_not_a_stamp() {
        assert_eq!(StampForm::Binary.read(b"short"), None);
        assert_eq!(StampForm::Text.read(&[b'0'; 64]), None);
        assert_eq!(StampForm::Text.read(b"hb.deadbeef.0000000g.0000010000000000.000000012a05f200"), None);
    }
}
