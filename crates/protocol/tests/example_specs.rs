//! The specs under `examples/` are what people start from: they must be accepted as they are.

use lode_protocol::task::TaskSpec;

#[test]
fn every_example_spec_is_valid() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut checked = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let spec =
                TaskSpec::from_toml(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            spec.validate().unwrap_or_else(|problems| panic!("{}: {problems:?}", path.display()));
            checked.push(path);
        }
    }
    assert!(checked.len() >= 2, "found only {checked:?}");
}
