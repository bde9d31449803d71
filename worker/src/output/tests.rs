use std::path::Path;

use lode_program::Clock;
use lode_protocol::ids::{Incarnation, ReplicaId, TaskId};
use lode_protocol::logs::{EngineTime, LineEnd, LogRecord, LogSource};

use super::segment::Segment;
use super::spool::{Body, Entry, Spool};
use super::standing::Behind;
use super::*;
use crate::engine::Mark;

const LIMIT: u64 = 4_096;

fn container(name: &str) -> ContainerId {
    ContainerId(name.to_owned())
}

fn mark(number: u64) -> Mark {
    Mark { at: EngineTime(number), repeat: 1 }
}

fn line(source: LogSource, number: u64) -> Entry {
    let (bytes, end) = (format!("line {number}").into_bytes(), LineEnd::Newline);
    let behind = Some(Behind::new(mark(number), Vec::new()));
    Entry { at: EngineTime(number), body: Body::Line { source, bytes, end }, behind }
}

fn names(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// Everything before `next`, as a reader that begins at 0 gets it: each record is there, or said to be missing.
async fn read_up_to(folder: &Path, next: u64) -> Vec<LogRecord> {
    let progress = Progress { is_known: true, next, ended: true, has_caught_up: true };
    let (_writer, progress) = watch::channel(progress);
    let mut reader = OutputReader::new(folder.to_owned(), progress, false, OutputQuery::default());
    let mut all = Vec::new();
    while reader.position() < next {
        let before = reader.position();
        let records = reader.read(next, (7, usize::MAX)).await.unwrap();
        assert!(reader.position() > before, "it stays at {before} of {next}");
        all.extend(records);
    }
    let mut ordinal = 0;
    for record in &all {
        ordinal += match record {
            LogRecord::Gap(gap) => gap.records.unwrap(),
            LogRecord::Line(_) | LogRecord::Restart(_) => 1,
        };
        assert_eq!(record.position().ordinal + 1, ordinal, "{record:?}");
    }
    assert_eq!(ordinal, next);
    all
}

fn are_missing(records: &[LogRecord]) -> u64 {
    let gaps = records.iter().filter_map(|record| match record {
        LogRecord::Gap(gap) => gap.records,
        LogRecord::Line(_) | LogRecord::Restart(_) => None,
    });
    gaps.sum()
}

#[tokio::test]
async fn output_with_a_file_torn_anywhere_is_read_to_its_end_and_what_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut spool = Spool::open(folder, LIMIT).unwrap();
    spool.begin(&container("c"), 0).unwrap();
    let lines = 80;
    for number in 0..lines {
        spool.append(vec![line(LogSource::Stdout, number)]).unwrap();
    }
    drop(spool);
    let segments = Segment::list(folder).unwrap();
    assert!(segments.len() > 3 && segments[0].first == 0, "{segments:?}");
    assert_eq!(are_missing(&read_up_to(folder, lines).await), 0);
    for (number, segment) in segments.iter().enumerate() {
        let path = segment.path(folder);
        let whole = std::fs::read(&path).unwrap();
        let behind = segments.get(number + 1).map_or(lines, |behind| behind.first);
        for length in (0..whole.len()).rev() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let missing = are_missing(&read_up_to(folder, lines).await);
            assert!(
                (1..=behind - segment.first).contains(&missing),
                "{missing} missing of {segment:?} at {length}"
            );
            if length % 29 == 0 {
                // As a worker that begins again finds it: what comes next comes behind the rest.
                let copy = tempfile::tempdir().unwrap();
                for name in names(folder) {
                    std::fs::copy(folder.join(&name), copy.path().join(&name)).unwrap();
                }
                let mut spool = Spool::open(copy.path(), LIMIT).unwrap();
                let next = spool.next();
                spool.append(vec![line(LogSource::Stdout, next)]).unwrap();
                read_up_to(copy.path(), next + 1).await;
            }
        }
        std::fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn where_reading_stands_is_known_when_the_records_that_said_it_had_to_go() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut spool = Spool::open(folder, LIMIT).unwrap();
    spool.begin(&container("c"), 0).unwrap();
    spool.append(vec![line(LogSource::Stderr, 1)]).unwrap();
    for number in 2..1_000 {
        spool.append(vec![line(LogSource::Stdout, number)]).unwrap();
        let marks = spool.standing().marks();
        assert_eq!((marks.stderr, marks.stdout), (Some(mark(1)), Some(mark(number))));
        // As a worker that begins again, at any moment.
        spool = Spool::open(folder, LIMIT).unwrap();
        assert_eq!(spool.standing().marks(), marks, "behind {number}");
    }
    assert!(Segment::list(folder).unwrap()[0].first > 1, "the line of the other source has gone");
    assert_eq!(spool.standing().container.as_deref(), Some("c"));
}

#[test]
fn a_run_that_is_to_be_told_apart_is_so_until_that_is_written_and_another_container_is_read_from_its_beginning()
 {
    let folder = tempfile::tempdir().unwrap();
    let open = || Spool::open(folder.path(), LIMIT).unwrap();
    let mut spool = open();
    spool.begin(&container("c"), 0).unwrap();
    assert!(!spool.standing().restart_due, "nothing is before it");
    spool.append(vec![line(LogSource::Stdout, 1)]).unwrap();
    spool.begin(&container("c"), 1).unwrap();
    // Read again after a failure, and by a worker that begins again.
    spool.begin(&container("c"), 1).unwrap();
    let mut spool = open();
    assert!(spool.standing().restart_due);
    assert_eq!(spool.standing().marks().stdout, Some(mark(1)), "what was read stays read");
    let restart = Entry { at: EngineTime(2), body: Body::Restart, behind: None };
    spool.append(vec![restart, line(LogSource::Stdout, 2)]).unwrap();
    assert!(!spool.standing().restart_due && !open().standing().restart_due);
    spool.begin(&container("d"), 1).unwrap();
    let standing = open().standing().clone();
    assert!(standing.restart_due && standing.marks() == Default::default(), "{standing:?}");
}

#[test]
fn lost_output_of_one_assignment_is_told_although_that_of_another_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let findings = FindingSet::new(Clock::system());
    let limits = OutputLimits { per_assignment: 1, total: 1, keep_for: Duration::from_secs(1) };
    let kept = KeptOutput::open(folder.path().join("output"), limits, findings.clone()).unwrap();
    let [one, other] = [0, 1].map(|replica| {
        let replica = ReplicaId { task: TaskId(uuid::Uuid::nil()), replica };
        AssignmentId { replica, incarnation: Incarnation(1) }
    });
    kept.raise(&one, &NotKept::TooSlow(PATIENCE));
    kept.clear(&other);
    assert_eq!(findings.list().len(), 1);
    kept.clear_old(SystemTime::now());
    assert_eq!(findings.list().len(), 1, "it has just happened");
    kept.clear_old(SystemTime::now() + TOLD_FOR * 2);
    assert!(findings.list().is_empty());
}

#[test]
fn the_oldest_goes_first_when_there_is_too_much_and_the_old_goes_anyway() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let write = |name: &str, size: usize, age: u64| {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let path = path.join("file");
        std::fs::write(&path, "x".repeat(size)).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(now - Duration::from_secs(age)).unwrap();
    };
    write("new", 50, 1);
    write("middle", 30, 2);
    write("old", 30, 3);
    write("ancient", 1, 100);
    write("busy", 10, 200);
    let limits = OutputLimits { per_assignment: 100, total: 100, keep_for: Duration::from_secs(50) };
    let busy = [folder.path().join("busy")];
    // One that cannot be removed is said, and keeps no other.
    let failing = |path: &Path| match path.ends_with("old") {
        true => Err(io::ErrorKind::ResourceBusy.into()),
        false => remove(path),
    };
    let error = sweep(folder.path(), limits, &busy, now, failing).unwrap_err();
    assert!(error.to_string().contains("/old: "), "{error}");
    assert_eq!(names(folder.path()), ["busy", "middle", "new", "old"]);
    sweep(folder.path(), limits, &busy, now, remove).unwrap();
    assert_eq!(names(folder.path()), ["busy", "middle", "new"]);
}
