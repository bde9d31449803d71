use super::*;
use crate::task::SpecError;

const MINIMAL: &str = "name = \"t\"\nkind = \"batch\"\nimage = \"i:1\"\n";

fn problems(extra: &str) -> String {
    let spec = TaskSpec::from_toml(&format!("{MINIMAL}{extra}")).unwrap();
    SpecError::Invalid(spec.validate().unwrap_err()).to_string()
}

#[test]
fn a_minimal_spec_gets_documented_defaults() {
    let spec = TaskSpec::from_toml(MINIMAL).unwrap().validate().unwrap();
    assert_eq!((spec.replicas, spec.stop_grace, spec.version), (1, Millis::seconds(10), 1));
}

#[test]
fn unknown_fields_are_named_with_their_line() {
    let error = TaskSpec::from_toml(&format!("{MINIMAL}[resources]\ngpu = 1\n")).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("gpu") && text.contains("resources") && text.contains("line 5"), "{text}");
    let error = TaskSpec::from_json(br#"{"name":"t","kind":"batch","image":"i","colour":1}"#).unwrap_err();
    assert!(error.to_string().contains("colour"), "{error}");
    assert_eq!(error.code(), "task/spec-malformed");
}

#[test]
fn a_task_cannot_widen_its_gpus_or_pose_as_another_by_its_environment() {
    for name in [
        "NVIDIA_VISIBLE_DEVICES",
        "nvidia_visible_devices",
        "LD_PRELOAD",
        "LD_AUDIT",
        "CUDA_VISIBLE_DEVICES",
        "LODE_TASK_ID",
        "DOCKER_HOST",
        "CUDA_MPS_PIPE_DIRECTORY",
    ] {
        let text = problems(&format!("[env]\n{name} = \"all\"\n"));
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = problems("replicas = 0\nstop_grace = \"2h\"\n[[ports]]\nname = \"Http\"\ncontainer = 0\n");
    for field in ["replicas", "stop_grace", "ports[0].name", "ports[0].container"] {
        assert!(text.contains(field), "{field} missing in: {text}");
    }
}

#[test]
fn a_probe_must_name_a_declared_port() {
    let spec = TaskSpec::from_toml(
        "name=\"s\"\nkind=\"service\"\nimage=\"i\"\n[readiness.check.http]\nport=\"web\"\npath=\"/healthz\"\n",
    )
    .unwrap();
    assert!(spec.validate().unwrap_err()[0].message.contains("web"));
}

#[test]
fn the_hash_of_a_spec_does_not_depend_on_how_it_was_written() {
    let toml = TaskSpec::from_toml(MINIMAL).unwrap().validate().unwrap();
    let json =
        TaskSpec::checked_from_json(br#"{"image":"i:1","kind":"batch","name":"t","replicas":1}"#).unwrap();
    assert_eq!(toml.digest(), json.digest());
}

#[test]
fn an_invalid_spec_does_not_decode_from_the_wire() {
    let mut spec = TaskSpec::from_toml(MINIMAL).unwrap();
    spec.env.insert("LD_PRELOAD".to_owned(), "/evil.so".to_owned());
    let bytes = crate::envelope::encode(&spec);
    assert!(crate::envelope::decode::<ValidTaskSpec>(&bytes).is_err());
}
