//! Every message body has golden bytes: a change of the wire form fails here before it breaks a running pool.
//!
//! To record a *new* message, run with `LODE_RECORD_GOLDEN=1`; existing fixtures are never overwritten.

use std::path::PathBuf;

use lode_protocol::amount::Amount;
use lode_protocol::assignment::{AssignmentReport, AssignmentState, PublishedPort, Reason};
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::envelope::{decode, encode};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::hardware::{GpuSpec, GpuState, GpuStatus, NodeSpecs, PassthroughForm};
use lode_protocol::hash::Digest;
use lode_protocol::ids::*;
use lode_protocol::join::{Invite, SignedInvite, pools_domain};
use lode_protocol::keys::SigningKey;
use lode_protocol::logs::{
    EngineTime, GapReason, LineEnd, LogBatch, LogEnd, LogGap, LogLine, LogPosition, LogRecord, LogRequest,
    LogSource,
};
use lode_protocol::proof::{
    Answer, Challenge, GpuOpening, GpuVerdict, Phase, ProofClassId, ProofFailure, Selection,
};
use lode_protocol::session::*;
use lode_protocol::settlement::{Receipt, rewards_domain};
use lode_protocol::task::{PortProtocol, TaskSpec, ValidTaskSpec};
use lode_protocol::units::{Bytes, MilliCpus, Millis, Timestamp};
use lode_protocol::usage::{
    MeterReading, OfferedReceipt, ReceiptAnswer, ReceiptVerdict, UsageLine, UsageStatement,
};

fn check<T>(name: &str, value: &T)
where
    T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()> + PartialEq + std::fmt::Debug,
{
    let bytes = encode(value);
    assert_eq!(&decode::<T>(&bytes).unwrap(), value, "{name} does not survive its own encoding");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"));
    if !path.exists() && std::env::var_os("LODE_RECORD_GOLDEN").is_some() {
        std::fs::write(&path, hex::encode(&bytes) + "\n").unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(
        hex::encode(&bytes),
        golden.trim(),
        "{name}: the wire form changed; introduce a new version instead"
    );
}

fn gpu() -> GpuUuid {
    "GPU-11111111-1111-1111-1111-111111111111".parse().unwrap()
}

fn assignment() -> AssignmentId {
    AssignmentId {
        replica: ReplicaId {
            task: TaskId(uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001)),
            replica: 2,
        },
        incarnation: Incarnation(3),
    }
}

fn specs() -> NodeSpecs {
    NodeSpecs {
        cpus: MilliCpus(8_000),
        cpu_model: Some("EPYC".to_owned()),
        memory: Bytes::gibi(64),
        disk: Bytes::gibi(500),
        gpus: vec![GpuSpec {
            uuid: gpu(),
            model: Some("NVIDIA H200".to_owned()),
            memory: Some(Bytes::gibi(141)),
            compute_capability: Some((9, 0)),
            pci_bus_id: Some("00000000:0F:00.0".to_owned()),
            parent: None,
        }],
        driver_version: Some("580.159.04".to_owned()),
        cuda_version: Some(13_000),
        engine_version: Some("20.10.24".to_owned()),
        passthrough: Some(PassthroughForm::Hook),
        os: "Debian".to_owned(),
        architecture: "amd64".to_owned(),
        labels: [("region".to_owned(), "eu".to_owned())].into(),
    }
}

fn spec() -> ValidTaskSpec {
    TaskSpec::from_toml(include_str!("golden/service.toml")).unwrap().validate().unwrap()
}

fn terms() -> LeaseTiming {
    LeaseTiming { interval: Millis(10_000), suspect_after: Millis(30_000), lost_after: Millis(60_000) }
}

fn invite() -> SignedInvite {
    let invite = Invite {
        pool: PoolId(1),
        node: NodeId(Address([1; 20])),
        provider: ProviderId(Address([2; 20])),
        counter: 4,
        terms: Digest([3; 32]),
        deadline: 1_800_000_000,
    };
    let digest = invite.invite_digest(&pools_domain(ChainId(31_337), Address([9; 20])));
    SignedInvite { invite, signature: SigningKey::from_bytes(&[7; 32]).unwrap().sign_recoverable(&digest) }
}

#[test]
fn a_hello_keeps_its_wire_form_and_an_older_one_asks_for_no_tags() {
    let hello = |takes_tags| Hello {
        boot: BootCounter(3),
        nonce: Nonce([9; 16]),
        agent_version: "0.1.0".to_owned(),
        descriptor: b"descriptor".to_vec(),
        takes_tags,
    };
    check("hello-tags", &hello(Some(true)));
    check("hello", &hello(None));
}

#[test]
fn the_bodies_of_a_session_keep_their_wire_form() {
    check(
        "granted",
        &Granted {
            nonce: Nonce([1; 16]),
            session: SessionId([2; 16]),
            epoch: Term(5),
            terms: terms(),
            membership: Membership::Waiting {
                code: ErrorCode::new("node/not-proven"),
                message: "wait".to_owned(),
            },
        },
    );
    check(
        "heartbeat",
        &Heartbeat {
            session: SessionId([2; 16]),
            epoch: Term(5),
            boot: BootCounter(3),
            sequence: Sequence(7),
            observed: Some(Generation(11)),
            complete: true,
            assignments: vec![AssignmentReport {
                id: assignment(),
                state: AssignmentState::Failed,
                reason: Some(Reason::OomKilled),
                detail: "killed".to_owned(),
                exit_code: Some(137),
                restarts: 1,
                gpus: vec![gpu()],
                ports: vec![PublishedPort {
                    name: "http".to_owned(),
                    container: 80,
                    host: 30_001,
                    protocol: PortProtocol::Tcp,
                }],
                image: Some("sha256:00".to_owned()),
                at: Timestamp(1_800_000_000_000),
                phase: None,
            }],
            gpus: vec![GpuStatus {
                uuid: gpu(),
                state: GpuState::Quarantined,
                reason: Some("XID 79".to_owned()),
                temperature: Some(40),
                power: Some(90_000),
                utilization: Some(3),
                memory_used: Some(Bytes(1)),
            }],
            usage: Usage { cpus: MilliCpus(100), memory: Bytes(2), disk_free: Bytes(3) },
            findings: vec![Finding::error("gpu/lost", "gone").about(gpu().as_str()).remedy("reset it")],
            specs: specs().digest(),
            descriptor: Some(vec![1, 2, 3]),
            consent: Some(Consent { invite: invite().invite, signature: invite().signature }),
            receipts: None,
        },
    );
    check(
        "instruction",
        &Instruction {
            session: SessionId([2; 16]),
            epoch: Term(5),
            channel: Channel::Reply { sequence: Sequence(7), request: Digest([8; 32]) },
            terms: terms(),
            desired: Desired::Full {
                generation: Generation(12),
                orders: vec![AssignmentSpec {
                    id: assignment(),
                    spec: spec(),
                    gpus: vec![gpu()],
                    pinned_image: Some(format!("i@sha256:{}", "1".repeat(64)).parse().unwrap()),
                }],
            },
            membership: Membership::Member,
            invite: Some(invite()),
            log_requests: vec![SealedBytes(vec![4, 5])],
            meter: None,
            receipts: None,
        },
    );
    check(
        "refusal",
        &Refusal {
            code: ErrorCode::new("session/replay"),
            message: "m".to_owned(),
            remedy: "r".to_owned(),
            reopen: true,
            retry_after: Some(Millis(5)),
            request: Digest([8; 32]),
        },
    );
    check("leave", &Leave { counter: 1, deadline: 2, signature: invite().signature });
}

fn offered() -> OfferedReceipt {
    let line = |class, order, price, gpu_millis| UsageLine {
        class: ProofClassId(class),
        order,
        price_per_gpu_hour: Amount::tokens(price),
        gpu_millis,
    };
    let usage = UsageStatement {
        pool: PoolId(1),
        epoch: Epoch(7),
        node: NodeId(Address([1; 20])),
        payee: Address([2; 20]),
        lines: vec![line(1, None, 2, 3_600_000), line(2, Some(Digest([5; 32])), 3, 1_800_000)],
    };
    let receipt = Receipt {
        pool: usage.pool,
        epoch: usage.epoch,
        node: usage.node,
        payee: usage.payee,
        usage: usage.digest(),
        amount: usage.amount().unwrap(),
        cumulative: Amount::tokens(10),
    };
    let digest = receipt.digest(&rewards_domain(ChainId(31_337), Address([8; 20])));
    OfferedReceipt {
        receipt,
        usage,
        signature: SigningKey::from_bytes(&[7; 32]).unwrap().sign_recoverable(&digest),
    }
}

#[test]
fn receipts_and_what_carries_them_keep_their_wire_form() {
    check("usage", &offered().usage);
    check("offered-receipt", &offered());
    check(
        "heartbeat-receipts",
        &Heartbeat {
            session: SessionId([2; 16]),
            epoch: Term(5),
            boot: BootCounter(3),
            sequence: Sequence(7),
            observed: None,
            complete: false,
            assignments: Vec::new(),
            gpus: Vec::new(),
            usage: Usage { cpus: MilliCpus(100), memory: Bytes(2), disk_free: Bytes(3) },
            findings: Vec::new(),
            specs: Digest([9; 32]),
            descriptor: None,
            consent: None,
            receipts: Some(vec![
                ReceiptAnswer {
                    epoch: Epoch(7),
                    payee: Address([2; 20]),
                    verdict: ReceiptVerdict::Signed(invite().signature),
                },
                ReceiptAnswer {
                    epoch: Epoch(8),
                    payee: Address([2; 20]),
                    verdict: ReceiptVerdict::Refused {
                        code: ErrorCode::new("receipt/too-little"),
                        message: "m".to_owned(),
                    },
                },
            ]),
        },
    );
    check(
        "instruction-receipts",
        &Instruction {
            session: SessionId([2; 16]),
            epoch: Term(5),
            channel: Channel::Reply { sequence: Sequence(7), request: Digest([8; 32]) },
            terms: terms(),
            desired: Desired::Unchanged,
            membership: Membership::Member,
            invite: None,
            log_requests: Vec::new(),
            meter: Some(MeterReading {
                epoch: Epoch(8),
                gpu_millis: 40_000,
                earned: Amount(22),
                counts: true,
            }),
            receipts: Some(vec![offered()]),
        },
    );
}

#[test]
fn descriptors_and_tasks_keep_their_wire_form() {
    check(
        "descriptor",
        &NodeDescriptor {
            node: NodeId(Address([1; 20])),
            specs: specs(),
            addresses: vec!["/ip4/192.0.2.1/tcp/4001".to_owned()],
            sealing_key: Some([6; 32]),
            agent_version: "0.1.0".to_owned(),
            boot: BootCounter(3),
            sequence: 9,
            issued_at: Timestamp(1_800_000_000_000),
            expires_at: Timestamp(1_800_000_600_000),
        },
    );
    check("task", &spec());
}

#[test]
fn logs_keep_their_wire_form() {
    let request = LogRequest {
        stream: Nonce([1; 16]),
        assignment: assignment(),
        follow: true,
        tail: Some(10),
        since: Some(Timestamp(5)),
        after: None,
        before: None,
    };
    check("log-request", &request);
    check("log-request-after", &LogRequest { after: Some(7), ..request.clone() });
    check("log-request-before", &LogRequest { follow: false, before: Some(9), ..request });
    let position = |ordinal| LogPosition { ordinal, at: EngineTime(1_800_000_000_123_456_789) };
    let line = |ordinal, source, end| {
        LogRecord::Line(LogLine { position: position(ordinal), source, bytes: b"li\xffne".to_vec(), end })
    };
    let gap = |records, reason| {
        LogRecord::Gap(LogGap { position: position(7), records, bytes: records.map(|n| n * 10), reason })
    };
    check(
        "log-batch-records",
        &LogBatch {
            stream: Nonce([1; 16]),
            index: 0,
            end: Some(LogEnd::Failed { code: ErrorCode::new("logs/gone"), message: "m".to_owned() }),
            live: None,
            records: vec![
                gap(Some(8), GapReason::Retention),
                line(8, LogSource::Stderr, LineEnd::Newline),
                line(9, LogSource::Stdout, LineEnd::Cut),
                line(10, LogSource::Stdout, LineEnd::Open),
                LogRecord::Restart(position(11)),
                gap(None, GapReason::Engine),
            ],
        },
    );
    let live =
        LogBatch { stream: Nonce([1; 16]), index: 1, end: None, live: Some(true), records: Vec::new() };
    check("log-batch-records-live", &live);
}

#[test]
fn output_of_a_worker_that_knows_no_positions_is_refused_and_never_read_as_nothing() {
    for name in ["log-batch", "log-batch-live"] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"));
        let old = hex::decode(std::fs::read_to_string(path).unwrap().trim()).unwrap();
        assert!(decode::<LogBatch>(&old).is_err(), "{name}");
    }
}

#[test]
fn proofs_keep_their_wire_form() {
    let run = Nonce([1; 16]);
    let failure = ProofFailure { code: ErrorCode::new("proof/freivalds"), message: "row 3".to_owned() };
    check(
        "challenge-prepare",
        &Challenge::Prepare {
            run,
            epoch: 4,
            class: ProofClassId(1),
            parameters: Digest([2; 32]),
            gpus: vec![gpu()],
            start_at: Timestamp(7),
        },
    );
    let start = |prepare| Challenge::Start { run, beacon: Digest([3; 32]), nonce: Digest([4; 32]), prepare };
    check("challenge-start", &start(None));
    check("challenge-start-bound", &start(Some(Digest([6; 32]))));
    let selections = vec![Selection { gpu: gpu(), rows: vec![1, 2], walkers: vec![3] }];
    check("challenge-open", &Challenge::Open { run, selections });
    let gpus = vec![GpuVerdict { gpu: gpu(), failure: Some(failure.clone()), elapsed: Millis(80) }];
    check("challenge-verdict", &Challenge::Verdict { run, gpus });
    check("answer-ready", &Answer::Ready { run });
    check("answer-busy", &Answer::Busy { run, assignments: vec![assignment()] });
    check("answer-declined", &Answer::Declined { run, failure });
    let committed = |start, walk| Answer::Committed {
        run,
        gpu: gpu(),
        phase: Phase::Product,
        root: Digest([5; 32]),
        start,
        walk,
    };
    check("answer-committed", &committed(None, None));
    check("answer-committed-bound", &committed(Some(Digest([7; 32])), Some(Digest([8; 32]))));
    let opened = |start, demand| Answer::Opened {
        run,
        opening: GpuOpening { gpu: gpu(), opening: vec![1] },
        start,
        demand,
    };
    check("answer-opened", &opened(None, None));
    check("answer-opened-bound", &opened(Some(Digest([7; 32])), Some(Digest([9; 32]))));
}
