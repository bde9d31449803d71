//! The attacks, each at full speed from several addresses at once: a process of its own that counts what it did.
//!
//! It runs with the least priority of the system. Attackers bring machines of their own; here what they compute must not be
//! mistaken for what the orchestrator is kept from.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use lode_network::Protocol;
use lode_program::{install_crypto_provider, open_files};
use lode_testkit::relay::{Relay, connect_from};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::honest::{MEMBERS, Member};
use super::place::Place;
use crate::heartbeats::Target;
use crate::heartbeats::line::{Http, Line, Way};
use crate::heartbeats::node::Node;

/// The child's sub-command.
const COMMAND: &str = "strangers-attack";
/// The member that beats at full speed.
pub(super) const FAST: u32 = MEMBERS;
/// Numbers of keys that are thrown away, far from all that are enrolled.
const THROW_AWAY: u64 = 1 << 31;
/// Silent connections of all addresses together: more than a listener has places.
const SILENT: u32 = 5_500;
/// Bytes that arrive of a connection with half a frame: its handshake and some of the frame.
const HALF: u64 = 24 << 10;
/// How long half a frame is held.
const HELD: Duration = Duration::from_secs(5);
/// Beats that are sent before the first of them is answered.
const UNDER_WAY: u32 = 4;
/// After something went wrong.
const PAUSE: Duration = Duration::from_millis(2);
/// Longest for a process to end when its time is over.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Attack {
    HelloLibp2p,
    HelloHttp,
    SilentLibp2p,
    SilentApi,
    HalfLibp2p,
    HalfHttp,
    NoToken,
    Beats,
}

impl Attack {
    pub(super) const ALL: [Attack; 8] = [
        Attack::HelloLibp2p,
        Attack::HelloHttp,
        Attack::SilentLibp2p,
        Attack::SilentApi,
        Attack::HalfLibp2p,
        Attack::HalfHttp,
        Attack::NoToken,
        Attack::Beats,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Attack::HelloLibp2p => "hellos of new keys, libp2p",
            Attack::HelloHttp => "hellos of new keys, HTTP",
            Attack::SilentLibp2p => "silent connections, libp2p",
            Attack::SilentApi => "silent connections, API",
            Attack::HalfLibp2p => "half frames, libp2p",
            Attack::HalfHttp => "half frames, HTTP",
            Attack::NoToken => "requests without a token",
            Attack::Beats => "beats of one member",
        }
    }

    /// How many are under way from one of so many addresses.
    fn at_once(self, addresses: u32) -> u32 {
        match self {
            // All together a little less than one network may have of handshakes, so that most are seen through.
            Attack::HelloLibp2p => (120 / addresses).max(1),
            Attack::SilentLibp2p | Attack::SilentApi => (SILENT / addresses).max(1),
            Attack::HelloHttp | Attack::NoToken => 32,
            Attack::HalfLibp2p => 40,
            Attack::HalfHttp => 200,
            Attack::Beats => 1,
        }
    }
}

/// What the process is told.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    attack: Attack,
    addresses: u32,
    seconds: u32,
    place: Place,
}

/// What it did.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Tally {
    /// Attacks that went as they should: they were answered, or held as long as they could be.
    pub(super) done: u64,
    /// Others: cut off, not answered, or never let in.
    pub(super) cut_off: u64,
    pub(super) seconds: f64,
}

/// Attacks from a process of its own for so long.
pub(super) async fn run(
    attack: Attack,
    addresses: u32,
    seconds: u32,
    place: &Place,
) -> anyhow::Result<Tally> {
    let order = Order { attack, addresses, seconds, place: place.clone() };
    let child = Command::new("nice")
        .args(["-n", "19"])
        .arg(std::env::current_exe()?)
        .args([COMMAND, &serde_json::to_string(&order)?])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("nice is not there")?;
    let limit = Duration::from_secs(seconds.into()) + PATIENCE;
    let output = timeout(limit, child.wait_with_output()).await.context("the attack never ended")??;
    ensure!(output.status.success(), "the attack ended with {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The process: does as the order says and prints its tally.
pub(crate) async fn attack(order: &str) -> anyhow::Result<()> {
    install_crypto_provider();
    open_files::raise();
    let Order { attack, addresses, seconds, place } = serde_json::from_str(order)?;
    let counts = Arc::new(Counts::default());
    let (mut all, mut relays) = (JoinSet::new(), Vec::new());
    // One member is one node at one address.
    let addresses = if attack == Attack::Beats { 1 } else { addresses };
    for number in 1..=addresses {
        let source = Ipv4Addr::new(127, 0, 0, u8::try_from(number)?);
        let relay = match attack {
            Attack::HalfLibp2p => Relay::cutting(source, place.libp2p, HALF).await?,
            _ => Relay::start(source, place.libp2p).await?,
        };
        let target = place.target(0, relay.address(), place.wire)?;
        relays.push(relay);
        for _ in 0..attack.at_once(addresses) {
            let attacker = Attacker {
                attack,
                source,
                target: target.clone(),
                place: place.clone(),
                counts: Arc::clone(&counts),
                http: None,
            };
            all.spawn(attacker.go_on());
        }
    }
    let began = Instant::now();
    sleep(Duration::from_secs(seconds.into())).await;
    let tally = Tally {
        done: counts.done.load(Ordering::Relaxed),
        cut_off: counts.cut_off.load(Ordering::Relaxed),
        seconds: began.elapsed().as_secs_f64(),
    };
    println!("{}", serde_json::to_string(&tally)?);
    Ok(())
}

#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    cut_off: AtomicU64,
    keys: AtomicU64,
}

/// One of many.
struct Attacker {
    attack: Attack,
    source: Ipv4Addr,
    target: Target,
    place: Place,
    counts: Arc<Counts>,
    /// Kept from one request to the next.
    http: Option<Http>,
}

impl Attacker {
    async fn go_on(mut self) {
        loop {
            match self.once().await {
                Ok(()) => {
                    self.counts.done.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => {
                    self.http = None;
                    self.counts.cut_off.fetch_add(1, Ordering::Relaxed);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn once(&mut self) -> anyhow::Result<()> {
        match self.attack {
            Attack::HelloLibp2p => {
                let (node, hello) = self.throw_away()?;
                Line::open(Way::Libp2p, &node, &self.target).await?.ask(&hello).await.map(drop)
            }
            Attack::HelloHttp => {
                let (_, hello) = self.throw_away()?;
                let head = format!("content-type: application/cbor\r\ncontent-length: {}\r\n", hello.len());
                let http = self.http(self.place.wire).await?;
                let (status, _) = http.exchange("POST /wire/v1", &head, &hello).await?;
                // To be refused unread is an answer, too.
                ensure!(matches!(status, 200 | 429), "{status}");
                Ok(())
            }
            Attack::SilentLibp2p => self.be_silent(self.place.libp2p).await,
            Attack::SilentApi => self.be_silent(self.place.api).await,
            Attack::HalfLibp2p => {
                let (node, _) = self.throw_away()?;
                let mut line = Line::open(Way::Libp2p, &node, &self.target).await?;
                if let Line::Stream { stream, .. } = &mut line {
                    stream.send(&vec![7_u8; Protocol::Session.stranger_limit()], HELD).await?;
                    // However it ends: it was half.
                    let _ = stream.receive(HELD).await;
                }
                Ok(())
            }
            Attack::HalfHttp => {
                let stream = connect_from(self.source, self.place.wire).await?;
                let whole = Protocol::Session.stranger_limit();
                Http::over(stream, &self.target.http)?.half(whole, HELD).await
            }
            Attack::NoToken => {
                let (status, _) = self.http(self.place.api).await?.exchange("GET /v1/pool", "", &[]).await?;
                ensure!(status == 401, "answered with {status}");
                Ok(())
            }
            Attack::Beats => self.beat().await,
        }
    }

    /// A key that nobody has seen, and its hello.
    fn throw_away(&self) -> anyhow::Result<(Node, Vec<u8>)> {
        let number = THROW_AWAY + self.counts.keys.fetch_add(1, Ordering::Relaxed);
        // Each attack of a run has numbers of its own.
        let number = number + ((self.attack as u64) << 27);
        let node = Node::new(u32::try_from(number)?, self.target.clone())?;
        let hello = node.hello(number)?;
        Ok((node, hello))
    }

    async fn http(&mut self, listener: SocketAddr) -> anyhow::Result<&mut Http> {
        let http = match self.http.take() {
            Some(http) => http,
            None => Http::over(connect_from(self.source, listener).await?, &listener.to_string())?,
        };
        Ok(self.http.insert(http))
    }

    /// Says nothing until it is cut off.
    async fn be_silent(&self, listener: SocketAddr) -> anyhow::Result<()> {
        let mut stream: TcpStream = connect_from(self.source, listener).await?;
        // A server that speaks first is not answered. However it ends: it was silent.
        let _ = stream.read_to_end(&mut Vec::new()).await;
        Ok(())
    }

    /// One member that is in a hurry: counts each beat that was answered, and goes on until something breaks.
    async fn beat(&self) -> anyhow::Result<()> {
        let (node, mut line, mut session) = Member::join(FAST, self.target.clone()).await?.into_parts();
        let mut waiting = 0;
        loop {
            let beat = node.beat(&mut session)?;
            match &mut line {
                Line::Stream { stream, .. } => stream.send(&beat, HELD).await?,
                Line::Http(_) => anyhow::bail!("this member comes over libp2p"),
            }
            waiting += 1;
            if waiting == UNDER_WAY {
                line.next().await?;
                waiting -= 1;
                self.counts.done.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
