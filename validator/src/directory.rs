//! Nodes from the public directories. A directory is not believed: every descriptor is verified here, and what a
//! directory leaves out stays known.

use std::time::Duration;

use lode_network::{DirectoryClient, DirectoryError};
use lode_program::finding::{Finding, FindingSet};
use lode_protocol::cursor::Cursor;
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::directory::{DirectoryChange, DirectoryEntry};
use lode_protocol::envelope::{self, Expectation, Realm};
use lode_protocol::hardware::MAX_GPUS;
use lode_protocol::ids::NodeId;
use lode_protocol::units::Timestamp;
use tokio::sync::mpsc;

use crate::core::{Description, Event};

/// Longest wait for a change.
const WAIT: Duration = Duration::from_secs(20);
/// Pause after a directory that does not answer.
const RETRY: Duration = Duration::from_secs(2);

/// Follows one directory; ends when nobody listens any more.
pub async fn follow(
    url: String,
    realm: Realm,
    clock: lode_program::Clock,
    events: mpsc::Sender<Event>,
    findings: FindingSet,
) {
    let reader = Reader { realm, clock, events };
    let client = loop {
        match DirectoryClient::new(&url) {
            Ok(client) => break client,
            Err(error) => {
                findings.raise(unreachable(&url, &error));
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    let mut cursor = None;
    loop {
        let step = match cursor {
            None => reader.whole(&client).await,
            Some(cursor) => reader.changes(&client, cursor).await,
        };
        match step {
            Ok(Some(next)) => {
                findings.clear("discovery/unreachable", &url);
                cursor = next;
            }
            Ok(None) => return,
            Err(error) => {
                findings.raise(unreachable(&url, &error));
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn unreachable(url: &str, error: &DirectoryError) -> Finding {
    Finding::warning("discovery/unreachable", format!("the directory does not answer: {error}"))
        .about(url)
        .remedy("check discovery.urls; known nodes stay known")
}

struct Reader {
    realm: Realm,
    clock: lode_program::Clock,
    events: mpsc::Sender<Event>,
}

/// Where to go on (`None` inside: from the beginning); `None` outside: nobody listens.
type Next = Option<Option<Cursor>>;

impl Reader {
    async fn whole(&self, client: &DirectoryClient) -> Result<Next, DirectoryError> {
        let mut after: Option<NodeId> = None;
        let mut first = None;
        loop {
            let page = client.page(None, after).await?;
            first.get_or_insert(page.cursor);
            for entry in &page.nodes {
                if !self.tell(entry).await {
                    return Ok(None);
                }
            }
            match page.next {
                Some(next) if Some(next) > after => after = Some(next),
                // The changes of the time in which the pages were read come after the first page's cursor.
                Some(_) | None => return Ok(Some(first)),
            }
        }
    }

    async fn changes(&self, client: &DirectoryClient, cursor: Cursor) -> Result<Next, DirectoryError> {
        let page = client.changes(Some(cursor), WAIT).await?;
        if page.resync {
            return Ok(Some(None));
        }
        for change in &page.changes {
            match change {
                DirectoryChange::Updated { entry } => {
                    if !self.tell(entry).await {
                        return Ok(None);
                    }
                }
                // A directory can omit: only the chain and the descriptor's own lifetime count.
                DirectoryChange::Removed { .. } => {}
            }
        }
        Ok(Some(Some(page.cursor)))
    }

    async fn tell(&self, entry: &DirectoryEntry) -> bool {
        match verify(&entry.descriptor, self.realm, Timestamp(self.clock.wall_millis())) {
            Ok(description) => self.events.send(Event::Described(description)).await.is_ok(),
            Err(error) => {
                tracing::debug!(node = %entry.node, %error, "a descriptor was skipped");
                true
            }
        }
    }
}

/// Verifies a sealed descriptor. The node may be of any pool of the deployment.
pub fn verify(sealed: &[u8], realm: Realm, now: Timestamp) -> Result<Description, envelope::EnvelopeError> {
    let claimed = envelope::peek(sealed)?;
    let expected = Expectation {
        recipient: None,
        realm: Realm { pool: claimed.realm.pool, ..realm },
        now,
        signer: None,
    };
    let opened = envelope::open::<NodeDescriptor>(sealed, &expected)?;
    let described = opened.body.node.0;
    if described != opened.signer {
        return Err(envelope::EnvelopeError::WrongSigner { expected: described, got: opened.signer });
    }
    let mut gpus: Vec<_> = opened.body.specs.gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
    gpus.sort_unstable();
    gpus.dedup();
    if gpus.len() > MAX_GPUS {
        return Err(envelope::EnvelopeError::Malformed(format!("more than {MAX_GPUS} GPUs")));
    }
    Ok(Description {
        node: opened.body.node,
        public_key: opened.header.signer,
        gpus,
        version: opened.body.version(),
        expires_at: opened.body.expires_at,
    })
}
