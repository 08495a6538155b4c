//! The known name nearest to one that is not known.

/// The candidate with the fewest edits from `name`, if it is near enough to be what was meant: at
/// most a third of the name's length, and no more than four edits.
///
/// Of several equally near ones the first.
pub fn nearest_name<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= limit * 4)
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_nonsense_finds_none() {
        let known = ["retention.ms", "retention.bytes", "segment.ms"];
        assert_eq!(nearest_name("retenton.ms", known), Some("retention.ms"));
        assert_eq!(nearest_name("retention.sm", known), Some("retention.ms"));
        assert_eq!(nearest_name("compression", known), None);
        assert_eq!(nearest_name("", known), None);
    }
}
