//! The text format of `server.properties`, by the grammar of Java's property files.
//!
//! Two differences: the text is UTF-8 here, where Java reads Latin-1 and needs `\u` escapes for the rest
//! (those are read as well); and a lone backslash at the end of a file is nothing, where Java reads a
//! setting without a name.

/// One setting of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Line on which it begins, from 1.
    pub line: usize,
    /// The name, escapes resolved.
    pub key: String,
    /// The value, escapes resolved, white space at its end kept.
    pub value: String,
}

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PropertiesError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads a whole file: every setting in order, repetitions included, and every line that is wrong.
pub fn read_properties(text: &str) -> (Vec<Property>, Vec<PropertiesError>) {
    let mut properties = Vec::new();
    let mut errors = Vec::new();
    for (line, logical) in logical_lines(text) {
        let (key, value) = split(&logical);
        match (unescape(key), unescape(value)) {
            (Ok(key), Ok(value)) => properties.push(Property { line, key, value }),
            (Err(problem), _) | (_, Err(problem)) => errors.push(PropertiesError { line, problem }),
        }
    }
    (properties, errors)
}

/// Lines without comments, blank ones and line ends; a line that ends in an odd number of backslashes
/// goes on in the next one.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (index, natural) in natural_lines(text).enumerate() {
        let content = natural.trim_start_matches(is_blank);
        let (line, mut logical) = match begun.take() {
            Some(begun) => begun,
            None => (index + 1, String::new()),
        };
        if logical.is_empty() && (content.is_empty() || content.starts_with(['#', '!'])) {
            continue;
        }
        let backslashes = content.len() - content.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            logical.push_str(&content[..content.len() - 1]);
            begun = Some((line, logical));
        } else {
            logical.push_str(content);
            lines.push((line, logical));
        }
    }
    lines.extend(begun.filter(|(_, logical)| !logical.is_empty()));
    lines
}

/// Lines as the file has them: ended by a line feed, a carriage return, or both.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// Cuts a logical line at the first separator that is not escaped: `=`, `:` or white space, with more
/// white space around it.
fn split(logical: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = logical.char_indices().find(|(_, character)| {
        let is_separator = !escaped && (matches!(character, '=' | ':') || is_blank(*character));
        escaped = *character == '\\' && !escaped;
        is_separator
    });
    let Some((end, _)) = end else { return (logical, "") };
    let rest = logical[end..].trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&logical[..end], value.trim_start_matches(is_blank))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    let mut buffer = [0; 2];
    while let Some(character) = rest.next() {
        if character != '\\' {
            units.extend_from_slice(character.encode_utf16(&mut buffer));
            continue;
        }
        match rest.next() {
            None => {}
            Some('t') => units.push(0x09),
            Some('n') => units.push(0x0a),
            Some('f') => units.push(0x0c),
            Some('r') => units.push(0x0d),
            Some('u') => units.push(hex_unit(&mut rest)?),
            Some(other) => units.extend_from_slice(other.encode_utf16(&mut buffer)),
        }
    }
    String::from_utf16(&units).map_err(|_| "a \\u escape gives half of a character".to_owned())
}

fn hex_unit(rest: &mut std::str::Chars<'_>) -> Result<u16, String> {
    let digits: String = rest.by_ref().take(4).collect();
    let is_hex = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    match u16::from_str_radix(&digits, 16) {
        Ok(unit) if is_hex => Ok(unit),
        _ => Err(format!("\\u{digits} is not an escape: \\u and four hexadecimal digits are")),
    }
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{c}')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(usize, String, String)> {
        let (properties, errors) = read_properties(text);
        assert_eq!(errors, [], "{text:?}");
        properties.into_iter().map(|p| (p.line, p.key, p.value)).collect()
    }

    fn check(text: &str, expected: &[(usize, &str, &str)]) {
        let expected: Vec<(usize, String, String)> =
            expected.iter().map(|(l, k, v)| (*l, (*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(pairs(text), expected, "{text:?}");
    }

    #[test]
    fn a_key_ends_at_an_equals_sign_a_colon_or_white_space() {
        check(
            "a=1\nb:2\nc 3\nd\t=\t4\ne",
            &[(1, "a", "1"), (2, "b", "2"), (3, "c", "3"), (4, "d", "4"), (5, "e", "")],
        );
        check("a = = b", &[(1, "a", "= b")]);
        check("=x", &[(1, "", "x")]);
        check(r"a\=b\:c\ d=e", &[(1, "a=b:c d", "e")]);
    }

    #[test]
    fn comments_and_blank_lines_are_skipped_and_counted() {
        check(
            "# a=1\n\n  ! b=2\n\t\nc=3 # no comment\r\nd=4\re=5",
            &[(5, "c", "3 # no comment"), (6, "d", "4"), (7, "e", "5")],
        );
        check("# not continued \\\na=1", &[(2, "a", "1")]);
    }

    #[test]
    fn a_backslash_at_the_end_continues_the_line() {
        check("a=1,\\\n   2,\\\n\t3\nb=4", &[(1, "a", "1,2,3"), (4, "b", "4")]);
        check("a=1\\\\\nb=2", &[(1, "a", "1\\"), (2, "b", "2")]);
        check("a=1\\\n#2", &[(1, "a", "1#2")]);
        check("a=1\\\n\nb=2", &[(1, "a", "1"), (3, "b", "2")]);
        check("a=1\\", &[(1, "a", "1")]);
        check("\\\n# comment\nb=2", &[(3, "b", "2")]);
    }

    #[test]
    fn escapes_are_resolved_and_trailing_white_space_is_kept() {
        check("a=\\tx\\ny\\z  ", &[(1, "a", "\tx\nyz  ")]);
        check("a=\\u00e4\\ud83d\\ude00 ü", &[(1, "a", "ä😀 ü")]);
    }

    #[test]
    fn every_wrong_line_is_reported_and_the_others_are_read() {
        let (properties, errors) = read_properties("a=\\u12\nb=2\nc=\\ud83d\nd=\\uxyzw");
        assert_eq!(properties.len(), 1);
        assert_eq!(errors.iter().map(|error| error.line).collect::<Vec<_>>(), [1, 3, 4]);
        assert!(errors[0].to_string().contains("four hexadecimal digits"));
    }

    #[test]
    fn files_mean_what_they_mean_to_java() {
        let unhex = |hex: &str| -> String {
            let units: Vec<&str> =
                hex.as_bytes().chunks(4).map(|it| std::str::from_utf8(it).unwrap()).collect();
            let units: Vec<u16> =
                units.iter().map(|it| u16::from_str_radix(it, 16).unwrap()).collect();
            String::from_utf16(&units).unwrap()
        };
        for line in include_str!("testdata/java-properties.tsv").lines().skip(2) {
            let (text, meaning) = line.split_once('\t').unwrap();
            let (text, (properties, errors)) = (unhex(text), read_properties(&unhex(text)));
            if meaning == "error" {
                assert_ne!(errors, [], "{text:?}");
                continue;
            }
            assert_eq!(errors, [], "{text:?}");
            let pairs = meaning.split(';').filter_map(|pair| pair.split_once('>'));
            let expected: BTreeMap<String, String> =
                pairs.map(|(key, value)| (unhex(key), unhex(value))).collect();
            let read: BTreeMap<String, String> =
                properties.into_iter().map(|property| (property.key, property.value)).collect();
            assert_eq!(read, expected, "{text:?}");
        }
    }

    /// Writes a text so that it reads back, as Java's `store` does.
    fn escape(text: &str, is_key: bool) -> String {
        let mut out = String::new();
        for (index, character) in text.chars().enumerate() {
            match character {
                '\t' => out.push_str("\\t"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\u{c}' => out.push_str("\\f"),
                ' ' if is_key || index == 0 => out.push_str("\\ "),
                '=' | ':' | '#' | '!' | '\\' => {
                    out.push('\\');
                    out.push(character);
                }
                _ => out.push(character),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            entries in proptest::collection::vec((".{1,12}", ".{0,24}"), 0..8),
            crlf in any::<bool>(),
        ) {
            let end = if crlf { "\r\n" } else { "\n" };
            let text: String = entries
                .iter()
                .map(|(key, value)| format!("{}={}{end}", escape(key, true), escape(value, false)))
                .collect();
            let (properties, errors) = read_properties(&text);
            prop_assert_eq!(errors, vec![]);
            let read: Vec<(String, String)> =
                properties.into_iter().map(|p| (p.key, p.value)).collect();
            prop_assert_eq!(read, entries);
        }

        #[test]
        fn no_text_makes_reading_panic(text in "[ -~\\\\\\n\\r\\t=:#!uäé]{0,80}") {
            let (properties, errors) = read_properties(&text);
            let lines = text.split(['\n', '\r']).count();
            prop_assert!(properties.len() + errors.len() <= lines);
        }

        #[test]
        fn where_a_value_is_broken_over_lines_changes_nothing(
            value in "[a-z,]{2,20}",
            cut in 1_usize..20,
            indent in "[ \\t]{0,4}",
        ) {
            let cut = cut.min(value.len() - 1);
            let broken = format!("k={}\\\n{indent}{}", &value[..cut], &value[cut..]);
            prop_assert_eq!(pairs(&broken), vec![(1, "k".to_owned(), value)]);
        }
    }
}
