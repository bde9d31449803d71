use super::*;
use crate::sample::GpuProcess;

const TASK: u32 = 100;
const PROOF: u32 = 200;
const MINER: u32 = 1;
const NEIGHBOUR: u32 = 300;
const HIDDEN: u32 = 400;

fn gpu() -> GpuUuid {
    "GPU-1".parse().unwrap()
}

fn owner(pid: u32) -> ProcessOwner {
    match pid {
        TASK => ProcessOwner::Container("task".to_owned()),
        NEIGHBOUR => ProcessOwner::Container("neighbour".to_owned()),
        PROOF => ProcessOwner::Us,
        HIDDEN => ProcessOwner::Hidden,
        _ => ProcessOwner::Host,
    }
}

struct Bench {
    watch: ForeignWatch,
    own: OwnUse,
}

impl Bench {
    fn new() -> Self {
        Bench { watch: ForeignWatch::default(), own: OwnUse::default() }
    }

    fn with_task() -> Self {
        let mut bench = Self::new();
        bench.own.containers.insert("task".to_owned());
        bench.own.held.insert(gpu());
        bench
    }

    /// Process ids that are foreign.
    fn sees(&mut self, pids: &[u32], used: u64) -> Vec<u32> {
        let process = |pid: &u32| GpuProcess { pid: *pid, memory_bytes: Some(1 << 30) };
        let reading = GpuReading {
            processes: Some(pids.iter().map(process).collect()),
            memory_total_bytes: Some(24 << 30),
            memory_used_bytes: Some(used),
            ..crate::health::tests::reading_of(gpu())
        };
        let sample = HealthSample { readings: vec![reading], unreadable: vec![] };
        self.watch.sampled(&sample, &self.own, owner);
        self.watch
            .of(&gpu())
            .map_or_else(Vec::new, |found| found.processes.iter().map(|(pid, _)| *pid).collect())
    }

    fn is_foreign(&self) -> bool {
        self.watch.of(&gpu()).is_some()
    }
}

#[test]
fn a_process_of_the_host_is_foreign_at_once_and_for_as_long_as_it_is_there() {
    let mut bench = Bench::new();
    assert_eq!(bench.sees(&[MINER], 1 << 30), [MINER]);
    let told = bench.watch.of(&gpu()).unwrap().to_string();
    assert!(told.contains("pid 1 (1GiB)") && told.contains(ForeignUse::CODE), "{told}");
    assert!(bench.sees(&[], 0).is_empty() && !bench.is_foreign());
}

#[test]
fn processes_of_tasks_and_of_proofs_are_ours_and_a_miner_beside_them_is_not() {
    let mut bench = Bench::with_task();
    assert!(bench.sees(&[TASK, PROOF], 20 << 30).is_empty());
    assert_eq!(bench.sees(&[TASK, MINER], 20 << 30), [MINER]);
    assert_eq!(bench.sees(&[TASK, NEIGHBOUR], 20 << 30), [NEIGHBOUR], "a container of somebody else");
    let mut bench = Bench::new();
    for _ in 0..5 {
        assert!(bench.sees(&[PROOF], 20 << 30).is_empty());
        assert!(!bench.is_foreign(), "a proof fills the memory");
    }
}

#[test]
fn what_a_task_leaves_for_a_moment_is_ours_still() {
    let mut bench = Bench::with_task();
    bench.sees(&[TASK], 20 << 30);
    bench.own = OwnUse::default();
    for _ in 0..CONTAINER_ROUNDS - 1 {
        assert!(bench.sees(&[TASK], 20 << 30).is_empty());
    }
    assert_eq!(bench.sees(&[TASK], 20 << 30), [TASK], "but not for ever");
}

#[test]
fn a_hidden_process_is_the_tasks_where_there_is_one_and_foreign_where_there_is_none() {
    let mut bench = Bench::with_task();
    for _ in 0..5 {
        assert!(bench.sees(&[HIDDEN], 20 << 30).is_empty());
    }
    let mut bench = Bench::new();
    assert!(bench.sees(&[HIDDEN], 1 << 30).is_empty(), "it may have ended meanwhile");
    assert_eq!(bench.sees(&[HIDDEN], 1 << 30), [HIDDEN]);
}

#[test]
fn memory_that_no_process_accounts_for_is_foreign_when_it_stays_and_a_display_is_none() {
    let mut bench = Bench::new();
    for _ in 1..MEMORY_ROUNDS {
        bench.sees(&[], 20 << 30);
        assert!(!bench.is_foreign());
    }
    bench.sees(&[], 20 << 30);
    assert_eq!(bench.watch.of(&gpu()).unwrap().unexplained, Some(Bytes(20 << 30)));
    for _ in 0..5 {
        bench.sees(&[], 2 << 30);
    }
    assert!(!bench.is_foreign());
    let mut bench = Bench::with_task();
    for _ in 0..5 {
        bench.sees(&[], 20 << 30);
    }
    assert!(!bench.is_foreign(), "the memory of a task");
}
