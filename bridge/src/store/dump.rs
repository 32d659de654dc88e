//! Records in a file or on a wire, whatever engine they came from.
//!
//! | bytes | what |
//! |---|---|
//! | a line | `hubbub records 1, store format 1`: version of this form, and of the key layout |
//! | 4 + 4 | for each record, in the order of the keys: length of the key, length of the value |
//! | … | the key, the value |
//! | 4 | the length FF FF FF FF, which no key has: the end |
//! | 8 | how many records there were |
//! | 32 | SHA-256 of everything before it |
//!
//! Numbers are big-endian. Nothing follows the checksum.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use super::{FORMAT_VERSION, StoreError, Visit};

/// Version of this form.
const VERSION: u32 = 1;
const TITLE: &str = "hubbub records ";
/// Bytes of the longest first line that is looked at.
const LINE_MAX: usize = 80;
const END: u32 = u32::MAX;
/// No key is longer.
const KEY_MAX: usize = u16::MAX as usize;

/// What a whole file held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many records.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// Why records cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The first line is another one.
    #[error("it does not begin as an export of `hubbub store export` does")]
    Foreign,
    /// Written by a later version of this program.
    #[error("it {0}, this program reads records {VERSION} and format {FORMAT_VERSION}")]
    Version(String),
    /// It ends before its end.
    #[error("it is cut off behind {0} whole records")]
    CutOff(u64),
    /// It is not as it was written.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Whoever took the records failed.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Writes records, which have to come in the order of their keys.
pub struct Writer<W> {
    out: Hashing<W>,
    summary: Summary,
}

impl<W: Write> Writer<W> {
    /// Writes the first line.
    pub fn new(out: W) -> io::Result<Writer<W>> {
        let mut out = Hashing { inner: out, hash: Sha256::new() };
        out.write_all(format!("{TITLE}{VERSION}, store format {FORMAT_VERSION}\n").as_bytes())?;
        Ok(Writer { out, summary: Summary::default() })
    }

    /// Writes one record.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let too_long = || io::Error::other("a record is too long to be written");
        let lengths = (u32::try_from(key.len()), u32::try_from(value.len()));
        let (Ok(key_length), Ok(value_length)) = lengths else { return Err(too_long()) };
        if key.len() > KEY_MAX {
            return Err(too_long());
        }
        let mut head = [0; 8];
        head[..4].copy_from_slice(&key_length.to_be_bytes());
        head[4..].copy_from_slice(&value_length.to_be_bytes());
        [&head, key, value].into_iter().try_for_each(|part| self.out.write_all(part))?;
        self.summary.records += 1;
        self.summary.bytes += (key.len() + value.len()) as u64;
        Ok(())
    }

    /// Writes the end and gives back what it was written to.
    pub fn finish(mut self) -> io::Result<(W, Summary)> {
        self.out.write_all(&END.to_be_bytes())?;
        self.out.write_all(&self.summary.records.to_be_bytes())?;
        let Hashing { mut inner, hash } = self.out;
        inner.write_all(&hash.finalize())?;
        inner.flush()?;
        Ok((inner, self.summary))
    }
}

/// Shows every record to `visit` as it comes. Whether the file is whole is known at its end only: until this returns `Ok`,
/// nothing that was shown may be relied on.
pub fn read(input: impl Read, visit: &mut Visit<'_>) -> Result<Summary, DumpError> {
    let mut reader = Reader { input: Hashing { inner: input, hash: Sha256::new() }, records: 0 };
    reader.title()?;
    let mut summary = Summary::default();
    let (mut last, mut key, mut value) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(lengths) = reader.lengths()? {
        reader.fill(&mut key, lengths.0)?;
        reader.fill(&mut value, lengths.1)?;
        if reader.records > 0 && key <= last {
            return Err(reader.damaged("the keys are not in order"));
        }
        visit(&key, &value)?;
        reader.records += 1;
        summary.bytes += (key.len() + value.len()) as u64;
        std::mem::swap(&mut last, &mut key);
    }
    reader.end()?;
    summary.records = reader.records;
    Ok(summary)
}

struct Reader<R> {
    input: Hashing<R>,
    records: u64,
}

impl<R: Read> Reader<R> {
    fn title(&mut self) -> Result<(), DumpError> {
        let mut line = Vec::new();
        while line.len() < LINE_MAX && line.last() != Some(&b'\n') {
            let mut byte = [0];
            match self.input.read_exact(&mut byte) {
                Ok(()) => line.extend(byte),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error.into()),
            }
        }
        let line = String::from_utf8_lossy(&line);
        let Some(said) = line.strip_prefix(TITLE) else { return Err(DumpError::Foreign) };
        match said.trim_end() {
            known if known == format!("{VERSION}, store format {FORMAT_VERSION}") => Ok(()),
            other => Err(DumpError::Version(format!("holds {TITLE}{}", other.escape_debug()))),
        }
    }

    /// Lengths of the next key and its value; none at the end.
    fn lengths(&mut self) -> Result<Option<(usize, usize)>, DumpError> {
        let key = u32::from_be_bytes(self.bytes()?);
        if key == END {
            return Ok(None);
        }
        let value = u32::from_be_bytes(self.bytes()?);
        match key as usize {
            length if length <= KEY_MAX => Ok(Some((length, value as usize))),
            _ => Err(self.damaged("a key is longer than keys can be")),
        }
    }

    /// Reads as much as there is, so that a damaged length does not ask for memory that nothing fills.
    fn fill(&mut self, buffer: &mut Vec<u8>, length: usize) -> Result<(), DumpError> {
        buffer.clear();
        let read = (&mut self.input).take(length as u64).read_to_end(buffer)?;
        if read < length { Err(DumpError::CutOff(self.records)) } else { Ok(()) }
    }

    fn end(&mut self) -> Result<(), DumpError> {
        let counted = u64::from_be_bytes(self.bytes()?);
        let expected = self.input.hash.clone().finalize();
        let found: [u8; 32] = self.bytes()?;
        if counted != self.records {
            return Err(self.damaged(&format!("it says that it has {counted} records")));
        }
        if found != expected[..] {
            return Err(self.damaged("its checksum does not fit its content"));
        }
        match self.input.inner.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(self.damaged("something follows its end")),
        }
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DumpError> {
        let mut bytes = [0; N];
        match self.input.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(DumpError::CutOff(self.records))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn damaged(&self, how: &str) -> DumpError {
        DumpError::Damaged(format!("{how} (behind record {})", self.records))
    }
}

/// Everything that passes goes into the checksum.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.hash.update(&bytes[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Pair;

    fn written(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new()).unwrap();
        pairs.iter().for_each(|(key, value)| writer.put(key, value).unwrap());
        writer.finish().unwrap().0
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<Pair>, DumpError> {
        let mut pairs = Vec::new();
        let summary = read(bytes, &mut |key, value| {
            pairs.push((key.to_vec(), value.to_vec()));
            Ok(())
        })?;
        assert_eq!(summary.records, pairs.len() as u64);
        Ok(pairs)
    }

    fn sample() -> Vec<u8> {
        written(&[(b"a", b""), (b"b", &[7; 300]), (&[0xFF; 65_535], b"long")])
    }

    #[test]
    fn what_was_written_comes_back() {
        let pairs = read_all(&sample()).unwrap();
        assert_eq!(pairs.len(), 3);
        assert_eq!(pairs[1], (b"b".to_vec(), vec![7; 300]));
        assert!(read_all(&written(&[])).unwrap().is_empty());
        assert!(sample().starts_with(b"hubbub records 1, store format 1\n"));
    }

    #[test]
    fn a_file_cut_anywhere_is_noticed() {
        let whole = written(&[(b"a", b"1"), (b"b", b"2")]);
        for end in 0..whole.len() {
            let error = read_all(&whole[..end]).unwrap_err().to_string();
            let known =
                error.contains("cut off") || error.contains("does not begin") || error.contains("holds");
            assert!(known, "{end}: {error}");
        }
    }

    #[test]
    fn any_changed_bit_and_anything_behind_the_end_is_noticed() {
        let whole = written(&[(b"a", b"1"), (b"b", b"2")]);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(read_all(&changed).is_err(), "byte {at}");
        }
        let longer = [whole.as_slice(), b"x"].concat();
        assert!(read_all(&longer).unwrap_err().to_string().contains("follows its end"));
    }

    #[test]
    fn keys_out_of_order_or_twice_are_refused() {
        for keys in [[b"b", b"a"], [b"a", b"a"]] {
            let bytes = written(&[(keys[0], b""), (keys[1], b"")]);
            assert!(read_all(&bytes).unwrap_err().to_string().contains("not in order"));
        }
    }

    #[test]
    fn another_version_is_refused_by_its_line() {
        let error = read_all(b"hubbub records 9, store format 4\n").unwrap_err().to_string();
        assert!(error.contains("holds hubbub records 9, store format 4"), "{error}");
    }

    #[test]
    fn a_huge_length_asks_for_no_memory() {
        let mut bytes = written(&[]);
        bytes.truncate(bytes.len() - 44);
        bytes.extend([0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF, b'k']);
        assert!(matches!(read_all(&bytes), Err(DumpError::CutOff(0))));
    }
}
