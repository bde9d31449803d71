//! A TCP proxy whose faults are switched while it runs.
//!
//! It listens on a free loopback port and forwards to one target. Faults apply to all its connections, those that are
//! open and those to come. Dropping the proxy ends everything it started.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// Bytes forwarded at a time.
const CHUNK: usize = 16 << 10;
/// Chunks that may be under way in one direction while they are delayed.
const CHUNKS_UNDER_WAY: usize = 256;

/// What the proxy does to its connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing: bytes pass.
    Pass,
    /// Open connections end, new ones are closed at once.
    Drop,
    /// Connections are accepted and stay open, but no byte passes. What was sent meanwhile passes when this ends.
    BlackHole,
    /// Every byte arrives this much later.
    Delay(Duration),
}

/// A running proxy.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    open: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// Starts to forward to `target`.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (fault, faults) = watch::channel(Fault::Pass);
        let (open, accepted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(accept(listener, target, faults, open.clone(), accepted.clone()));
        Ok(Self { address, fault, open, accepted, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Switches the fault.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Connections open at the moment.
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Connections accepted since the start.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    faults: watch::Receiver<Fault>,
    open: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
) {
    // The set ends its connections when this task is aborted.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            incoming = listener.accept() => {
                let Ok((client, _)) = incoming else { continue };
                accepted.fetch_add(1, Ordering::SeqCst);
                connections.spawn(forward(client, target, faults.clone(), Counted::new(open.clone())));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn forward(
    client: TcpStream,
    target: SocketAddr,
    mut faults: watch::Receiver<Fault>,
    _counted: Counted,
) {
    let mut own = faults.clone();
    let both = async {
        // A black hole answers the handshake of TCP and nothing else: the target is not even asked.
        if own.wait_for(|fault| *fault != Fault::BlackHole).await.is_err() {
            return;
        }
        let Ok(server) = TcpStream::connect(target).await else { return };
        // Small messages must not wait for each other: that would be a fault nobody switched on.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (client_read, client_write) = client.into_split();
        let (server_read, server_write) = server.into_split();
        tokio::join!(
            one_way(client_read, server_write, own.clone()),
            one_way(server_read, client_write, own.clone())
        );
    };
    tokio::select! {
        () = both => {}
        _ = faults.wait_for(|fault| *fault == Fault::Drop) => {}
    }
}

/// Forwards until the source ends, then ends the destination.
pub(crate) async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    faults: watch::Receiver<Fault>,
) {
    let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_UNDER_WAY);
    let mut at_source = faults.clone();
    let source = async move {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            match from.read_buf(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let Ok(fault) = at_source.wait_for(|fault| *fault != Fault::BlackHole).await.map(|fault| *fault)
            else {
                return;
            };
            let delay = match fault {
                Fault::Delay(delay) => delay,
                Fault::Pass | Fault::Drop | Fault::BlackHole => Duration::ZERO,
            };
            if sender.send((Instant::now() + delay, chunk)).await.is_err() {
                return;
            }
        }
    };
    let mut at_destination = faults;
    let destination = async move {
        while let Some((due, chunk)) = under_way.recv().await {
            sleep_until(due).await;
            if at_destination.wait_for(|fault| *fault != Fault::BlackHole).await.is_err() {
                return;
            }
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
        // The other side may have gone first.
        let _ = to.shutdown().await;
    };
    tokio::join!(source, destination);
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        address
    }

    async fn round_trip(stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(b"ping").await?;
        let mut answer = [0; 4];
        timeout(DEADLINE, stream.read_exact(&mut answer)).await??;
        assert_eq!(&answer, b"ping");
        Ok(())
    }

    #[tokio::test]
    async fn bytes_pass_and_a_drop_ends_open_connections() {
        let proxy = FaultProxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        round_trip(&mut stream).await.unwrap();
        assert_eq!((proxy.connections(), proxy.accepted()), (1, 1));
        proxy.set(Fault::Drop);
        let ended = timeout(DEADLINE, stream.read(&mut [0; 1])).await.unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(round_trip(&mut refused).await.is_err());
        proxy.set(Fault::Pass);
        let mut again = TcpStream::connect(proxy.address()).await.unwrap();
        round_trip(&mut again).await.unwrap();
    }

    #[tokio::test]
    async fn a_black_hole_swallows_until_it_ends() {
        let proxy = FaultProxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        round_trip(&mut stream).await.unwrap();
        proxy.set(Fault::BlackHole);
        stream.write_all(b"held").await.unwrap();
        let mut answer = [0; 4];
        assert!(timeout(Duration::from_millis(200), stream.read_exact(&mut answer)).await.is_err());
        proxy.set(Fault::Pass);
        timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"held");
    }

    #[tokio::test]
    async fn a_delay_holds_each_way() {
        let proxy = FaultProxy::start(echo().await).await.unwrap();
        proxy.set(Fault::Delay(Duration::from_millis(100)));
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let start = Instant::now();
        round_trip(&mut stream).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    }
}
