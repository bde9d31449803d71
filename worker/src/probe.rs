//! Asks a container whether it is ready or alive: over the network, or by a command inside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use lode_protocol::assignment::PublishedPort;
use lode_protocol::task::ProbeAction;
use lode_protocol::units::Millis;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::core::event::{ContainerId, EngineFailure};
use crate::engine::{Engine, Ran};

/// Most bytes read of an answer: its first line.
const MOST_BYTES: usize = 512;
/// Time that a proxy may take to notice that nobody listens behind it.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// Asks once. `Err` says why the container does not count as ready, or alive.
pub async fn ask(
    engine: &dyn Engine,
    host: IpAddr,
    container: &ContainerId,
    asked: (&ProbeAction, &[PublishedPort]),
    timeout: Millis,
) -> Result<(), String> {
    let answer = answer(engine, host, container, asked, timeout).await;
    answer.unwrap_or_else(|failure| Err(format!("it could not be asked: {}", failure.detail())))
}

/// The same, where an engine that does not answer is told apart: then nothing is known of the container.
///
/// # Errors
/// The engine does not answer.
pub async fn answer(
    engine: &dyn Engine,
    host: IpAddr,
    container: &ContainerId,
    (action, ports): (&ProbeAction, &[PublishedPort]),
    timeout: Millis,
) -> Result<Result<(), String>, EngineFailure> {
    let timeout = timeout.to_duration().max(Duration::from_millis(1));
    match action {
        // It ends by itself, and what is left of it is tidied away before it is answered for.
        ProbeAction::Exec { command } => known(run(engine, container, command, timeout).await),
        ProbeAction::Tcp { port } => {
            let own = match engine.address(container).await {
                Ok(own) => own,
                Err(failure) => return known(Err(Unmet::Engine(failure))),
            };
            Ok(in_time(timeout, listens(named(ports, port), host, own, LONGEST_LOOK.min(timeout / 2))).await)
        }
        ProbeAction::Http { port, path } => {
            let asked = async {
                let port = named(ports, port)?;
                get(connect(published(host, port), port).await?, path).await
            };
            Ok(in_time(timeout, asked).await)
        }
    }
}

/// Why a container is not what it should be.
enum Unmet {
    Container(String),
    Engine(EngineFailure),
}

fn known(result: Result<(), Unmet>) -> Result<Result<(), String>, EngineFailure> {
    match result {
        Ok(()) => Ok(Ok(())),
        Err(Unmet::Container(why)) => Ok(Err(why)),
        Err(Unmet::Engine(failure @ EngineFailure::Unavailable(_))) => Err(failure),
        Err(Unmet::Engine(failure)) => Ok(Err(format!("the engine refused: {}", failure.detail()))),
    }
}

async fn in_time(limit: Duration, asked: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let late = || Err(format!("no answer within {} ms", limit.as_millis()));
    tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| late())
}

async fn run(
    engine: &dyn Engine,
    container: &ContainerId,
    command: &[String],
    limit: Duration,
) -> Result<(), Unmet> {
    let why = match engine.execute(container, command, limit).await.map_err(Unmet::Engine)? {
        Ran::Ended(0) => return Ok(()),
        Ran::Ended(code) => format!("the command ended with exit code {code}"),
        Ran::TooLong { killed: true } => {
            format!("the command took more than {} ms and was killed", limit.as_millis())
        }
        Ran::TooLong { killed: false } => format!(
            "the command took more than {} ms and cannot be killed; it is not run again before it ends",
            limit.as_millis()
        ),
        Ran::StillRuns => {
            "the command of an earlier try still runs and cannot be killed; no other is started".to_owned()
        }
    };
    Err(Unmet::Container(why))
}

/// Whether somebody in the container listens at a port: at its own address, else where the host publishes it.
async fn listens(
    port: Result<&PublishedPort, String>,
    host: IpAddr,
    own: Option<IpAddr>,
    look: Duration,
) -> Result<(), String> {
    let port = port?;
    match own {
        Some(own) => connect(SocketAddr::new(own, port.container), port).await.map(drop),
        None => stays_open(connect(published(host, port), port).await?, port, look).await,
    }
}

fn named<'a>(ports: &'a [PublishedPort], name: &str) -> Result<&'a PublishedPort, String> {
    ports.iter().find(|port| port.name == name).ok_or_else(|| format!("there is no port {name}"))
}

/// Where the host publishes a port.
fn published(host: IpAddr, port: &PublishedPort) -> SocketAddr {
    SocketAddr::new(reachable(host), port.host)
}

async fn connect(address: SocketAddr, port: &PublishedPort) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| format!("port {} ({address}): {error}", port.name))
}

/// Whether the other end keeps a connection: a proxy accepts first, and closes if nobody listens behind it.
async fn stays_open(mut stream: TcpStream, port: &PublishedPort, look: Duration) -> Result<(), String> {
    match tokio::time::timeout(look, stream.read(&mut [0])).await {
        Ok(Ok(1..)) | Err(_) => Ok(()),
        Ok(Ok(0) | Err(_)) => Err(format!("port {}: the connection was closed at once", port.name)),
    }
}

/// Where a port published on `host` is reached from the host itself.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    }
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

    #[tokio::test]
    async fn a_connection_that_is_closed_at_once_is_nobody_who_listens() {
        let port = PublishedPort {
            name: "http".to_owned(),
            container: 80,
            host: 0,
            protocol: lode_protocol::task::PortProtocol::Tcp,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = connect(address, &port).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        drop(accepted);
        assert!(stays_open(stream, &port, Duration::from_secs(60)).await.is_err());
        let stream = connect(address, &port).await.unwrap();
        let (_accepted, _) = listener.accept().await.unwrap();
        assert_eq!(stays_open(stream, &port, Duration::from_millis(50)).await, Ok(()));
    }

    #[test]
    fn a_port_on_all_addresses_is_asked_on_loopback() {
        assert_eq!(reachable("0.0.0.0".parse().unwrap()), IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(reachable("10.1.2.3".parse().unwrap()), "10.1.2.3".parse::<IpAddr>().unwrap());
    }
}
