//! What the orchestrator says, taken in.

use lode_protocol::finding::Finding;
use lode_protocol::session::{Desired, Granted, Instruction, Membership, Refusal};
use lode_protocol::time::Now;

use crate::Worker;
use crate::effect::{Action, Ticket};
use crate::event::Heard;
use crate::journal::Change;
use crate::session::RefusalOf;

/// Code of a refusal to a node that the pool has removed.
const EJECTED: &str = "node/ejected";
/// Codes of refusals to a node that the orchestrator does not know yet.
const CHAIN_UNKNOWN: &str = "node/chain-unknown";
const NOT_REGISTERED: &str = "node/not-registered";

impl Worker {
    pub(crate) fn heard(&mut self, now: Now, heard: Heard) {
        match heard {
            Heard::Granted(granted) => self.granted(now, granted),
            Heard::Instruction(instruction) => self.instructed(now, *instruction),
            Heard::Refused(refusal) => self.refused(now, &refusal),
        }
    }

    fn granted(&mut self, now: Now, granted: Granted) {
        let Some(new_term) = self.session.granted(now, &granted) else { return };
        if new_term {
            // A worker that forgets a term might obey an older one.
            self.out.changes.push(Change::term(granted.epoch));
            self.speaks_from = Ticket(self.issued.0 + 1);
        }
        self.membership.session_opened(now);
        self.membership_said(now, granted.membership);
    }

    fn instructed(&mut self, now: Now, instruction: Instruction) {
        let Some(answered) = self.session.instructed(now, &instruction) else { return };
        if let Desired::Full { generation, orders } = instruction.desired {
            // Before what was acknowledged is forgotten: a set that was made before the orchestrator heard of an end must
            // not bring back what has ended.
            let desired = (instruction.epoch, generation);
            self.assignments.on_desired(now, desired, orders, &mut self.out.commands);
        }
        if let Some(answered) = answered {
            self.described.beat_answered();
            self.answered_at = Some(now.wall);
            for code in ["orchestrator/silent", "orchestrator/refused", "orchestrator/unreachable"] {
                self.notices.clear(code);
            }
            self.assignments.on_acknowledged(&answered.reports);
            self.metered(answered.sequence, instruction.meter, instruction.terms);
            self.offered(instruction.receipts.as_deref().unwrap_or_default(), instruction.terms);
        }
        self.membership_said(now, instruction.membership);
        if let Some(invite) = instruction.invite {
            self.invited(now, invite);
        }
        if !instruction.log_requests.is_empty() {
            let requests = instruction.log_requests.into_iter().map(|sealed| sealed.0).collect();
            self.out.at_once.push(Action::PostLogs(requests));
        }
    }

    fn refused(&mut self, now: Now, refusal: &Refusal) {
        match self.session.refused(now, refusal) {
            RefusalOf::Nothing => {}
            RefusalOf::Leave => self.leave_refused(refusal),
            // A node that was away when it was removed hears of it only like this.
            RefusalOf::Conversation if refusal.code == EJECTED => {
                self.membership_said(now, Membership::Ejected { message: refusal.message.clone() });
            }
            // Nothing is wrong: a node gets a session when the chain vouches for it.
            RefusalOf::Conversation if [CHAIN_UNKNOWN, NOT_REGISTERED].contains(&refusal.code.as_str()) => {
                let (code, message) = (refusal.code.clone(), refusal.message.clone());
                self.membership_said(now, Membership::Waiting { code, message });
            }
            RefusalOf::Conversation => {
                let words = format!(
                    "the orchestrator refused this node's message ({}): {}",
                    refusal.code, refusal.message
                );
                self.notices
                    .raise(Finding::warning("orchestrator/refused", words).remedy(refusal.remedy.clone()));
            }
        }
    }
}
