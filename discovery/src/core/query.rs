//! Filters of the directory's list.

use lode_protocol::directory::{DirectoryPage, MAX_PAGE};
use lode_protocol::ids::{NodeId, PoolId};
use lode_protocol::units::Bytes;

use super::directory::{Directory, Listed};

/// What is looked for. Empty fields match everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    /// Descriptors for this pool, or for any pool.
    pub pool: Option<PoolId>,
    /// A GPU's model contains this, ignoring case.
    pub gpu_model: Option<String>,
    /// At least so many GPUs.
    pub min_gpus: u32,
    /// Each with at least so much memory.
    pub min_gpu_memory: Bytes,
    /// Labels that must have these values.
    pub labels: Vec<(String, String)>,
    /// Only nodes after this one.
    pub after: Option<NodeId>,
    /// Most nodes on the page.
    pub limit: usize,
}

impl Query {
    /// Whether a node matches: as many GPUs as asked for must each have the model and memory.
    fn matches(&self, listed: &Listed) -> bool {
        let verified = &listed.verified;
        let specs = &verified.descriptor.specs;
        let pool = self.pool.is_none_or(|pool| verified.pool == pool || verified.pool == PoolId(0));
        let labels = self.labels.iter().all(|(key, value)| specs.labels.get(key) == Some(value));
        if !pool || !labels {
            return false;
        }
        let wanted = self.gpu_model.as_ref().map(|model| model.to_lowercase());
        let fits = specs.gpus.iter().filter(|gpu| {
            let model = wanted.as_ref().is_none_or(|wanted| {
                gpu.model.as_ref().is_some_and(|model| model.to_lowercase().contains(wanted.as_str()))
            });
            model && gpu.memory.unwrap_or(Bytes(0)) >= self.min_gpu_memory
        });
        let needed = self.min_gpus.max(u32::from(wanted.is_some() || self.min_gpu_memory > Bytes(0)));
        fits.count() >= usize::try_from(needed).unwrap_or(usize::MAX)
    }

    /// One page of what matches.
    pub fn run(&self, directory: &Directory) -> DirectoryPage {
        let limit = self.limit.clamp(1, MAX_PAGE);
        let mut matching = directory.after(self.after).filter(|(_, listed)| self.matches(listed));
        let nodes: Vec<_> = matching.by_ref().take(limit).map(|(_, listed)| listed.entry()).collect();
        let next = matching.next().and(nodes.last().map(|entry| entry.node));
        DirectoryPage { nodes, next, cursor: directory.cursor() }
    }
}
