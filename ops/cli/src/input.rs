//! How `ottla produce` makes a record of a line.

use serde_json::Value;

/// Where keys and timestamps come from.
#[derive(Debug, Clone, Default)]
pub struct LineReader {
    /// The key stands before this separator.
    pub key_separator: Option<String>,
    /// The line is a JSON object and the key is this field of it.
    pub json_key: Option<String>,
    /// The line is a JSON object and this field holds Unix milliseconds.
    pub json_timestamp: Option<String>,
    /// An empty value is a null, which deletes on a compacted topic.
    pub empty_is_null: bool,
}

/// A line as a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRecord {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// Unix milliseconds; None is now.
    pub timestamp_ms: Option<i64>,
}

/// A line that cannot be a record.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The separator is missing.
    #[error("no key separator {0:?} in the line")]
    NoSeparator(String),
    /// Not JSON.
    #[error("the line is not a JSON object: {0}")]
    NotJson(#[from] serde_json::Error),
    /// A field is missing or of another kind.
    #[error("the line has no field {name:?} that is {wanted}")]
    NoField {
        /// The field.
        name: String,
        /// What was expected.
        wanted: &'static str,
    },
}

impl LineReader {
    /// The record that a line (without its end) stands for.
    ///
    /// # Errors
    /// When the line lacks what the reader was told to take from it.
    pub fn read(&self, line: &str) -> Result<InputRecord, LineError> {
        let (key, value) = match &self.key_separator {
            None => (None, line),
            Some(separator) => {
                let no_separator = || LineError::NoSeparator(separator.clone());
                let (key, value) = line.split_once(separator.as_str()).ok_or_else(no_separator)?;
                (Some(key.as_bytes().to_vec()), value)
            }
        };
        let (json_key, timestamp_ms) = self.key_and_time(value)?;
        let null = self.empty_is_null && value.is_empty();
        Ok(InputRecord {
            key: key.or(json_key),
            value: (!null).then(|| value.as_bytes().to_vec()),
            timestamp_ms,
        })
    }

    fn key_and_time(&self, value: &str) -> Result<(Option<Vec<u8>>, Option<i64>), LineError> {
        if self.json_key.is_none() && self.json_timestamp.is_none() {
            return Ok((None, None));
        }
        let json: Value = serde_json::from_str(value)?;
        let no_field = |name: &str, wanted| LineError::NoField { name: name.to_owned(), wanted };
        let key = match &self.json_key {
            None => None,
            Some(name) => Some(match &json[name.as_str()] {
                Value::String(text) => text.clone().into_bytes(),
                Value::Null => return Err(no_field(name, "a value")),
                other => other.to_string().into_bytes(),
            }),
        };
        let timestamp = match &self.json_timestamp {
            None => None,
            Some(name) => {
                let wanted = "a number of milliseconds";
                Some(json[name.as_str()].as_i64().ok_or_else(|| no_field(name, wanted))?)
            }
        };
        Ok((key, timestamp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separator_splits_once() {
        let reader = LineReader { key_separator: Some(":".to_owned()), ..LineReader::default() };
        let record = reader.read("k:a:b").unwrap();
        assert_eq!((record.key.unwrap(), record.value.unwrap()), (b"k".to_vec(), b"a:b".to_vec()));
        assert!(matches!(reader.read("nothing"), Err(LineError::NoSeparator(_))));
    }

    #[test]
    fn json_gives_key_and_timestamp() {
        let reader = LineReader {
            json_key: Some("n".to_owned()),
            json_timestamp: Some("t".to_owned()),
            ..LineReader::default()
        };
        let record = reader.read(r#"{"n": "x", "t": 5}"#).unwrap();
        assert_eq!((record.key.unwrap(), record.timestamp_ms), (b"x".to_vec(), Some(5)));
        assert!(matches!(reader.read(r#"{"n": 1}"#), Err(LineError::NoField { .. })));
        assert!(matches!(reader.read("{"), Err(LineError::NotJson(_))));
    }

    #[test]
    fn empty_value_is_null_only_when_asked() {
        let reader = LineReader { empty_is_null: true, ..LineReader::default() };
        assert_eq!(reader.read("").unwrap().value, None);
        assert_eq!(LineReader::default().read("").unwrap().value, Some(Vec::new()));
    }
}
