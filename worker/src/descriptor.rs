//! The node's public description: made from what the host has now, signed, renewed when it changes and before it
//! expires.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lode_program::Clock;
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::envelope::{Addressing, Audience, seal};
use lode_protocol::hardware::NodeSpecs;
use lode_protocol::hash::Digest;
use lode_protocol::ids::BootCounter;
use lode_protocol::units::{Millis, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::gpus::GpuView;
use crate::identity::Identity;
use crate::specs;

/// How long a description counts.
pub const LIFETIME: Millis = Millis::seconds(3_600);
/// How often the host is looked at, whatever the GPUs report.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Version of this worker.
pub const AGENT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// A signed description.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedDescriptor {
    /// What was signed.
    pub descriptor: NodeDescriptor,
    /// As it travels.
    pub sealed: Vec<u8>,
    /// Hash of its specs.
    pub specs: Digest,
}

/// Makes descriptions of this node.
#[derive(Debug)]
pub struct DescriptorMaker {
    config: Config,
    identity: Identity,
    boot: BootCounter,
    addresses: Vec<String>,
    sequence: u64,
    clock: Clock,
    gpus: watch::Receiver<Arc<GpuView>>,
    engine_version: watch::Receiver<Option<String>>,
    engine_root: watch::Receiver<Option<PathBuf>>,
    current: watch::Sender<Option<Arc<SignedDescriptor>>>,
}

impl DescriptorMaker {
    /// Nothing is described before the GPUs were looked at once.
    pub fn new(
        config: Config,
        (identity, boot): (Identity, BootCounter),
        addresses: Vec<String>,
        gpus: watch::Receiver<Arc<GpuView>>,
        (engine_version, engine_root): (watch::Receiver<Option<String>>, watch::Receiver<Option<PathBuf>>),
        clock: Clock,
    ) -> (Self, watch::Receiver<Option<Arc<SignedDescriptor>>>) {
        let (current, receiver) = watch::channel(None);
        (
            Self {
                config,
                identity,
                boot,
                addresses,
                sequence: 0,
                clock,
                gpus,
                engine_version,
                engine_root,
                current,
            },
            receiver,
        )
    }

    /// Until shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let view = self.gpus.borrow_and_update().clone();
            let version = self.engine_version.borrow_and_update().clone();
            let root = self.engine_root.borrow_and_update().clone();
            if view.looked {
                self.look(&view, version.as_deref(), root.as_deref());
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
                Ok(()) = self.engine_version.changed() => {}
                Ok(()) = self.engine_root.changed() => {}
                () = specs_changed(&mut self.gpus, &view) => {}
            }
        }
    }

    fn look(&mut self, view: &GpuView, engine_version: Option<&str>, engine_root: Option<&Path>) {
        let specs = specs::host_specs(&self.config, &view.offered, engine_version, engine_root);
        let now = Timestamp(self.clock.wall_millis());
        let stands = self.current.borrow().as_ref().is_some_and(|current| {
            let half = Millis(LIFETIME.0 / 2);
            current.descriptor.specs == specs
                && now >= current.descriptor.issued_at
                && now.since(current.descriptor.issued_at) < half
        });
        if stands {
            return;
        }
        self.sequence += 1;
        let signed = sign(&self.identity, (self.boot, self.sequence), specs, self.addresses.clone(), now);
        tracing::info!(
            sequence = self.sequence,
            gpus = signed.descriptor.specs.gpus.len(),
            "node description renewed"
        );
        self.current.send_replace(Some(Arc::new(signed)));
    }
}

/// Signs a description.
pub fn sign(
    identity: &Identity,
    (boot, sequence): (BootCounter, u64),
    specs: NodeSpecs,
    addresses: Vec<String>,
    now: Timestamp,
) -> SignedDescriptor {
    let digest = specs.digest();
    let descriptor = NodeDescriptor {
        node: identity.node(),
        specs,
        addresses,
        sealing_key: None,
        agent_version: AGENT_VERSION.to_owned(),
        boot,
        sequence,
        issued_at: now,
        expires_at: now.plus(LIFETIME),
    };
    let addressing = Addressing { audience: Audience::Any, realm: identity.realm, now, lifetime: LIFETIME };
    let sealed = seal(&identity.key, addressing, &descriptor).bytes;
    SignedDescriptor { descriptor, sealed, specs: digest }
}

/// Readings change all the time; only a change of what there is counts here.
async fn specs_changed(gpus: &mut watch::Receiver<Arc<GpuView>>, before: &GpuView) {
    let differs = |view: &Arc<GpuView>| view.offered != before.offered || view.looked != before.looked;
    if gpus.wait_for(differs).await.is_err() {
        std::future::pending::<()>().await;
    }
}
