//! The way to the orchestrator: follows the pool's key and endpoints on chain.

use std::time::Duration;

use lode_network::{ClientConfig, ClientEvent, Endpoint, EndpointUrl, NetworkError, PeerClient, Transport};
use lode_program::TaskGroup;
use lode_protocol::ids::Address;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::endpoints::EndpointPolicy;

/// Longest wait between two tries to connect: well below the time after which a node counts as lost.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A client to the present orchestrator, once one is known.
#[derive(Debug)]
pub struct Link {
    endpoint: Endpoint,
    tasks: TaskGroup,
    fixed: Vec<EndpointUrl>,
    policy: EndpointPolicy,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    peer: Address,
    endpoints: Vec<EndpointUrl>,
    client: PeerClient,
    events: mpsc::Receiver<ClientEvent>,
    stop: CancellationToken,
}

impl Drop for Current {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Link {
    /// `fixed` endpoints count instead of those on chain; those are dialled within `policy`.
    pub fn new(
        endpoint: Endpoint,
        tasks: TaskGroup,
        fixed: Vec<EndpointUrl>,
        policy: EndpointPolicy,
    ) -> Self {
        Self { endpoint, tasks, fixed, policy, current: None }
    }

    /// The orchestrator's key, by the chain.
    pub(super) fn peer(&self) -> Option<Address> {
        self.current.as_ref().map(|current| current.peer)
    }

    /// How it is reached now.
    pub(super) fn transport(&self) -> Option<Transport> {
        self.current.as_ref()?.client.transport()
    }

    /// The client, for output over HTTPS.
    pub(super) fn client(&self) -> Option<PeerClient> {
        self.current.as_ref().map(|current| current.client.clone())
    }

    /// Takes up who the orchestrator is and where it listens; true if it is another one now. An address of nobody, and
    /// endpoints of which none can be read, change nothing.
    pub(super) fn follow(&mut self, orchestrator: Address, endpoints: &str) -> bool {
        let endpoints =
            if self.fixed.is_empty() { self.policy.usable(endpoints) } else { self.fixed.clone() };
        if let Some(current) = self.current.as_mut().filter(|current| current.peer == orchestrator) {
            if current.endpoints != endpoints {
                current.client.set_endpoints(endpoints.clone());
                current.endpoints = endpoints;
            }
            return false;
        }
        if orchestrator == Address::ZERO || endpoints.is_empty() {
            return false;
        }
        tracing::info!(orchestrator = %orchestrator, "the pool's orchestrator");
        let config = ClientConfig {
            backoff_max: LONGEST_WAIT,
            // Fixed ones are the host owner's own.
            public_names_only: self.fixed.is_empty() && self.policy == EndpointPolicy::Public,
            ..ClientConfig::new(orchestrator, endpoints.clone())
        };
        let (client, task, events) = PeerClient::session(self.endpoint.clone(), config);
        let stop = self.tasks.shutdown().token().child_token();
        let token = stop.clone();
        self.tasks.once("orchestrator-link", async move {
            task.run(token).await;
            Ok::<(), anyhow::Error>(())
        });
        self.current = Some(Current { peer: orchestrator, endpoints, client, events, stop });
        true
    }

    /// Sends a frame; never waits.
    pub(super) fn send(&self, frame: Vec<u8>) -> Result<(), NetworkError> {
        self.current.as_ref().ok_or(NetworkError::NotConnected)?.client.send(frame)
    }

    /// Tears the transport down and builds it anew.
    pub(super) fn reconnect(&self) {
        if let Some(current) = &self.current {
            current.client.reconnect();
        }
    }

    /// What happens next. Cancel-safe; waits for ever while there is no orchestrator.
    pub(super) async fn next(&mut self) -> ClientEvent {
        let event = match &mut self.current {
            Some(current) => current.events.recv().await,
            None => None,
        };
        match event {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }
}
