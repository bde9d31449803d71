//! How identities, amounts, times and quantities look in JSON: their schemas, in one place.
//!
//! What has fields derives its schema where it is defined. Here is what is one text or one number.

use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type};

use crate::amount::Amount;
use crate::cursor::Cursor;
use crate::error_code::ErrorCode;
use crate::hash::Digest;
use crate::ids::{
    Address, AssignmentId, ChainId, Epoch, GpuUuid, Incarnation, NodeId, PoolId, ProviderId, TaskId, Term,
};
use crate::keys::EthereumSignature;
use crate::logs::EngineTime;
use crate::proof::ProofClassId;
use crate::units::{Bytes, MilliCpus, Millis, Timestamp};

fn text(pattern: &str, description: &str, example: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .pattern(Some(pattern))
        .description(Some(description))
        .examples([serde_json::Value::from(example)])
}

fn formatted(format: SchemaFormat, description: &str, example: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .format(Some(format))
        .description(Some(description))
        .examples([serde_json::Value::from(example)])
}

fn number(format: KnownFormat, description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .format(Some(SchemaFormat::KnownFormat(format)))
        .minimum(Some(0))
        .description(Some(description))
}

/// A text by a grammar, or a number where the parser takes one.
pub(crate) fn quantity(numbers: Type, pattern: &str, description: &str, example: &str) -> ObjectBuilder {
    text(pattern, description, example)
        .schema_type(SchemaType::from_iter([Type::String, numbers]))
        .minimum(Some(0))
}

/// Numbers with units, from the longest unit to the shortest.
fn duration_pattern() -> String {
    const UNITS: [(&str, &str); 8] = [
        ("weeks?|wks?|w", ""),
        ("days?|d", ""),
        ("hours?|hrs?|h", FRACTION),
        ("minutes?|mins?|m", FRACTION),
        ("seconds?|secs?|s", FRACTION),
        ("milliseconds?|millis?|msecs?|ms", FRACTION),
        ("microseconds?|micros?|usecs?|us|µs|μs", FRACTION),
        ("nanoseconds?|nanos?|nsecs?|ns", ""),
    ];
    const FRACTION: &str = "(\\.[0-9]{1,9})?";
    let part = |(unit, fraction): (&str, &str)| format!("([0-9]+{fraction}\\s*({unit})\\s*)?");
    format!("^\\s*(?=[0-9]){}$", UNITS.map(part).concat())
}

/// Schemas of types without fields.
macro_rules! schemas {
    ($($name:ty => $object:expr;)*) => {$(
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $object.build().into()
            }
        }

        impl utoipa::ToSchema for $name {}
    )*};
}

pub(crate) use schemas;

const ADDRESS: &str = "^0x[0-9a-fA-F]{40}$";
const AN_ADDRESS: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
const A_TASK: &str = "0192f0c1-2345-7000-8000-000000000000";

schemas! {
    TaskId => formatted(
        SchemaFormat::Custom("uuid".to_owned()),
        "A task: UUID version 7, so that ids sort by time.",
        A_TASK
    );
    Address => text(ADDRESS, "An Ethereum address, in mixed case with its EIP-55 checksum or in one case.", AN_ADDRESS);
    NodeId => text(ADDRESS, "One GPU host: the address of its node key.", AN_ADDRESS);
    ProviderId => text(ADDRESS, "The wallet that owns machines and stakes for them.", AN_ADDRESS);
    AssignmentId => text(
        "^[0-9a-f-]{36}\\.[0-9]+\\.[0-9]+$",
        "One replica placed on one node: TASK.REPLICA.INCARNATION.",
        "0192f0c1-2345-7000-8000-000000000000.0.1"
    );
    GpuUuid => text(
        "^(GPU|MIG)-[A-Za-z0-9/-]+$",
        "NVIDIA's name of a GPU or of a MIG instance.",
        "GPU-00000200-5100-4000-8000-000000000000"
    ).max_length(Some(GpuUuid::MAX_LENGTH));
    Digest => text(
        "^0x[0-9a-fA-F]{64}$",
        "A keccak-256 digest.",
        "0x0000000000000000000000000000000000000000000000000000000000000000"
    );
    EthereumSignature => text("^0x[0-9a-fA-F]{130}$", "An Ethereum signature: r, s, v.", "0x…");
    Amount => text("^[0-9]+(\\.[0-9]{1,18})?$", "A decimal number of whole tokens.", "12.5");
    ErrorCode => text("^[a-z0-9-]+/[a-z0-9-]+$", "A stable code, `area/reason`.", "task/not-found");
    Cursor => text("^[0-9a-f]+-[0-9a-f]+$", "A position in a log. Opaque: use it exactly as it was given.", "5f3a-1c");
    Timestamp => formatted(
        SchemaFormat::KnownFormat(KnownFormat::DateTime),
        "RFC 3339, UTC.",
        "2026-01-31T12:00:00.000Z"
    );
    EngineTime => formatted(
        SchemaFormat::KnownFormat(KnownFormat::DateTime),
        "RFC 3339, UTC, by the engine's clock.",
        "2026-01-31T12:00:00.123456789Z"
    );
    PoolId => number(KnownFormat::Int64, "Number of a pool in its `ComputePools` contract.");
    ChainId => number(KnownFormat::Int64, "EIP-155 chain id.");
    Epoch => number(KnownFormat::Int64, "Number of an epoch: block time divided by the epoch's length.");
    Term => number(KnownFormat::Int64, "The orchestrator's term of office: grows with every start.");
    Incarnation => number(KnownFormat::Int32, "How often the replica has been placed.");
    ProofClassId => number(KnownFormat::Int32, "Number of a proof class in the class registry.");
    Bytes => number(KnownFormat::Int64, "A number of bytes.");
    MilliCpus => quantity(
        Type::Number,
        "^\\s*([0-9]+(\\.[0-9]{1,9})?|[0-9]+m)\\s*$",
        "A number of CPUs: `4`, `0.5`, or thousandths of one: `500m`.",
        "500m"
    ).maximum(Some(4_294_967.295));
    Millis => text(
        &duration_pattern(),
        "A duration: numbers with their units, the longest unit first.",
        "1m 30s"
    );
}
