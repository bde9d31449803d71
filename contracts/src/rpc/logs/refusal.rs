//! Which failures of `eth_getLogs` mean that less should be asked for.
//!
//! No two providers use the same code or words. What speaks of how *often* one asks, or of blocks that the RPC does not have
//! yet, is not among them: narrower questions would be more questions.

/// What a failed question says about its width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Strain {
    /// It spans too many blocks, or its answer is too long: a narrower one will do.
    TooWide,
    /// It was perhaps too much: the next one should be narrower.
    Overburdened,
}

/// Too many requests, whatever they ask.
const TOO_OFTEN: [&str; 17] = [
    "per second",
    "per minute",
    "per hour",
    "per day",
    "daily",
    "monthly",
    "rate limit",
    "rate-limit",
    "ratelimit",
    "request rate",
    "request count",
    "request limit",
    "too many request",
    "throughput",
    "compute unit",
    "credit",
    "quota",
];

/// The block is not there (any more), or not yet.
const NO_BLOCK: [&str; 10] = [
    "beyond current head",
    "beyond the current head",
    "beyond head",
    "beyond the head",
    "beyond latest",
    "unknown block",
    "header not found",
    "block not found",
    "in the future",
    "pruned",
];

/// Too much at once.
const TOO_MUCH: [&str; 26] = [
    "range",
    "too many",
    "more than",
    "too large",
    "too big",
    "too wide",
    "too long",
    "too much",
    "too broad",
    "exceed",
    "limited to",
    "limit",
    "maximum",
    "at most",
    "up to",
    "max ",
    "max:",
    "response size",
    "reduce",
    "narrow",
    "smaller",
    "fewer",
    "timeout",
    "timed out",
    "deadline",
    "out of memory",
];

/// Codes that are used for limits on `eth_getLogs`; some of them for other things as well, which are not ours.
const LIMITS: [i64; 8] = [-32_005, -32_008, -32_047, -32_062, -32_602, -32_614, -32_616, -32_701];
const METHOD_NOT_FOUND: i64 = -32_601;

/// What an error of the RPC says.
pub(crate) fn strain_of_answer(code: i64, message: &str) -> Option<Strain> {
    let message = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if code == 429 || code == METHOD_NOT_FOUND || says(&NO_BLOCK) || says(&TOO_OFTEN) {
        return None;
    }
    match LIMITS.contains(&code) || says(&TOO_MUCH) {
        true => Some(Strain::TooWide),
        false => Some(Strain::Overburdened),
    }
}

/// What an HTTP status says, where no error of the RPC came with it.
pub(crate) fn strain_of_status(status: u16, body: &str) -> Option<Strain> {
    match status {
        413 => Some(Strain::TooWide),
        400 | 414 | 416 | 422 => strain_of_answer(0, body).filter(|strain| *strain == Strain::TooWide),
        500..=599 => Some(Strain::Overburdened),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_width_and_of_results_are_known_in_everybodys_words() {
        for (code, message) in [
            (-32_005, "block range too large, maximum 500"),
            (-32_602, "block range too large, maximum 10"),
            (-32_005, "query returned more than 10000 results. Try with this block range [0x1, 0x2]."),
            (
                -32_602,
                "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range",
            ),
            (
                -32_600,
                "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range.",
            ),
            (-32_614, "eth_getLogs is limited to a 10,000 range"),
            (-32_000, "eth_getLogs and eth_newFilter are limited to a 10,000 blocks range"),
            (-32_000, "exceed maximum block range: 5000"),
            (-32_005, "limit exceeded"),
            (-32_047, "Invalid eth_getLogs request. 'fromBlock'-'toBlock' range too large. Max range: 800"),
            (-32_602, "query exceeds max results 20000, retry with the range 1-2"),
            (-32_600, "block range is too wide"),
            (-32_000, "query timeout exceeded. Consider reducing your block range."),
            (-32_008, "Response is too big"),
            (35, "ranges over 10000 blocks are not supported on freetier"),
            (-32_002, "request timed out"),
            (-32_602, ""),
        ] {
            assert_eq!(strain_of_answer(code, message), Some(Strain::TooWide), "{code} {message}");
        }
    }

    #[test]
    fn who_asks_too_often_does_not_ask_more_often_for_less() {
        for (code, message) in [
            (429, "Your app has exceeded its compute units per second capacity"),
            (-32_005, "project ID request rate exceeded"),
            (-32_005, "daily request count exceeded, request rate limited"),
            (-32_007, "50/second request limit reached - reduce calls per second"),
            (-32_000, "Too Many Requests"),
            (-32_029, "monthly quota exceeded"),
        ] {
            assert_eq!(strain_of_answer(code, message), None, "{code} {message}");
        }
        assert_eq!(strain_of_status(429, "too many requests in this range"), None);
    }

    #[test]
    fn a_block_that_the_rpc_does_not_have_is_no_matter_of_width() {
        for message in ["block range extends beyond current head block", "Unknown block", "header not found"]
        {
            assert_eq!(strain_of_answer(-32_602, message), None, "{message}");
        }
        assert_eq!(strain_of_answer(-32_601, "the method eth_getLogs does not exist"), None);
    }

    #[test]
    fn what_breaks_without_words_is_asked_for_less_the_next_time() {
        assert_eq!(strain_of_answer(-32_603, "internal error"), Some(Strain::Overburdened));
        assert_eq!(strain_of_status(504, "<html>"), Some(Strain::Overburdened));
        assert_eq!(strain_of_status(413, ""), Some(Strain::TooWide));
        assert_eq!(strain_of_status(400, "block range is too large"), Some(Strain::TooWide));
        assert_eq!(strain_of_status(400, "bad request"), None);
        assert_eq!(strain_of_status(403, "range"), None);
    }
}
