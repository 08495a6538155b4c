//! One script, taken by Apache Kafka and by Ottla: what each answered, line by line, and the differences that are meant.

/// Something that differs on purpose, in every step that begins so.
#[derive(Debug)]
pub struct Known {
    /// How those steps begin.
    pub step: &'static str,
    /// What Apache Kafka answers.
    pub kafka: &'static str,
    /// What Ottla answers instead.
    pub ottla: &'static str,
    /// Why that is right.
    pub reason: &'static str,
}

impl Known {
    /// Whether the difference between two lines is one of `known`; its reason is printed.
    #[must_use]
    pub fn is_among(known: &[Self], expected: &str, actual: &str) -> bool {
        let found = known.iter().find(|known| {
            expected.starts_with(known.step) && expected.replace(known.kafka, known.ottla) == actual
        });
        if let Some(known) = found {
            println!("{expected}: {}", known.reason);
        }
        found.is_some()
    }
}

/// Compares two transcripts.
///
/// # Panics
/// With all lines that differ and are not known to, or when one transcript is longer.
pub fn assert_same_answers<A: AsRef<str>, B: AsRef<str>>(
    expected: &[A],
    actual: &[B],
    is_known: impl Fn(&str, &str) -> bool,
) {
    let pairs = expected.iter().map(AsRef::as_ref).zip(actual.iter().map(AsRef::as_ref));
    let differences: Vec<String> = pairs
        .filter(|(expected, actual)| expected != actual && !is_known(expected, actual))
        .map(|(expected, actual)| format!("  Kafka  {expected}\n  Ottla  {actual}"))
        .collect();
    let count = differences.len();
    assert!(differences.is_empty(), "{count} differences:\n{}", differences.join("\n"));
    assert_eq!(expected.len(), actual.len(), "both take the same number of steps");
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Known] = &[Known { step: "list", kafka: "A", ottla: "B", reason: "it is" }];

    fn compare(expected: &[&str], actual: &[&str]) {
        assert_same_answers(expected, actual, |expected, actual| {
            Known::is_among(KNOWN, expected, actual)
        });
    }

    #[test]
    fn what_is_known_may_differ_in_its_steps_alone() {
        compare(&["list A", "ask 1"], &["list B", "ask 1"]);
    }

    #[test]
    #[should_panic(expected = "1 differences")]
    fn what_is_not_known_may_not() {
        compare(&["ask A"], &["ask B"]);
    }

    #[test]
    #[should_panic(expected = "the same number of steps")]
    fn nor_may_a_transcript_end_early() {
        compare(&["ask 1", "ask 2"], &["ask 1"]);
    }
}
