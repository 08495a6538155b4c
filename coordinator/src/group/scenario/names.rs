//! Ids that the server makes, as a reader can follow them: `client-1` for `client-<uuid>`.

use std::collections::BTreeMap;

/// Which name stands for which id.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_id: BTreeMap<String, String>,
    by_name: BTreeMap<String, String>,
    count: BTreeMap<String, usize>,
}

impl Names {
    /// The id that `name` stands for; other names stand for themselves.
    pub fn id(&self, name: &str) -> String {
        self.by_name.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    /// `text` with names for all ids in it.
    pub fn replace(&mut self, text: &str) -> String {
        let mut replaced = String::new();
        let mut rest = text;
        while let Some((start, end)) = find_id(rest) {
            replaced.push_str(&rest[..start]);
            let name = self.name(&rest[start..end]);
            replaced.push_str(&name);
            rest = &rest[end..];
        }
        replaced + rest
    }

    fn name(&mut self, id: &str) -> String {
        if let Some(name) = self.by_id.get(id) {
            return name.clone();
        }
        let prefix = &id[..id.len() - UUID.len() - 1];
        let count = self.count.entry(prefix.to_owned()).or_default();
        *count += 1;
        let name = format!("{prefix}-{count}");
        self.by_id.insert(id.to_owned(), name.clone());
        self.by_name.insert(name.clone(), id.to_owned());
        name
    }
}

/// The first `<word>-<uuid>` in `text`. Keys of stored values begin with `d-` or `s-`, which is no part of it.
fn find_id(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let is_uuid = |at: &usize| {
        bytes.get(*at..*at + UUID.len()).is_some_and(|part| {
            part.iter().zip(UUID).all(|(byte, like)| match like {
                b'-' => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
        })
    };
    let uuid = (1..bytes.len()).find(|at| bytes[at - 1] == b'-' && is_uuid(at))?;
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"._".contains(byte);
    let word = bytes[..uuid - 1].iter().rev().take_while(|byte| is_word(byte)).count();
    Some((uuid - 1 - word, uuid + UUID.len()))
}

const UUID: &[u8; 36] = b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
