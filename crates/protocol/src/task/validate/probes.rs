//! The rules of probes.

use super::super::{PortProtocol, ProbeAction, TaskKind, TaskSpec};
use super::{Problems, is_text, limits};
use crate::units::Millis;

impl TaskSpec {
    pub(super) fn check_probes(&self, problems: &mut Problems) {
        if let Some(probe) = &self.readiness {
            self.check_probe("readiness", (&probe.check, probe.interval, probe.timeout), problems);
            problems.require(
                range(probe.deadline, limits::PROBE_INTERVAL, limits::PROBE_DEADLINE),
                "readiness.deadline",
                "between 100ms and 24h",
            );
        }
        if let Some(probe) = &self.liveness {
            self.check_probe("liveness", (&probe.check, probe.interval, probe.timeout), problems);
            problems.require(
                (1..=limits::PROBE_FAILURES).contains(&probe.failures),
                "liveness.failures",
                "between 1 and 100",
            );
        }
    }

    fn check_probe(
        &self,
        at: &str,
        (check, interval, timeout): (&ProbeAction, Millis, Millis),
        problems: &mut Problems,
    ) {
        problems.require(
            self.kind == TaskKind::Service,
            at,
            "is for services; a batch task is judged by its exit code",
        );
        let field = |part: &str| format!("{at}.{part}");
        match check {
            ProbeAction::Http { port, path } => {
                self.check_probed_port(port, field("check.http.port"), problems);
                let form = path.starts_with('/')
                    && path.len() <= 2_048
                    && path.bytes().all(|b| b.is_ascii_graphic());
                problems.require(form, field("check.http.path"), "start with / and use no spaces");
            }
            ProbeAction::Tcp { port } => {
                self.check_probed_port(port, field("check.tcp.port"), problems);
            }
            ProbeAction::Exec { command } => {
                let form = !command.is_empty()
                    && command.len() <= limits::WORDS
                    && command.iter().all(|w| is_text(w));
                problems.require(form, field("check.exec.command"), "1 to 256 words");
            }
        }
        let (least, words) = match check {
            ProbeAction::Exec { .. } => (limits::COMMAND_INTERVAL, "for a command between 1s and 1h"),
            ProbeAction::Http { .. } | ProbeAction::Tcp { .. } => {
                (limits::PROBE_INTERVAL, "between 100ms and 1h")
            }
        };
        problems.require(range(interval, least, Millis::seconds(3_600)), field("interval"), words);
        problems.require(
            range(timeout, limits::PROBE_INTERVAL, Millis::seconds(600)),
            field("timeout"),
            "between 100ms and 10m",
        );
    }

    fn check_probed_port(&self, name: &str, at: String, problems: &mut Problems) {
        let declared = self.ports.iter().find(|port| port.name == name);
        problems.require(
            declared.is_some_and(|port| port.protocol == PortProtocol::Tcp),
            at,
            match declared {
                None => format!("no port is named {name:?}"),
                Some(_) => format!("no port is named {name:?} and speaks TCP"),
            },
        );
    }
}

fn range(value: Millis, least: Millis, most: Millis) -> bool {
    (least..=most).contains(&value)
}
