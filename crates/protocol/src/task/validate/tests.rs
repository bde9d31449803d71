use super::*;
use crate::task::SpecError;
use crate::units::Millis;

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
fn less_of_a_cpu_than_a_kernel_can_measure_out_is_refused_and_named() {
    for least in ["\"10m\"", "0.01", "\"0.01\"", "0", "0.0", "\"0m\""] {
        let spec = TaskSpec::from_toml(&format!("{MINIMAL}[resources]\ncpus = {least}\n")).unwrap();
        assert!(spec.validate().is_ok(), "{least}");
    }
    for less in ["\"1m\"", "\"9m\"", "0.001", "0.005", "0.009", "\"0.005\""] {
        let text = problems(&format!("[resources]\ncpus = {less}\n"));
        assert!(text.contains("resources.cpus") && text.contains("0.01"), "{less}: {text}");
    }
    // Less than a thousandth is not nothing: nothing would be no limit at all.
    for nothing in ["0.0004", "0.00000001", "1e-12", "\"0.0009\""] {
        let read = TaskSpec::from_toml(&format!("{MINIMAL}[resources]\ncpus = {nothing}\n"));
        assert_eq!(read.unwrap_err().code(), "task/spec-malformed", "{nothing}");
    }
    let invalid = TaskSpec::from_toml(&format!("{MINIMAL}[resources]\ncpus = 0.001\n")).unwrap();
    assert_eq!(SpecError::Invalid(invalid.validate().unwrap_err()).code(), "task/spec-invalid");
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

#[test]
fn an_instance_is_asked_for_by_its_profile_and_one_at_a_time() {
    let text = problems("[resources]\ngpus = 1\ngpu_models = [\"A100 MIG\"]\n");
    assert!(text.contains("resources.gpu_models") && text.contains("MIG 1g.10gb"), "{text}");
    let text = problems("[resources]\ngpus = 2\ngpu_models = [\"MIG 1g.10gb\"]\n");
    assert!(text.contains("resources.gpus") && text.contains("one instance"), "{text}");
    for good in ["gpus = 1\ngpu_models = [\"MIG 1g.10gb\"]", "gpus = 8\ngpu_models = [\"A100 80GB\"]"] {
        TaskSpec::from_toml(&format!("{MINIMAL}[resources]\n{good}\n")).unwrap().validate().unwrap();
    }
}

#[test]
fn versions_are_asked_for_as_numbers_and_at_least_is_for_versions_only() {
    let constraint = |key: &str, operator: &str, values: &str| {
        format!("[[constraints]]\nkey = \"{key}\"\noperator = \"{operator}\"\nvalues = [{values}]\n")
    };
    for (key, operator, values) in [
        ("cuda", "at-least", "\"12.8\""),
        ("driver", "at-least", "\"550.54.15\""),
        ("cuda", "in", "\"12.8\", \"13.0\""),
        ("driver", "exists", ""),
    ] {
        let text = format!("{MINIMAL}{}", constraint(key, operator, values));
        TaskSpec::from_toml(&text).unwrap().validate().unwrap();
    }
    for (key, operator, values, field) in [
        ("zone", "at-least", "\"12.8\"", "constraints[0].operator"),
        ("cuda", "at-least", "\"latest\"", "constraints[0].values"),
        ("cuda", "at-least", "", "constraints[0].values"),
        ("cuda", "at-least", "\"12.8\", \"13.0\"", "constraints[0].values"),
        ("driver", "in", "\"550.x\"", "constraints[0].values"),
    ] {
        let text = problems(&constraint(key, operator, values));
        assert!(text.contains(field), "{key} {operator} {values}: {text}");
    }
}

#[test]
fn a_task_that_names_no_cpus_and_no_memory_has_limits_all_the_same() {
    let resources = |extra: &str| {
        let spec = TaskSpec::from_toml(&format!("{MINIMAL}{extra}")).unwrap().validate().unwrap();
        (spec.resources.cpus.0, spec.resources.memory)
    };
    assert_eq!(resources(""), (1_000, Bytes::mebi(512)));
    assert_eq!(resources("[resources]\ncpus = 0\nmemory = 0\n"), (1_000, Bytes::mebi(512)));
    assert_eq!(resources("[resources]\ngpus = 2\n"), (2_000, Bytes::gibi(6)));
    assert_eq!(resources("[resources]\ngpus = 2\ncpus = 0.5\n"), (500, Bytes::gibi(6)));
    assert_eq!(resources("[resources]\nmemory = \"64MiB\"\n"), (1_000, Bytes::mebi(64)));
}

#[test]
fn less_cpu_time_than_an_engine_can_give_is_refused() {
    for few in ["0.001", "0.009", "\"1m\"", "\"9m\"", "\"0.005\""] {
        let text = problems(&format!("[resources]\ncpus = {few}\n"));
        assert_eq!(text, "resources.cpus: at least 0.01, or leave it out", "{few}");
    }
    let least = format!("{MINIMAL}[resources]\ncpus = \"10m\"\n");
    assert!(TaskSpec::from_toml(&least).unwrap().validate().is_ok());
}

#[test]
fn limits_that_are_filled_in_are_part_of_what_is_signed_and_sent() {
    let bare = TaskSpec::from_toml(MINIMAL).unwrap();
    let sent = crate::envelope::encode(&bare);
    let received: ValidTaskSpec = crate::envelope::decode(&sent).unwrap();
    assert_eq!(received.resources.memory, Bytes::mebi(512));
    let named = format!("{MINIMAL}[resources]\ncpus = 1\nmemory = \"512MiB\"\n");
    let named = TaskSpec::from_toml(&named).unwrap().validate().unwrap();
    assert_eq!(received.digest(), named.digest());
    assert_eq!(crate::envelope::decode::<ValidTaskSpec>(&crate::envelope::encode(&named)).unwrap(), named);
}

#[test]
fn shared_memory_is_half_of_the_memory_or_what_is_asked_for_within_it() {
    let shm = |extra: &str| {
        let text = format!("{MINIMAL}[resources]\nmemory = \"2GiB\"\n{extra}");
        TaskSpec::from_toml(&text).unwrap().validate().map(|spec| spec.resources.shared_memory())
    };
    assert_eq!(shm("").unwrap(), Bytes::gibi(1));
    assert_eq!(shm("shm = 0\n").unwrap(), Bytes::gibi(1));
    assert_eq!(shm("shm = \"64MiB\"\n").unwrap(), Bytes::mebi(64));
    assert_eq!(shm("shm = \"2GiB\"\n").unwrap(), Bytes::gibi(2));
    assert!(shm("shm = \"3GiB\"\n").unwrap_err()[0].message.contains("memory (2GiB)"));
    assert!(
        problems("[resources]\nshm = \"1GiB\"\n").contains("512MiB"),
        "also of a limit that was filled in"
    );
}

#[test]
fn probes_ask_ports_that_speak_tcp_and_run_commands_at_most_once_a_second() {
    let service = |extra: &str| {
        let text = format!(
            "name = \"s\"\nkind = \"service\"\nimage = \"i:1\"\n{extra}\
             [[ports]]\nname = \"web\"\ncontainer = 80\n[[ports]]\nname = \"dns\"\ncontainer = 53\nprotocol = \"udp\"\n"
        );
        TaskSpec::from_toml(&text)
            .unwrap()
            .validate()
            .map(|_| ())
            .map_err(|problems| problems.iter().map(|problem| problem.field.clone()).collect::<Vec<_>>())
    };
    for probe in ["readiness", "liveness"] {
        let of = |check: &str, more: &str| service(&format!("[{probe}]\ncheck = {{ {check} }}\n{more}"));
        assert_eq!(of("tcp = { port = \"web\" }", "interval = \"100ms\"\n"), Ok(()));
        assert_eq!(of("exec = { command = [\"true\"] }", ""), Ok(()));
        let refused = |field: &str| Err(vec![format!("{probe}.{field}")]);
        assert_eq!(of("tcp = { port = \"dns\" }", ""), refused("check.tcp.port"));
        assert_eq!(of("http = { port = \"no\" }", ""), refused("check.http.port"));
        let often = of("exec = { command = [\"true\"] }", "interval = \"999ms\"\n");
        assert_eq!(often, refused("interval"));
    }
    let never = "[liveness]\ncheck = { tcp = { port = \"web\" } }\nfailures = 0\n";
    assert_eq!(service(never), Err(vec!["liveness.failures".to_owned()]));
    let batch = problems("[liveness]\ncheck = { exec = { command = [\"true\"] } }\n");
    assert!(batch.starts_with("liveness: is for services"), "{batch}");
}
