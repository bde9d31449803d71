//! The schema of a task file and its parser say the same.
//!
//! The schema never refuses what the parser takes. What the parser refuses beyond it are the rules of [`BEYOND`], each
//! with the reason why JSON Schema has no words for it; nothing else passes.

use std::io::Write as _;

use lode_protocol::task::{SpecError, TaskSpec, json_schema};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::judged::run;

/// A rule of the parser that the schema cannot have.
struct Rule {
    /// Whether what the parser said of the file is this rule's.
    covers: fn(at: &str, message: &str, file: &Value) -> bool,
    /// Why the schema does not have it.
    reason: &'static str,
}

/// Every rule of the parser that the schema does not have. (A name that is written twice in a JSON file is another one: a
/// schema judges what a reader made of the file, and by then one of the two is gone. See the last test.)
const BEYOND: [Rule; 10] = [
    Rule {
        covers: |at, message, _| at.starts_with("ports[") && message == "is used twice",
        reason: "uniqueness of one field among objects has no keyword",
    },
    Rule {
        covers: |at, message, _| {
            (at.starts_with("readiness.check") || at.starts_with("liveness.check"))
                && message.starts_with("no port is named")
        },
        reason: "a value cannot refer to values elsewhere in the file",
    },
    Rule {
        covers: |at, _, file| {
            let durations = [
                "/stop_grace",
                "/readiness/interval",
                "/readiness/timeout",
                "/readiness/deadline",
                "/liveness/interval",
                "/liveness/timeout",
            ];
            let pointer = format!("/{}", at.replace('.', "/"));
            durations.contains(&pointer.as_str()) && file.pointer(&pointer).is_some_and(Value::is_string)
        },
        reason: "how long a text with units is, is arithmetic; so is that only its last number may have decimals",
    },
    Rule {
        covers: |at, _, file| {
            let sizes = [
                "/resources/memory",
                "/resources/disk",
                "/resources/gpu_memory",
                "/resources/cpus",
                "/resources/shm",
            ];
            let pointer = format!("/{}", at.replace('.', "/"));
            sizes.contains(&pointer.as_str()) && file.pointer(&pointer).is_some_and(Value::is_string)
        },
        reason: "how much a text with a unit is, is arithmetic: the least and the most memory, what a number can hold",
    },
    Rule {
        covers: |at, message, _| at == "env" && message.ends_with("in all"),
        reason: "sums have no keyword",
    },
    Rule {
        covers: |_, message, file| {
            (message.contains("KiB") || message.contains("32 names") || message == "1 to 256 words")
                && !is_ascii(file)
        },
        reason: "our lengths are bytes, a schema's are characters",
    },
    Rule {
        covers: |_, message, file| message.contains("floating point") && has_odd_whole_number(file),
        reason: "for a schema 1.0 is an integer; our parser wants it written as one",
    },
    Rule {
        covers: |at, _, file| {
            let pointer = format!("/{}", at.replace('.', "/"));
            file.pointer(&pointer).is_some_and(|value| value.as_f64() == Some(0.0) && value.is_f64())
        },
        reason: "for a schema -0.0 is not less than 0",
    },
    Rule {
        covers: |at, _, file| {
            let image = file.pointer("/image").and_then(Value::as_str).unwrap_or_default();
            let part = |length: usize| image.split(['/', ':', '.']).any(|part| part.len() >= length);
            at == "image" && (image.contains('[') || image.len() > 200 || part(64))
        },
        reason: "the pattern says how parts of a reference look, not what an IPv6 address is, nor how long parts are \
                 together, nor that 64 hexadecimal digits are an id",
    },
    Rule {
        covers: |at, message, _| {
            (at == "resources.gpu_models" && message.contains("named by its profile"))
                || (at == "resources.gpus" && message.contains("one instance of a GPU"))
        },
        reason: "what the words of a model's name mean has no keyword",
    },
];

fn walk(value: &Value, holds: &mut impl FnMut(&Value) -> bool) -> bool {
    holds(value)
        || match value {
            Value::Array(items) => items.iter().any(|item| walk(item, holds)),
            Value::Object(fields) => fields.values().any(|field| walk(field, holds)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
}

fn is_ascii(file: &Value) -> bool {
    file.to_string().is_ascii()
}

fn has_odd_whole_number(file: &Value) -> bool {
    walk(file, &mut |value| value.is_f64() && value.as_f64().is_some_and(|number| number.fract() == 0.0))
}

/// What an independent validator says of each file: nothing, or why it refuses it.
async fn verdicts(files: &[Value]) -> Vec<Option<String>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("schema.json"), json_schema().to_string()).unwrap();
    let mut lines = std::fs::File::create(folder.path().join("files.jsonl")).unwrap();
    for file in files {
        writeln!(lines, "{file}").unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi/judge.py");
    let (done, said) =
        run("python", &[script, "schema.json", "files.jsonl", "verdicts.json"], folder.path()).await;
    assert!(done, "{said}");
    let verdicts = std::fs::read(folder.path().join("verdicts.json")).unwrap();
    let verdicts: Vec<Option<String>> = serde_json::from_slice(&verdicts).unwrap();
    assert_eq!(verdicts.len(), files.len());
    verdicts
}

/// Holds the two against each other; tells what is wrong.
fn compare(file: &Value, by_schema: Option<&str>) -> Result<(), String> {
    let problems: Vec<(String, String)> =
        match (TaskSpec::checked_from_json(file.to_string().as_bytes()), by_schema) {
            (Ok(_), None) | (Err(_), Some(_)) | (Err(SpecError::TooLarge { .. }), None) => return Ok(()),
            (Ok(_), Some(why)) => return Err(format!("only the schema refuses {file}: {why}")),
            (Err(SpecError::Malformed { at, message }), None) => vec![(at, message)],
            (Err(SpecError::Invalid(problems)), None) => {
                problems.into_iter().map(|problem| (problem.field, problem.message)).collect()
            }
        };
    for (at, message) in &problems {
        if !BEYOND.iter().any(|rule| (rule.covers)(at, message, file)) {
            return Err(format!("only the parser refuses {file}: {at}: {message}"));
        }
    }
    Ok(())
}

/// Sometimes one of the good ones, sometimes one of the odd ones.
fn mixed(good: Vec<Value>, odd: Vec<Value>) -> BoxedStrategy<Value> {
    prop_oneof![48 => select(good), 2 => select(odd), 1 => select(strange())].boxed()
}

/// What belongs nowhere, or somewhere else.
fn strange() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(80),
        json!(1.5),
        json!(1.0),
        json!(-0.0),
        json!(4_294_967_296u64),
        json!(""),
        json!("80"),
        json!("text"),
        json!("é"),
        json!("a\u{0}b"),
        json!("\u{85}"),
        json!([]),
        json!(["a"]),
        json!([1, 2]),
        json!({}),
        json!({ "batch": null }),
        json!({ "a": "b" }),
    ]
}

fn sizes() -> BoxedStrategy<Value> {
    mixed(
        vec![
            json!("16GiB"),
            json!("2G"),
            json!("2Gi"),
            json!("1.5 gb"),
            json!(0),
            json!("0"),
            json!("512MiB"),
            json!("64B"),
        ],
        vec![
            json!("80"),
            json!(80),
            json!("2 parsec"),
            json!("-1GiB"),
            json!("1.GiB"),
            json!("99999999P"),
            json!("5MiB"),
            json!("0.5B"),
            json!("0KiB"),
        ],
    )
}

fn durations() -> BoxedStrategy<Value> {
    mixed(
        vec![json!("10s"), json!("1m 30s"), json!("500ms"), json!("1.5h"), json!("2 mins"), json!("30m")],
        vec![
            json!("10"),
            json!(10),
            json!("30s 1m"),
            json!("7d"),
            json!("1:30:00"),
            json!("1h, 2m"),
            json!("-3s"),
            json!("s"),
            json!("1 month"),
            json!("50ms"),
            json!("1.5m 3s"),
            json!("+1s"),
            json!(" 1h30m "),
            json!(""),
        ],
    )
}

fn names() -> BoxedStrategy<Value> {
    mixed(
        vec![json!("t"), json!("a-1"), json!("web")],
        vec![
            json!("T"),
            json!("-a"),
            json!("a-"),
            json!("a_b"),
            json!("x".repeat(63)),
            json!("x".repeat(64)),
            json!("x".repeat(16)),
        ],
    )
}

fn words() -> BoxedStrategy<Value> {
    let word = || {
        mixed(
            vec![json!("run"), json!("-x"), json!("")],
            vec![json!("x".repeat(32 << 10)), json!("x".repeat((32 << 10) + 1)), json!("é".repeat(20_000))],
        )
    };
    prop_oneof![
        32 => prop::collection::vec(word(), 0..4).prop_map(Value::Array),
        1 => Just(Value::Array(vec![json!("x"); 256])),
        1 => Just(Value::Array(vec![json!("x"); 257])),
        1 => select(strange()),
    ]
    .boxed()
}

/// An object of some of these fields, now and then with one that does not exist.
fn table(fields: Vec<(&'static str, u32, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let some: Vec<_> = fields
        .into_iter()
        .map(|(name, weight, value)| {
            prop_oneof![weight => value.prop_map(move |value| Some((name.to_owned(), value))), 1 => Just(None)]
        })
        .collect();
    let unknown = prop_oneof![
        96 => Just(None),
        1 => select(strange()).prop_map(|value| Some(("colour".to_owned(), value)))
    ];
    let whole = (some, unknown)
        .prop_map(|(fields, unknown)| Value::Object(fields.into_iter().flatten().chain(unknown).collect()));
    prop_oneof![64 => whole, 1 => select(strange())].boxed()
}

fn map(keys: Vec<&'static str>, values: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop_oneof![
        48 => prop::collection::vec((select(keys), values), 0..4)
            .prop_map(|entries| Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        1 => Just(Value::Object((0..257).map(|number| (format!("k{number}"), json!("v"))).collect())),
        1 => select(strange()),
    ]
    .boxed()
}

fn list(items: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop_oneof![48 => prop::collection::vec(items, 0..4).prop_map(Value::Array), 1 => select(strange())]
        .boxed()
}

fn files() -> BoxedStrategy<Value> {
    let resources = table(vec![
        ("gpus", 2, mixed(vec![json!(1), json!(2), json!(0), json!(64)], vec![json!(65)])),
        (
            "gpu_models",
            1,
            list(mixed(
                vec![json!("H200"), json!("A100"), json!("MIG 1g.10gb"), json!("MIG")],
                vec![json!(" "), json!(""), json!("x".repeat(129)), json!("\u{feff}")],
            )),
        ),
        ("gpu_memory", 1, sizes()),
        (
            "cpus",
            1,
            mixed(
                vec![json!(4), json!(0.5), json!("500m"), json!("4"), json!(0.123_456_789_01), json!(0.01)],
                vec![
                    json!(0.001),
                    json!(0.0009),
                    json!("1m"),
                    json!("1.5m"),
                    json!("m"),
                    json!(4_294_967.296),
                    json!("99999999999"),
                    json!("1.1234567890"),
                    json!("4."),
                    json!(0.001),
                    json!(0.009),
                    json!("9m"),
                    json!(1e300),
                ],
            ),
        ),
        ("memory", 1, sizes()),
        ("disk", 1, sizes()),
        ("shm", 1, sizes()),
    ]);
    let restart = table(vec![
        (
            "policy",
            12,
            mixed(
                vec![json!("never"), json!("on-failure"), json!("always")],
                vec![json!("Never"), json!({ "never": null })],
            ),
        ),
        ("max_restarts", 1, mixed(vec![json!(5), json!(4_294_967_295u32)], vec![json!(4_294_967_296u64)])),
    ]);
    let port_name = || mixed(vec![json!("web"), json!("api")], vec![json!("none")]);
    let check = prop_oneof![
        4 => table(vec![("http", 12, table(vec![("port", 12, port_name()), ("path", 1, mixed(vec![json!("/"), json!("/ok?x=1")], vec![json!("ok"), json!("/a b")]))]))]),
        2 => table(vec![("tcp", 12, table(vec![("port", 12, port_name())]))]),
        2 => table(vec![("exec", 12, table(vec![("command", 12, words())]))]),
        1 => Just(json!({ "tcp": { "port": "web" }, "exec": { "command": ["x"] } })),
        1 => Just(json!({ "tcp": ["web"] })),
        1 => select(strange()),
    ]
    .boxed();
    let liveness = table(vec![
        ("check", 16, check.clone()),
        ("interval", 1, durations()),
        ("timeout", 1, durations()),
        ("failures", 1, mixed(vec![json!(1), json!(100)], vec![json!(0), json!(101)])),
    ]);
    let readiness = table(vec![
        ("check", 16, check),
        ("interval", 1, durations()),
        ("timeout", 1, durations()),
        ("deadline", 1, durations()),
    ]);
    let port = table(vec![
        ("name", 16, prop_oneof![3 => port_name(), 1 => names()].boxed()),
        ("container", 16, mixed(vec![json!(80), json!(65_535)], vec![json!(0), json!(65_536)])),
        ("protocol", 1, mixed(vec![json!("tcp"), json!("udp")], vec![json!("TCP")])),
    ]);
    let constraint = table(vec![
        ("key", 16, mixed(vec![json!("zone"), json!("a.b/c-d_e"), json!("cuda"), json!("driver")], vec![json!("a b"), json!("é"), json!("x".repeat(129))])),
        ("operator", 16, mixed(vec![json!("in"), json!("not-in"), json!("exists"), json!("not-exists"), json!("at-least")], vec![json!("not_in")])),
        ("values", 1, prop_oneof![2 => list(mixed(vec![json!("a"), json!("b"), json!("12.8"), json!("550")], vec![json!("1.2.3.4.5"), json!("x".repeat(1_025)), json!("é".repeat(600))])), 1 => Just(json!([]))].boxed()),
    ]);
    table(vec![
        ("version", 1, mixed(vec![json!(1)], vec![json!(2), json!(0), json!("1")])),
        ("name", 40, names()),
        (
            "kind",
            40,
            mixed(vec![json!("batch"), json!("service")], vec![json!("Batch"), json!({ "batch": null })]),
        ),
        (
            "image",
            40,
            mixed(
                vec![json!("i:1"), json!(format!("r.example:5000/a/b@sha256:{}", "0a".repeat(32)))],
                vec![
                    json!("-x"),
                    json!("a b"),
                    json!("x".repeat(513)),
                    json!("é"),
                    json!("../containers/json"),
                    json!("a:1?x="),
                ],
            ),
        ),
        ("pull", 1, mixed(vec![json!("always"), json!("missing"), json!("never")], vec![json!("sometimes")])),
        ("command", 1, words()),
        ("args", 1, words()),
        (
            "env",
            1,
            map(
                vec![
                    "A",
                    "_b",
                    "PATH",
                    "NVIDIA_X",
                    "nvidia_x",
                    "CUDA_VISIBLE_DEVICES",
                    "cuda_visible_devices",
                    "CUDA_VISIBLE_DEVICES_2",
                    "LD_PRELOAD",
                    "LDX",
                    "1A",
                    "A-B",
                    "",
                    "É",
                    "LODE_",
                    "DOCKER_HOST",
                ],
                mixed(vec![json!("v"), json!("")], vec![json!("x".repeat(30 << 10)), json!("a\nb")]),
            ),
        ),
        ("resources", 1, resources),
        ("replicas", 1, mixed(vec![json!(1), json!(10_000)], vec![json!(0), json!(10_001)])),
        ("restart", 1, restart),
        ("stop_grace", 1, durations()),
        ("readiness", 1, readiness),
        ("liveness", 1, liveness),
        ("ports", 3, list(port)),
        (
            "labels",
            1,
            map(
                vec!["a", "lode.node", "a/b", "a b", "", "é"],
                mixed(
                    vec![json!("v"), json!("é")],
                    vec![json!("a\tb"), json!("a\u{85}b"), json!("x".repeat(1_025)), json!("é".repeat(600))],
                ),
            ),
        ),
        ("constraints", 1, list(constraint)),
    ])
}

/// Puts something strange somewhere into a file.
fn mutate(file: &mut Value, place: &mut usize, with: &Value) -> bool {
    if *place == 0 {
        *file = with.clone();
        return true;
    }
    *place -= 1;
    match file {
        Value::Array(items) => items.iter_mut().any(|item| mutate(item, place, with)),
        Value::Object(fields) => fields.values_mut().any(|field| mutate(field, place, with)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

const EXAMPLES: [&str; 2] =
    [include_str!("../../../examples/batch.toml"), include_str!("../../../examples/service.toml")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema_and_parser_take_and_refuse_the_same_files() {
    let mut runner = TestRunner::default();
    let (strategy, places) = (files(), (0..EXAMPLES.len(), 0..60usize, select(strange())));
    let mut all: Vec<Value> = (0..4_000).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    // And those that were right before something went wrong.
    for _ in 0..1_000 {
        let (example, mut place, with) = places.new_tree(&mut runner).unwrap().current();
        let mut file = serde_json::to_value(TaskSpec::from_toml(EXAMPLES[example]).unwrap()).unwrap();
        mutate(&mut file, &mut place, &with);
        all.push(file);
    }
    let verdicts = verdicts(&all).await;
    let mut differences: Vec<String> = all
        .iter()
        .zip(&verdicts)
        .filter_map(|(file, verdict)| compare(file, verdict.as_deref()).err())
        .collect();
    // The shortest one tells most.
    differences.sort_by_key(String::len);
    assert!(differences.is_empty(), "{} differences; {}", differences.len(), differences[0]);
    let right = verdicts.iter().filter(|verdict| verdict.is_none()).count();
    assert!((500..4_500).contains(&right), "{right} of {} are right: too few or too many", all.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_beyond_the_schema_is_one_that_the_schema_does_not_have() {
    let base = || json!({ "name": "t", "kind": "service", "image": "i:1" });
    let with = |field: &str, value: Value| {
        let mut file = base();
        file[field] = value;
        file
    };
    let twice = json!([{ "name": "a", "container": 1 }, { "name": "a", "container": 2 }]);
    let mut undeclared = with("readiness", json!({ "check": { "tcp": { "port": "b" } } }));
    undeclared["ports"] = json!([{ "name": "a", "container": 1 }]);
    let many: serde_json::Map<String, Value> =
        (0..8).map(|n| (format!("A{n}"), json!("x".repeat(20 << 10)))).collect();
    let cases = [
        with("ports", twice),
        undeclared,
        with("stop_grace", json!("2h")),
        with("resources", json!({ "memory": "5MiB" })),
        with("env", Value::Object(many)),
        with("args", json!(["é".repeat(20_000)])),
        with("replicas", json!(1.0)),
        with("resources", json!({ "cpus": -0.0 })),
        with("image", json!("ab".repeat(32))),
        with("resources", json!({ "gpus": 2, "gpu_models": ["MIG 1g.10gb"] })),
    ];
    assert_eq!(cases.len(), BEYOND.len());
    for ((rule, file), verdict) in BEYOND.iter().zip(&cases).zip(verdicts(&cases).await) {
        let refused = TaskSpec::checked_from_json(file.to_string().as_bytes());
        assert!(refused.is_err(), "the parser has no such rule: {}: {file}", rule.reason);
        assert_eq!(verdict, None, "the schema has it after all: {}: {file}", rule.reason);
        assert_eq!(compare(file, None), Ok(()), "{}", rule.reason);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_and_shown_of_a_task_fits_the_schema() {
    let files = EXAMPLES.map(|text| serde_json::to_value(TaskSpec::from_toml(text).unwrap()).unwrap());
    assert_eq!(verdicts(&files).await, [None, None]);
}
