//! What a heartbeat changes.
//!
//! All checks come first and change nothing; then the beat is applied as a whole. Order of the checks: standing,
//! session, epoch, boot, sequence, completeness, pace, consent.
//!
//! What a node says of assignments, its findings and its answers to receipts count only if the pool has ever given it
//! something.

use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::finding::Finding;
use lode_protocol::hash::Digest;
use lode_protocol::ids::NodeId;
use lode_protocol::session::{Consent, Heartbeat};

use super::Core;
use super::consent::ConsentVerdict;
use super::effect::{Action, Answer};
use super::error::Rejected;
use super::event::Link;
use super::hardware::cut;
use super::node::{Node, NodeLifecycle};
use super::pace::said_by;
use super::session::ejected;
use super::settlement::ReportedRun;
use super::state::session::LastBeat;

/// Longest text of a finding kept, in bytes.
const MOST_FINDING_TEXT: usize = 512;

/// What a beat amounts to.
enum Verdict {
    New(Option<Consent>),
    /// Answered before; it is answered again and changes nothing.
    Again,
    /// A new beat of a session that another one has replaced.
    SecondProcess,
}

impl Core {
    pub(crate) fn beat(
        &mut self,
        id: NodeId,
        digest: Digest,
        beat: Heartbeat,
        descriptor: Option<&NodeDescriptor>,
        link: Link,
    ) -> Result<(), Rejected> {
        match self.judge_beat(&id, digest, &beat)? {
            Verdict::Again => {
                self.plan_reply(id, link.connection, beat.sequence, digest);
                Ok(())
            }
            Verdict::SecondProcess => {
                self.strike(&id);
                let confirmed = self.nodes.get(&id).is_some_and(|node| node.conflict.is_confirmed());
                let refusal = if confirmed { self.conflicted() } else { unknown_session() };
                let answer = Answer::Refused(refusal);
                self.act(Action::Reply { connection: link.connection, node: id, answer });
                Ok(())
            }
            Verdict::New(consent) => {
                self.plan_reply(id, link.connection, beat.sequence, digest);
                self.apply_beat(&id, digest, beat, descriptor, link, consent);
                Ok(())
            }
        }
    }

    fn judge_beat(&self, id: &NodeId, digest: Digest, beat: &Heartbeat) -> Result<Verdict, Rejected> {
        let node = self.nodes.get(id).ok_or_else(unknown_session)?;
        // While it still stops what it ran, it is served: how else would it hear that it must?
        if let NodeLifecycle::Ejected { message, .. } = &node.standing
            && (node.session.is_none() || node.active.is_empty())
        {
            return Err(ejected(message));
        }
        let session = node.session.as_ref().ok_or_else(unknown_session)?;
        if session.id != beat.session {
            return judge_foreign_session(node, beat);
        }
        if beat.epoch != self.epoch {
            return Err(Rejected::unauthenticated(
                "session/wrong-epoch",
                format!("the beat names term {}, this is term {}", beat.epoch, self.epoch),
                "open a new session",
            )
            .reopening());
        }
        if beat.boot != session.boot {
            return Err(Rejected::unauthenticated(
                "session/stale-boot",
                format!(
                    "the session belongs to start {} of the worker, the beat to {}",
                    session.boot, beat.boot
                ),
                "open a new session",
            )
            .reopening());
        }
        match node.pulse.talk.last {
            Some(last) if beat.sequence == last.sequence && digest == last.digest => {
                return Ok(Verdict::Again);
            }
            Some(last) if beat.sequence == last.sequence => {
                return Err(Rejected::unauthenticated(
                    "session/replay",
                    format!("beat {} has been answered with other contents", beat.sequence),
                    "number every beat once",
                ));
            }
            Some(last) if beat.sequence < last.sequence => {
                return Err(Rejected::unauthenticated(
                    "session/stale",
                    format!("beat {} came after beat {}", beat.sequence, last.sequence),
                    "number beats upwards; nothing needs to be done about a delayed one",
                ));
            }
            Some(_) => self.judge_pace(node, said_by(beat, false))?,
            None if !beat.complete => {
                return Err(Rejected::unauthenticated(
                    "session/incomplete",
                    "the first beat of a session must tell everything that runs",
                    "send a complete beat",
                ));
            }
            None => self.judge_pace(node, said_by(beat, true)).map_err(Rejected::reopening)?,
        }
        let consent = match &beat.consent {
            None => None,
            Some(consent) => match self.judge_consent(node, consent)? {
                ConsentVerdict::New => Some(consent.clone()),
                ConsentVerdict::Known => None,
            },
        };
        Ok(Verdict::New(consent))
    }

    fn apply_beat(
        &mut self,
        id: &NodeId,
        digest: Digest,
        beat: Heartbeat,
        descriptor: Option<&NodeDescriptor>,
        link: Link,
        consent: Option<Consent>,
    ) {
        let was_given = self.nodes.get(id).is_some_and(|node| node.was_given());
        let pays = self.config.settlement.is_some() && was_given;
        let told = pays.then(|| ReportedRun::by(beat.complete, &beat.assignments));
        let opens = self.nodes.get(id).is_some_and(|node| node.pulse.talk.last.is_none());
        self.note_said(id, said_by(&beat, opens));
        let was_alive = self.renew_lease(id);
        if let Some(descriptor) = descriptor {
            self.describe(id, descriptor);
        }
        let Some(mut node) = self.nodes.quiet(id) else { return };
        node.note_samples(&beat.gpus);
        let pulse = node.pulse();
        let last = pulse.talk.last;
        let newly_observed = last.is_none_or(|last| last.observed != beat.observed);
        pulse.talk.link = Some(link);
        pulse.talk.last = Some(LastBeat { sequence: beat.sequence, digest, observed: beat.observed });
        pulse.usage = Some(beat.usage);
        pulse.talk.unheard |= !was_given && !beat.assignments.is_empty();
        let findings = if was_given { beat.findings } else { Vec::new() };
        if !(findings.is_empty() && pulse.findings.is_empty()) {
            pulse.findings = bounded(findings);
        }
        let first = last.is_none();
        let gpus_changed = node.hardware.is_news(&beat.gpus);
        // An ordinary beat leaves no mark.
        if (first || gpus_changed)
            && let Some(node) = self.nodes.get_mut(id)
        {
            node.hardware.observe(&beat.gpus);
            if let Some(session) = &mut node.session {
                session.reported = true;
            }
        }
        if was_given {
            let observed = beat.observed.filter(|_| newly_observed);
            self.hear_reports(id, observed, beat.complete, beat.assignments);
            if let Some(told) = told {
                self.meter_beat(id, was_alive, told);
            }
            self.receipts_answered(id, beat.receipts.as_deref().unwrap_or_default());
        }
        if let Some(consent) = consent {
            self.accept_consent(id, consent);
        }
        if first || gpus_changed {
            self.end_probation(id);
            self.evaluate_admission(id);
        }
    }
}

/// The worst findings, with texts cut: a host may say much, and there are many hosts.
fn bounded(mut findings: Vec<Finding>) -> Box<[Finding]> {
    findings.truncate(Heartbeat::MAX_FINDINGS);
    for finding in &mut findings {
        for text in [&mut finding.subject, &mut finding.message, &mut finding.remedy] {
            text.truncate(cut(text, MOST_FINDING_TEXT).len());
            text.shrink_to_fit();
        }
    }
    findings.into_boxed_slice()
}

fn judge_foreign_session(node: &Node, beat: &Heartbeat) -> Result<Verdict, Rejected> {
    let Some(old) = node.superseded.filter(|old| old.id == beat.session) else {
        return Err(unknown_session());
    };
    // A beat that the old session has had is a delayed copy, not a sign of life.
    if old.last.is_some_and(|last| beat.sequence <= last) {
        return Err(unknown_session());
    }
    Ok(Verdict::SecondProcess)
}

fn unknown_session() -> Rejected {
    Rejected::unauthenticated(
        "session/unknown",
        "this orchestrator does not know the session",
        "open a new session; keep running what runs",
    )
    .reopening()
}
