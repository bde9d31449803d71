//! Replays the fuzz corpora on the stable toolchain, with every input also cut and bent.

use std::path::PathBuf;

use lode_testkit::fuzz::TARGETS;

#[test]
fn no_input_of_the_corpora_breaks_a_decoder() {
    for target in TARGETS {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target.name);
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut inputs = 0;
        for entry in entries {
            let input = std::fs::read(entry.unwrap().path()).unwrap();
            inputs += 1;
            (target.run)(&input);
            for cut in (0..input.len()).step_by(1 + input.len() / 64) {
                (target.run)(&input[..cut]);
                let mut bent = input.clone();
                bent[cut] ^= 0x80;
                (target.run)(&bent);
                bent[cut] = 0xff;
                (target.run)(&bent);
            }
        }
        assert!(inputs > 0, "the corpus of {} is empty", target.name);
    }
}
