//! `lode run …`: a task in one line.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};
use lode_protocol::task::{Port, PortProtocol, PullPolicy, Restart, RestartPolicy};
use lode_protocol::units::{Bytes, MilliCpus};

/// `lode run IMAGE [COMMAND…]`
#[derive(Clone, Debug, Args)]
#[command(
    group = ArgGroup::new("outcome").args(["detach", "print"]),
    after_help = "Examples:\n  lode run --gpus 1xH100 --disk 50GB pytorch/pytorch -- python -c 'import torch; print(torch.cuda.is_available())'\n  \
                  lode run --service -p http=8080 --gpus 1 registry.example/team/server:2\n  \
                  lode run --print --gpus 2 IMAGE > task.toml"
)]
pub struct RunArguments {
    /// Name for people (default: the image's, with four random digits)
    #[arg(long)]
    pub name: Option<String>,
    /// GPUs of each replica: how many, of which model, like 2, H100, or 4xH100
    #[arg(long, value_parser = parse_gpus, value_name = "N[xMODEL]")]
    pub gpus: Option<Gpus>,
    /// Least memory of each GPU, like 80GB
    #[arg(long, value_name = "SIZE")]
    pub gpu_memory: Option<Bytes>,
    /// CPUs, like 4 or 0.5
    #[arg(long, value_name = "NUMBER")]
    pub cpus: Option<MilliCpus>,
    /// Memory, like 16GB
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<Bytes>,
    /// Disk for files that the container writes, like 50GB
    #[arg(long, value_name = "SIZE")]
    pub disk: Option<Bytes>,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    pub shm: Option<Bytes>,
    /// A variable; without a value it has the one that it has here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// File with variables, NAME=VALUE a line
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// A port of the container that its node publishes, like 8080, http=8080 or 53/udp
    #[arg(short, long, value_parser = parse_port, value_name = "[NAME=]PORT[/udp]")]
    pub port: Vec<Port>,
    /// A label for people and queries
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// Keep it running until it is stopped, instead of to its end
    #[arg(long)]
    pub service: bool,
    /// How many copies
    #[arg(long, default_value_t = 1)]
    pub replicas: u32,
    /// When a container is started again: no, on-failure, on-failure:3 or always
    #[arg(long, value_parser = parse_restart, value_name = "POLICY")]
    pub restart: Option<Restart>,
    /// When the image is pulled
    #[arg(long, value_parser = pulls(), default_value = "missing", value_name = "WHEN")]
    pub pull: PullPolicy,
    /// Replaces the image's entry point
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// Do not wait: print the task's id
    #[arg(short, long)]
    pub detach: bool,
    /// Give up waiting after this time; the task goes on
    #[arg(long, value_parser = lode_protocol::units::parse_duration, value_name = "DURATION")]
    pub timeout: Option<std::time::Duration>,
    /// Print the task file that says the same, and submit nothing
    #[arg(long)]
    pub print: bool,
    /// The image, like registry.example/team/image:tag
    pub image: String,
    /// Arguments of the image's entry point; what follows the image is the task's own
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// How many GPUs, of which models.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gpus {
    /// To each replica.
    pub count: u32,
    /// Any of these; none: any model.
    pub models: Vec<String>,
}

fn pulls() -> impl TypedValueParser<Value = PullPolicy> {
    PossibleValuesParser::new(["always", "missing", "never"]).map(|word| match word.as_str() {
        "always" => PullPolicy::Always,
        "never" => PullPolicy::Never,
        _ => PullPolicy::Missing,
    })
}

fn parse_gpus(text: &str) -> Result<Gpus, String> {
    const FORM: &str = "write how many, of which model: 2, H100, 4xH100 or 1xH100,H200";
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (count, rest) = text.split_at(digits);
    let models = match (count, rest.strip_prefix(['x', 'X'])) {
        (_, _) if rest.is_empty() => None,
        ("", _) => Some(rest),
        (_, Some(models)) => Some(models),
        // A model that begins with digits is named after its count: 1x4090.
        (_, None) => return Err(FORM.to_owned()),
    };
    let models: Vec<String> = match models {
        Some(models) => models.split(',').map(|model| model.trim().to_owned()).collect(),
        None => Vec::new(),
    };
    let means_all = models.iter().any(|model| model.eq_ignore_ascii_case("all"));
    if means_all || models.iter().any(String::is_empty) || text.is_empty() {
        return Err(FORM.to_owned());
    }
    let count = if count.is_empty() { 1 } else { count.parse().map_err(|_| FORM.to_owned())? };
    Ok(Gpus { count, models })
}

fn parse_port(text: &str) -> Result<Port, String> {
    if text.contains(':') {
        return Err("a node chooses its own port: name the container's alone, like 8080".to_owned());
    }
    let (name, rest) = match text.split_once('=') {
        Some((name, rest)) => (Some(name), rest),
        None => (None, text),
    };
    let (number, protocol) = match rest.split_once('/') {
        None => (rest, PortProtocol::Tcp),
        Some((number, "tcp")) => (number, PortProtocol::Tcp),
        Some((number, "udp")) => (number, PortProtocol::Udp),
        Some((_, other)) => return Err(format!("{other} is neither tcp nor udp")),
    };
    let container: u16 =
        number.parse().map_err(|_| "write a port like 8080, http=8080 or 53/udp".to_owned())?;
    let kind = if protocol == PortProtocol::Udp { "udp" } else { "tcp" };
    let name = name.map_or_else(|| format!("{kind}-{container}"), str::to_owned);
    Ok(Port { name, container, protocol })
}

fn parse_restart(text: &str) -> Result<Restart, String> {
    let restart = |policy, max_restarts| Ok(Restart { policy, max_restarts });
    match text.split_once(':') {
        None => match text {
            "no" | "never" => restart(RestartPolicy::Never, 0),
            "on-failure" => restart(RestartPolicy::OnFailure, 0),
            "always" => restart(RestartPolicy::Always, 0),
            _ => Err("write no, on-failure, on-failure:3 or always".to_owned()),
        },
        Some(("on-failure", times)) => {
            let times = times.parse().ok().filter(|times| *times > 0);
            restart(RestartPolicy::OnFailure, times.ok_or("write a number of times, like on-failure:3")?)
        }
        Some(_) => Err("only on-failure is followed by a number of times".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_counted_and_named_as_people_do() {
        let gpus =
            |count, models: &[&str]| Gpus { count, models: models.iter().map(ToString::to_string).collect() };
        for (text, wanted) in [
            ("2", gpus(2, &[])),
            ("H100", gpus(1, &["H100"])),
            ("1xH100", gpus(1, &["H100"])),
            ("4x4090", gpus(4, &["4090"])),
            ("2xRTX 4090", gpus(2, &["RTX 4090"])),
            ("8xH100,H200", gpus(8, &["H100", "H200"])),
        ] {
            assert_eq!(parse_gpus(text), Ok(wanted), "{text}");
        }
        for text in ["", "all", "2xall", "2x", "x", "2 H100", "H100,", "99999999999", "-1x"] {
            let parsed = parse_gpus(text);
            assert!(parsed.is_err() || text == "-1x" || text == "x", "{text}: {parsed:?}");
        }
    }

    #[test]
    fn ports_have_a_name_and_a_kind() {
        let port = |name: &str, container, protocol| Ok(Port { name: name.to_owned(), container, protocol });
        assert_eq!(parse_port("8080"), port("tcp-8080", 8080, PortProtocol::Tcp));
        assert_eq!(parse_port("http=80/tcp"), port("http", 80, PortProtocol::Tcp));
        assert_eq!(parse_port("53/udp"), port("udp-53", 53, PortProtocol::Udp));
        for text in ["8080:80", "70000", "http", "80/sctp", ""] {
            assert!(parse_port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn restarts_are_written_as_at_the_engine() {
        let restart = |policy, max_restarts| Ok(Restart { policy, max_restarts });
        assert_eq!(parse_restart("no"), restart(RestartPolicy::Never, 0));
        assert_eq!(parse_restart("on-failure:3"), restart(RestartPolicy::OnFailure, 3));
        assert_eq!(parse_restart("always"), restart(RestartPolicy::Always, 0));
        for text in ["sometimes", "on-failure:0", "on-failure:x", "always:3", ""] {
            assert!(parse_restart(text).is_err(), "{text}");
        }
    }
}
