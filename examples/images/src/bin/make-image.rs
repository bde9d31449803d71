//! `make-image --program FILE --reference NAME:TAG --output ARCHIVE`: packs a static program into an image archive.

use lode_example_images::{arguments::Arguments, image::Image};
use std::{env, fs, path::Path, path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    match run() {
        Ok(output) => {
            println!("{}", output.display());
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("make-image: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<PathBuf, String> {
    let mut arguments = Arguments::of_process()?;
    let mut needed = |name: &str| {
        let value: Option<String> = arguments.optional(name, "")?;
        value.ok_or_else(|| format!("--{name} is missing"))
    };
    let (program, reference, output) = (needed("program")?, needed("reference")?, needed("output")?);
    arguments.finish()?;

    let binary = fs::read(&program).map_err(|error| format!("reading {program}: {error}"))?;
    let name =
        Path::new(&program).file_name().and_then(|name| name.to_str()).ok_or("--program names no file")?;
    let architecture = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => return Err(format!("no image architecture is known for {other}")),
    };
    let bytes = Image { reference: &reference, program: name, architecture }.pack(&binary)?;

    // Written beside and renamed: nobody ever loads half an archive.
    let output = PathBuf::from(output);
    let partial = output.with_extension("partial");
    fs::write(&partial, bytes).map_err(|error| format!("writing {}: {error}", partial.display()))?;
    fs::rename(&partial, &output).map_err(|error| format!("renaming to {}: {error}", output.display()))?;
    Ok(output)
}
