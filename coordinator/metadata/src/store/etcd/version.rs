//! What a version of etcd can be trusted with.

/// What the answer to a progress request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Everything up to its revision was sent before it.
    Ordered,
    /// It may overtake changes: it only shows that the stream lives.
    Unordered,
    /// It may also never come, for a watch that has had no changes yet.
    Unreliable,
}

impl Progress {
    /// By the version that the server tells, such as `3.5.17`. Progress that was asked for overtook changes
    /// until 3.4.25 and 3.5.8, and was withheld from quiet watches until 3.4.31 and 3.5.13.
    pub(super) fn of(version: &str) -> Self {
        let mut parts = version.split(['.', '-', '+']).map(str::parse::<u32>);
        let mut next = || parts.next().and_then(Result::ok);
        let (Some(major), Some(minor), Some(patch)) = (next(), next(), next()) else {
            return Self::Unreliable;
        };
        match (major, minor, patch) {
            (3, ..=3, _) | (..=2, _, _) => Self::Unreliable,
            (3, 4, ..25) | (3, 5, ..8) => Self::Unordered,
            (3, 4, 25..31) | (3, 5, 8..13) => Self::Unreliable,
            _ => Self::Ordered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart() {
        for (version, progress) in [
            ("3.4.23", Progress::Unordered),
            ("3.4.25", Progress::Unreliable),
            ("3.4.31", Progress::Ordered),
            ("3.5.1", Progress::Unordered),
            ("3.5.12", Progress::Unreliable),
            ("3.5.13", Progress::Ordered),
            ("3.6.0-rc.1", Progress::Ordered),
            ("3.6.5", Progress::Ordered),
            ("4.0.0", Progress::Ordered),
            ("3.3.27", Progress::Unreliable),
            ("unknown", Progress::Unreliable),
        ] {
            assert_eq!(Progress::of(version), progress, "{version}");
        }
    }
}
