//! Asks a container whether it is ready, over its published port or by a command inside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use lode_protocol::assignment::PublishedPort;
use lode_protocol::task::ProbeAction;
use lode_protocol::units::Millis;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::core::event::ContainerId;
use crate::engine::Engine;

/// Most bytes read of an answer: its first line.
const MOST_BYTES: usize = 512;

/// Asks once. `Err` says why the container is not ready.
pub async fn ask(
    engine: &dyn Engine,
    host: IpAddr,
    container: &ContainerId,
    (action, ports): (&ProbeAction, &[PublishedPort]),
    timeout: Millis,
) -> Result<(), String> {
    let timeout = timeout.to_duration().max(Duration::from_millis(1));
    let asked = tokio::time::timeout(timeout, async {
        match action {
            ProbeAction::Tcp { port } => connect(host, ports, port).await.map(drop),
            ProbeAction::Http { port, path } => get(connect(host, ports, port).await?, path).await,
            ProbeAction::Exec { command } => match engine.execute(container, command).await {
                Ok(0) => Ok(()),
                Ok(code) => Err(format!("the command ended with exit code {code}")),
                Err(failure) => Err(format!("the command could not be run: {failure:?}")),
            },
        }
    });
    asked.await.unwrap_or_else(|_| Err(format!("no answer within {} ms", timeout.as_millis())))
}

/// Where a port published on `host` is reached from the host itself.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    }
}

async fn connect(host: IpAddr, ports: &[PublishedPort], name: &str) -> Result<TcpStream, String> {
    let port =
        ports.iter().find(|port| port.name == name).ok_or_else(|| format!("there is no port {name}"))?;
    let address = SocketAddr::new(reachable(host), port.host);
    TcpStream::connect(address).await.map_err(|error| format!("port {name} ({address}): {error}"))
}

/// HTTP/1.0: the server closes, nothing is kept.
async fn get(mut stream: TcpStream, path: &str) -> Result<(), String> {
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: lode-worker\r\nAccept: */*\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::with_capacity(MOST_BYTES);
    let mut part = [0; MOST_BYTES];
    while answer.len() < MOST_BYTES && !answer.contains(&b'\n') {
        match stream.read(&mut part).await.map_err(|error| error.to_string())? {
            0 => break,
            count => answer.extend(part.iter().take(count)),
        }
    }
    match status_of(&answer) {
        Some(200..=399) => Ok(()),
        Some(status) => Err(format!("HTTP status {status}")),
        None => Err("the answer is not HTTP".to_owned()),
    }
}

fn status_of(answer: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(answer.split(|byte| *byte == b'\n').next()?).ok()?;
    let mut words = text.split_ascii_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_read_and_anything_else_is_not_http() {
        assert_eq!(status_of(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        assert_eq!(status_of(b"HTTP/1.0 503\r\n"), Some(503));
        assert_eq!(status_of(b"SSH-2.0-OpenSSH\r\n"), None);
        assert_eq!(status_of(b""), None);
    }

    #[test]
    fn a_port_on_all_addresses_is_asked_on_loopback() {
        assert_eq!(reachable("0.0.0.0".parse().unwrap()), IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(reachable("10.1.2.3".parse().unwrap()), "10.1.2.3".parse::<IpAddr>().unwrap());
    }
}
