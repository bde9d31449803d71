//! The task that keeps a link up: connect, carry frames, tell what happened, wait, again.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use lode_address::{EndpointUrl, PeerAddress};
use lode_protocol::backoff::{Backoff, BackoffPolicy};
use lode_protocol::units::Millis;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::https::HttpsLink;
use super::{ClientConfig, ClientEvent, Current, OUTGOING_QUEUE, Shared};
use crate::endpoint::{Connection, Endpoint, Transport};
use crate::error::NetworkError;
use crate::frame::{FrameReader, FrameWriter, FramedStream};
use crate::metrics::{Direction, NetworkMetrics};
use crate::outbound::is_public_address;
use crate::protocol::Protocol;

/// Frames joined into one write.
const FRAMES_PER_WRITE: usize = 32;

/// Keeps a link up; see [`PeerClientTask::run`].
#[derive(Debug)]
#[must_use = "nothing connects unless this task runs"]
pub struct PeerClientTask {
    endpoint: Endpoint,
    config: ClientConfig,
    shared: Arc<Shared>,
    events: mpsc::Sender<ClientEvent>,
    metrics: NetworkMetrics,
}

/// Nobody takes events any more: the link ends.
struct Unheard;

/// A libp2p connection with its stream.
struct StreamLink {
    url: EndpointUrl,
    connection: Connection,
    stream: FramedStream,
}

enum Link {
    Stream(StreamLink),
    Https { url: EndpointUrl, link: HttpsLink },
}

/// How a time on HTTPS ended.
enum Left {
    Broken(NetworkError),
    ForStream(StreamLink),
}

impl PeerClientTask {
    pub(super) fn new(
        endpoint: Endpoint,
        config: ClientConfig,
        shared: Arc<Shared>,
        events: mpsc::Sender<ClientEvent>,
    ) -> Self {
        let metrics = endpoint.metrics().clone();
        Self { endpoint, config, shared, events, metrics }
    }

    /// Works until `shutdown` or until nobody takes events any more.
    ///
    /// Boxed, so that it is compiled here and not again by everybody who spawns it.
    pub fn run(self, shutdown: CancellationToken) -> BoxFuture<'static, ()> {
        Box::pin(self.work_until(shutdown))
    }

    async fn work_until(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            Unheard = self.work() => {}
        }
        *self.shared.current() = Current::Nowhere;
    }

    async fn emit(&self, event: ClientEvent) -> Result<(), Unheard> {
        self.events.send(event).await.map_err(|_| Unheard)
    }

    async fn work(&self) -> Unheard {
        let (first, most) = (self.config.backoff_initial, self.config.backoff_max);
        let policy = BackoffPolicy::new(Millis::from_duration(first), Millis::from_duration(most));
        let mut backoff = Backoff::new(policy, rand::random());
        loop {
            let link = match self.connect_any(&mut backoff).await {
                Ok(link) => link,
                Err(unheard) => return unheard,
            };
            if let Some(link) = link {
                let since = Instant::now();
                if let Err(unheard) = self.carry(link).await {
                    return unheard;
                }
                if since.elapsed() >= self.config.backoff_max {
                    backoff.reset();
                }
                // Also after a connection that worked: a server that restarts meets its fleet spread out.
                self.pause(backoff.next_wait()).await;
            }
        }
    }

    async fn pause(&self, wait: Duration) {
        // Either is enough to go on.
        let _ = timeout(wait, self.shared.nudge.notified()).await;
    }

    /// Tries all endpoints once. When all failed, waits before it returns.
    async fn connect_any(&self, backoff: &mut Backoff) -> Result<Option<Link>, Unheard> {
        let endpoints = self.ordered_endpoints();
        let mut failed: Option<(EndpointUrl, NetworkError)> = None;
        for url in endpoints {
            if let Some((endpoint, error)) = failed.take() {
                self.emit(ClientEvent::ConnectFailed { endpoint, error, retry_in: Duration::ZERO }).await?;
            }
            match self.connect(&url).await {
                Ok(link) => return Ok(Some(link)),
                Err(error) => failed = Some((url, error)),
            }
        }
        let retry_in = backoff.next_wait();
        if let Some((endpoint, error)) = failed {
            self.emit(ClientEvent::ConnectFailed { endpoint, error, retry_in }).await?;
        }
        self.pause(retry_in).await;
        Ok(None)
    }

    /// libp2p first, then HTTPS where the protocol has it, each in the given order.
    fn ordered_endpoints(&self) -> Vec<EndpointUrl> {
        let endpoints = self.shared.endpoints().clone();
        let (peers, others): (Vec<_>, Vec<_>) =
            endpoints.into_iter().partition(|endpoint| matches!(endpoint, EndpointUrl::Peer(_)));
        match self.shared.protocol {
            Protocol::Session => peers.into_iter().chain(others).collect(),
            Protocol::Proof | Protocol::Logs => peers,
        }
    }

    async fn connect(&self, url: &EndpointUrl) -> Result<Link, NetworkError> {
        match url {
            EndpointUrl::Peer(address) => Ok(Link::Stream(self.connect_stream(url, address).await?)),
            EndpointUrl::Https(address) => {
                let link = HttpsLink::new(
                    address.clone(),
                    self.config.request_timeout,
                    self.config.public_names_only,
                )?;
                link.probe().await?;
                Ok(Link::Https { url: url.clone(), link })
            }
        }
    }

    async fn connect_stream(
        &self,
        url: &EndpointUrl,
        address: &PeerAddress,
    ) -> Result<StreamLink, NetworkError> {
        let started = Instant::now();
        let deadline = self.config.connect_timeout;
        let allowed: fn(IpAddr) -> bool =
            if self.config.public_names_only { is_public_address } else { |_| true };
        let peer = Some(self.config.peer);
        let connection = self.endpoint.connect_where(address, peer, deadline, allowed).await?;
        // Closes the connection again if the stream is not opened, also when this attempt is given up half-way.
        let guard = CloseUnlessKept { endpoint: &self.endpoint, connection: Some(connection) };
        let left = deadline.saturating_sub(started.elapsed());
        let stream = self.endpoint.open(connection.id, self.shared.protocol, left).await?;
        guard.keep();
        Ok(StreamLink { url: url.clone(), connection, stream })
    }

    async fn carry(&self, link: Link) -> Result<(), Unheard> {
        let stream = match link {
            Link::Stream(stream) => stream,
            Link::Https { url, link } => {
                let left = self.carry_https(url, link).await?;
                *self.shared.current() = Current::Nowhere;
                match left {
                    Left::Broken(reason) => return self.emit(ClientEvent::Disconnected { reason }).await,
                    Left::ForStream(stream) => {
                        self.emit(ClientEvent::Disconnected { reason: NetworkError::Superseded }).await?;
                        stream
                    }
                }
            }
        };
        let id = stream.connection.id;
        let result = self.carry_stream(stream).await;
        *self.shared.current() = Current::Nowhere;
        let reason = result?;
        self.endpoint.close(id, reason.clone());
        self.emit(ClientEvent::Disconnected { reason }).await
    }

    async fn carry_stream(&self, link: StreamLink) -> Result<NetworkError, Unheard> {
        let StreamLink { url, connection, stream } = link;
        let (outgoing, queue) = mpsc::channel(OUTGOING_QUEUE);
        self.forget_nudges();
        *self.shared.current() = Current::Stream { outgoing };
        let (transport, peer) = (Transport::Libp2p, Some(connection.peer));
        self.emit(ClientEvent::Connected { transport, endpoint: url, peer }).await?;
        let (reader, writer) = stream.split();
        tokio::select! {
            reason = self.read(reader) => reason,
            reason = self.write(queue, writer) => Ok(reason),
            () = self.shared.nudge.notified() => Ok(NetworkError::Reconnecting),
        }
    }

    async fn read(&self, mut reader: FrameReader) -> Result<NetworkError, Unheard> {
        loop {
            match reader.next().await {
                Ok(Some(frame)) => {
                    self.metrics.frame(Direction::Incoming, frame.len());
                    self.emit(ClientEvent::Frame(frame)).await?;
                }
                Ok(None) => return Ok(NetworkError::closed("the peer ended the stream")),
                Err(error) => return Ok(error),
            }
        }
    }

    async fn write(&self, mut queue: mpsc::Receiver<Vec<u8>>, mut writer: FrameWriter) -> NetworkError {
        let mut frames = Vec::new();
        loop {
            if queue.recv_many(&mut frames, FRAMES_PER_WRITE).await == 0 {
                return NetworkError::closed("the link has ended");
            }
            if let Err(error) = writer.send_all(&frames, self.config.write_timeout).await {
                return error;
            }
            for frame in frames.drain(..) {
                self.metrics.frame(Direction::Outgoing, frame.len());
            }
        }
    }

    /// One exchange at a time, in order: a later beat must not overtake an earlier one.
    async fn carry_https(&self, url: EndpointUrl, link: HttpsLink) -> Result<Left, Unheard> {
        let (outgoing, mut queue) = mpsc::channel(OUTGOING_QUEUE);
        self.forget_nudges();
        *self.shared.current() = Current::Https { outgoing, link: link.clone() };
        self.emit(ClientEvent::Connected { transport: Transport::Https, endpoint: url, peer: None }).await?;
        let way_back = self.way_back();
        tokio::pin!(way_back);
        loop {
            let frame = tokio::select! {
                frame = queue.recv() => frame,
                back = &mut way_back => return back.map(Left::ForStream),
                () = self.shared.nudge.notified() => return Ok(Left::Broken(NetworkError::Reconnecting)),
            };
            let Some(frame) = frame else {
                return Ok(Left::Broken(NetworkError::closed("the link has ended")));
            };
            let size = frame.len();
            match link.post(frame, self.shared.protocol.accepter_limit()).await {
                Ok(answer) => {
                    self.metrics.frame(Direction::Outgoing, size);
                    self.metrics.frame(Direction::Incoming, answer.len());
                    self.emit(ClientEvent::Frame(answer)).await?;
                }
                Err(error) => return Ok(Left::Broken(error)),
            }
        }
    }

    /// Tries libp2p again and again until it works.
    async fn way_back(&self) -> Result<StreamLink, Unheard> {
        loop {
            let wait = self.config.primary_retry.mul_f64(1.0 + rand::random::<f64>() / 4.0);
            sleep(wait).await;
            for url in self.ordered_endpoints() {
                let EndpointUrl::Peer(address) = &url else { continue };
                match self.connect_stream(&url, address).await {
                    Ok(link) => return Ok(link),
                    Err(error) => {
                        let retry_in = self.config.primary_retry;
                        self.emit(ClientEvent::ConnectFailed { endpoint: url, error, retry_in }).await?;
                    }
                }
            }
        }
    }

    /// A nudge from before this connection is not about it.
    fn forget_nudges(&self) {
        let _ = self.shared.nudge.notified().now_or_never();
    }
}

struct CloseUnlessKept<'a> {
    endpoint: &'a Endpoint,
    connection: Option<Connection>,
}

impl CloseUnlessKept<'_> {
    fn keep(mut self) {
        self.connection = None;
    }
}

impl Drop for CloseUnlessKept<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection {
            self.endpoint.disconnect(connection.id, "no stream was opened on it");
        }
    }
}
