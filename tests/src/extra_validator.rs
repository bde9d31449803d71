//! A second validator beside the one of a dev pool: it judges what the first one accuses.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::Context as _;

use crate::extra_program::ExtraProgram;
use crate::extra_worker::{free_port, set, text};
use crate::people::Person;
use crate::pool::Pool;

/// Its bond in whole tokens: little beside the first validator's, so that the first alone agrees on roots.
const BOND: &str = "100";

/// A validator with a key and a bond of its own.
#[derive(Debug)]
pub struct ExtraValidator {
    program: ExtraProgram,
}

impl ExtraValidator {
    /// Registers `person` as a validator and starts it. It accuses nobody.
    ///
    /// # Errors
    /// When it cannot be registered or started.
    pub async fn start(pool: &Pool, person: &Person) -> anyhow::Result<Self> {
        let endpoint = format!("/ip4/127.0.0.1/tcp/{}", free_port()?);
        person.lode(pool, &["validator", "register", "--bond", BOND, "--endpoint", &endpoint]).await?;
        let folder = pool.folder().join("second-validator");
        let mut config = pool.config("validator")?;
        config.insert("data_dir".to_owned(), text(&folder)?.into());
        config.insert("key_file".to_owned(), text(&person.file)?.into());
        set(&mut config, "network", "listen", toml::Value::Array(vec![endpoint.into()]))?;
        set(&mut config, "health", "listen", format!("127.0.0.1:{}", free_port()?).into())?;
        set(&mut config, "accusations", "accuse", false.into())?;
        let path = pool.folder().join("second-validator.toml");
        std::fs::write(&path, toml::to_string(&config)?)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let arguments = vec!["--config".to_owned(), text(&path)?];
        let log = pool.folder().join("second-validator.log");
        let mut program = ExtraProgram::new("lode-validator", arguments, &log);
        program.start().context("starting a second validator")?;
        Ok(Self { program })
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.program.stop()
    }
}
