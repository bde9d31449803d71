//! How many blocks one question for events may span: halved where the RPC refuses, doubled again after many answers. A
//! doubling that is refused makes the next one wait twice as long, so that a limit that stands is rarely tried.

/// Answers of full width before a wider question is tried.
const PATIENCE: u32 = 16;
/// The longest that grows to.
const MOST_PATIENCE: u32 = 1024;

/// No question is wider, whatever is wanted.
const MOST: u64 = 1 << 32;

/// The width of questions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    most: u64,
    width: u64,
    /// Answers of full width since the width was last changed.
    answers: u32,
    patience: u32,
    /// The width was doubled, and not answered yet.
    trying: bool,
}

impl Span {
    pub(super) fn new(most: u64) -> Self {
        let most = most.clamp(1, MOST);
        Span { most, width: most, answers: 0, patience: PATIENCE, trying: false }
    }

    /// At least 1.
    pub(super) fn width(&self) -> u64 {
        self.width
    }

    /// A question about so many blocks was answered.
    pub(super) fn answered(&mut self, asked: u64) {
        // A narrower one says nothing about wider ones.
        if asked < self.width || self.width == self.most {
            return;
        }
        self.trying = false;
        self.answers = self.answers.saturating_add(1);
        if self.answers >= self.patience {
            self.width = self.width.saturating_mul(2).min(self.most);
            self.answers = 0;
            self.trying = true;
        }
    }

    /// A question about so many blocks was too much.
    pub(super) fn refused(&mut self, asked: u64) {
        if self.trying {
            self.patience = self.patience.saturating_mul(2).min(MOST_PATIENCE);
        }
        self.width = self.width.min(asked / 2).max(1);
        self.answers = 0;
        self.trying = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for `blocks` of an RPC that allows `limit`; tells how often it refused.
    fn read(span: &mut Span, limit: u64, blocks: u64) -> u32 {
        let (mut left, mut refusals) = (blocks, 0);
        while left > 0 {
            let asked = span.width().min(left);
            if asked > limit {
                span.refused(asked);
                refusals += 1;
            } else {
                span.answered(asked);
                left -= asked;
            }
        }
        refusals
    }

    /// Asks until the RPC answers; tells how often it refused.
    fn find(span: &mut Span, limit: u64) -> u32 {
        let mut refusals = 0;
        while span.width() > limit {
            span.refused(span.width());
            refusals += 1;
        }
        span.answered(span.width());
        refusals
    }

    #[test]
    fn a_limit_is_found_by_halving_and_rarely_tried_again() {
        for (limit, steps) in [(500, 2), (10, 8), (1, 10), (1_999, 1), (2_000, 0)] {
            let mut span = Span::new(2_000);
            assert_eq!(find(&mut span, limit), steps, "{limit}");
            assert!(span.width() <= limit, "{limit}");
        }
        let mut span = Span::new(2_000);
        let questions = 1_000_000 / 500;
        assert!(read(&mut span, 500, 1_000_000) < 2 + 10, "of {questions} questions");
    }

    #[test]
    fn a_limit_that_is_gone_is_outgrown_up_to_the_most_that_is_wanted() {
        let mut span = Span::new(2_000);
        find(&mut span, 10);
        assert_eq!(span.width(), 7);
        assert_eq!(read(&mut span, u64::MAX, 1_000_000), 0);
        assert_eq!(span.width(), 2_000);
    }

    #[test]
    fn narrow_questions_do_not_widen() {
        let mut span = Span::new(2_000);
        span.refused(2_000);
        for _ in 0..1_000 {
            span.answered(1);
        }
        assert_eq!(span.width(), 1_000);
    }

    #[test]
    fn nothing_is_narrower_than_one_block() {
        let mut span = Span::new(0);
        assert_eq!(span.width(), 1);
        span.refused(1);
        assert_eq!(span.width(), 1);
    }
}
