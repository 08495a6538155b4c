//! Regular expressions of topics, in the syntax of RE2.

use regex::{Regex, RegexBuilder};

/// A compiled expression that names of topics match as a whole.
#[derive(Debug, Clone)]
pub struct TopicPattern(Regex);

/// An expression that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Longer than anybody writes.
    #[error("it is longer than {PATTERN_LEN_MAX} bytes")]
    Long,
    /// Not an expression, or one that would take too much memory.
    #[error("{0}")]
    Invalid(String),
}

impl TopicPattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// It is none, or is too large.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        if PATTERN_LEN_MAX < pattern.len() {
            return Err(PatternError::Long);
        }
        // Alone first, so that unbalanced parentheses do not close the one around it.
        let pattern = unquoted(pattern);
        compile(&pattern)?;
        compile(&format!("^(?:{pattern})$")).map(Self)
    }

    /// True if the whole of `topic` matches.
    pub fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }
}

fn compile(pattern: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(pattern)
        .size_limit(COMPILED_SIZE_MAX)
        .dfa_size_limit(COMPILED_SIZE_MAX)
        .nest_limit(NESTING_MAX)
        .build()
        .map_err(|error| PatternError::Invalid(reason(&error)))
}

/// The last line of the library's error says why; those before draw the place.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

/// `\Q…\E` quotes in RE2, and the library does not know it.
fn unquoted(pattern: &str) -> String {
    let mut plain = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(start) = quote_start(rest) {
        plain.push_str(&rest[..start]);
        let quoted = &rest[start + 2..];
        let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
        plain.push_str(&regex::escape(literal));
        rest = after;
    }
    plain.push_str(rest);
    plain
}

/// Where the first `\Q` is whose backslash is not itself escaped.
fn quote_start(pattern: &str) -> Option<usize> {
    let bytes = pattern.as_bytes();
    let mut at = 0;
    while at + 1 < bytes.len() {
        match (bytes[at], bytes[at + 1]) {
            (b'\\', b'Q') => return Some(at),
            (b'\\', _) => at += 2,
            _ => at += 1,
        }
    }
    None
}

/// Longest expression, bytes. Topic names have at most 249.
const PATTERN_LEN_MAX: usize = 8 << 10;
/// What one compiled expression may take, bytes.
const COMPILED_SIZE_MAX: usize = 1 << 20;
/// How deep groups may be nested.
const NESTING_MAX: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        TopicPattern::new(pattern).unwrap().matches(topic)
    }

    #[test]
    fn whole_name_has_to_match() {
        assert!(matches("t.*", "topic"));
        assert!(!matches("t", "topic"));
        assert!(!matches("opi", "topic"));
        assert!(matches("a|bc", "a") && matches("a|bc", "bc") && !matches("a|bc", "abc"));
        assert!(matches("(?i)TOPIC", "topic"));
        assert!(matches(r"t[[:digit:]]{2}-\d+", "t12-345"));
        assert!(matches("", "") && !matches("", "t"));
    }

    #[test]
    fn quoted_text_means_itself() {
        assert!(matches(r"\Qa.b\E.*", "a.b1"));
        assert!(!matches(r"\Qa.b\E.*", "axb1"));
        assert!(matches(r"\Qa+", "a+"));
        assert!(!matches(r"\\Qa", r"Qa") && matches(r"\\Qa", r"\Qa"));
    }

    #[test]
    fn what_is_no_expression_or_explodes_is_refused() {
        for pattern in ["(", "a)(b", "[a", "a{2", "*", "\\", r"(?=a)", r"\1", "a**b("] {
            let is_error = TopicPattern::new(pattern).is_err();
            // `a{2` is literal text in RE2 and an error here: refused in both, or harmless.
            assert!(is_error, "{pattern}");
        }
        let error = TopicPattern::new(&"a".repeat(9000)).unwrap_err();
        assert_eq!(error, PatternError::Long);
        let error = TopicPattern::new("(((((a{100}){100}){100}){100}){100}){100}").unwrap_err();
        assert!(matches!(error, PatternError::Invalid(_)), "{error}");
        let error = TopicPattern::new(&"(".repeat(4000)).unwrap_err();
        assert!(matches!(error, PatternError::Invalid(_)), "{error}");
    }

    #[test]
    fn expression_that_backtracks_elsewhere_takes_no_time() {
        assert!(!matches("(a*)*b", &"a".repeat(249)));
        assert!(!matches("(x+x+)+y", &"x".repeat(249)));
    }
}
