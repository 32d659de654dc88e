//! Every record, for `hubbub store`: the export of the store, streamed as it is read.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use hubbub_bridge::store::{self, Store, dump::DumpError};
use hyper::body::Frame;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Bytes in one piece of the answer, and pieces that wait for a slow reader.
const PIECE: usize = 64 * 1024;
const PIECES: usize = 4;

/// How long a reader may take for one piece: the store keeps a moment alive for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The export. If it breaks off it lacks its end, which the reader notices.
pub fn export(store: Arc<dyn Store>) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    let (pieces, mut received) = mpsc::channel(PIECES);
    let out = Pieces { pieces, piece: BytesMut::with_capacity(PIECE), runtime: Handle::current() };
    tokio::task::spawn_blocking(move || match store::export(&*store, out) {
        Ok((_, summary)) => tracing::info!(records = summary.records, "store exported"),
        Err(DumpError::Io(error)) => tracing::warn!(%error, "store export broken off"),
        Err(error) => tracing::error!(%error, "store export failed"),
    });
    stream::poll_fn(move |context| received.poll_recv(context).map(|piece| piece.map(|p| Ok(Frame::data(p)))))
}

struct Pieces {
    pieces: mpsc::Sender<Bytes>,
    piece: BytesMut,
    runtime: Handle,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, BytesMut::with_capacity(PIECE)).freeze();
        let sent = async { tokio::time::timeout(PATIENCE, self.pieces.send(piece)).await };
        match self.runtime.block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the reader has gone")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the reader does not read")),
        }
    }
}
