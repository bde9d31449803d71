//! Whom strangers must not harm: members that beat at the pace they are told, nodes that are enrolled and come for the
//! first time, and people who ask the API. All of them come from one address that is in no attacker's network.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use lode_protocol::session::{Channel, Instruction, Membership};
use lode_testkit::relay::Relay;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::place::Place;
use crate::heartbeats::Target;
use crate::heartbeats::line::{LIMIT, Line, Way};
use crate::heartbeats::node::{self, Node, Session};

/// Where they come from.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
/// Members, the first of all nodes.
pub(super) const MEMBERS: u32 = 20;
/// Between two nodes that come for the first time.
pub(super) const BETWEEN_NEWCOMERS: Duration = Duration::from_millis(500);
/// People who ask the API.
const PEOPLE: u32 = 2;
/// Between an answer and the next question.
const THINKING: Duration = Duration::from_millis(20);
/// Between a hello that has the chain asked and the next one.
const ASKS_AGAIN: Duration = Duration::from_millis(10);
/// Between two beats of a newcomer: as often as one node may.
const UNTIL_MEMBER: Duration = Duration::from_millis(250);
/// Before somebody who was refused comes again.
const PAUSE: Duration = Duration::from_millis(200);

/// What they met, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) reads: Vec<f64>,
    pub(super) beats: Vec<f64>,
    pub(super) joins: Vec<f64>,
    /// Everything that did not go as it should.
    pub(super) refusals: Vec<String>,
}

type Shared = Arc<Mutex<Seen>>;

/// All of them, until this is dropped.
pub(super) struct Honest {
    seen: Shared,
    _tasks: JoinSet<()>,
    _relays: [Relay; 2],
}

impl Honest {
    /// Members have joined when this returns; `newcomers` are the numbers of nodes that nobody has seen yet.
    pub(super) async fn start(pid: u64, place: &Place, newcomers: Range<u32>) -> anyhow::Result<Self> {
        let relays = [Relay::start(ADDRESS, place.libp2p).await?, Relay::start(ADDRESS, place.wire).await?];
        let [libp2p, http] = [relays[0].address(), relays[1].address()];
        let target = place.target(pid, libp2p, http)?;
        let seen = Shared::default();
        let mut tasks = JoinSet::new();
        for number in 0..MEMBERS {
            let member = Member::join(number, target.clone()).await?;
            tasks.spawn(member.live(Arc::clone(&seen)));
        }
        tasks.spawn(come(newcomers, target, Arc::clone(&seen)));
        let http = reqwest::Client::builder().local_address(IpAddr::V4(ADDRESS)).timeout(LIMIT).build()?;
        for _ in 0..PEOPLE {
            tasks.spawn(ask(http.clone(), place.clone(), Arc::clone(&seen)));
        }
        Ok(Honest { seen, _tasks: tasks, _relays: relays })
    }

    /// What they met since this was asked last.
    pub(super) fn take(&self) -> Seen {
        std::mem::take(&mut *lock(&self.seen))
    }
}

fn lock(seen: &Shared) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

/// Half of the nodes come this way, half that way.
fn way_of(number: u32) -> Way {
    if number.is_multiple_of(2) { Way::Libp2p } else { Way::Http }
}

/// A node with its session.
pub(super) struct Member {
    number: u32,
    target: Target,
    node: Node,
    line: Line,
    session: Session,
    /// Until its next beat, as it was told.
    interval: Duration,
}

impl Member {
    /// Says hello until it has a session, and beats until it is told that it is a member.
    pub(super) async fn join(number: u32, target: Target) -> anyhow::Result<Self> {
        let node = Node::new(number, target.clone())?;
        let mut line = Line::open(way_of(number), &node, &target).await?;
        let nonce = node::now().0;
        let began = Instant::now();
        let session = loop {
            match node.granted(&line.ask(&node.hello(nonce)?).await?)? {
                Some(session) => break session,
                None => ensure!(began.elapsed() < LIMIT, "never a session"),
            }
            sleep(ASKS_AGAIN).await;
        };
        let mut member = Member { number, target, node, line, session, interval: Duration::ZERO };
        loop {
            let instruction = member.beat().await?;
            if instruction.membership == Membership::Member {
                return Ok(member);
            }
            ensure!(began.elapsed() < LIMIT, "never a member: {:?}", instruction.membership);
            sleep(UNTIL_MEMBER).await;
        }
    }

    /// The answer to one beat; what the orchestrator said by itself is taken as well.
    async fn beat(&mut self) -> anyhow::Result<Instruction> {
        let beat = self.node.beat(&mut self.session)?;
        let mut answer = self.line.ask(&beat).await?;
        loop {
            let instruction = self.node.answer(&mut self.session, &answer)?;
            if !matches!(instruction.channel, Channel::Push { .. }) {
                self.interval = instruction.terms.interval.to_duration();
                return Ok(instruction);
            }
            answer = self.line.next().await?;
        }
    }

    /// Beats at its pace for ever.
    async fn live(mut self, seen: Shared) {
        loop {
            sleep(self.interval).await;
            let asked = Instant::now();
            let refused = match self.beat().await {
                Ok(_) => {
                    lock(&seen).beats.push(millis_since(asked));
                    continue;
                }
                Err(refused) => refused,
            };
            lock(&seen).refusals.push(format!("member {}: {refused:#}", self.number));
            self = loop {
                sleep(PAUSE).await;
                match Member::join(self.number, self.target.clone()).await {
                    Ok(again) => break again,
                    Err(error) => {
                        lock(&seen).refusals.push(format!("member {} again: {error:#}", self.number));
                    }
                }
            };
        }
    }

    /// What is needed to say something else than honest members say.
    pub(super) fn into_parts(self) -> (Node, Line, Session) {
        (self.node, self.line, self.session)
    }
}

/// Lets nodes come for the first time, one after the other; each leaves when it is a member.
async fn come(newcomers: Range<u32>, target: Target, seen: Shared) {
    let mut under_way = JoinSet::new();
    let mut due = tokio::time::interval(BETWEEN_NEWCOMERS);
    for number in newcomers {
        due.tick().await;
        let (target, seen) = (target.clone(), Arc::clone(&seen));
        under_way.spawn(async move {
            let began = Instant::now();
            let joined = Member::join(number, target).await;
            let took = millis_since(began);
            let mut seen = lock(&seen);
            match joined {
                Ok(_) => seen.joins.push(took),
                Err(error) => seen.refusals.push(format!("newcomer {number}: {error:#}")),
            }
        });
        while under_way.try_join_next().is_some() {}
    }
    while under_way.join_next().await.is_some() {}
}

/// Asks the API all the time.
async fn ask(http: reqwest::Client, place: Place, seen: Shared) {
    for path in ["/v1/pool", "/v1/nodes?limit=100"].into_iter().cycle() {
        let asked = Instant::now();
        let answered = read(&http, &place, path).await;
        let took = millis_since(asked);
        match answered {
            Ok(()) => lock(&seen).reads.push(took),
            Err(error) => lock(&seen).refusals.push(format!("{path}: {error:#}")),
        }
        sleep(THINKING).await;
    }
}

async fn read(http: &reqwest::Client, place: &Place, path: &str) -> anyhow::Result<()> {
    let url = format!("http://{}{path}", place.api);
    let response = http.get(url).bearer_auth(&place.token).send().await?;
    let status = response.status();
    let body = response.text().await?;
    ensure!(status.is_success(), "{status}: {body}");
    Ok(())
}
