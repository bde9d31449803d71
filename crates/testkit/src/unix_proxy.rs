//! The same faults as [`crate::proxy`] for a Unix socket: a container engine that is gone, silent or slow for a while.
//!
//! Dropping the proxy ends everything it started and removes its socket.

use std::io;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::proxy::{Fault, one_way};

/// A running proxy.
#[derive(Debug)]
pub struct UnixProxy {
    path: PathBuf,
    fault: watch::Sender<Fault>,
    task: JoinHandle<()>,
}

impl UnixProxy {
    /// Listens at `path` and forwards to the socket `target`.
    ///
    /// # Errors
    /// When `path` cannot be bound: it exists already, or is too long for a socket.
    pub fn start(path: &Path, target: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let (fault, faults) = watch::channel(Fault::Pass);
        let task = tokio::spawn(accept(listener, target.to_owned(), faults));
        Ok(Self { path: path.to_owned(), fault, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Switches the fault.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for UnixProxy {
    fn drop(&mut self) {
        self.task.abort();
        // It may be gone with its folder.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, target: PathBuf, faults: watch::Receiver<Fault>) {
    // The set ends its connections when this task is aborted.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            incoming = listener.accept() => {
                let Ok((client, _)) = incoming else { continue };
                connections.spawn(forward(client, target.clone(), faults.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn forward(client: UnixStream, target: PathBuf, mut faults: watch::Receiver<Fault>) {
    let mut own = faults.clone();
    let both = async {
        if own.wait_for(|fault| *fault != Fault::BlackHole).await.is_err() {
            return;
        }
        let Ok(server) = UnixStream::connect(&target).await else { return };
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn bytes_pass_until_the_connection_is_cut_and_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target.sock");
        let listener = UnixListener::bind(&target).unwrap();
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        let proxy = UnixProxy::start(&folder.path().join("proxy.sock"), &target).unwrap();
        let path = proxy.path().to_owned();
        let echo = async |stream: &mut UnixStream| -> io::Result<[u8; 4]> {
            stream.write_all(b"ping").await?;
            let mut answer = [0; 4];
            timeout(Duration::from_secs(10), stream.read_exact(&mut answer)).await??;
            Ok(answer)
        };
        let mut stream = UnixStream::connect(&path).await.unwrap();
        assert_eq!(echo(&mut stream).await.unwrap(), *b"ping");
        proxy.set(Fault::Drop);
        assert!(echo(&mut stream).await.is_err());
        proxy.set(Fault::Pass);
        let mut stream = UnixStream::connect(&path).await.unwrap();
        assert_eq!(echo(&mut stream).await.unwrap(), *b"ping");
        drop(proxy);
        assert!(!path.exists());
        server.abort();
    }
}
