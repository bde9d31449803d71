//! All that one validator asks of this node, one run after the other.

use lode_protocol::proof::Challenge;

use super::conversation::{Conversation, Ended};
use super::run;

/// Answers until the link ends.
pub(super) async fn answer(mut conversation: Conversation) {
    let validator = conversation.validator;
    loop {
        let heard = match conversation.next().await {
            Ok(heard) => heard,
            Err(Ended::Stopped) => return,
            Err(Ended::Disconnected | Ended::Silent) => continue,
        };
        match &heard.challenge {
            Challenge::Prepare { .. } => match run::prove(&mut conversation, heard).await {
                Ok(()) => {}
                Err(Ended::Disconnected) => tracing::info!(%validator, "connection lost in a proof"),
                Err(Ended::Silent) => tracing::warn!(%validator, "a proof was not brought to its end"),
                Err(Ended::Stopped) => return,
            },
            Challenge::Verdict { gpus, .. } => conversation.judged(gpus),
            Challenge::Start { run, .. } | Challenge::Open { run, .. } => {
                tracing::debug!(%validator, ?run, "a challenge of a run that is over");
            }
        }
    }
}
