//! The answer of an accused provider: words for people. The vote follows the evidence.

use lode_program::finding::Finding;
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::AccusationId;

use super::Inquirer;

/// Most bytes of an answer that are read.
const MAX_ANSWER: usize = 64 << 10;
/// Most letters of it that are shown.
const SHOWN: usize = 1_000;

/// Fetches an answer and puts it before the operator.
pub(super) async fn show(inquirer: &Inquirer, id: AccusationId, hash: Digest, uri: &str) {
    let text = match inquirer.fetch.get(uri, MAX_ANSWER).await {
        Ok(bytes) if keccak256(&bytes) == hash => plain(&bytes),
        Ok(_) => format!("(what lies at {uri} is not the answer that was signed)"),
        Err(error) => format!("(it cannot be fetched: {error})"),
    };
    tracing::warn!(accusation = %id, text, "the accused provider answers");
    let finding =
        Finding::info("accusation/answered", format!("the provider accused in {id} answers: {text}"));
    inquirer.findings.raise(finding.about(id.to_string()));
}

/// Text without anything that a terminal could take for a command.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(SHOWN).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_cannot_speak_to_the_terminal() {
        assert_eq!(plain(b"we are\x1b[2J innocent\n"), "we are [2J innocent ");
        assert_eq!(plain(&vec![b'x'; 5_000]).len(), SHOWN);
    }
}
