//! How `ottla consume` prints a record: a format in kcat's notation, parsed once.

use std::io::{self, Write};

/// What can be printed of a record.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// Unix milliseconds; -1 where there is none.
    pub timestamp_ms: i64,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// A parsed format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    KeyLength,
    Value,
    ValueLength,
    Headers,
}

/// A format that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// `%x`.
    #[error(
        "no field %{0}; there are %t topic, %p partition, %o offset, %T timestamp, %k key, %K its length, %s value, %S its length, %h headers, %% a percent sign"
    )]
    UnknownField(char),
    /// `\x`.
    #[error(r"no escape \{0}; there are \n, \t, \r, \0 and \\")]
    UnknownEscape(char),
    /// A lone `%` or `\` at the end.
    #[error("the format ends in the middle of a field or an escape")]
    Unfinished,
}

impl Format {
    /// Parses a format such as `%p\t%o\t%k\t%s\n`.
    ///
    /// # Errors
    /// On a field or an escape that does not exist.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => literal.push(escape(characters.next())?),
                '%' => match field(characters.next())? {
                    None => literal.push(b'%'),
                    Some(part) => {
                        if !literal.is_empty() {
                            parts.push(Part::Text(std::mem::take(&mut literal)));
                        }
                        parts.push(part);
                    }
                },
                other => literal.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }

    /// Prints one record. A null key or value prints nothing; its length is -1.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(&self, record: &Printable<'_>, out: &mut impl Write) -> io::Result<()> {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.write_all(text)?,
                Part::Topic => out.write_all(record.topic.as_bytes())?,
                Part::Partition => write!(out, "{}", record.partition)?,
                Part::Offset => write!(out, "{}", record.offset)?,
                Part::Timestamp => write!(out, "{}", record.timestamp_ms)?,
                Part::Key => out.write_all(record.key.unwrap_or_default())?,
                Part::KeyLength => write_length(record.key, out)?,
                Part::Value => out.write_all(record.value.unwrap_or_default())?,
                Part::ValueLength => write_length(record.value, out)?,
                Part::Headers => write_headers(record.headers, out)?,
            }
        }
        Ok(())
    }
}

fn escape(character: Option<char>) -> Result<u8, FormatError> {
    match character.ok_or(FormatError::Unfinished)? {
        'n' => Ok(b'\n'),
        't' => Ok(b'\t'),
        'r' => Ok(b'\r'),
        '0' => Ok(0),
        '\\' => Ok(b'\\'),
        other => Err(FormatError::UnknownEscape(other)),
    }
}

/// The field that a letter names; None is a percent sign.
fn field(character: Option<char>) -> Result<Option<Part>, FormatError> {
    Ok(Some(match character.ok_or(FormatError::Unfinished)? {
        't' => Part::Topic,
        'p' => Part::Partition,
        'o' => Part::Offset,
        'T' => Part::Timestamp,
        'k' => Part::Key,
        'K' => Part::KeyLength,
        's' => Part::Value,
        'S' => Part::ValueLength,
        'h' => Part::Headers,
        '%' => return Ok(None),
        other => return Err(FormatError::UnknownField(other)),
    }))
}

fn write_length(bytes: Option<&[u8]>, out: &mut impl Write) -> io::Result<()> {
    match bytes {
        Some(bytes) => write!(out, "{}", bytes.len()),
        None => write!(out, "-1"),
    }
}

fn write_headers(headers: &[(&str, Option<&[u8]>)], out: &mut impl Write) -> io::Result<()> {
    for (index, (name, value)) in headers.iter().enumerate() {
        if index != 0 {
            out.write_all(b",")?;
        }
        write!(out, "{name}=")?;
        out.write_all(value.unwrap_or(b"NULL"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(format: &str) -> String {
        let headers = [("a", Some(&b"1"[..])), ("b", None)];
        let record = Printable {
            topic: "t",
            partition: 2,
            offset: 7,
            timestamp_ms: 9,
            key: None,
            value: Some(b"v\xc3\xa9"),
            headers: &headers,
        };
        let mut out = Vec::new();
        Format::parse(format).unwrap().write(&record, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_field_prints() {
        assert_eq!(
            print(r"%t/%p@%o %T [%k:%K] [%s:%S] {%h} 100%%\t\\\n"),
            "t/2@7 9 [:-1] [vé:3] {a=1,b=NULL} 100%\t\\\n"
        );
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(Format::parse("%x"), Err(FormatError::UnknownField('x')));
        assert_eq!(Format::parse(r"\q"), Err(FormatError::UnknownEscape('q')));
        assert_eq!(Format::parse("abc%"), Err(FormatError::Unfinished));
    }
}
