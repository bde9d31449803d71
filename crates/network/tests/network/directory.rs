//! Following directories: honest ones, ones that start anew, and hostile ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use lode_network::{DirectoryError, DirectoryFollower, DirectoryReader};
use lode_protocol::cursor::Cursor;
use lode_protocol::descriptor::{DescriptorError, NodeDescriptor, Scope, VerifiedDescriptor};
use lode_protocol::directory::{ChangesPage, DirectoryChange, DirectoryEntry, DirectoryPage, MAX_PAGE};
use lode_protocol::envelope::{Addressing, Audience, Realm, seal};
use lode_protocol::hardware::NodeSpecs;
use lode_protocol::ids::{Address, BootCounter, ChainId, NodeId, PoolId, ProviderId};
use lode_protocol::keys::SigningKey;
use lode_protocol::units::{Bytes, Millis, Timestamp};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const REALM: Realm = Realm { chain: ChainId(31_337), deployment: Address([5; 20]), pool: PoolId(1) };
/// Far longer than anything takes; reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(60);

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

fn node(number: u8) -> NodeId {
    NodeId(key(number).address())
}

fn entry(number: u8, sequence: u64) -> DirectoryEntry {
    let lifetime = Millis::seconds(3_600);
    let descriptor = NodeDescriptor {
        node: node(number),
        specs: NodeSpecs::default(),
        addresses: Vec::new(),
        sealing_key: None,
        agent_version: "0".to_owned(),
        boot: BootCounter(1),
        sequence,
        issued_at: NOW,
        expires_at: NOW.plus(lifetime),
    };
    let addressing = Addressing { audience: Audience::Any, realm: REALM, now: NOW, lifetime };
    DirectoryEntry {
        node: node(number),
        provider: ProviderId(Address([9; 20])),
        pool: REALM.pool,
        gpu_models: Vec::new(),
        gpus: 0,
        gpu_memory: Bytes(0),
        boot: BootCounter(1),
        sequence,
        expires_at: NOW.plus(lifetime),
        descriptor: seal(&key(number), addressing, &descriptor).bytes,
    }
}

/// Entries in the order of their ids, as a directory gives them.
fn sorted(mut entries: Vec<DirectoryEntry>) -> Vec<DirectoryEntry> {
    entries.sort_by_key(|entry| entry.node);
    entries
}

fn cursor(incarnation: u64, position: u64) -> Cursor {
    Cursor { incarnation, position }
}

fn page(nodes: Vec<DirectoryEntry>, next: Option<NodeId>) -> DirectoryPage {
    DirectoryPage { nodes, next, cursor: cursor(1, 1) }
}

type Pages = Box<dyn Fn(usize, Option<&str>) -> DirectoryPage + Send + Sync>;

/// A directory that does as it is told: pages by a rule, changes from a list; when that is over it waits.
#[derive(Clone)]
struct Directory(Arc<Script>);

struct Script {
    pages: Pages,
    changes: Mutex<VecDeque<Result<ChangesPage, StatusCode>>>,
    more: Notify,
    /// Calls of pages and of changes.
    calls: Mutex<(usize, usize)>,
}

impl Directory {
    fn new(pages: impl Fn(usize, Option<&str>) -> DirectoryPage + Send + Sync + 'static) -> Self {
        Directory(Arc::new(Script {
            pages: Box::new(pages),
            changes: Mutex::default(),
            more: Notify::new(),
            calls: Mutex::default(),
        }))
    }

    fn calls(&self) -> (usize, usize) {
        *self.0.calls.lock().unwrap()
    }

    fn push(&self, change: Result<ChangesPage, StatusCode>) {
        self.0.changes.lock().unwrap().push_back(change);
        self.0.more.notify_one();
    }

    async fn nodes(State(this): State<Self>, Query(query): Query<BTreeMap<String, String>>) -> Response {
        let call = {
            let mut calls = this.0.calls.lock().unwrap();
            calls.0 += 1;
            calls.0
        };
        Json((this.0.pages)(call, query.get("after").map(String::as_str))).into_response()
    }

    async fn changes(State(this): State<Self>) -> Response {
        this.0.calls.lock().unwrap().1 += 1;
        loop {
            let next = this.0.changes.lock().unwrap().pop_front();
            match next {
                Some(Ok(page)) => return Json(page).into_response(),
                Some(Err(status)) => return status.into_response(),
                None => this.0.more.notified().await,
            }
        }
    }

    async fn serve(&self) -> (String, DropGuard) {
        lode_program::install_crypto_provider();
        let routes = Router::new()
            .route("/v1/nodes", get(Self::nodes))
            .route("/v1/changes", get(Self::changes))
            .with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                result = axum::serve(listener, routes).into_future() => result.unwrap(),
                () = stopped.cancelled() => {}
            }
        });
        (format!("http://{address}"), stop.drop_guard())
    }
}

/// What a reader was told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Learned(NodeId, u64),
    Skipped(NodeId, String),
    Well,
    Trouble(String),
}

struct Reader(mpsc::UnboundedSender<Told>);

impl DirectoryReader for Reader {
    fn now(&self) -> Timestamp {
        NOW
    }

    async fn learn(&self, descriptor: VerifiedDescriptor) -> bool {
        self.0.send(Told::Learned(descriptor.node(), descriptor.body().sequence)).is_ok()
    }

    fn skipped(&self, entry: &DirectoryEntry, error: &DescriptorError) {
        drop(self.0.send(Told::Skipped(entry.node, error.code().as_str().to_owned())));
    }

    fn state(&self, state: Result<(), &DirectoryError>) {
        drop(self.0.send(match state {
            Ok(()) => Told::Well,
            Err(error) => Told::Trouble(error.to_string()),
        }));
    }
}

struct Following {
    told: mpsc::UnboundedReceiver<Told>,
    task: tokio::task::JoinHandle<()>,
    _directory: DropGuard,
}

impl Following {
    async fn of(directory: &Directory) -> Self {
        Self::with(directory, |follower| follower).await
    }

    async fn with(directory: &Directory, set: impl FnOnce(DirectoryFollower) -> DirectoryFollower) -> Self {
        let (url, guard) = directory.serve().await;
        let (sender, told) = mpsc::unbounded_channel();
        let follower = set(DirectoryFollower::new(url, Scope::Pool(REALM)));
        let task = tokio::spawn(follower.run(Reader(sender)));
        Following { told, task, _directory: guard }
    }

    async fn next(&mut self) -> Told {
        tokio::time::timeout(DEADLINE, self.told.recv()).await.expect("the reader is told").unwrap()
    }

    async fn learned(&mut self, entries: &[(u8, u64)]) {
        let mut expected: Vec<Told> =
            entries.iter().map(|(number, sequence)| Told::Learned(node(*number), *sequence)).collect();
        expected.sort_by_key(|told| match told {
            Told::Learned(node, _) => *node,
            Told::Skipped(..) | Told::Well | Told::Trouble(_) => NodeId::default(),
        });
        for told in expected {
            assert_eq!(self.next().await, told);
        }
    }

    async fn trouble(&mut self) -> String {
        loop {
            if let Told::Trouble(text) = self.next().await {
                return text;
            }
        }
    }
}

fn updated(number: u8, sequence: u64) -> DirectoryChange {
    DirectoryChange::Updated { entry: Box::new(entry(number, sequence)) }
}

fn changes(changes: Vec<DirectoryChange>, cursor: Cursor) -> Result<ChangesPage, StatusCode> {
    Ok(ChangesPage { changes, cursor, resync: false })
}

#[tokio::test]
async fn all_pages_are_read_and_then_changes_and_an_outage_in_between_is_told_and_survived() {
    let entries = sorted((1..=3).map(|number| entry(number, 1)).collect());
    let directory = Directory::new(move |_, after| {
        let after = after.map(|after| after.parse::<NodeId>().unwrap());
        let rest = entries.iter().filter(|entry| Some(entry.node) > after);
        let nodes: Vec<_> = rest.take(2).cloned().collect();
        let next = (nodes.len() == 2).then(|| nodes[1].node);
        page(nodes, next)
    });
    let mut following = Following::of(&directory).await;
    following.learned(&[(1, 1), (2, 1), (3, 1)]).await;
    assert_eq!(following.next().await, Told::Well);
    let removed = DirectoryChange::Removed { node: node(1), reason: "expired".to_owned() };
    directory.push(changes(vec![removed, updated(2, 2)], cursor(1, 3)));
    following.learned(&[(2, 2)]).await;
    assert_eq!(following.next().await, Told::Well);
    directory.push(Err(StatusCode::INTERNAL_SERVER_ERROR));
    following.trouble().await;
    following.learned(&[(1, 1), (2, 1), (3, 1)]).await;
    assert_eq!(following.next().await, Told::Well);
}

#[tokio::test]
async fn a_directory_that_started_anew_is_read_from_the_beginning() {
    let directory = Directory::new(|call, _| match call {
        1 => page(vec![entry(1, 1)], None),
        _ => DirectoryPage { nodes: vec![entry(1, 2)], next: None, cursor: cursor(2, 0) },
    });
    let mut following = Following::of(&directory).await;
    following.learned(&[(1, 1)]).await;
    assert_eq!(following.next().await, Told::Well);
    directory.push(Ok(ChangesPage { changes: Vec::new(), cursor: cursor(2, 0), resync: true }));
    following.learned(&[(1, 2)]).await;
    assert_eq!(following.next().await, Told::Well);
    directory.push(changes(vec![updated(1, 3)], cursor(2, 1)));
    following.learned(&[(1, 3)]).await;
}

#[tokio::test]
async fn a_bad_entry_costs_itself_and_is_counted() {
    let directory = Directory::new(|_, _| {
        let mut forged = entry(1, 1);
        *forged.descriptor.last_mut().unwrap() ^= 1;
        let mut other = entry(2, 1);
        other.node = node(3);
        let mut large = entry(4, 1);
        large.descriptor = vec![0; 100 << 10];
        page(vec![forged, other, large, entry(5, 1)], None)
    });
    let mut following = Following::of(&directory).await;
    assert_eq!(following.next().await, Told::Skipped(node(1), "envelope/bad-signature".to_owned()));
    assert_eq!(following.next().await, Told::Skipped(node(3), "envelope/wrong-signer".to_owned()));
    assert!(matches!(following.next().await, Told::Skipped(of, _) if of == node(4)));
    following.learned(&[(5, 1)]).await;
    assert_eq!(following.next().await, Told::Well);
}

#[tokio::test]
async fn pages_that_do_not_go_up_end_the_reading_and_not_the_follower() {
    for next in [node(1), NodeId::default()] {
        let directory = Directory::new(move |_, _| page(vec![entry(1, 1)], Some(next)));
        let mut following = Following::of(&directory).await;
        assert!(following.trouble().await.contains("not before it"), "{next}");
        following.trouble().await;
        let (pages, changes) = directory.calls();
        assert!(pages < 20 && changes == 0, "{pages} pages were read for two looks");
    }
}

#[tokio::test]
async fn a_list_that_never_ends_is_given_up() {
    let starts = Arc::new(Mutex::new(Vec::new()));
    let begun = Arc::clone(&starts);
    let directory = Directory::new(move |call, after| {
        if after.is_none() {
            begun.lock().unwrap().push(call);
        }
        let mut next = [0; 20];
        next[12..].copy_from_slice(&u64::try_from(call).unwrap().to_be_bytes());
        page(Vec::new(), Some(NodeId(Address(next))))
    });
    let mut following = Following::with(&directory, |follower| follower.with_most_pages(200)).await;
    for _ in 0..2 {
        let trouble = following.trouble().await;
        assert!(trouble.contains("more than 200 pages"), "{trouble}");
    }
    assert_eq!(starts.lock().unwrap()[..2], [1, 201], "a reading ends after 200 pages");
}

#[tokio::test]
async fn a_page_with_more_entries_than_agreed_is_refused_before_any_is_verified() {
    let directory = Directory::new(|_, _| page(vec![entry(1, 1); MAX_PAGE + 1], None));
    let mut following = Following::of(&directory).await;
    match following.next().await {
        Told::Trouble(text) => assert!(text.contains("at most 1000"), "{text}"),
        told => panic!("{told:?}"),
    }
}

#[tokio::test]
async fn answers_that_come_at_once_without_news_are_asked_for_ever_less_often() {
    let directory = Directory::new(|_, _| page(vec![entry(1, 1)], None));
    for _ in 0..1_000 {
        directory.push(changes(Vec::new(), cursor(1, 1)));
    }
    let mut following = Following::of(&directory).await;
    // Waits of at least 100, 200, 400 ms: the fourth answer is told after 700 ms at the earliest.
    let begun = tokio::time::Instant::now();
    for _ in 0..6 {
        following.next().await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
    assert!(directory.calls().1 <= 6);
}

#[tokio::test]
async fn following_ends_when_nobody_listens_any_more() {
    let directory = Directory::new(|_, _| page(vec![entry(1, 1)], None));
    let mut following = Following::of(&directory).await;
    following.learned(&[(1, 1)]).await;
    assert_eq!(following.next().await, Told::Well);
    following.told.close();
    directory.push(changes(vec![updated(1, 2)], cursor(1, 2)));
    tokio::time::timeout(DEADLINE, following.task).await.expect("it ends").unwrap();
}
