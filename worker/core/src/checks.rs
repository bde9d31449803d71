//! Where the checks of a running container stand: of readiness all the time, of liveness from when it was ready first.
//! One is out at a time.
//!
//! What was ready stays so until three tries in a row have failed; what is not ready for its deadline fails. A check that
//! could not be asked says nothing.

use lode_protocol::task::{LivenessProbe, ProbeAction, ReadinessProbe, TaskSpec};
use lode_protocol::units::{Millis, format_duration};

use crate::time::after;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Readiness,
    Liveness,
}

/// When one of the two is asked next, and how often in a row it has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Round {
    due: Option<Millis>,
    failures: u32,
}

/// Both of a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Checks {
    readiness: Round,
    liveness: Round,
    asking: Option<Kind>,
    /// `None`: it is ready.
    unready_since: Option<Millis>,
}

/// What follows from an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Nothing,
    Ready,
    /// It was ready and is no longer: why.
    Unready(String),
    /// It was not ready in time: why.
    NeverReady(String),
    /// It is to be started again: why.
    Dead(String),
}

impl Checks {
    /// Of a container that runs from now on, or is found running.
    pub(super) fn begin(spec: &TaskSpec, now: Millis, ready: bool) -> Self {
        let mut checks = Self {
            readiness: Round::default(),
            liveness: Round::default(),
            asking: None,
            unready_since: (!ready).then_some(now),
        };
        if let Some(ReadinessProbe { interval, .. }) = spec.readiness {
            checks.readiness.due = Some(if ready { after(now, interval) } else { now });
        }
        if ready {
            checks.begin_liveness(spec, now);
        }
        checks
    }

    fn begin_liveness(&mut self, spec: &TaskSpec, now: Millis) {
        if let (Some(LivenessProbe { interval, .. }), None) = (&spec.liveness, self.liveness.due) {
            self.liveness.due = Some(after(now, *interval));
        }
    }

    /// When the next one is due; `None` while one is out.
    pub(super) fn due(&self) -> Option<Millis> {
        if self.asking.is_some() {
            return None;
        }
        [self.readiness.due, self.liveness.due].into_iter().flatten().min()
    }

    /// The check to ask now, and for how long.
    pub(super) fn next(&mut self, spec: &TaskSpec, now: Millis) -> Option<(ProbeAction, Millis)> {
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        let is_due = |round: Round| round.due.is_some_and(|due| due <= now);
        let (readiness, liveness) = (is_due(self.readiness), is_due(self.liveness));
        let asked = match (&spec.readiness, &spec.liveness) {
            (Some(probe), _) if readiness => {
                self.asking = Some(Kind::Readiness);
                (probe.check.clone(), probe.timeout)
            }
            (_, Some(probe)) if liveness => {
                self.asking = Some(Kind::Liveness);
                (probe.check.clone(), probe.timeout)
            }
            (Some(_) | None, Some(_) | None) => return None,
        };
        Some(asked)
    }

    /// Nothing more is asked: the container is being stopped.
    pub(super) fn cease(&mut self) {
        (self.asking, self.readiness.due, self.liveness.due) = (None, None, None);
    }

    /// The check that is out could not be asked.
    pub(super) fn unanswered(&mut self, spec: &TaskSpec, now: Millis) {
        let Some(kind) = self.asking.take() else { return };
        self.ask_again(kind, spec, now);
    }

    /// The check that is out was answered.
    pub(super) fn answered(&mut self, spec: &TaskSpec, now: Millis, result: Result<(), String>) -> Verdict {
        // Of a run before this one an answer may come late: it says no more than that.
        let kind = match self.asking.take() {
            Some(kind) => kind,
            None if spec.readiness.is_some() => Kind::Readiness,
            None => return Verdict::Nothing,
        };
        self.ask_again(kind, spec, now);
        let round = match kind {
            Kind::Readiness => &mut self.readiness,
            Kind::Liveness => &mut self.liveness,
        };
        round.failures = if result.is_ok() { 0 } else { round.failures.saturating_add(1) };
        let failures = round.failures;
        match (kind, result) {
            (Kind::Readiness, Ok(())) => {
                let first = self.unready_since.take().is_some();
                self.begin_liveness(spec, now);
                if first { Verdict::Ready } else { Verdict::Nothing }
            }
            (Kind::Readiness, Err(why)) => self.not_ready(spec, now, failures, why),
            (Kind::Liveness, Ok(())) => Verdict::Nothing,
            (Kind::Liveness, Err(why)) => match &spec.liveness {
                Some(probe) if failures >= probe.failures => {
                    self.cease();
                    Verdict::Dead(format!("its liveness check failed {failures} times in a row: {why}"))
                }
                Some(_) | None => Verdict::Nothing,
            },
        }
    }

    fn not_ready(&mut self, spec: &TaskSpec, now: Millis, failures: u32, why: String) -> Verdict {
        let Some(ReadinessProbe { deadline, .. }) = spec.readiness else { return Verdict::Nothing };
        match self.unready_since {
            Some(since) if now.0.saturating_sub(since.0) >= deadline.0 => {
                self.cease();
                Verdict::NeverReady(format!(
                    "not ready within {}: {why}",
                    format_duration(deadline.to_duration())
                ))
            }
            Some(_) => Verdict::Nothing,
            None if failures >= ReadinessProbe::FAILURES => {
                self.unready_since = Some(now);
                Verdict::Unready(format!("no longer ready: {why}"))
            }
            None => Verdict::Nothing,
        }
    }

    fn ask_again(&mut self, kind: Kind, spec: &TaskSpec, now: Millis) {
        match kind {
            Kind::Readiness => {
                self.readiness.due = spec.readiness.as_ref().map(|probe| after(now, probe.interval));
            }
            Kind::Liveness => {
                self.liveness.due = spec.liveness.as_ref().map(|probe| after(now, probe.interval));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READINESS: &str =
        "[readiness]\ncheck = { exec = { command = [\"r\"] } }\ninterval = \"1s\"\ndeadline = \"10s\"\n";
    const LIVENESS: &str =
        "[liveness]\ncheck = { exec = { command = [\"l\"] } }\ninterval = \"5s\"\nfailures = 2\n";

    fn spec(probes: &[&str]) -> TaskSpec {
        let text = format!("name = \"t\"\nkind = \"service\"\nimage = \"i:1\"\n{}", probes.concat());
        TaskSpec::from_toml(&text).unwrap()
    }

    fn failed() -> Result<(), String> {
        Err("no".to_owned())
    }

    /// Lets the next check be asked when it is due, and answers it.
    fn answer(checks: &mut Checks, spec: &TaskSpec, result: Result<(), String>) -> (Millis, String, Verdict) {
        let now = checks.due().unwrap();
        let (action, _) = checks.next(spec, now).unwrap();
        assert_eq!((checks.due(), checks.next(spec, now)), (None, None), "one at a time");
        let ProbeAction::Exec { command } = action else { panic!("{action:?}") };
        (now, command.concat(), checks.answered(spec, now, result))
    }

    #[test]
    fn what_was_ready_is_asked_on_and_is_no_longer_after_three_failures_in_a_row() {
        let spec = spec(&[READINESS]);
        let mut checks = Checks::begin(&spec, Millis(0), false);
        assert_eq!(answer(&mut checks, &spec, Ok(())), (Millis(0), "r".to_owned(), Verdict::Ready));
        let mut verdicts = Vec::new();
        for result in [failed(), failed(), Ok(()), failed(), failed(), failed(), failed(), Ok(())] {
            verdicts.push(answer(&mut checks, &spec, result).2);
        }
        let lost = Verdict::Unready("no longer ready: no".to_owned());
        let nothing = || Verdict::Nothing;
        assert_eq!(
            verdicts,
            [nothing(), nothing(), nothing(), nothing(), nothing(), lost, nothing(), Verdict::Ready]
        );
    }

    #[test]
    fn the_deadline_counts_from_the_start_and_from_when_readiness_was_lost() {
        let spec = spec(&[READINESS]);
        let mut checks = Checks::begin(&spec, Millis(0), false);
        let mut last = answer(&mut checks, &spec, failed());
        while last.2 == Verdict::Nothing {
            last = answer(&mut checks, &spec, failed());
        }
        assert_eq!(
            (last.0, last.2),
            (Millis(10_000), Verdict::NeverReady("not ready within 10s: no".to_owned()))
        );
        assert_eq!(checks.due(), None, "nothing more is asked");

        let mut checks = Checks::begin(&spec, Millis(0), true);
        let mut last = answer(&mut checks, &spec, failed());
        while !matches!(last.2, Verdict::NeverReady(_)) {
            last = answer(&mut checks, &spec, failed());
        }
        assert_eq!(last.0, Millis(13_000), "lost with the third failure, after 3 s");
    }

    #[test]
    fn liveness_is_asked_from_the_first_success_on_and_ends_what_fails_as_often_as_it_says() {
        let spec = spec(&[READINESS, LIVENESS]);
        let mut checks = Checks::begin(&spec, Millis(0), false);
        for _ in 0..7 {
            assert_eq!(answer(&mut checks, &spec, failed()).1, "r", "it is not ready yet");
        }
        answer(&mut checks, &spec, Ok(()));
        let mut dead = None;
        let mut asked = 0;
        while dead.is_none() {
            let (now, command, verdict) = {
                let now = checks.due().unwrap();
                let (action, _) = checks.next(&spec, now).unwrap();
                let ProbeAction::Exec { command } = action else { panic!("{action:?}") };
                let result = if command.concat() == "l" { failed() } else { Ok(()) };
                (now, command.concat(), checks.answered(&spec, now, result))
            };
            asked += u32::from(command == "l");
            dead = matches!(verdict, Verdict::Dead(_)).then_some(now);
        }
        assert_eq!((asked, dead), (2, Some(Millis(17_000))), "ready after 7 s, asked after 12 and 17 s");
        assert_eq!(checks.due(), None);
    }

    #[test]
    fn a_service_without_readiness_is_asked_whether_it_lives_from_its_start() {
        let spec = spec(&[LIVENESS]);
        let mut checks = Checks::begin(&spec, Millis(0), true);
        assert_eq!(checks.due(), Some(Millis(5_000)));
        assert_eq!(answer(&mut checks, &spec, Ok(())).1, "l");
        assert_eq!(checks.due(), Some(Millis(10_000)));
    }

    #[test]
    fn what_could_not_be_asked_counts_as_nothing() {
        let spec = spec(&[READINESS]);
        let mut checks = Checks::begin(&spec, Millis(0), true);
        for _ in 0..10 {
            let now = checks.due().unwrap();
            checks.next(&spec, now).unwrap();
            checks.unanswered(&spec, now);
        }
        assert_eq!(answer(&mut checks, &spec, failed()).2, Verdict::Nothing);
    }
}
