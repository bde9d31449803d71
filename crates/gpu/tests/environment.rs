//! How whole programs meet a simulated machine: the library by its usual name, the machine by the environment.

use std::process::Command;

use lode_gpu::{NvmlConfig, NvmlHandle};
use lode_testkit::nvml::{MockGpus, mock_library_path};

/// Set for the process that plays the program.
const PROGRAM: &str = "LODE_TEST_PLAYS_PROGRAM";

#[tokio::test]
async fn a_program_finds_the_driver_by_its_usual_name_and_the_machine_by_the_environment() {
    if std::env::var_os(PROGRAM).is_some() {
        let inventory = NvmlHandle::start(NvmlConfig::default()).unwrap().inventory().await.unwrap();
        let names: Vec<_> = inventory.gpus.iter().filter_map(|gpu| gpu.name.as_deref()).collect();
        assert_eq!(names, ["NVIDIA L4", "NVIDIA L4", "NVIDIA L4"]);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(mock_library_path().unwrap(), directory.path().join("libnvidia-ml.so.1"))
        .unwrap();
    let machine = directory.path().join("machine.json");
    MockGpus::new().l4(3).write(&machine).unwrap();
    let name = "environment::a_program_finds_the_driver_by_its_usual_name_and_the_machine_by_the_environment";
    let program = |machine: &std::path::Path| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(PROGRAM, "1")
            .env("LD_LIBRARY_PATH", directory.path())
            .env("LODE_NVML_MOCK_CONFIG", machine)
            .output()
            .unwrap()
    };
    let output = program(&machine);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    // The child did test something: with another machine it fails.
    MockGpus::new().l4(2).write(&machine).unwrap();
    assert!(!program(&machine).status.success());
}
