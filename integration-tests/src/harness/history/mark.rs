//! What a record says: who wrote it, and which one it is.

use std::fmt;

/// One record of one producer. As text `7.123`, or `7.123:…` with a filler that follows from the two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Who wrote it.
    pub producer: u32,
    /// Which one it is; each producer counts from 0.
    pub sequence: u64,
}

/// What was found at an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A record as it was written.
    Of(Mark),
    /// Something that nobody can have written.
    Damaged(String),
}

impl Mark {
    /// A record's value, of at least `len` bytes.
    #[must_use]
    pub fn to_value(self, len: usize) -> String {
        let mut text = self.to_string();
        if text.len() < len {
            let fill = len - text.len() - 1;
            text.push(':');
            text.extend(self.filler().take(fill));
        }
        text
    }

    fn filler(self) -> impl Iterator<Item = char> {
        let mut state = u64::from(self.producer) << 40 ^ self.sequence;
        std::iter::repeat_with(move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + u8::try_from((state >> 33) % 26).expect("below 26"))
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (numbers, filler) =
            text.split_once(':').map_or((text, None), |(numbers, filler)| (numbers, Some(filler)));
        let (producer, sequence) = numbers.split_once('.')?;
        let mark = Self { producer: producer.parse().ok()?, sequence: sequence.parse().ok()? };
        let whole =
            filler.is_none_or(|filler| mark.filler().zip(filler.chars()).all(|(a, b)| a == b));
        whole.then_some(mark)
    }
}

impl Content {
    /// Reads a record's value.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        let text = String::from_utf8_lossy(value);
        Mark::parse(&text).map_or_else(|| Self::Damaged(text.chars().take(60).collect()), Self::Of)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.producer, self.sequence)
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(mark) => mark.fmt(f),
            Self::Damaged(text) => write!(f, "damaged {text:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_says_whose_it_is_and_a_changed_one_is_damaged() {
        let mark = Mark { producer: 7, sequence: 123 };
        for len in [0, 6, 7, 8, 100] {
            let value = mark.to_value(len);
            assert!(len <= value.len());
            assert_eq!(Content::of(value.as_bytes()), Content::Of(mark));
        }
        let mut value = mark.to_value(100).into_bytes();
        value[80] ^= 1;
        assert!(matches!(Content::of(&value), Content::Damaged(_)));
        assert!(matches!(Content::of(b"hello"), Content::Damaged(_)));
    }
}
