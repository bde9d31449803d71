//! What a tenant is told when the engine says no: a sentence of ours. The engine's own words name paths of the host, and
//! repeat what a registry, or whatever else it was sent to, has answered: they go to this host's log.

/// Words of the engine, and what they mean. What is wrong with a task says [`super::failure`].
const KNOWN: [(&str, &str); 12] = [
    ("no space left on device", "the disk of the node's container engine is full"),
    ("disk quota exceeded", "the disk of the node's container engine is full"),
    ("port is already allocated", "a port of the node is used by another program"),
    ("address already in use", "a port of the node is used by another program"),
    ("ports are not available", "a port of the node is used by another program"),
    ("no such image", "the image is not on the node any more"),
    ("could not select device driver", "the node's container engine has no driver for GPUs"),
    ("unresolvable cdi devices", "the node's container engine does not know the task's GPUs"),
    ("nvidia-c", "the node's NVIDIA container runtime could not give the task its GPUs"),
    ("unknown device", "the node's container engine does not know the task's GPUs"),
    ("error gathering device information", "a device of the task's GPUs is not on the node"),
    ("bind source path does not exist", "a file of the node's GPU driver is not where its CDI file says"),
];

/// The sentence for what the engine said.
pub(super) fn told(said: &str) -> String {
    let text = said.to_ascii_lowercase();
    let known = KNOWN.iter().find(|(words, _)| text.contains(words)).map(|(_, sentence)| *sentence);
    known
        .unwrap_or("the node's container engine refused this; why is in the log of the node's worker")
        .to_owned()
}

/// Keeps the engine's words for the host's owner.
pub(super) fn keep(what: &str, said: &str) {
    const MOST: usize = 2_048;
    let cut: String = said.chars().take(MOST).collect();
    tracing::warn!(engine = %cut.escape_debug(), "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_reads_a_sentence_of_ours_and_nothing_of_what_the_engine_was_told() {
        let secret = "error parsing HTTP 403 response body: {\"db_password\":\"CANARY\"}";
        let path = "OCI runtime create failed: exec: \"/x\": stat /var/lib/docker/overlay2/x: no such file or directory";
        for said in
            [secret, path, "CANARY exec format error", "Bind for 0.0.0.0:80: port is already allocated"]
        {
            let told = told(said);
            assert!(!told.contains("CANARY") && !told.contains('/') && !told.contains("0.0.0.0"), "{told}");
        }
    }
}
