//! What tasks write is what readers get: byte for byte, once, in order, and where something is missing it is said.

use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lode_e2e::output::Event;
use lode_e2e::pool::Pool;
use lode_e2e::shell_image::ShellImage;
use lode_e2e::tasks::on_node;
use lode_e2e::waiting::{step, until};
use lode_protocol::units::Timestamp;
use lode_testkit::proxy::{Fault, FaultProxy};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Child;

use super::flood::{self, flood};

const SOON: Duration = Duration::from_secs(60);
/// Numbers that the task of [`many_lines`] writes: far more than sockets and buffers hold.
const MANY: u64 = 400_000;
/// Longer than a node waits for somebody to take what it sends.
const PAUSE: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn output_arrives_byte_for_byte_and_what_is_missing_is_said() -> anyhow::Result<()> {
    let cases = cases();
    let names: Vec<_> =
        cases.iter().map(|case| (format!("{}.out", case.name), format!("{}.err", case.name))).collect();
    let files: Vec<(&str, &[u8])> = cases
        .iter()
        .zip(&names)
        .flat_map(|(case, (out, err))| [(out.as_str(), &case.stdout[..]), (err.as_str(), &case.stderr[..])])
        .collect();
    let pool = Pool::start().await?;
    let image = ShellImage::build(pool.engine(), &files).await?;
    let many = many_lines(&pool, &image).await?;
    let paused = Paused::begin(&pool, &many).await?;
    every_byte_arrives(&pool, &image, &cases).await?;
    a_terminal_keeps_its_colours_and_is_not_steered(&pool, &image).await?;
    pages_in_both_directions_are_the_whole(&pool, &many).await?;
    the_last_lines_and_those_of_a_time(&pool, &image).await?;
    a_reader_that_is_cut_off_goes_on_where_it_was(&pool, &many).await?;
    paused.goes_on().await?;
    a_follower_outlives_its_connection_the_worker_and_the_orchestrator(&pool, &image).await?;
    what_is_not_kept_is_counted(&pool, &image).await?;
    flood(&pool, &image, flood::Size { megabytes: 24, readers: 8 }).await?;
    pool.finish().await
}

/// What a task writes.
struct Case {
    name: &'static str,
    /// Instead of the two files at once.
    script: Option<&'static str>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let case = |name, stdout: Vec<u8>, stderr: Vec<u8>| Case { name, script: None, stdout, stderr };
    let scripted = |name, script, stdout: Vec<u8>, stderr: Vec<u8>| Case {
        script: Some(script),
        ..case(name, stdout, stderr)
    };
    let numbers = |letter: &str| -> Vec<u8> {
        (1..=20_000).map(|number| format!("{letter}{number}\n")).collect::<String>().into_bytes()
    };
    vec![
        case("long", long_lines(b'o'), long_lines(b'e')),
        case("characters", characters(), characters()),
        case("bytes", every_byte(1), every_byte(7)),
        case(
            "bars",
            b"\r 1%\r 50%\r100%\n\x1b[1;32mdone\x1b[0m\r\n".to_vec(),
            b"\x1b[31mred\x1b[m\n\x1b]0;title\x07\x1b[2J\x1b[6n".to_vec(),
        ),
        case("open", b"first\n\nlast without an end".to_vec(), b"as here".to_vec()),
        case("silent", Vec::new(), Vec::new()),
        scripted("short", "echo gone", b"gone\n".to_vec(), Vec::new()),
        scripted("burst", "yes same | head -n 100000", b"same\n".repeat(100_000), Vec::new()),
        scripted(
            "both",
            "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo o$i; echo e$i >&2; done",
            numbers("o"),
            numbers("e"),
        ),
        // The engine gives 16 KiB at once, and the rest when it comes: longer after it than a part of a line is kept back.
        scripted(
            "pause",
            "head -c 20000 /data/pause.out; usleep 2500000; tail -c +20001 /data/pause.out",
            format!("{}\n", "\u{20ac}".repeat(15_000)).into_bytes(),
            Vec::new(),
        ),
    ]
}

/// Lines around every size at which something is cut.
fn long_lines(letter: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let sizes =
        [50_000, 1, 2 << 20, 0, (256 << 10) - 1, 256 << 10, (256 << 10) + 1, 16 << 10, (16 << 10) + 1, 3];
    for size in sizes {
        bytes.extend(std::iter::repeat_n(letter, size));
        bytes.push(b'\n');
    }
    bytes
}

/// Characters of two, three and four bytes in lines that shift them over every border.
fn characters() -> Vec<u8> {
    let mut text = String::new();
    for character in ["\u{e9}", "\u{20ac}", "\u{1f600}"] {
        for shift in 0..4 {
            text.push_str(&"a".repeat(shift));
            text.push_str(&character.repeat(300_000 / character.len()));
            text.push('\n');
        }
    }
    text.into_bytes()
}

/// All bytes, in an order without a pattern that text would have.
fn every_byte(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..300_000).map(|_| next()).collect()
}

/// A task that ends after so many numbered lines.
async fn many_lines(pool: &Pool, image: &ShellImage) -> anyhow::Result<String> {
    let script =
        format!("busybox awk -v n={MANY} 'BEGIN{{w=\"{}\";for(i=0;i<n;i++)print i,w}}'", "x".repeat(80));
    pool.submit(&on_node(image.task("many", &script), pool.node("worker-1")?)).await
}

fn many_expected() -> String {
    let wide = "x".repeat(80);
    (0..MANY).map(|number| format!("{number} {wide}\n")).collect()
}

async fn ends(child: Child) -> anyhow::Result<Output> {
    tokio::time::timeout(SOON * 2, child.wait_with_output())
        .await
        .context("`lode` does not end")?
        .map_err(Into::into)
}

/// That this was written and nothing else.
fn is_exactly(what: &str, got: &[u8], expected: &[u8]) -> anyhow::Result<()> {
    let at = got
        .iter()
        .zip(expected)
        .position(|(one, other)| one != other)
        .unwrap_or(got.len().min(expected.len()));
    let around = |bytes: &[u8]| {
        let part = bytes.get(at.saturating_sub(20)..(at + 40).min(bytes.len())).unwrap_or_default();
        String::from_utf8_lossy(part).into_owned()
    };
    ensure!(
        got == expected,
        "{what}: {} bytes where {} were written; different from byte {at} on: {:?} where {:?} was written",
        got.len(),
        expected.len(),
        around(got),
        around(expected)
    );
    Ok(())
}

fn succeeded(what: &str, output: &Output) -> anyhow::Result<()> {
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {}: {}", output.status, errors.get(..2_000).unwrap_or(&errors));
    Ok(())
}

async fn every_byte_arrives(pool: &Pool, image: &ShellImage, cases: &[Case]) -> anyhow::Result<()> {
    step("every byte arrives, to who follows from the beginning and to who asks afterwards");
    let mut following = Vec::new();
    for case in cases {
        let script = match case.script {
            Some(script) => script.to_owned(),
            None => format!("cat /data/{0}.out & cat /data/{0}.err >&2; wait", case.name),
        };
        let task = pool.submit(&image.task(case.name, &script)).await?;
        let follower = pool.start_lode(&["task", "logs", "-f", &task], None)?;
        following.push((case, task, tokio::spawn(ends(follower))));
    }
    for (case, task, follower) in following {
        let followed = follower.await??;
        succeeded(&format!("{}, followed", case.name), &followed)?;
        pool.until_task(&task, "succeeded", SOON).await?;
        let read = pool.lode(&["task", "logs", &task]).await?;
        succeeded(&format!("{}, read", case.name), &read)?;
        for (how, output) in [("followed", &followed), ("read", &read)] {
            is_exactly(&format!("{}, {how}, standard output", case.name), &output.stdout, &case.stdout)?;
            is_exactly(&format!("{}, {how}, standard error", case.name), &output.stderr, &case.stderr)?;
        }
        let events = pool.lode(&["task", "logs", "-o", "json", &task]).await?;
        succeeded(&format!("{}, as JSON", case.name), &events)?;
        records_are_in_order(case, &events.stdout)?;
        pool.remove(&task).await?;
    }
    Ok(())
}

/// Ordinals without a gap, and records that are no longer than they may be and do not part characters.
fn records_are_in_order(case: &Case, json: &[u8]) -> anyhow::Result<()> {
    let is_text = std::str::from_utf8(&case.stdout).is_ok();
    for (number, line) in std::str::from_utf8(json)?.lines().enumerate() {
        let record: Value = serde_json::from_str(line)?;
        let ordinal = ordinal(record["position"].as_str().context("no position")?)?;
        ensure!(ordinal == number as u64 + 1, "{}: record {number} is at {ordinal}", case.name);
        ensure!(!is_text || record["text"].is_string(), "{}: a character was parted: {line:.200}", case.name);
        let size = record["text"].as_str().map_or(0, str::len);
        ensure!(size <= 256 << 10, "{}: a record of {size} bytes", case.name);
    }
    Ok(())
}

fn ordinal(position: &str) -> anyhow::Result<u64> {
    let (_, records) = position.split_once('.').with_context(|| format!("no position: {position}"))?;
    Ok(records.parse()?)
}

async fn a_terminal_keeps_its_colours_and_is_not_steered(
    pool: &Pool,
    image: &ShellImage,
) -> anyhow::Result<()> {
    step("a terminal keeps its colours and is not steered");
    let script = r#"printf '\033[32mgreen\033[0m\n 10%%\r100%%\n'
printf '\033[2J\033[10;1Hscreen\n\033]0;t\007title\n\033]52;c;aGk=\007clipboard\n' >&2
printf '\033[6nquery\n\033cterminal\nbell\007\n\302\2332Jc1\n\033P+q\033\\dcs\n\033[?1049hother\n\342\200\256bidi\n'
printf '\033[31mleft on'"#;
    let task = pool.submit(&image.task("hostile", script)).await?;
    pool.until_task(&task, "succeeded", SOON).await?;
    let lode = lode_e2e::programs::path("lode")?;
    // Raw, so that the terminal itself adds nothing.
    let command = format!("stty raw && exec {} task logs {task}", lode.display());
    let output = tokio::process::Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("LODE_CONTEXTS", pool.root().join("contexts.toml"))
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(SOON, output).await.context("`lode` does not end")?;
    let output = output.context("a terminal is needed: install script (bsdutils)")?;
    succeeded("on a terminal", &output)?;
    let text = String::from_utf8(output.stdout)?;
    for shown in [
        "\u{1b}[32mgreen\u{1b}[0m\n 10%\r100%\n",
        "\\u{1b}[2J\\u{1b}[10;1Hscreen\n",
        "title\n",
        "clipboard\n",
        "query\n",
        "terminal\n",
        "bell",
        "c1\n",
        "dcs\n",
        "other\n",
        "bidi\n",
        "\u{1b}[31mleft on\u{1b}[0m",
    ] {
        ensure!(text.contains(shown), "{shown:?} is not in {text:?}");
    }
    let colours = ["\u{1b}[32m", "\u{1b}[31m", "\u{1b}[0m"];
    let plain = colours.iter().fold(text.clone(), |text, colour| text.replace(colour, ""));
    let steers = |letter: char| letter.is_control() && !"\r\n\t".contains(letter) || letter == '\u{202e}';
    ensure!(!plain.contains(steers), "the terminal is steered: {text:?}");
    pool.remove(&task).await
}

async fn pages_in_both_directions_are_the_whole(pool: &Pool, task: &str) -> anyhow::Result<()> {
    step("pages in both directions are the whole");
    pool.until_task(task, "succeeded", SOON * 2).await?;
    let (size, mut page) = (50_000u64, String::new());
    // Backwards: each page is what is before the first event of the last one.
    let mut expected = MANY;
    let mut before = String::new();
    while expected > 0 {
        let query = format!(
            "tail={size}{}",
            if before.is_empty() { String::new() } else { format!("&before={before}") }
        );
        let (mut first, mut numbers, mut end) = (None, Vec::new(), None);
        let mut events = pool.api().events(task, &query, None).await?;
        while events
            .next(|event| {
                if event.kind == "line" {
                    first = first.take().or(event.id.map(str::to_owned));
                    numbers.push(number_of(&event)?);
                }
                if event.kind == "end" {
                    end = Some(event.data.to_owned());
                }
                Ok(())
            })
            .await?
        {}
        let complete = end.as_ref().is_some_and(|end| end.contains("complete"));
        ensure!(complete, "after {} lines before {before:?} a page ends with {end:?}", numbers.len());
        let due: Vec<u64> = (expected.saturating_sub(size)..expected).collect();
        ensure!(numbers == due, "{} lines before {before:?}, from {:?} on", numbers.len(), numbers.first());
        expected = expected.saturating_sub(size);
        before = first.context("an empty page")?;
    }
    let nothing = pool.api().events(task, &format!("tail=5&before={before}"), None).await?;
    let mut lines = 0;
    let mut nothing = nothing;
    while nothing
        .next(|event| {
            lines += u32::from(event.kind != "begin" && event.kind != "end");
            Ok(())
        })
        .await?
    {}
    ensure!(lines == 0, "{lines} events before the first one");
    // Forwards: each page is cut off by the reader, somewhere.
    let mut after: Option<String> = None;
    let mut expected = 0;
    while expected < MANY {
        let mut events = pool.api().events(task, "", after.as_deref()).await?;
        let until = expected + size;
        while expected < until
            && events
                .next(|event| {
                    if event.kind == "line" {
                        let number = number_of(&event)?;
                        ensure!(number == expected, "{number} where {expected} was due, behind {after:?}");
                        expected += 1;
                        page = event.id.context("a line without a position")?.to_owned();
                    }
                    Ok(())
                })
                .await?
        {}
        after = Some(page.clone());
    }
    ensure!(expected == MANY);
    Ok(())
}

pub(crate) fn number_of(event: &Event<'_>) -> anyhow::Result<u64> {
    let text = event.data.split_once("\"text\":\"").and_then(|(_, text)| text.split_once(' '));
    let (number, _) = text.with_context(|| format!("no numbered line: {}", event.data))?;
    Ok(number.parse()?)
}

async fn the_last_lines_and_those_of_a_time(pool: &Pool, image: &ShellImage) -> anyhow::Result<()> {
    step("the last lines, and those of a time");
    let script = "for i in $(seq 1 200); do echo o$i; echo e$i >&2; usleep 5000; done";
    let task = pool.submit(&image.task("times", script)).await?;
    pool.until_task(&task, "succeeded", SOON).await?;
    let json = async |arguments: &[&str]| -> anyhow::Result<Vec<Value>> {
        let mut all = vec!["task", "logs", "-o", "json", &task];
        all.extend(arguments);
        let text = pool.lode_text(&all).await?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    };
    let whole = json(&[]).await?;
    ensure!(whole.len() == 400, "{} lines", whole.len());
    for tail in [0usize, 1, 7, 399, 400, 1_000] {
        let last = json(&["--tail", &tail.to_string()]).await?;
        ensure!(last == whole[400usize.saturating_sub(tail)..], "the last {tail} are {} others", last.len());
        let followed = json(&["--tail", &tail.to_string(), "-f"]).await?;
        ensure!(followed == last, "who follows from the last {tail} gets {}", followed.len());
    }
    let time = |record: &Value| -> anyhow::Result<Timestamp> {
        record["at"].as_str().context("no time")?.parse().map_err(Into::into)
    };
    for middle in [0, 100, 333] {
        let since = time(&whole[middle])?;
        let mut due = Vec::new();
        for record in &whole {
            if time(record)? >= since {
                due.push(record.clone());
            }
        }
        for more in [&[][..], &["-f"]] {
            let mut arguments = vec!["--since", whole[middle]["at"].as_str().context("no time")?];
            arguments.extend(more);
            let found = json(&arguments).await?;
            ensure!(found == due, "since {since}, {more:?}: {} lines of {}", found.len(), due.len());
        }
    }
    pool.remove(&task).await
}

/// A reader that stops reading in the middle, as a pager does.
struct Paused {
    child: Child,
    begun: Vec<u8>,
    since: std::time::Instant,
}

impl Paused {
    async fn begin(pool: &Pool, task: &str) -> anyhow::Result<Self> {
        pool.until_task(task, "succeeded", SOON * 2).await?;
        let mut child = pool.start_lode(&["task", "logs", task], None)?;
        let mut begun = vec![0; 10_000];
        let read = child.stdout.as_mut().context("it has an output")?.read_exact(&mut begun);
        tokio::time::timeout(SOON, read).await.context("nothing comes")??;
        Ok(Self { child, begun, since: std::time::Instant::now() })
    }

    async fn goes_on(self) -> anyhow::Result<()> {
        step("a reader that paused for longer than anybody waits gets the rest");
        tokio::time::sleep_until((self.since + PAUSE).into()).await;
        let rest = ends(self.child).await?;
        succeeded("who paused", &rest)?;
        let all = [self.begun, rest.stdout].concat();
        is_exactly("who paused", &all, many_expected().as_bytes())
    }
}

async fn a_reader_that_is_cut_off_goes_on_where_it_was(pool: &Pool, task: &str) -> anyhow::Result<()> {
    step("a reader that is cut off in the middle goes on where it was");
    let proxy = proxy(pool).await?;
    let url = format!("http://{}", proxy.address());
    for follow in [&["task", "logs", task][..], &["task", "logs", "-f", task]] {
        let mut child = pool.start_lode(follow, Some(&url))?;
        let mut output = child.stdout.take().context("it has an output")?;
        let mut all = Vec::new();
        for _ in 0..3 {
            // What is not read waits in the pipe, and so does the rest on its way: the cut is in the middle.
            let mut part = vec![0; 1_000_000];
            tokio::time::timeout(SOON, output.read_exact(&mut part)).await.context("nothing comes")??;
            all.extend(part);
            proxy.set(Fault::Drop);
            until("the connection is cut", SOON, async || {
                ensure!(proxy.connections() == 0, "{} are open", proxy.connections());
                Ok(())
            })
            .await?;
            proxy.set(Fault::Pass);
        }
        tokio::time::timeout(SOON, output.read_to_end(&mut all)).await.context("it does not end")??;
        let rest = ends(child).await?;
        succeeded("who was cut off", &rest)?;
        is_exactly(&format!("{follow:?}, cut off"), &all, many_expected().as_bytes())?;
        ensure!(rest.stderr.is_empty(), "{:?}", String::from_utf8_lossy(&rest.stderr));
    }
    Ok(())
}

async fn proxy(pool: &Pool) -> anyhow::Result<FaultProxy> {
    let address = pool.api().url().strip_prefix("http://").context("the API is not plain HTTP")?;
    Ok(FaultProxy::start(address.parse()?).await?)
}

async fn a_follower_outlives_its_connection_the_worker_and_the_orchestrator(
    pool: &Pool,
    image: &ShellImage,
) -> anyhow::Result<()> {
    step("a follower outlives its connection, the worker and the orchestrator");
    let script = "for part in 1 2 3 4 5; do
while [ ! -e /tmp/$part ]; do usleep 20000; done
for i in $(seq 1 3000); do echo $part.$i; echo $part.$i >&2; done; echo part $part; done";
    let running = pool.run(&on_node(image.task("parts", script), pool.node("worker-1")?)).await?;
    let proxy = proxy(pool).await?;
    let url = format!("http://{}", proxy.address());
    let mut follower = pool.start_lode(&["task", "logs", "-f", &running.task], Some(&url))?;
    let mut errors = follower.stderr.take().context("it has one")?;
    let errors = tokio::spawn(async move {
        let mut all = String::new();
        errors.read_to_string(&mut all).await.map(|_| all)
    });
    let mut lines = BufReader::new(follower.stdout.take().context("it has an output")?).lines();
    let mut seen = String::new();
    for part in 1..=5 {
        // Whoever is away when something is written is back before the next is.
        match part {
            2 => proxy.set(Fault::Drop),
            3 => pool.kill_program("worker-1").await?,
            4 => pool.kill_program("orchestrator").await?,
            _ => {}
        }
        let container = &running.container.id;
        pool.engine().execute(container, &["touch", &format!("/tmp/{part}")]).await?;
        match part {
            2 => proxy.set(Fault::Pass),
            3 => pool.start_program("worker-1").await?,
            4 => pool.start_program("orchestrator").await?,
            _ => {}
        }
        let end = format!("part {part}");
        let reading = async {
            loop {
                let line = lines.next_line().await?.with_context(|| format!("it ended before {end:?}"))?;
                seen.push_str(&line);
                seen.push('\n');
                if line == end {
                    return anyhow::Ok(());
                }
            }
        };
        tokio::time::timeout(SOON, reading).await.with_context(|| format!("{end:?} does not come"))??;
    }
    ensure!(lines.next_line().await?.is_none(), "more than was written");
    let status = tokio::time::timeout(SOON, follower.wait()).await.context("it does not end")??;
    let errors = errors.await??;
    ensure!(status.success(), "{status}: {}", errors.lines().last().unwrap_or_default());
    let numbers = |end: bool| -> String {
        (1..=5)
            .map(|part| {
                let numbers: String = (1..=3_000).map(|number| format!("{part}.{number}\n")).collect();
                if end { format!("{numbers}part {part}\n") } else { numbers }
            })
            .collect()
    };
    is_exactly("who followed, standard output", seen.as_bytes(), numbers(true).as_bytes())?;
    is_exactly("who followed, standard error", errors.as_bytes(), numbers(false).as_bytes())?;
    pool.until_well(SOON).await?;
    pool.remove(&running.task).await
}

async fn what_is_not_kept_is_counted(pool: &Pool, image: &ShellImage) -> anyhow::Result<()> {
    step("of long output the newest is kept, and what is missing is said before it, with its count");
    pool.reconfigure("worker-2", |config| {
        let output = toml::Table::from_iter([("per_assignment".to_owned(), "1MiB".into())]);
        config.insert("output".to_owned(), output.into());
    })
    .await?;
    pool.until_well(SOON).await?;
    let count = 100_000u64;
    let script = format!("seq 1 {count}");
    let task = pool.submit(&on_node(image.task("much", &script), pool.node("worker-2")?)).await?;
    pool.until_task(&task, "succeeded", SOON).await?;
    let whole: String = (1..=count).map(|number| format!("{number}\n")).collect();
    for arguments in [&["task", "logs", &task][..], &["task", "logs", "-f", &task]] {
        let output = pool.lode(arguments).await?;
        succeeded("what is left", &output)?;
        let (seen, said) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        ensure!(!seen.is_empty() && whole.ends_with(&seen), "what is left is not the end: {:.40}", seen);
        let (lines, bytes) = (count - seen.lines().count() as u64, whole.len() - seen.len());
        let due = format!(
            "lode: {lines} lines, {bytes} bytes are missing here: the node keeps only the newest output\n"
        );
        ensure!(said == due, "it is said: {said:?}; due is {due:?}");
        ensure!(lines > 0, "all of it was kept");
    }
    pool.remove(&task).await
}
