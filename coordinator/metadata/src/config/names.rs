//! What a topic may be called.

/// Longest name of a topic. Its partitions' folders add a dash and the number.
pub const MAX_TOPIC_NAME_LEN: usize = 249;

/// Why a name is not a topic's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    /// Nothing at all.
    #[error("a topic's name cannot be empty")]
    Empty,
    /// `.` or `..`, which name folders.
    #[error("a topic cannot be called {0:?}: that names a folder")]
    Dots(String),
    /// Too long to be a folder's name.
    #[error("a topic's name has at most {MAX_TOPIC_NAME_LEN} characters; this one has {0}")]
    TooLong(usize),
    /// A character outside the set.
    #[error(
        "the topic name {0:?} is not valid: only the letters a to z and A to Z, digits, '.', '_' and '-' are allowed"
    )]
    Character(String),
}

/// Checks a topic's name: 1 to 249 of `[a-zA-Z0-9._-]`, and neither `.` nor `..`.
///
/// # Errors
/// Says what is wrong.
pub fn validate_topic_name(name: &str) -> Result<(), TopicNameError> {
    if name.is_empty() {
        return Err(TopicNameError::Empty);
    }
    if name == "." || name == ".." {
        return Err(TopicNameError::Dots(name.to_owned()));
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !name.bytes().all(is_allowed) {
        let shown: String = name.chars().take(MAX_TOPIC_NAME_LEN).collect();
        return Err(TopicNameError::Character(shown));
    }
    if MAX_TOPIC_NAME_LEN < name.len() {
        return Err(TopicNameError::TooLong(name.len()));
    }
    Ok(())
}

/// What two colliding names share. Metric names cannot tell `.` from `_`, so topics whose names
/// differ in nothing else are refused.
pub fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}

/// Whether two different names would be the same in a metric.
pub fn names_collide(a: &str, b: &str) -> bool {
    a != b && collision_key(a) == collision_key(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_kafka_refuses_are_refused() {
        assert_eq!(validate_topic_name(""), Err(TopicNameError::Empty));
        assert_eq!(validate_topic_name(".."), Err(TopicNameError::Dots("..".to_owned())));
        assert_eq!(validate_topic_name(&"a".repeat(250)), Err(TopicNameError::TooLong(250)));
        for name in ["a b", "ä", "a/b", "a:b", "a\0"] {
            assert!(
                matches!(validate_topic_name(name), Err(TopicNameError::Character(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn names_that_kafka_takes_are_taken() {
        for name in ["a", "...", "__consumer_offsets", "A-1.b_2", &"a".repeat(249)] {
            assert_eq!(validate_topic_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert!(names_collide("a.b", "a_b"));
        assert!(names_collide("a.b_c", "a_b.c"));
        assert!(!names_collide("a.b", "a.b"));
        assert!(!names_collide("a.b", "a-b"));
    }

    proptest! {
        #[test]
        fn a_valid_name_is_a_file_name(name in "[a-zA-Z0-9._-]{1,249}") {
            prop_assume!(name != "." && name != "..");
            prop_assert_eq!(validate_topic_name(&name), Ok(()));
            prop_assert!(!name.contains('/'));
        }
    }
}
