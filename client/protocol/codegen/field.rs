//! Rust for one field: its type, default, and the expressions that read and write it.

use super::names;
use super::schema::{Field, FieldKind, Message};

/// A field in its message, ready to be spelled out.
pub struct Spelled<'a> {
    message: &'a Message,
    field: &'a Field,
    pub name: String,
    /// Rust that is true in flexible versions.
    flexible: &'a str,
}

impl<'a> Spelled<'a> {
    pub fn new(message: &'a Message, field: &'a Field) -> Self {
        let flexible = match message.flexible_from {
            None => "false",
            Some(from) if from <= message.versions.low => "true",
            Some(_) => "flexible",
        };
        Self { message, field, name: names::field(&field.name), flexible }
    }

    pub fn rust_type(&self) -> String {
        let rust = type_of(&self.field.kind);
        if self.field.null.is_some() { format!("Option<{rust}>") } else { rust }
    }

    /// The default value, and whether it is that of its type.
    pub fn default(&self) -> Result<(String, bool), String> {
        let default = self.field.default.as_deref();
        let value = match (&self.field.kind, default) {
            // Records have no empty default in Kafka.
            (FieldKind::Records, _) | (_, Some("null")) if self.field.null.is_some() => {
                return Ok(("None".into(), true));
            }
            (FieldKind::Fixed { rust: "i8" | "i16" | "u16" | "i32" | "u32" | "i64", .. }, text) => {
                number(text.unwrap_or("0"))?
            }
            (FieldKind::Fixed { rust: "bool", .. }, text) => text.unwrap_or("false").into(),
            (FieldKind::Fixed { rust: "f64", .. }, None) => "0.0".into(),
            (FieldKind::Fixed { rust, .. }, None) => format!("{rust}::ZERO"),
            (FieldKind::String, None) => "Str::new()".into(),
            (FieldKind::Bytes, None) => "Bytes::new()".into(),
            (FieldKind::Records, None) => "Records::default()".into(),
            (FieldKind::Array(_), None) => "Vec::new()".into(),
            (FieldKind::Struct(name), None) => format!("{name}::default()"),
            (_, Some(text)) => return Err(format!("default `{text}` of {}", self.field.name)),
        };
        if self.field.null.is_some() {
            return Ok((format!("Some({value})"), false));
        }
        let is_plain = default.is_none() || matches!(value.as_str(), "0" | "false");
        Ok((value, is_plain))
    }

    /// An expression that reads the value.
    pub fn read(&self) -> String {
        let flexible = self.flexible;
        if self.field.null.is_none() {
            return self.read_plain(&self.field.kind);
        }
        let read = match &self.field.kind {
            FieldKind::Fixed { .. } => self.read_plain(&self.field.kind),
            FieldKind::String => format!("d.nullable_string({flexible})?"),
            FieldKind::Bytes => format!("d.nullable_bytes({flexible})?"),
            FieldKind::Records => format!("d.nullable_records({flexible})?"),
            FieldKind::Struct(name) => {
                let is_present =
                    if self.field.tag.is_some() { "d.uvarint()? != 0" } else { "d.is_present()?" };
                format!("if {is_present} {{ Some({name}::read(d, v)?) }} else {{ None }}")
            }
            FieldKind::Array(element) => format!(
                "match d.nullable_array_length({flexible})? {{ Some(count) => Some({}), None => None }}",
                self.read_elements(element)
            ),
        };
        match self.null_condition() {
            Some(condition) => format!("super::allow_null({read}, {condition})?"),
            None => read,
        }
    }

    fn read_plain(&self, kind: &FieldKind) -> String {
        let flexible = self.flexible;
        match kind {
            FieldKind::Fixed { method, .. } => format!("d.{method}()?"),
            FieldKind::String => format!("d.string({flexible})?"),
            FieldKind::Bytes => format!("d.bytes({flexible})?"),
            FieldKind::Records => format!("d.records({flexible})?"),
            FieldKind::Struct(name) => format!("{name}::read(d, v)?"),
            FieldKind::Array(element) => format!(
                "{{ let count = d.array_length({flexible})?; {} }}",
                self.read_elements(element)
            ),
        }
    }

    fn read_elements(&self, element: &FieldKind) -> String {
        let versions = self.field.versions.low..=self.field.versions.high;
        let size = versions.map(|version| self.message.wire_size_min(element, version)).min();
        format!(
            "{{ let mut items = d.vec(count, {})?; for _ in 0..count {{ items.push({}); }} items }}",
            size.unwrap_or(1).max(1),
            self.read_plain(element)
        )
    }

    /// Statements that write the value.
    pub fn write(&self) -> String {
        let (name, flexible) = (&self.name, self.flexible);
        if self.field.null.is_none() {
            return self.write_plain(&self.field.kind, &format!("self.{name}"), false);
        }
        let write = match &self.field.kind {
            FieldKind::String => format!("e.put_string(self.{name}.as_deref(), {flexible})?;"),
            FieldKind::Bytes => format!("e.put_bytes(self.{name}.as_deref(), {flexible})?;"),
            FieldKind::Records => format!("e.put_records(self.{name}.as_ref(), {flexible})?;"),
            // Kafka marks null with a byte, but in tagged fields with a variable-length integer.
            FieldKind::Struct(_) => format!(
                "e.{}(self.{name}.is_some(){}); if let Some(item) = &self.{name} {{ item.write(e, v)?; }}",
                if self.field.tag.is_some() { "put_uvarint" } else { "put_present" },
                if self.field.tag.is_some() { ".into()" } else { "" },
            ),
            FieldKind::Array(element) => format!(
                "e.put_length(self.{name}.as_ref().map(Vec::len), {flexible})?; for item in self.{name}.iter().flatten() {{ {} }}",
                self.write_plain(element, "item", true)
            ),
            FieldKind::Fixed { .. } => String::new(),
        };
        match self.null_condition() {
            Some(condition) => format!(
                "if self.{name}.is_none() && !({condition}) {{ return Err(EncodeError::NullNotAllowed {{ field: {:?}, version: v }}); }} {write}",
                self.field.name
            ),
            None => write,
        }
    }

    fn write_plain(&self, kind: &FieldKind, value: &str, is_reference: bool) -> String {
        let flexible = self.flexible;
        let star = if is_reference { "*" } else { "" };
        match kind {
            FieldKind::Fixed { method, .. } => format!("e.put_{method}({star}{value});"),
            FieldKind::String => format!("e.put_string(Some({value}.as_str()), {flexible})?;"),
            FieldKind::Bytes => format!("e.put_bytes(Some(&{value}[..]), {flexible})?;"),
            FieldKind::Records => format!("e.put_records(Some(&{value}), {flexible})?;"),
            FieldKind::Struct(_) => format!("{value}.write(e, v)?;"),
            FieldKind::Array(element) => format!(
                "e.put_length(Some({value}.len()), {flexible})?; for item in &{value} {{ {} }}",
                self.write_plain(element, "item", true)
            ),
        }
    }

    /// Rust that is true if the value is not the default.
    pub fn is_set(&self) -> Result<String, String> {
        let name = &self.name;
        let (default, _) = self.default()?;
        Ok(match default.as_str() {
            "None" => format!("self.{name}.is_some()"),
            "false" => format!("self.{name}"),
            "true" => format!("!self.{name}"),
            "Some(Vec::new())" | "Some(Str::new())" | "Some(Bytes::new())" => {
                format!("self.{name}.as_ref().is_none_or(|value| !value.is_empty())")
            }
            "Vec::new()" | "Str::new()" | "Bytes::new()" | "Records::default()" => {
                format!("!self.{name}.is_empty()")
            }
            _ => format!("self.{name} != {default}"),
        })
    }

    /// A condition for null, if it is allowed in some versions of the field only.
    fn null_condition(&self) -> Option<String> {
        let null = self.field.null?;
        if null.covers(self.field.versions) { None } else { null.condition(self.message.versions) }
    }
}

fn type_of(kind: &FieldKind) -> String {
    match kind {
        FieldKind::Fixed { rust, .. } => (*rust).into(),
        FieldKind::String => "Str".into(),
        FieldKind::Bytes => "Bytes".into(),
        FieldKind::Records => "Records".into(),
        FieldKind::Struct(name) => name.clone(),
        FieldKind::Array(element) => format!("Vec<{}>", type_of(element)),
    }
}

fn number(text: &str) -> Result<String, String> {
    let is_number = match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).is_ok(),
        None => text.parse::<i64>().is_ok(),
    };
    if is_number { Ok(text.into()) } else { Err(format!("`{text}` is no number")) }
}
