//! What a dev pool says: where everything is, or what failed.

use std::path::Path;

use crate::pool::DevPool;
use crate::progress;
use crate::waiting::Blamed;

/// Lines of a log that are shown after a failure.
const TAIL: usize = 30;

impl DevPool {
    pub(super) fn say_what_is_where(&self, seconds: f64) {
        let programs = &self.programs;
        let layout = &programs.layout;
        let say = |text: &str| self.progress.say(text);
        let command = client(&programs.binaries);
        let name = self.added.as_ref().map_or("-", |(_, added)| added.name.as_str());
        say("");
        self.progress.head(&format!("The pool is up, {seconds:.1} s after the start."));
        say(&format!("  API          {}  (token in {})", programs.api_url(), layout.token().display()));
        say(&format!(
            "  chain        {}  (contracts in {})",
            programs.rpc_url(),
            layout.deployment().display()
        ));
        say(&format!("  directory    {}", programs.discovery_url()));
        say(&format!("  workers dial {}", programs.endpoints().replace(' ', " or ")));
        say(&format!("  validator    {}", programs.validator_endpoint()));
        if let Some(url) = &self.service_url {
            say(&format!("  service      {url}"));
        }
        say(&format!("  context      {name}  (also in {})", layout.contexts().display()));
        say(&format!("  logs, keys   {}", layout.root().display()));
        say("");
        say("Try:");
        for line in [
            "node ls",
            "task ls",
            "task run examples/batch.toml --follow",
            "task logs -f hello",
            "pool show",
            "dev ps",
            "dev stop worker-1 --kill",
            "dev start worker-1",
        ] {
            say(&format!("  {command} {line}"));
        }
        say("");
        say("Ctrl-C ends it all.");
    }

    /// Says what failed, with the end of the log that says why.
    pub(super) fn explain(&mut self, error: &anyhow::Error) {
        while let Ok(ended) = self.news.try_recv() {
            self.progress.say(&format!("  {} ended by itself: {}", ended.name, ended.how));
        }
        let blamed = error
            .chain()
            .find_map(|cause| cause.downcast_ref::<Blamed>())
            .map(|blamed| blamed.program.clone());
        let failing = self.supervisor.list().into_iter().filter(|(_, status)| status.failures > 0);
        let mut names: Vec<String> = failing.map(|(name, _)| name.to_owned()).collect();
        names.extend(blamed.filter(|name| !names.contains(name)));
        for name in names {
            let Some(log) = self.supervisor.log(&name) else { continue };
            self.progress.say(&format!("  the end of {name}'s log:"));
            for line in progress::tail(&log, TAIL) {
                self.progress.say(&format!("    │ {line}"));
            }
        }
    }
}

/// How `lode`, which lies beside us, is called from here: shorter than its whole path where possible.
fn client(binaries: &Path) -> String {
    let client = binaries.join("lode");
    let here = std::env::current_dir().unwrap_or_default();
    client.strip_prefix(&here).unwrap_or(&client).display().to_string()
}
