//! Filters of the directory's list.

use lode_protocol::directory::{DirectoryPage, MAX_PAGE};
use lode_protocol::hardware::has_memory;
use lode_protocol::ids::{NodeId, PoolId};
use lode_protocol::units::Bytes;

use crate::index::Candidates;
use crate::listing::{Listed, Listing};

/// How much one page may cost and hold. What is left is on the next page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageBounds {
    /// Looks at nodes, at their labels and at sets of them: everybody else waits meanwhile, so that nobody may have long
    /// searched for what matches little.
    pub looks: usize,
    /// Bytes, about, as they are sent: a descriptor may have 64 KiB. One node is always told.
    pub bytes: usize,
}

impl Default for PageBounds {
    fn default() -> Self {
        Self { looks: 10_000, bytes: 4 << 20 }
    }
}

/// GPUs of a node that count as one look more.
const GPUS_A_LOOK: usize = 8;

/// What is looked for. Empty fields match everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    /// Descriptors for this pool, or for any pool.
    pub pool: Option<PoolId>,
    /// A GPU's model contains this, ignoring case.
    pub gpu_model: Option<String>,
    /// At least so many GPUs.
    pub min_gpus: u32,
    /// Each with at least so much memory, as it is sold.
    pub min_gpu_memory: Bytes,
    /// Labels that must have these values.
    pub labels: Vec<(String, String)>,
    /// Only nodes after this one.
    pub after: Option<NodeId>,
    /// Most nodes on the page.
    pub limit: usize,
    /// What besides bounds the page.
    pub bounds: PageBounds,
}

impl Query {
    /// The model as it is compared.
    pub(crate) fn wanted_model(&self) -> Option<String> {
        self.gpu_model.as_ref().map(|model| model.to_lowercase())
    }

    /// Whether a node matches: as many GPUs as asked for must each have the model and memory.
    fn matches(&self, wanted: Option<&str>, listed: &Listed) -> bool {
        let specs = &listed.descriptor.body().specs;
        let of = listed.descriptor.pool();
        let pool = self.pool.is_none_or(|pool| of == pool || of == PoolId(0));
        let labels = self.labels.iter().all(|(key, value)| specs.labels.get(key) == Some(value));
        if !pool || !labels {
            return false;
        }
        let fits = listed.gpus.iter().filter(|(model, memory)| {
            let fits = wanted.is_none_or(|wanted| model.as_ref().is_some_and(|model| model.contains(wanted)));
            fits && has_memory(*memory, model.as_deref(), self.min_gpu_memory)
        });
        let needed = self.min_gpus.max(u32::from(wanted.is_some() || self.min_gpu_memory > Bytes(0)));
        fits.count() >= usize::try_from(needed).unwrap_or(usize::MAX)
    }

    /// One page of what matches. It may have fewer nodes than there is room for, or none, and still not be the last:
    /// whether there is a next one says `next` alone.
    pub fn run(&self, listing: &Listing) -> DirectoryPage {
        let limit = self.limit.clamp(1, MAX_PAGE);
        let wanted = self.wanted_model();
        let mut page = DirectoryPage { nodes: Vec::new(), next: None, cursor: listing.cursor() };
        let candidates = listing.candidates(self);
        let step = 1 + candidates.sets() + self.labels.len();
        let (mut looks, mut bytes) = (self.bounds.looks.max(1), self.bounds.bytes);
        let mut last = None;
        for (node, listed) in self.walk(listing, candidates) {
            if looks == 0 {
                page.next = last;
                break;
            }
            looks = looks.saturating_sub(step + listed.gpus.len() / GPUS_A_LOOK);
            if self.matches(wanted.as_deref(), listed) {
                let size = listed.told_bytes();
                if page.nodes.len() >= limit || (size > bytes && !page.nodes.is_empty()) {
                    page.next = last;
                    break;
                }
                bytes = bytes.saturating_sub(size);
                page.nodes.push(listed.entry());
            }
            last = Some(node);
        }
        page
    }

    /// Nodes that may match, in the order of their ids.
    fn walk<'a>(
        &self,
        listing: &'a Listing,
        candidates: Candidates<'a>,
    ) -> Box<dyn Iterator<Item = (NodeId, &'a Listed)> + 'a> {
        if let Candidates::All = candidates {
            return Box::new(listing.after(self.after).map(|(node, listed)| (*node, listed)));
        }
        let mut after = self.after;
        let nodes = std::iter::from_fn(move || {
            after = candidates.next(after);
            after
        });
        Box::new(nodes.map_while(|node| Some((node, listing.get(&node)?))))
    }
}
