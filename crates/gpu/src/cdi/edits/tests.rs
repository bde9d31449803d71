use super::*;
use crate::cdi::{CdiDevice, CdiDeviceNode};

const SPEC: &str = r#"
cdiVersion: "0.5.0"
kind: nvidia.com/gpu
devices:
  - name: "0"
    containerEdits:
      deviceNodes: [{path: /dev/nvidia0, type: c, major: 195, minor: 0, permissions: rw}]
  - name: GPU-11111111-1111-1111-1111-111111111111
    containerEdits:
      deviceNodes: [{path: /dev/nvidia0, type: c, major: 195, minor: 0, permissions: rw}]
      env: ["WHICH=first"]
  - name: GPU-22222222-2222-2222-2222-222222222222
    containerEdits:
      deviceNodes: [{path: /dev/nvidia1, hostPath: /dev/null, permissions: rw}]
      env: ["WHICH=second"]
containerEdits:
  env: ["NVIDIA_VISIBLE_DEVICES=void"]
  deviceNodes: [{path: /dev/nvidiactl}]
  mounts: [{hostPath: /usr/bin/nvidia-smi, containerPath: /usr/bin/nvidia-smi, options: [ro, nosuid, nodev, bind]}]
"#;

fn spec() -> CdiSpec {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nvidia.yaml");
    std::fs::write(&path, SPEC).unwrap();
    CdiSpec::load(&path).unwrap()
}

fn uuid(digit: char) -> GpuUuid {
    let run = |length: usize| digit.to_string().repeat(length);
    format!("GPU-{}-{}-{}-{}-{}", run(8), run(4), run(4), run(4), run(12)).parse().unwrap()
}

fn hook() -> crate::cdi::CdiHook {
    crate::cdi::CdiHook {
        hook_name: "createContainer".to_owned(),
        path: "/usr/bin/nvidia-cdi-hook".into(),
        ..Default::default()
    }
}

#[test]
fn a_container_gets_the_common_edits_and_its_own_gpu_and_no_other() {
    let edits = spec().edits_for(&[uuid('2')], HookPolicy::Refuse).unwrap();
    let nodes: Vec<_> = edits
        .device_nodes
        .iter()
        .map(|node| (node.path.to_str().unwrap(), node.on_host().to_str().unwrap()))
        .collect();
    assert_eq!(nodes, [("/dev/nvidiactl", "/dev/nvidiactl"), ("/dev/nvidia1", "/dev/null")]);
    assert_eq!(edits.env, ["NVIDIA_VISIBLE_DEVICES=void", "WHICH=second"]);
    assert_eq!(edits.mounts.len(), 1);
    assert!(!edits.mounts[0].is_writable());
    assert_eq!(edits.device_nodes[0].cgroup_permissions(), "rwm");
    assert_eq!(edits.device_nodes[1].cgroup_permissions(), "rw");
}

#[test]
fn two_gpus_share_the_common_edits_and_a_repeated_uuid_counts_once() {
    let edits = spec().edits_for(&[uuid('2'), uuid('1'), uuid('2')], HookPolicy::Refuse).unwrap();
    assert_eq!(edits.device_nodes.len(), 3);
    assert_eq!(edits.env, ["NVIDIA_VISIBLE_DEVICES=void", "WHICH=second"]);
}

#[test]
fn no_gpus_mean_no_edits_at_all() {
    assert!(spec().edits_for(&[], HookPolicy::Refuse).unwrap().is_empty());
}

#[test]
fn an_unknown_uuid_is_named_together_with_the_known_ones() {
    let error = spec().edits_for(&[uuid('1'), uuid('3')], HookPolicy::Refuse).unwrap_err();
    assert_eq!(error.code(), "gpu/cdi-unknown-device");
    let text = error.to_string();
    assert!(text.contains(uuid('3').as_str()) && text.contains(uuid('2').as_str()), "{text}");
}

#[test]
fn hooks_are_refused_unless_they_are_to_be_ignored() {
    let mut with_hooks = spec();
    with_hooks.container_edits.hooks.push(hook());
    let error = with_hooks.edits_for(&[uuid('1')], HookPolicy::Refuse).unwrap_err();
    assert_eq!(error.code(), "gpu/cdi-needs-hooks");
    assert!(error.to_string().contains("nvidia-cdi-hook"), "{error}");
    let edits = with_hooks.edits_for(&[uuid('1')], HookPolicy::Ignore).unwrap();
    assert!(edits.hooks.is_empty());
    assert_eq!(edits.device_nodes.len(), 2);
}

#[test]
fn hooks_of_another_gpu_do_not_matter() {
    let mut with_hooks = spec();
    with_hooks.devices[2].container_edits.hooks.push(hook());
    assert!(with_hooks.edits_for(&[uuid('1')], HookPolicy::Refuse).is_ok());
}

#[test]
fn two_gpus_that_want_different_nodes_at_one_path_are_refused() {
    let mut spec = spec();
    spec.devices[2].container_edits.device_nodes[0].path = "/dev/nvidia0".into();
    let error = spec.edits_for(&[uuid('1'), uuid('2')], HookPolicy::Refuse).unwrap_err();
    assert_eq!(error.code(), "gpu/cdi-unsafe");
}

#[test]
fn a_path_that_climbs_up_is_refused() {
    let mut spec = spec();
    spec.container_edits.mounts[0].container_path = "/usr/../etc/passwd".into();
    assert_eq!(spec.edits_for(&[uuid('1')], HookPolicy::Refuse).unwrap_err().code(), "gpu/cdi-unsafe");
}

#[test]
fn a_field_that_is_not_understood_is_refused_instead_of_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nvidia.json");
    std::fs::write(
        &path,
        r#"{"cdiVersion":"0.8.0","kind":"a/b","devices":[],"containerEdits":{"netDevices":[]}}"#,
    )
    .unwrap();
    let error = CdiSpec::load(&path).unwrap_err();
    assert_eq!(error.code(), "gpu/cdi-malformed");
    assert!(error.to_string().contains("netDevices"), "{error}");
}

#[test]
fn a_missing_file_is_told_apart_from_a_malformed_one() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(CdiSpec::load(&directory.path().join("none.yaml")).unwrap_err().code(), "gpu/cdi-unreadable");
}

#[test]
fn what_is_written_reads_back_the_same_in_both_notations() {
    let spec = CdiSpec {
        cdi_version: "0.5.0".to_owned(),
        kind: "nvidia.com/gpu".to_owned(),
        devices: vec![CdiDevice {
            name: uuid('1').to_string(),
            container_edits: ContainerEdits {
                device_nodes: vec![CdiDeviceNode {
                    path: "/dev/nvidia0".into(),
                    host_path: Some("/dev/null".into()),
                    ..CdiDeviceNode::default()
                }],
                ..ContainerEdits::default()
            },
            ..CdiDevice::default()
        }],
        ..CdiSpec::default()
    };
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [("a.yaml", spec.to_yaml().unwrap()), ("a.json", spec.to_json().unwrap())] {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        assert_eq!(CdiSpec::load(&path).unwrap(), spec, "{name}");
    }
}
