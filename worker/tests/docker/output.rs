//! Output outlives its container, whole and in order, and says where it is not.

use std::sync::Arc;
use std::time::Duration;

use lode_program::{Cause, Clock, FindingSet, Shutdown, TaskGroup};
use lode_protocol::ids::AssignmentId;
use lode_protocol::logs::{GapReason, LineEnd, LogLine, LogRecord, LogSource};
use lode_worker::core::event::ContainerId;
use lode_worker::engine::Engine as _;
use lode_worker::output::{Containers, KeptOutput, OutputLimits, OutputQuery, OutputReader, Place};
use tokio::sync::watch;

use super::support::{Image, Node, plan};

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of output, read from an engine as a worker does it.
struct Keeper {
    folder: tempfile::TempDir,
    findings: FindingSet,
    kept: KeptOutput,
    containers: watch::Sender<Containers>,
    shutdown: Shutdown,
    tasks: TaskGroup,
}

impl Keeper {
    fn open(folder: tempfile::TempDir, per_assignment: u64) -> Self {
        let findings = FindingSet::new(Clock::system());
        let limits = OutputLimits { per_assignment, total: 1 << 32, keep_for: Duration::from_secs(3_600) };
        let kept = KeptOutput::open(folder.path().join("output"), limits, findings.clone()).unwrap();
        let shutdown = Shutdown::new();
        let tasks = TaskGroup::new(shutdown.clone());
        Self { folder, findings, kept, containers: watch::channel(Containers::new()).0, shutdown, tasks }
    }

    fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap(), 1 << 30)
    }

    /// Reads what `containers` names from now on.
    async fn capture(&self, node: &Node) {
        let capture = self.kept.clone().capture(
            Arc::new(node.another_view().await),
            self.containers.subscribe(),
            self.tasks.clone(),
            self.shutdown.token(),
        );
        self.tasks.critical("output", capture);
    }

    fn place(&self, id: AssignmentId, place: Place) {
        self.containers.send_modify(|containers| {
            containers.insert(id, place);
        });
    }

    /// As a worker that stops: what it keeps stays.
    async fn stop(self) -> tempfile::TempDir {
        self.shutdown.request(Cause::Requested("test".into()));
        let _ = self.tasks.finish(PATIENCE).await;
        self.folder
    }

    async fn read(&self, id: AssignmentId, query: OutputQuery) -> Vec<LogRecord> {
        self.kept.read(&id, query).await.expect("it is kept").read_all().await.unwrap()
    }

    async fn follow(&self, id: AssignmentId) -> OutputReader {
        until(async || {
            let reader = self.kept.read(&id, OutputQuery::default()).await;
            reader.filter(OutputReader::is_complete_or_written)
        })
        .await
    }
}

async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("it never came")
}

fn running(container: &ContainerId) -> Place {
    Place { container: Some(container.clone()), restarts: 0, is_running: true, has_ended: false }
}

fn ended(container: &ContainerId) -> Place {
    Place { has_ended: true, is_running: false, ..running(container) }
}

/// Everything until the end, as it comes.
async fn to_the_end(mut reader: OutputReader) -> Vec<LogRecord> {
    let reading = async {
        let mut all = Vec::new();
        loop {
            let progress = reader.progress();
            let records = reader.read(progress.next, (1_000, 128 << 10)).await.unwrap();
            let is_behind = reader.position() < progress.next;
            all.extend(records);
            if is_behind {
                continue;
            }
            if progress.ended {
                return all;
            }
            assert!(reader.changed().await || reader.progress().ended, "nobody writes any more");
        }
    };
    tokio::time::timeout(PATIENCE * 2, reading).await.expect("the output ends")
}

fn line_of(record: &LogRecord) -> &LogLine {
    match record {
        LogRecord::Line(line) => line,
        other => panic!("no line: {other:?}"),
    }
}

fn lines(records: &[LogRecord]) -> Vec<&LogLine> {
    records.iter().map(line_of).collect()
}

/// What a pipe gets.
fn bytes(records: &[LogRecord], source: LogSource) -> Vec<u8> {
    let mut all = Vec::new();
    for line in lines(records).into_iter().filter(|line| line.source == source) {
        all.extend_from_slice(&line.bytes);
        all.extend((line.end == LineEnd::Newline).then_some(b'\n'));
    }
    all
}

fn are_in_order(records: &[LogRecord]) {
    assert!(records.iter().enumerate().all(|(at, record)| record.position().ordinal == at as u64));
}

/// Runs a script to its end and keeps what it wrote.
async fn kept_of(script: &str) -> Vec<LogRecord> {
    let image = Image::build(&[]).await;
    let (node, keeper) = (Node::new(), Keeper::new());
    let plan = plan(&image, script, "");
    let container = node.run(&plan).await;
    node.engine.wait(&container).await.unwrap();
    keeper.kept.keep(plan.id, &node.engine, &container).await;
    assert!(keeper.findings.list().is_empty(), "{:?}", keeper.findings.list());
    let records = keeper.read(plan.id, OutputQuery::default()).await;
    are_in_order(&records);
    records
}

#[tokio::test]
async fn output_is_kept_when_its_container_goes_and_of_long_output_the_newest() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let keeper = Keeper::open(tempfile::tempdir().unwrap(), 8_000);
    // One source: the engine reads the two separately, so what is written last to the other may well be recorded first.
    let plan = plan(&image, "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; echo end", "");
    let container = node.run(&plan).await;
    node.engine.wait(&container).await.unwrap();
    keeper.kept.keep(plan.id, &node.engine, &container).await;
    node.engine.remove(&plan.id).await.unwrap();
    // The removal may have to be repeated: what was kept does not give way to nothing.
    keeper.kept.keep(plan.id, &node.engine, &container).await;
    assert!(keeper.findings.list().is_empty(), "{:?}", keeper.findings.list());
    let records = keeper.read(plan.id, OutputQuery::default()).await;
    let (gap, kept) = records.split_first().unwrap();
    let LogRecord::Gap(gap) = gap else { panic!("{gap:?}") };
    let kept = lines(kept);
    assert!((50..300).contains(&kept.len()), "{} lines", kept.len());
    assert_eq!(gap.records, Some(501 - kept.len() as u64), "what had to go is counted");
    let all: usize = (0..500).map(|number| format!("line {number}\n").len()).sum::<usize>() + 4;
    let left: usize = kept.iter().map(|line| line.bytes.len() + 1).sum();
    assert_eq!((gap.bytes, gap.reason), (Some((all - left) as u64), GapReason::Retention));
    assert!(
        kept.iter().any(|line| line.bytes == b"line 499") && kept.iter().any(|line| line.bytes == b"end")
    );
    let tail = keeper.read(plan.id, OutputQuery { tail: Some(3), ..OutputQuery::default() }).await;
    assert_eq!(tail, records[records.len() - 3..]);
    let after = OutputQuery { after: Some(499), ..OutputQuery::default() };
    assert_eq!(keeper.read(plan.id, after).await, records[records.len() - 1..]);
    let page = OutputQuery { tail: Some(2), before: Some(499), ..OutputQuery::default() };
    assert_eq!(keeper.read(plan.id, page).await, records[records.len() - 4..records.len() - 2]);
    let gone = OutputQuery { tail: Some(4), before: Some(10), ..OutputQuery::default() };
    let [LogRecord::Gap(gone)] = keeper.read(plan.id, gone).await[..] else { panic!("what is gone is said") };
    assert_eq!((gone.position.ordinal, gone.records, gone.bytes), (9, Some(4), None));
    let other = super::support::assignment();
    assert!(keeper.kept.read(&other, OutputQuery::default()).await.is_none());
}

#[tokio::test]
async fn output_that_nobody_can_give_is_told() {
    let (node, keeper) = (Node::new(), Keeper::new());
    let gone = ContainerId("0123456789ab".to_owned());
    // The engine is connected to by the first call that asks it something.
    node.engine.ping().await.unwrap();
    keeper.kept.keep(super::support::assignment(), &node.engine, &gone).await;
    assert_eq!(keeper.findings.list()[0].finding.code, "output/not-kept");
    assert_eq!(
        std::fs::read_dir(keeper.folder.path().join("output")).unwrap().count(),
        0,
        "nothing half-made"
    );
}

#[tokio::test]
async fn a_line_longer_than_the_engine_s_pieces_is_one_line_with_whole_characters_and_no_stamp_in_it() {
    let script = "head -c 16383 /dev/zero | tr \"\\\\0\" a; printf \"\\\\303\\\\251\"; \
                  head -c 20000 /dev/zero | tr \"\\\\0\" b; echo; echo next; printf open";
    let records = kept_of(script).await;
    let lines = lines(&records);
    assert_eq!(lines.len(), 3, "{:?}", lines.iter().map(|line| line.bytes.len()).collect::<Vec<_>>());
    let expected = "a".repeat(16_383) + "\u{e9}" + &"b".repeat(20_000);
    assert!(lines[0].bytes == expected.as_bytes(), "{} bytes", lines[0].bytes.len());
    assert_eq!((&lines[1].bytes[..], lines[1].end), (&b"next"[..], LineEnd::Newline));
    assert_eq!((&lines[2].bytes[..], lines[2].end), (&b"open"[..], LineEnd::Open), "no line feed is made up");
}

#[tokio::test]
async fn long_lines_of_both_sources_at_once_stay_apart_and_over_the_cap_are_cut_and_marked() {
    let script = "(head -c 700000 /dev/zero | tr \"\\\\0\" o; echo) & \
                  (head -c 700000 /dev/zero | tr \"\\\\0\" e; echo) >&2 & wait";
    let records = kept_of(script).await;
    for (source, letter) in [(LogSource::Stdout, "o"), (LogSource::Stderr, "e")] {
        let expected = letter.repeat(700_000) + "\n";
        assert!(bytes(&records, source) == expected.as_bytes(), "{source:?}");
        let of: Vec<_> = lines(&records).into_iter().filter(|line| line.source == source).collect();
        assert!(of.iter().all(|line| line.bytes.len() <= LogLine::MAX_BYTES));
        let (last, cut) = of.split_last().unwrap();
        assert!(
            last.end == LineEnd::Newline && cut.iter().all(|line| line.end == LineEnd::Cut),
            "{source:?}"
        );
        assert!(cut.len() >= 2);
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_kept_as_they_are() {
    let records = kept_of("printf \"a\\\\377\\\\0b\\\\r\\\\n\\\\033[31mred\\\\n\"").await;
    assert_eq!(bytes(&records, LogSource::Stdout), b"a\xff\0b\r\n\x1b[31mred\n");
}

#[tokio::test]
async fn a_follower_of_both_sources_gets_every_line_although_their_stamps_do_not_grow() {
    let image = Image::build(&[]).await;
    let (node, keeper) = (Node::new(), Keeper::new());
    let script = "for i in $(seq 1 20000); do echo o$i; echo e$i >&2; done";
    let plan = plan(&image, script, "");
    let container = node.run(&plan).await;
    keeper.place(plan.id, running(&container));
    keeper.capture(&node).await;
    let follower = tokio::spawn(to_the_end(keeper.follow(plan.id).await));
    node.engine.wait(&container).await.unwrap();
    keeper.place(plan.id, ended(&container));
    let records = follower.await.unwrap();
    are_in_order(&records);
    assert_eq!(records.len(), 40_000);
    for (source, letter) in [(LogSource::Stdout, "o"), (LogSource::Stderr, "e")] {
        let expected: String = (1..=20_000).map(|number| format!("{letter}{number}\n")).collect();
        assert!(bytes(&records, source) == expected.as_bytes(), "{source:?}");
    }
    assert_eq!(keeper.read(plan.id, OutputQuery::default()).await, records, "the places stay what they are");
}

#[tokio::test]
async fn a_worker_that_starts_again_goes_on_where_it_was_and_what_the_engine_lost_meanwhile_is_said() {
    for (script, is_lost) in [("seq 3 4000", false), ("seq 3 500000", true)] {
        let image = Image::build(&[]).await;
        let (node, keeper) = (Node::new(), Keeper::new());
        let script = format!("echo 1; echo 2 >&2; while [ ! -e /tmp/go ]; do sleep 0.1; done; {script}");
        let plan = plan(&image, &script, "");
        let container = node.run(&plan).await;
        keeper.place(plan.id, running(&container));
        keeper.capture(&node).await;
        until(async || {
            keeper.kept.read(&plan.id, OutputQuery::default()).await.filter(|kept| kept.next() == 2)
        })
        .await;
        let folder = keeper.stop().await;
        let go = ["touch".to_owned(), "/tmp/go".to_owned()];
        node.engine.execute(&container, &go, Duration::from_secs(60)).await.unwrap();
        node.engine.wait(&container).await.unwrap();
        let again = Keeper::open(folder, 1 << 30);
        again.kept.keep(plan.id, &node.engine, &container).await;
        let records = again.read(plan.id, OutputQuery::default()).await;
        are_in_order(&records);
        let gaps: Vec<_> = records.iter().filter(|record| matches!(record, LogRecord::Gap(_))).collect();
        if !is_lost {
            assert!(gaps.is_empty(), "{gaps:?}");
            let expected: String = (1..=4_000).filter(|n| *n != 2).map(|n| format!("{n}\n")).collect();
            assert!(bytes(&records, LogSource::Stdout) == expected.as_bytes(), "each line once");
            assert_eq!(bytes(&records, LogSource::Stderr), b"2\n");
            continue;
        }
        let [LogRecord::Gap(gap)] = gaps[..] else { panic!("{gaps:?}") };
        assert_eq!((gap.position.ordinal, gap.reason, gap.records), (2, GapReason::Engine, None));
        let rest = lines(&records[3..]);
        let numbers: Vec<u64> =
            rest.iter().map(|line| String::from_utf8_lossy(&line.bytes).parse().unwrap()).collect();
        assert!(
            numbers[0] > 3 && numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]),
            "one gap, where it is said"
        );
        assert_eq!(numbers.last(), Some(&500_000));
    }
}

#[tokio::test]
async fn a_container_that_was_looked_at_before_it_wrote_and_ended_soon_is_read_to_its_end() {
    let image = Image::build(&[]).await;
    let (node, keeper) = (Node::new(), Keeper::new());
    let plan = plan(&image, "yes same | head -n 50000", "");
    let container = node.engine.create(&plan).await.unwrap();
    keeper.place(plan.id, Place { is_running: false, ..running(&container) });
    keeper.capture(&node).await;
    until(async || {
        let mut reader = keeper.kept.read(&plan.id, OutputQuery::default()).await?;
        reader.progress().has_caught_up.then_some(())
    })
    .await;
    node.engine.start(&container).await.unwrap();
    node.engine.wait(&container).await.unwrap();
    // What is told next is the end: that it ran is not seen by who looks now and then.
    keeper.place(plan.id, ended(&container));
    let records = to_the_end(keeper.follow(plan.id).await).await;
    are_in_order(&records);
    assert_eq!(records.len(), 50_000);
}

#[tokio::test]
async fn a_container_that_is_started_again_goes_on_in_the_same_output() {
    let image = Image::build(&[]).await;
    let (node, keeper) = (Node::new(), Keeper::new());
    let plan = plan(&image, "echo hello; exit 1", "");
    let container = node.run(&plan).await;
    keeper.place(plan.id, running(&container));
    keeper.capture(&node).await;
    let follower = tokio::spawn(to_the_end(keeper.follow(plan.id).await));
    node.engine.wait(&container).await.unwrap();
    let stopped = Place { is_running: false, restarts: 1, ..running(&container) };
    keeper.place(plan.id, stopped.clone());
    until(async || keeper.kept.read(&plan.id, OutputQuery::default()).await.filter(|kept| kept.next() == 1))
        .await;
    assert!(!follower.is_finished(), "it may be started again");
    // Before it runs: the stream of the engine may not have ended yet.
    keeper.place(plan.id, Place { is_running: true, ..stopped });
    node.engine.start(&container).await.unwrap();
    node.engine.wait(&container).await.unwrap();
    keeper.place(plan.id, Place { restarts: 1, ..ended(&container) });
    let records = follower.await.unwrap();
    assert!(
        matches!(&records[..], [LogRecord::Line(first), LogRecord::Restart(_), LogRecord::Line(second)]
            if first.bytes == b"hello" && second.bytes == b"hello"),
        "{records:?}"
    );
}

/// What a reader got, checked against the numbers that the task wrote: lines in order, and a jump only where it is said.
/// Gives the lines and the lost ones of which the count is known.
fn check_numbers(records: &[LogRecord]) -> (u64, u64) {
    let (mut expected, mut seen, mut lost, mut is_excused) = (Some(0u64), 0, 0, false);
    for record in records {
        match record {
            LogRecord::Line(line) => {
                let text = String::from_utf8_lossy(&line.bytes);
                let number: u64 = text.split(' ').next().unwrap().parse().unwrap();
                assert!(
                    expected == Some(number) || is_excused,
                    "{number} follows where {expected:?} was due"
                );
                (expected, is_excused) = (Some(number + 1), false);
                seen += 1;
            }
            LogRecord::Gap(gap) => {
                match gap.reason {
                    GapReason::Retention => lost += gap.records.expect("the node knows what it dropped"),
                    GapReason::Engine => {}
                }
                is_excused = true;
            }
            LogRecord::Restart(_) => panic!("nothing was started again"),
        }
    }
    (seen, lost)
}

fn memory_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

/// `scripts/soak output` runs it with a gigabyte and a hundred readers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_output_with_many_readers_loses_nothing_without_a_word_and_its_memory_is_bounded() {
    let megabytes = setting("LODE_OUTPUT_MEGABYTES", 64);
    let readers = setting("LODE_OUTPUT_READERS", 20);
    let image = Image::build(&[]).await;
    let node = Node::with_log_size(32 << 20);
    let keeper = Keeper::open(tempfile::tempdir().unwrap(), 16 << 20);
    let wide = "x".repeat(200);
    let count = (megabytes << 20) / 208;
    let script = format!("busybox awk -v n={count} -v w={wide} \"BEGIN{{for(i=0;i<n;i++)print i,w}}\"");
    let plan = plan(&image, &script, "");
    let before = memory_peak();
    let started = std::time::Instant::now();
    let container = node.run(&plan).await;
    keeper.place(plan.id, running(&container));
    keeper.capture(&node).await;
    let mut following = Vec::new();
    for number in 0..readers {
        let mut reader = keeper.follow(plan.id).await;
        following.push(tokio::spawn(async move {
            // Most keep up; some are slow, and lose their place in what is kept.
            let slowness = if number % 10 == 0 { Duration::from_millis(100) } else { Duration::ZERO };
            let (mut seen, mut lost, mut engine_gaps) = (0u64, 0u64, 0u64);
            let mut expected = 0;
            let mut is_excused = false;
            loop {
                let progress = reader.progress();
                let records = reader.read(progress.next, (1_000, 128 << 10)).await.unwrap();
                for record in &records {
                    match record {
                        LogRecord::Line(line) => {
                            let space = line.bytes.iter().position(|byte| *byte == b' ').unwrap();
                            let text = std::str::from_utf8(&line.bytes[..space]).unwrap();
                            let line: u64 = text.parse().unwrap();
                            assert!(line == expected || is_excused, "{line} where {expected} was due");
                            (expected, is_excused) = (line + 1, false);
                            seen += 1;
                        }
                        LogRecord::Gap(gap) if gap.reason == GapReason::Retention => {
                            lost += gap.records.expect("the node knows what it dropped");
                            is_excused = true;
                        }
                        LogRecord::Gap(_) => {
                            engine_gaps += 1;
                            is_excused = true;
                        }
                        LogRecord::Restart(_) => panic!("nothing was started again"),
                    }
                }
                if reader.position() < progress.next {
                    tokio::time::sleep(slowness).await;
                } else if progress.ended {
                    return (seen, lost, engine_gaps, expected);
                } else {
                    reader.changed().await;
                }
            }
        }));
    }
    node.engine.wait(&container).await.unwrap();
    keeper.place(plan.id, ended(&container));
    let mut told = Vec::new();
    for reader in following {
        told.push(reader.await.unwrap());
    }
    let grown = memory_peak() - before;
    let (least, most) = (told.iter().map(|told| told.0).min(), told.iter().map(|told| told.0).max());
    println!(
        "{megabytes} MB, {readers} readers, {:?}: {count} lines, a reader saw {least:?} to {most:?}; engine gaps {:?}; \
         memory grew by {} MiB",
        started.elapsed(),
        told.iter().map(|told| told.2).max(),
        grown >> 20
    );
    for (seen, lost, engine_gaps, next) in &told {
        assert_eq!(*next, count, "the last line comes");
        assert!(*engine_gaps > 0 || seen + lost == count, "{seen} seen, {lost} said to be lost, of {count}");
    }
    // Two megabytes for the one who reads the engine, a batch for each reader, and what the allocator keeps per thread; all
    // of the output in each reader's memory would be twenty times as much.
    assert!(grown < (96 + 2 * readers) << 20, "{grown} bytes");
    let records = keeper.read(plan.id, OutputQuery::default()).await;
    let (seen, _) = check_numbers(&records);
    assert!(seen > 0);
}
