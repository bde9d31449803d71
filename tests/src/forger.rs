//! Somebody who speaks the wire without being a worker: honest where a test wants it, hostile where not.

use std::time::Duration;

use anyhow::{Context as _, bail};
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::envelope::{
    Addressing, Audience, Expectation, Purpose, Realm, Sealed, Signable, claimed_purpose, open, seal,
};
use lode_protocol::hardware::NodeSpecs;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, BootCounter, Generation, NodeId, Nonce, Sequence};
use lode_protocol::keys::SigningKey;
use lode_protocol::session::{Granted, Heartbeat, Hello, Instruction, Refusal, Usage};
use lode_protocol::units::{Millis, Timestamp};
use rand::RngCore as _;

use crate::pool::Pool;

/// How long an honest message counts.
const LIFETIME: Millis = Millis::seconds(60);

/// What the orchestrator answers.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// A session.
    Granted(Granted),
    /// What to do.
    Instruction(Box<Instruction>),
    /// A signed refusal.
    Refused(Refusal),
    /// A refusal of the transport: status and code.
    Problem(u16, String),
}

impl Answer {
    /// The code of a refusal; what it is otherwise.
    pub fn code(&self) -> String {
        match self {
            Answer::Granted(_) => "granted".to_owned(),
            Answer::Instruction(_) => "instruction".to_owned(),
            Answer::Refused(refusal) => refusal.code.to_string(),
            Answer::Problem(_, code) => code.clone(),
        }
    }
}

/// Somebody with a key and a way to the orchestrator.
#[derive(Clone, Debug)]
pub struct Forger {
    /// Who signs.
    pub key: SigningKey,
    /// Where messages count.
    pub realm: Realm,
    /// To whom they go.
    pub orchestrator: Address,
    url: String,
    client: reqwest::Client,
}

/// The time, give or take.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Forger {
    /// Speaks to the orchestrator of `pool` with `key`.
    ///
    /// # Errors
    /// When the pool's files cannot be read.
    pub fn new(pool: &Pool, key: SigningKey) -> anyhow::Result<Self> {
        let config = pool.config("orchestrator")?;
        let wire =
            config.get("wire").and_then(|wire| wire.get("https")?.as_str()).context("no HTTP for workers")?;
        let url = format!("http://{wire}/wire/v1");
        let client = reqwest::Client::builder().timeout(Duration::from_secs(15)).no_proxy().build()?;
        let realm = pool.deployment()?.realm(pool.pool_id()?);
        Ok(Forger { key, realm, orchestrator: pool.key("orchestrator")?.address(), url, client })
    }

    /// As usual.
    pub fn addressing(&self) -> Addressing {
        Addressing {
            audience: Audience::Peer(self.orchestrator),
            realm: self.realm,
            now: now(),
            lifetime: LIFETIME,
        }
    }

    /// Signs a body as usual.
    pub fn seal<T: Signable>(&self, body: &T) -> Sealed {
        seal(&self.key, self.addressing(), body)
    }

    /// A request for a session. Its descriptor is older than any real one: the orchestrator keeps what it knows.
    pub fn hello(&self, boot: BootCounter) -> Hello {
        let mut nonce = Nonce::default();
        rand::rng().fill_bytes(&mut nonce.0);
        Hello {
            boot,
            nonce,
            agent_version: "test".to_owned(),
            descriptor: self.descriptor(self.key.address()),
            takes_tags: None,
        }
    }

    /// A description of `node`, signed by this key.
    pub fn descriptor(&self, node: Address) -> Vec<u8> {
        let issued_at = now();
        let lifetime = Millis::seconds(600);
        let descriptor = NodeDescriptor {
            node: NodeId(node),
            specs: NodeSpecs::default(),
            addresses: Vec::new(),
            sealing_key: None,
            agent_version: "test".to_owned(),
            boot: BootCounter(0),
            sequence: 0,
            issued_at,
            expires_at: issued_at.plus(lifetime),
        };
        let addressing = Addressing { audience: Audience::Any, realm: self.realm, now: issued_at, lifetime };
        seal(&self.key, addressing, &descriptor).bytes
    }

    /// A sign of life in a session. The first one says that nothing runs.
    pub fn beat(
        &self,
        granted: &Granted,
        boot: BootCounter,
        sequence: u64,
        observed: Option<Generation>,
    ) -> Heartbeat {
        Heartbeat {
            session: granted.session,
            epoch: granted.epoch,
            boot,
            sequence: Sequence(sequence),
            observed,
            complete: sequence == 1,
            assignments: Vec::new(),
            gpus: Vec::new(),
            usage: Usage::default(),
            findings: Vec::new(),
            specs: Digest::default(),
            descriptor: None,
            consent: None,
            receipts: None,
        }
    }

    /// Signs and sends.
    ///
    /// # Errors
    /// When there is no answer, or one that the orchestrator did not sign for this key.
    pub async fn say<T: Signable>(&self, body: &T) -> anyhow::Result<Answer> {
        self.post(self.seal(body).bytes).await
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When there is no answer, or one that the orchestrator did not sign.
    pub async fn post(&self, bytes: Vec<u8>) -> anyhow::Result<Answer> {
        self.post_as("application/cbor", bytes).await
    }

    /// Sends bytes under a media type.
    ///
    /// # Errors
    /// When there is no answer, or one that the orchestrator did not sign.
    pub async fn post_as(&self, media_type: &str, bytes: Vec<u8>) -> anyhow::Result<Answer> {
        let request = self.client.post(&self.url).header("content-type", media_type).body(bytes);
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await?;
        if status != 200 {
            let problem: serde_json::Value = serde_json::from_slice(&bytes)?;
            return Ok(Answer::Problem(status, problem["code"].as_str().unwrap_or_default().to_owned()));
        }
        self.read(&bytes)
    }

    /// Opens what the orchestrator sent.
    ///
    /// # Errors
    /// When it did not sign it for anybody who may be us.
    pub fn read(&self, bytes: &[u8]) -> anyhow::Result<Answer> {
        let to = match lode_protocol::envelope::peek(bytes)?.audience {
            Audience::Any => None,
            Audience::Peer(peer) => Some(peer),
        };
        let expected =
            Expectation { recipient: to, realm: self.realm, now: now(), signer: Some(self.orchestrator) };
        Ok(match claimed_purpose(bytes)? {
            Purpose::Granted => Answer::Granted(open(bytes, &expected)?.body),
            Purpose::Instruction => Answer::Instruction(Box::new(open(bytes, &expected)?.body)),
            Purpose::Refusal => Answer::Refused(open(bytes, &expected)?.body),
            other => bail!("the orchestrator answers with {other:?}"),
        })
    }

    /// Opens a session.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn open_session(&self, boot: BootCounter) -> anyhow::Result<Granted> {
        match self.say(&self.hello(boot)).await? {
            Answer::Granted(granted) => Ok(granted),
            other => bail!("no session: {other:?}"),
        }
    }
}
