//! A connection of one node, over libp2p or over HTTP.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use lode_network::{Endpoint, EndpointConfig, FramedStream, NetworkMetrics, Protocol};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Target;
use super::node::Node;

/// Longest that anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// How beats travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Libp2p,
    Http,
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Libp2p => "libp2p",
            Way::Http => "HTTP",
        }
    }
}

/// A connection of one node.
pub(crate) enum Line {
    Stream { stream: FramedStream, _endpoint: Endpoint, _stop: DropGuard },
    Http(Http),
}

impl Line {
    pub(crate) async fn open(way: Way, node: &Node, target: &Target) -> anyhow::Result<Self> {
        match way {
            Way::Http => {
                let stream = TcpStream::connect(&target.http).await?;
                Ok(Line::Http(Http::over(stream, &target.http)?))
            }
            Way::Libp2p => {
                let settings = EndpointConfig { listen: Vec::new(), ..EndpointConfig::default() };
                let (endpoint, task) = Endpoint::bind(settings, &node.key, NetworkMetrics::default()).await?;
                let stop = CancellationToken::new();
                tokio::spawn(task.run(stop.clone()));
                // Also ends the task when nobody answers.
                let guard = stop.drop_guard();
                let connection = endpoint.connect(&target.libp2p, Some(target.orchestrator), LIMIT).await?;
                let stream = endpoint.open(connection.id, Protocol::Session, LIMIT).await?;
                Ok(Line::Stream { stream, _endpoint: endpoint, _stop: guard })
            }
        }
    }

    pub(crate) async fn ask(&mut self, frame: &[u8]) -> anyhow::Result<Vec<u8>> {
        match self {
            Line::Stream { stream, .. } => {
                stream.send(frame, LIMIT).await?;
                self.next().await
            }
            Line::Http(http) => http.post(frame).await,
        }
    }

    /// What comes next over a stream: an answer, or what the orchestrator says by itself.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Vec<u8>> {
        match self {
            Line::Stream { stream, .. } => stream.receive(LIMIT).await?.context("the stream ended"),
            Line::Http(_) => bail!("nothing comes over HTTP that was not asked for"),
        }
    }
}

/// HTTP/1.1 with keep-alive, as plain as can be: the load must not be what is slow.
pub(crate) struct Http {
    stream: TcpStream,
    host: String,
    /// The last answer said that nothing follows it, as that to a refused message does.
    ends: bool,
}

impl Http {
    pub(crate) fn over(stream: TcpStream, host: &str) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Http { stream, host: host.to_owned(), ends: false })
    }

    pub(crate) async fn post(&mut self, body: &[u8]) -> anyhow::Result<Vec<u8>> {
        let head = format!("content-type: application/cbor\r\ncontent-length: {}\r\n", body.len());
        let (status, answer) = self.exchange("POST /wire/v1", &head, body).await?;
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&answer));
        Ok(answer)
    }

    /// The same again: from the same address to the same listener.
    async fn reopen(&mut self) -> anyhow::Result<()> {
        let (from, to) = (self.stream.local_addr()?.ip(), self.stream.peer_addr()?);
        let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind((from, 0).into())?;
        self.stream = socket.connect(to).await?;
        self.stream.set_nodelay(true)?;
        self.ends = false;
        Ok(())
    }

    /// Status and body; `head` holds whole lines.
    pub(crate) async fn exchange(
        &mut self,
        what: &str,
        head: &str,
        body: &[u8],
    ) -> anyhow::Result<(u16, Vec<u8>)> {
        let mut request = format!("{what} HTTP/1.1\r\nhost: {}\r\n{head}\r\n", self.host).into_bytes();
        request.extend_from_slice(body);
        if self.ends {
            self.reopen().await?;
        }
        self.stream.write_all(&request).await?;
        let mut got = Vec::with_capacity(2_048);
        loop {
            let read = self.stream.read_buf(&mut got).await?;
            ensure!(read > 0, "the connection ended");
            let Some(end) = got.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let (head, rest) = got.split_at(end + 4);
            let head = String::from_utf8_lossy(head).to_ascii_lowercase();
            let status = head.strip_prefix("http/1.1 ").and_then(|rest| rest.get(..3));
            let status: u16 = status.with_context(|| head.clone())?.parse()?;
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.context("no length")?.trim().parse()?;
            if rest.len() >= length {
                self.ends = head.lines().any(|line| line == "connection: close");
                return Ok((status, rest.to_vec()));
            }
        }
    }

    /// Sends the beginning of a message that is said to be `whole` bytes long, and leaves it at that until the other side
    /// ends it or the time is over.
    pub(crate) async fn half(mut self, whole: usize, patience: Duration) -> anyhow::Result<()> {
        let mut request = format!(
            "POST /wire/v1 HTTP/1.1\r\nhost: {}\r\ncontent-type: application/cbor\r\ncontent-length: {whole}\r\n\r\n",
            self.host
        )
        .into_bytes();
        request.resize(request.len() + whole / 2, 7);
        self.stream.write_all(&request).await?;
        let mut answer = Vec::new();
        // However it ends: it was half.
        let _ = tokio::time::timeout(patience, self.stream.read_to_end(&mut answer)).await;
        Ok(())
    }
}
