//! One peer's stream, from its opening to its end.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc};

use super::{Hub, IncomingFrame, Peer, ReplyHandle, ServerEvent};
use crate::endpoint::IncomingStream;
use crate::error::NetworkError;
use crate::frame::{FrameReader, FrameWriter};
use crate::metrics::Direction;

/// Frames joined into one write.
const FRAMES_PER_WRITE: usize = 32;

pub(super) async fn serve(hub: Arc<Hub>, incoming: IncomingStream) {
    let IncomingStream { peer: address, connection, stream } = incoming;
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
    if hub.events.send(ServerEvent::Opened { connection, peer: address }).await.is_err() {
        return;
    }
    let (reader, writer) = stream.split();
    let reason = tokio::select! {
        reason = read(&hub, &peer, address, reader) => reason,
        reason = write(&hub, queue, writer) => reason,
    };
    if reason == NetworkError::SlowReader {
        hub.drop_slow_reader(connection);
    } else {
        hub.endpoint.close(connection, reason.clone());
    }
    hub.open().remove(&connection);
    // When nobody takes events any more, the program is ending.
    let _ = hub.events.send(ServerEvent::Closed { connection, peer: address, reason }).await;
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
    address: lode_protocol::ids::Address,
    mut reader: FrameReader,
) -> NetworkError {
    loop {
        let permit = tokio::select! {
            permit = peer.unanswered.clone().acquire_owned() => permit,
            // Nobody answers, but the end must still be told.
            reason = reader.ended() => return reason,
        };
        let Ok(permit) = permit else {
            return NetworkError::closed("the server has ended");
        };
        let bytes = match reader.next().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return NetworkError::closed("the peer ended the stream"),
            Err(error) => return error,
        };
        hub.metrics.frame(Direction::Incoming, bytes.len());
        let frame = IncomingFrame {
            peer: Some(address),
            connection: peer.connection,
            bytes,
            received_at: Instant::now(),
            reply: ReplyHandle::stream(hub.clone(), peer.clone(), permit),
        };
        if hub.events.send(ServerEvent::Frame(frame)).await.is_err() {
            return NetworkError::closed("the server has ended");
        }
    }
}

async fn write(hub: &Hub, mut queue: mpsc::Receiver<Vec<u8>>, mut writer: FrameWriter) -> NetworkError {
    let mut frames = Vec::new();
    loop {
        if queue.recv_many(&mut frames, FRAMES_PER_WRITE).await == 0 {
            return NetworkError::closed("the server has ended");
        }
        match writer.send_all(&frames, hub.config.write_timeout).await {
            Ok(()) => {}
            Err(NetworkError::WriteTimeout { .. }) => return NetworkError::SlowReader,
            Err(error) => return error,
        }
        for frame in frames.drain(..) {
            hub.metrics.frame(Direction::Outgoing, frame.len());
        }
        frames.shrink_to(FRAMES_PER_WRITE);
    }
}
