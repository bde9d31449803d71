//! What a task file may be, beyond its fields: names once, fields by name. That its schema says the same as its parser is
//! judged by another program in a test of the orchestrator.

use lode_protocol::envelope::{decode, encode};
use lode_protocol::task::{SpecError, TaskSpec, ValidTaskSpec, json_schema};
use serde_json::Value;

#[test]
fn a_name_that_is_written_twice_is_refused_wherever_it_stands() {
    for (file, at) in [
        (r#"{"name":"t","kind":"batch","image":"i:1","env":{"A":"1","A":"2"}}"#, "env"),
        (r#"{"name":"t","kind":"batch","image":"i:1","labels":{"a":"1","a":"1"}}"#, "labels"),
        (r#"{"name":"t","kind":"batch","image":"i:1","image":"i:2"}"#, ""),
        (r#"{"name":"t","kind":"batch","image":"i:1","resources":{"gpus":1,"gpus":2}}"#, "resources"),
        // The same name in another spelling, and deep inside.
        (r#"{"name":"t","kind":"batch","image":"i:1","env":{"A":"1","\u0041":"2"}}"#, "env"),
        (
            r#"{"name":"t","kind":"service","image":"i:1","ports":[{"name":"web","container":80,"container":81}]}"#,
            "ports",
        ),
        (
            r#"{"name":"t","kind":"service","image":"i:1","ports":[{"name":"web","container":80}],
                "readiness":{"check":{"tcp":{"port":"web","port":"x"}}}}"#,
            "readiness",
        ),
    ] {
        match TaskSpec::from_json(file.as_bytes()) {
            Err(SpecError::Malformed { at: place, .. }) => assert!(place.contains(at), "{place}: {file}"),
            other => panic!("{file}: {other:?}"),
        }
    }
}

#[test]
fn fields_are_named_and_words_are_words_in_every_format() {
    for file in [
        r#"["t","batch","i:1"]"#,
        r#"{"name":"t","kind":{"batch":null},"image":"i:1"}"#,
        r#"{"name":"t","kind":"batch","image":"i:1","resources":[1]}"#,
        r#"{"name":"t","kind":"service","image":"i:1","ports":[["web",80]]}"#,
    ] {
        assert!(TaskSpec::from_json(file.as_bytes()).is_err(), "{file}");
    }
    let toml = "name = \"t\"\nkind = \"batch\"\nimage = \"i:1\"\nresources = [1, []]\n";
    let error = TaskSpec::from_toml(toml).unwrap_err();
    assert!(error.to_string().contains("resources"), "{error}");
}

#[test]
fn the_recorded_schema_is_the_one_of_the_types() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/task.schema.json");
    let made = json_schema();
    if std::env::var_os("LODE_RECORD_GOLDEN").is_some() {
        std::fs::write(path, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
    }
    let recorded: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(made == recorded, "the task file changed; record it with LODE_RECORD_GOLDEN=1 if that is meant");
}

#[test]
fn an_order_whose_image_could_lead_a_request_elsewhere_cannot_be_decoded() {
    let written = r#"{"name":"t","kind":"batch","image":"i:1"}"#;
    let mut spec = TaskSpec::from_json(written.as_bytes()).unwrap();
    assert!(decode::<ValidTaskSpec>(&encode(&spec)).is_ok());
    for image in
        ["../containers/json?all=1&x=", "../images/get?names=big:1&x=", "a/../b", "a:1#", "./a", "a b"]
    {
        image.clone_into(&mut spec.image);
        assert!(decode::<ValidTaskSpec>(&encode(&spec)).is_err(), "{image}");
        let problems = spec.clone().validate().unwrap_err();
        assert!(problems.iter().any(|problem| problem.field == "image"), "{problems:?}");
    }
}
