//! The JSON Schema of a task file, made from the types that the parser fills.
//!
//! It accepts and refuses the same files as the parser, but for what JSON Schema has no words for; a test of the
//! orchestrator (`task_schema.rs`) lists these rules and has another program hold the two against each other.

use serde_json::{Map, Value, json};
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::{ProbeAction, RESERVED_VARIABLES, TaskSpec, limits};
use crate::schema::{quantity, schemas};

/// One word of a command line, or a value of a variable.
pub(super) struct Word;
/// Variables.
pub(super) struct Environment;
/// Key of a label.
pub(super) struct LabelKey;
/// Labels.
pub(super) struct Labels;
/// What a constraint compares with.
pub(super) struct ConstraintValue;
/// A part of a GPU model's name.
pub(super) struct ModelName;
/// A size in a file that people write.
pub(super) struct Size;
/// What [`ProbeAction::Http`] holds.
struct HttpCheck;
/// What [`ProbeAction::Tcp`] holds.
struct TcpCheck;
/// What [`ProbeAction::Exec`] holds.
struct ExecCheck;

/// Something that is no white space (Unicode), spelt out: regular expressions differ in what they count as `\s`.
const NOT_BLANK: &str =
    "[^\\u0009-\\u000d\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";

fn text(most: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).max_length(Some(most))
}

fn word() -> ObjectBuilder {
    text(limits::TEXT).pattern(Some("^[^\\u0000]*$"))
}

fn label_key() -> ObjectBuilder {
    text(128).pattern(Some("^[A-Za-z0-9._/-]+$"))
}

/// From names to values.
fn table(name: ObjectBuilder, value: ObjectBuilder) -> ObjectBuilder {
    ObjectBuilder::new()
        .property_names(Some(Schema::Object(name.build())))
        .additional_properties(Some(Schema::Object(value.build())))
        .max_properties(Some(limits::ENTRIES))
}

fn fields(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .description(Some(description))
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

fn port() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .description(Some("Name of a declared port."))
}

schemas! {
    Word => word();
    Environment => table(text(limits::ENVIRONMENT).pattern(Some(variable_pattern())), word());
    LabelKey => label_key();
    Labels => table(label_key(), text(1_024).pattern(Some("^[^\\u0000-\\u001f\\u007f-\\u009f]*$")));
    ConstraintValue => text(1_024);
    Size => quantity(
        Type::Integer,
        "^\\s*([0-9]+(\\.[0-9]{1,9})?\\s*([bB]|[kKmMgGtTpP][iI]?[bB]?)|0)\\s*$",
        "A size: `16GiB` or `16Gi` (powers of 1024), `16GB` or `16G` (powers of 1000), `512B`. A number without a unit is refused, but for 0.",
        "16GiB"
    ).maximum(Some(0));
    HttpCheck => fields("HTTP GET that must answer 200–399.")
        .property("port", port())
        .property("path", text(2_048).pattern(Some("^/[!-~]*$")).description(Some("Absolute path. Default `/`.")))
        .required("port");
    TcpCheck => fields("A TCP connection that must open.").property("port", port()).required("port");
    ExecCheck => fields("A command inside the container that must exit with 0.")
        .property(
            "command",
            ArrayBuilder::new()
                .items(word())
                .min_items(Some(1))
                .max_items(Some(limits::WORDS))
                .description(Some("Program and arguments.")),
        )
        .required("command");
    ModelName => text(128).pattern(Some(NOT_BLANK));
}

// By hand: generators want a name for what each choice holds, and the derived schema has none.
impl PartialSchema for ProbeAction {
    fn schema() -> RefOr<Schema> {
        let choice = |title: &str, word: &str, holds| {
            fields("")
                .description(None::<String>)
                .title(Some(title))
                .property(word, Ref::from_schema_name(holds))
                .required(word)
        };
        OneOfBuilder::new()
            .item(choice("HttpProbe", "http", HttpCheck::name()))
            .item(choice("TcpProbe", "tcp", TcpCheck::name()))
            .item(choice("ExecProbe", "exec", ExecCheck::name()))
            .description(Some("How a container is asked."))
            .into()
    }
}

impl ToSchema for ProbeAction {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((HttpCheck::name().into_owned(), HttpCheck::schema()));
        schemas.push((TcpCheck::name().into_owned(), TcpCheck::schema()));
        schemas.push((ExecCheck::name().into_owned(), ExecCheck::schema()));
    }
}

/// Letters, digits and underscores, and in no case one that the worker sets.
fn variable_pattern() -> String {
    let in_any_case = |name: &str| -> String {
        name.chars()
            .map(|letter| match letter {
                '_' => "_".to_owned(),
                _ => format!("[{letter}{}]", letter.to_ascii_lowercase()),
            })
            .collect()
    };
    let reserved: Vec<String> = RESERVED_VARIABLES
        .iter()
        .map(|name| match name.strip_suffix('*') {
            Some(prefix) => in_any_case(prefix),
            None => format!("{}$", in_any_case(name)),
        })
        .collect();
    format!("^(?!{})[A-Za-z_][A-Za-z0-9_]*$", reserved.join("|"))
}

/// The JSON Schema (2020-12) of a task file.
pub fn json_schema() -> Value {
    let mut parts = Vec::new();
    TaskSpec::schemas(&mut parts);
    let definitions: Map<String, Value> =
        parts.into_iter().map(|(name, schema)| (name, plain(serde_json::json!(schema)))).collect();
    let mut schema = plain(json!(TaskSpec::schema()));
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        fields.insert("title".to_owned(), "Lode task, version 1".into());
        fields.insert("$defs".to_owned(), definitions.into());
        fields.insert("allOf".to_owned(), rules());
    }
    schema
}

/// References lead to `$defs`; what only OpenAPI knows goes.
fn plain(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref") {
                *reference = reference.replace("#/components/schemas/", "#/$defs/");
            }
            for value in fields.values_mut() {
                *value = plain(value.take());
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = plain(item.take());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    schema
}

/// That a probe asks a port.
fn probes_a_port(probe: &str) -> Value {
    json!({
        "properties": { probe: {
            "type": "object",
            "properties": { "check": {
                "type": "object",
                "anyOf": [{ "required": ["http"] }, { "required": ["tcp"] }]
            } },
            "required": ["check"]
        } },
        "required": [probe]
    })
}

/// What holds between fields.
fn rules() -> Value {
    let zero = json!({ "anyOf": [{ "const": 0 }, { "type": "string", "pattern": "^\\s*0+(\\.0*)?\\s*[A-Za-z]*\\s*$|^\\s*0+\\.[0-9]*\\s*[bB]\\s*$" }] });
    json!([
        {
            "$comment": "GPUs of a model or size are asked for: say how many.",
            "if": { "properties": { "resources": { "anyOf": [
                { "properties": { "gpu_models": { "minItems": 1 } }, "required": ["gpu_models"] },
                { "properties": { "gpu_memory": { "not": zero } }, "required": ["gpu_memory"] }
            ] } }, "required": ["resources"] },
            "then": { "properties": { "resources": {
                "properties": { "gpus": { "minimum": 1 } }, "required": ["gpus"]
            } } }
        },
        {
            "$comment": "Less of a CPU than a kernel can measure out is no limit that can be kept; none is the default.",
            "properties": { "resources": { "properties": { "cpus": {
                "not": { "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.01 }
            } } } }
        },
        {
            "$comment": "Probes are for services; a batch task is judged by its exit code.",
            "if": { "anyOf": [
                { "properties": { "readiness": { "type": "object" } }, "required": ["readiness"] },
                { "properties": { "liveness": { "type": "object" } }, "required": ["liveness"] }
            ] },
            "then": { "properties": { "kind": { "const": "service" } } }
        },
        {
            "$comment": "A probe of a port needs a port.",
            "if": { "anyOf": [probes_a_port("readiness"), probes_a_port("liveness")] },
            "then": { "properties": { "ports": { "minItems": 1 } }, "required": ["ports"] }
        },
        {
            "$comment": "1 to 32 values for in and not-in, one for at-least, none for exists and not-exists; versions for cuda and driver.",
            "properties": { "constraints": { "items": { "allOf": [
                {
                    "if": { "properties": { "operator": { "enum": ["in", "not-in", "at-least"] } } },
                    "then": { "properties": { "values": { "minItems": 1 } }, "required": ["values"] },
                    "else": { "properties": { "values": { "maxItems": 0 } } }
                },
                {
                    "if": { "properties": { "operator": { "const": "at-least" } }, "required": ["operator"] },
                    "then": { "properties": { "key": { "enum": ["cuda", "driver"] }, "values": { "maxItems": 1 } } }
                },
                {
                    "if": { "properties": { "key": { "enum": ["cuda", "driver"] } }, "required": ["key"] },
                    "then": { "properties": { "values": { "items": { "pattern": "^[0-9]{1,9}(\\.[0-9]{1,9}){0,3}$" } } } }
                }
            ] } } }
        }
    ])
}
