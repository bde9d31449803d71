//! One peer's stream, from its opening to its end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc};

use super::reply::Outgoing;
use super::{Hub, IncomingFrame, Peer, ReplyHandle, ServerEvent};
use crate::endpoint::IncomingStream;
use crate::error::NetworkError;
use crate::frame::{FrameReader, FrameWriter};
use crate::metrics::Direction;

/// Frames joined into one write.
const FRAMES_PER_WRITE: usize = 32;

pub(super) async fn serve(hub: Arc<Hub>, incoming: IncomingStream) {
    let IncomingStream { peer: address, connection, remote, stream } = incoming;
    let (outgoing, queue) = mpsc::channel(hub.config.frames_per_connection.max(1));
    let unanswered = Arc::new(Semaphore::new(hub.config.unanswered_per_connection.max(1)));
    let peer = Arc::new(Peer { connection, outgoing, unanswered });
    {
        let mut open = hub.open();
        if open.contains_key(&connection) {
            // One stream per connection: a second one is refused by dropping it.
            return;
        }
        open.insert(connection, peer.clone());
    }
    // From here on the entry must be removed again, also when this task is aborted.
    let _registered = Registered { hub: hub.clone(), peer: peer.clone() };
    if !hub.sink.take(ServerEvent::Opened { connection, peer: address }).await {
        return;
    }
    let (reader, writer) = stream.split();
    let ended = reader.ended();
    let reason = tokio::select! {
        // What has arrived is read before an end is noticed; and the end is told also while nobody answers.
        biased;
        reason = read(&hub, &peer, (address, remote), reader) => reason,
        reason = write(&hub, queue, writer) => reason,
        reason = ended => reason,
    };
    if reason == NetworkError::SlowReader {
        hub.drop_slow_reader(connection);
    } else {
        hub.endpoint.close(connection, reason.clone());
    }
    hub.open().remove(&connection);
    // When nobody takes events any more, the program is ending.
    let _ = hub.sink.take(ServerEvent::Closed { connection, peer: address, reason }).await;
}

struct Registered {
    hub: Arc<Hub>,
    peer: Arc<Peer>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.hub.open().remove(&self.peer.connection);
    }
}

async fn read(
    hub: &Arc<Hub>,
    peer: &Arc<Peer>,
    (address, remote): (lode_protocol::ids::Address, Option<IpAddr>),
    mut reader: FrameReader,
) -> NetworkError {
    loop {
        let Ok(permit) = peer.unanswered.clone().acquire_owned().await else {
            return NetworkError::closed("the server has ended");
        };
        let bytes = match reader.read_frame().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return NetworkError::closed("the peer ended the stream"),
            Err(error) => return error,
        };
        hub.metrics.frame(Direction::Incoming, bytes.len());
        let frame = IncomingFrame {
            peer: Some(address),
            connection: peer.connection,
            remote,
            bytes,
            received_at: Instant::now(),
            reply: ReplyHandle::stream(hub.clone(), peer.clone(), permit),
        };
        if !hub.sink.take(ServerEvent::Frame(frame)).await {
            return NetworkError::closed("the server has ended");
        }
    }
}

async fn write(hub: &Hub, mut queue: mpsc::Receiver<Outgoing>, mut writer: FrameWriter) -> NetworkError {
    let limit = hub.protocol.accepter_limit();
    let mut waiting = Vec::new();
    let mut frames: Vec<Vec<u8>> = Vec::new();
    loop {
        if queue.recv_many(&mut waiting, FRAMES_PER_WRITE).await == 0 {
            return NetworkError::closed("the server has ended");
        }
        frames.extend(waiting.drain(..).filter_map(|frame| frame.make(limit)));
        match writer.send_all(&frames, hub.config.write_timeout).await {
            Ok(()) => {}
            Err(NetworkError::WriteTimeout { .. }) => return NetworkError::SlowReader,
            Err(error) => return error,
        }
        for frame in frames.drain(..) {
            hub.metrics.frame(Direction::Outgoing, frame.len());
        }
    }
}
