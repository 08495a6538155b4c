//! Reads descriptors.

use super::schema::{Field, FieldKind, Kind, Message, Struct, Versions};

type Words<'a> = std::str::SplitWhitespace<'a>;

/// All messages of one file; the error names the line.
pub fn parse(text: &str) -> Result<Vec<Message>, String> {
    let lines = text.lines().enumerate();
    let mut lines = lines
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let mut messages = Vec::new();
    while let Some((number, line)) = lines.next() {
        let mut message = parse_head(line).map_err(|error| format!("line {number}: {error}"))?;
        message.fields = parse_body(&mut lines, &mut message.structs, message.versions)?;
        messages.push(message);
    }
    Ok(messages)
}

fn parse_head(line: &str) -> Result<Message, String> {
    let mut words = line.strip_suffix('{').ok_or("`{` expected")?.split_whitespace();
    let kind = words.next().ok_or("kind expected")?;
    let name = words.next().ok_or("name expected")?.to_owned();
    let (mut number, mut versions, mut flexible_from) = (None, None, None);
    while let Some(word) = words.next() {
        match word {
            "key" | "record" => number = Some(parse_number(&mut words)?),
            "versions" => versions = Some(parse_versions(words.next(), i16::MAX)?),
            "flexible" => flexible_from = Some(parse_number(&mut words)?),
            _ => return Err(format!("`{word}` not expected")),
        }
    }
    let kind = match (kind, number) {
        ("request", Some(key)) => Kind::Request { key },
        ("response", Some(key)) => Kind::Response { key },
        ("data", record) => Kind::Data { record },
        _ => return Err("request, response or data expected, the first two with a key".into()),
    };
    let versions = versions.ok_or("versions expected")?;
    Ok(Message { kind, name, versions, flexible_from, fields: Vec::new(), structs: Vec::new() })
}

/// Lines up to the closing brace.
fn parse_body<'a>(
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
    structs: &mut Vec<Struct>,
    all: Versions,
) -> Result<Vec<Field>, String> {
    let mut fields = Vec::new();
    while let Some((number, line)) = lines.next() {
        if line == "}" {
            return Ok(fields);
        }
        let (line, has_body) = match line.strip_suffix('{') {
            Some(line) => (line.trim(), true),
            None => (line, false),
        };
        let name = if let Some(name) = line.strip_prefix("struct ") {
            name.to_owned()
        } else {
            let field =
                parse_field(line, all).map_err(|error| format!("line {number}: {error}"))?;
            let name = struct_name(&field.kind).unwrap_or_default().to_owned();
            fields.push(field);
            name
        };
        if has_body {
            if name.is_empty() || structs.iter().any(|known| known.name == name) {
                return Err(format!("line {number}: a struct with a new name expected"));
            }
            // Its place is taken first, so that structs come in the order of their descriptions.
            let place = structs.len();
            structs.push(Struct { name, fields: Vec::new() });
            structs[place].fields = parse_body(lines, structs, all)?;
        }
    }
    Err("`}` expected at the end".into())
}

fn parse_field(line: &str, all: Versions) -> Result<Field, String> {
    let (name, rest) = line.split_once(": ").ok_or("`name: type` expected")?;
    let mut words = rest.split_whitespace();
    let kind = parse_kind(words.next().ok_or("type expected")?)?;
    let versions = parse_versions(words.next(), all.high)?;
    if !all.covers(versions) {
        return Err(format!("versions {versions} are not in {all}"));
    }
    let (name, default) = (name.to_owned(), None);
    let mut field =
        Field { name, kind, versions, null: None, tag: None, default, ignorable: false };
    while let Some(word) = words.next() {
        match word {
            "null" => field.null = Some(parse_versions(words.next(), all.high)?),
            "tag" => field.tag = Some(parse_number(&mut words)?),
            "default" => field.default = Some(words.next().ok_or("default expected")?.to_owned()),
            "ignorable" => field.ignorable = true,
            _ => return Err(format!("`{word}` not expected")),
        }
    }
    Ok(field)
}

fn parse_kind(word: &str) -> Result<FieldKind, String> {
    if let Some(element) = word.strip_prefix("[]") {
        return Ok(FieldKind::Array(Box::new(parse_kind(element)?)));
    }
    let (rust, size) = match word {
        "string" => return Ok(FieldKind::String),
        "bytes" => return Ok(FieldKind::Bytes),
        "records" => return Ok(FieldKind::Records),
        "bool" => ("bool", 1),
        "int8" => ("i8", 1),
        "int16" => ("i16", 2),
        "uint16" => ("u16", 2),
        "int32" => ("i32", 4),
        "uint32" => ("u32", 4),
        "int64" => ("i64", 8),
        "float64" => ("f64", 8),
        "uuid" => return Ok(FieldKind::Fixed { rust: "Uuid", method: "uuid", size: 16 }),
        _ if word.starts_with(char::is_uppercase) => return Ok(FieldKind::Struct(word.into())),
        _ => return Err(format!("no type `{word}`")),
    };
    Ok(FieldKind::Fixed { rust, method: rust, size })
}

fn parse_versions(word: Option<&str>, top: i16) -> Result<Versions, String> {
    let word = word.ok_or("versions expected")?;
    let number = |text: &str| text.parse().map_err(|_| format!("`{word}` is no range of versions"));
    let (low, high) = match (word.strip_suffix('+'), word.split_once('-')) {
        (Some(low), _) => (number(low)?, top),
        (None, Some((low, high))) => (number(low)?, number(high)?),
        (None, None) => (number(word)?, number(word)?),
    };
    if high < low {
        return Err(format!("`{word}` is an empty range of versions"));
    }
    Ok(Versions { low, high })
}

fn parse_number<T: std::str::FromStr>(words: &mut Words<'_>) -> Result<T, String> {
    words.next().and_then(|word| word.parse().ok()).ok_or_else(|| "number expected".into())
}

fn struct_name(kind: &FieldKind) -> Option<&str> {
    match kind {
        FieldKind::Struct(name) => Some(name),
        FieldKind::Array(element) => struct_name(element),
        _ => None,
    }
}
