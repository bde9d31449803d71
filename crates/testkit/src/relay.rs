//! A TCP relay that lets whoever connects through it come from another address of loopback: libp2p cannot be told where to
//! dial from, and limits count by address.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A running relay. Dropping it ends everything it started.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Relay {
    /// Forwards to `target`, from `source`.
    pub async fn start(source: Ipv4Addr, target: SocketAddr) -> io::Result<Self> {
        Self::begin(source, target, None).await
    }

    /// The same, but of what comes from each client only the first `bytes` arrive; the connection stays open.
    pub async fn cutting(source: Ipv4Addr, target: SocketAddr, bytes: u64) -> io::Result<Self> {
        Self::begin(source, target, Some(bytes)).await
    }

    async fn begin(source: Ipv4Addr, target: SocketAddr, cut: Option<u64>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // The set ends its connections when this task is aborted.
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    incoming = listener.accept() => {
                        let Ok((client, _)) = incoming else { continue };
                        connections.spawn(forward(client, source, target, cut));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects from a certain address of this machine.
pub async fn connect_from(source: Ipv4Addr, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((source, 0)))?;
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Until both sides have ended, or one of them broke.
async fn forward(mut client: TcpStream, source: Ipv4Addr, target: SocketAddr, cut: Option<u64>) {
    let Ok(mut server) = connect_from(source, target).await else { return };
    if client.set_nodelay(true).is_err() {
        return;
    }
    let Some(bytes) = cut else {
        // How it broke is what both ends see themselves.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        return;
    };
    let (from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let there = async {
        let mut beginning = from_client.take(bytes);
        tokio::io::copy(&mut beginning, &mut to_server).await?;
        let mut rest = beginning.into_inner();
        let mut nowhere = tokio::io::sink();
        tokio::io::copy(&mut rest, &mut nowhere).await
    };
    tokio::select! {
        _ = there => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;
    use tokio::time::timeout;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);
    const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

    #[tokio::test]
    async fn the_target_sees_the_source_and_all_bytes() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let relay = Relay::start(SOURCE, listener.local_addr().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(relay.address()).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        let (mut server, from) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
        assert_eq!(from.ip(), SOURCE);
        let mut got = [0; 5];
        timeout(DEADLINE, server.read_exact(&mut got)).await.unwrap().unwrap();
        assert_eq!(&got, b"hello");
        server.write_all(b"there").await.unwrap();
        drop(server);
        let mut got = Vec::new();
        timeout(DEADLINE, client.read_to_end(&mut got)).await.unwrap().unwrap();
        assert_eq!(got, b"there");
    }

    #[tokio::test]
    async fn a_cut_leaves_the_beginning_and_an_open_connection() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let relay = Relay::cutting(SOURCE, listener.local_addr().unwrap(), 3).await.unwrap();
        let mut client = TcpStream::connect(relay.address()).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        let (mut server, _) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
        let mut got = [0; 3];
        timeout(DEADLINE, server.read_exact(&mut got)).await.unwrap().unwrap();
        assert_eq!(&got, b"hel");
        assert!(timeout(Duration::from_millis(200), server.read(&mut got)).await.is_err());
    }
}
