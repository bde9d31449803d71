//! A node with 8 GPUs that says hello and beats.

use anyhow::{bail, ensure};
use lode_protocol::acknowledgement::{PeerSecret, SessionKey, SessionParties};
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::envelope::{
    Addressing, Audience, Expectation, MAX_MESSAGE_LIFETIME, Purpose, claimed_purpose, open, peek, seal,
};
use lode_protocol::hardware::{GpuSpec, GpuState, GpuStatus, NodeSpecs};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{BootCounter, Generation, GpuUuid, NodeId, Nonce, PoolId, ProviderId, Sequence};
use lode_protocol::keys::SigningKey;
use lode_protocol::session::{Desired, Granted, Heartbeat, Hello, Instruction, Membership, Refusal, Usage};
use lode_protocol::units::{Bytes, MilliCpus, Millis, Timestamp};
use lode_testkit::chain::FakeChain;

use super::Target;

/// How long a message counts: beats are signed before they are sent, so as long as is accepted.
const LIFETIME: Millis = MAX_MESSAGE_LIFETIME;
const BOOT: BootCounter = BootCounter(1);
const GPUS: u32 = 8;

pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The key of a node by its number.
pub(crate) fn key(number: u32) -> anyhow::Result<SigningKey> {
    let mut bytes = [0x31; 32];
    let (_, tail) = bytes.split_at_mut(28);
    tail.copy_from_slice(&number.to_be_bytes());
    Ok(SigningKey::from_bytes(&bytes)?)
}

/// Makes so many of them members of a pool, all of one provider.
pub(crate) fn enroll(chain: &FakeChain, pool: PoolId, nodes: u32) -> anyhow::Result<()> {
    let provider = ProviderId(SigningKey::from_bytes(&[0x23; 32])?.address());
    let ids = (0..nodes).map(|number| Ok(NodeId(key(number)?.address())));
    let members: Vec<NodeId> = ids.collect::<anyhow::Result<_>>()?;
    chain.enroll(pool, members.into_iter().map(|node| (node, provider)));
    Ok(())
}

/// Who it is and to whom it speaks.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    number: u32,
    pub(crate) key: SigningKey,
    target: Target,
}

/// A session, and the number of the next beat in it.
pub(crate) struct Session {
    granted: Granted,
    key: SessionKey,
    next: u64,
    observed: Option<Generation>,
}

impl Node {
    pub(crate) fn new(number: u32, target: Target) -> anyhow::Result<Self> {
        Ok(Node { number, key: key(number)?, target })
    }

    fn uuid(&self, slot: u32) -> anyhow::Result<GpuUuid> {
        Ok(format!("GPU-{:08x}-{slot:04x}-4f2c-9d1a-0123456789ab", self.number).parse()?)
    }

    fn addressing(&self, audience: Audience) -> Addressing {
        Addressing { audience, realm: self.target.realm, now: now(), lifetime: LIFETIME }
    }

    fn descriptor(&self) -> anyhow::Result<Vec<u8>> {
        let gpu = |slot| {
            anyhow::Ok(GpuSpec {
                uuid: self.uuid(slot)?,
                model: Some("NVIDIA H200".to_owned()),
                memory: Some(Bytes::gibi(141)),
                compute_capability: Some((9, 0)),
                pci_bus_id: Some(format!("00000000:{slot:02X}:00.0")),
                parent: None,
            })
        };
        let issued_at = now();
        let descriptor = NodeDescriptor {
            node: NodeId(self.key.address()),
            specs: NodeSpecs {
                cpus: MilliCpus(192_000),
                memory: Bytes::gibi(2_048),
                disk: Bytes::gibi(4_096),
                gpus: (0..GPUS).map(gpu).collect::<anyhow::Result<_>>()?,
                engine_version: Some("28.3.3".to_owned()),
                os: "ubuntu 24.04".to_owned(),
                architecture: "amd64".to_owned(),
                ..NodeSpecs::default()
            },
            addresses: Vec::new(),
            sealing_key: None,
            agent_version: "bench".to_owned(),
            boot: BOOT,
            sequence: 1,
            issued_at,
            expires_at: issued_at.plus(Millis::seconds(3_600)),
        };
        Ok(seal(&self.key, self.addressing(Audience::Any), &descriptor).bytes)
    }

    pub(crate) fn hello(&self, nonce: u64) -> anyhow::Result<Vec<u8>> {
        let mut bytes = [0; 16];
        let (head, _) = bytes.split_at_mut(8);
        head.copy_from_slice(&nonce.to_be_bytes());
        let hello = Hello {
            boot: BOOT,
            nonce: Nonce(bytes),
            agent_version: "bench".to_owned(),
            descriptor: self.descriptor()?,
            takes_tags: Some(true),
        };
        Ok(seal(&self.key, self.addressing(Audience::Peer(self.target.orchestrator)), &hello).bytes)
    }

    fn expectation(&self) -> Expectation {
        Expectation {
            recipient: Some(self.key.address()),
            realm: self.target.realm,
            now: now(),
            signer: Some(self.target.orchestrator),
        }
    }

    /// The session; none if it is to be asked for again.
    pub(crate) fn granted(&self, bytes: &[u8]) -> anyhow::Result<Option<Session>> {
        match claimed_purpose(bytes)? {
            Purpose::Granted => {
                let granted = open::<Granted>(bytes, &self.expectation())?.body;
                let orchestrator = peek(bytes)?.signer;
                let secret = PeerSecret::agree(&self.key, &orchestrator)?;
                let (node, realm) = (self.key.public(), self.target.realm);
                let parties = SessionParties { node, orchestrator, realm };
                let key = SessionKey::derive(&secret, parties, granted.session);
                Ok(Some(Session { granted, key, next: 1, observed: None }))
            }
            Purpose::Refusal => {
                let refusal = open::<Refusal>(bytes, &self.expectation())?.body;
                ensure!(refusal.code == "node/chain-unknown", "no session: {refusal:?}");
                Ok(None)
            }
            other => bail!("no session, but {other:?}"),
        }
    }

    /// The next beat.
    pub(crate) fn beat(&self, session: &mut Session) -> anyhow::Result<Vec<u8>> {
        let sequence = session.next;
        session.next += 1;
        let status = |slot| {
            anyhow::Ok(GpuStatus {
                uuid: self.uuid(slot)?,
                state: GpuState::Healthy,
                reason: None,
                temperature: Some(54),
                power: Some(312_000),
                utilization: Some(97),
                memory_used: Some(Bytes::gibi(71)),
            })
        };
        let beat = Heartbeat {
            session: session.granted.session,
            epoch: session.granted.epoch,
            boot: BOOT,
            sequence: Sequence(sequence),
            observed: session.observed,
            complete: sequence == 1,
            assignments: Vec::new(),
            gpus: (0..GPUS).map(status).collect::<anyhow::Result<_>>()?,
            usage: Usage { cpus: MilliCpus(13_000), memory: Bytes::gibi(300), disk_free: Bytes::gibi(3_000) },
            findings: Vec::new(),
            specs: Digest([4; 32]),
            descriptor: None,
            consent: None,
            receipts: None,
        };
        Ok(seal(&self.key, self.addressing(Audience::Peer(self.target.orchestrator)), &beat).bytes)
    }

    /// Reads an answer to a beat, verified.
    pub(crate) fn answer(&self, session: &mut Session, bytes: &[u8]) -> anyhow::Result<Instruction> {
        let instruction = match claimed_purpose(bytes)? {
            Purpose::Instruction => open::<Instruction>(bytes, &self.expectation())?.body,
            Purpose::Acknowledgement => session.key.open(bytes, &self.expectation())?,
            Purpose::Refusal => bail!("refused: {:?}", open::<Refusal>(bytes, &self.expectation())?.body),
            other => bail!("a beat was answered with {other:?}"),
        };
        if let Desired::Full { generation, .. } = &instruction.desired {
            session.observed = Some(*generation);
        }
        Ok(instruction)
    }

    /// What the last answer of a burst must be: of a member, and without news.
    pub(crate) fn check_last(&self, session: &mut Session, bytes: &[u8]) -> anyhow::Result<()> {
        let instruction = self.answer(session, bytes)?;
        ensure!(instruction.membership == Membership::Member, "no member: {:?}", instruction.membership);
        ensure!(instruction.desired == Desired::Unchanged, "news at the end of a burst");
        Ok(())
    }

    /// Whether a node is ready to be measured.
    pub(crate) fn is_settled(&self, instruction: &Instruction) -> bool {
        instruction.membership == Membership::Member && instruction.desired == Desired::Unchanged
    }
}
