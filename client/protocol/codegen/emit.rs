//! Writes the Rust source of all messages.

use std::fmt::Write;

use super::field::Spelled;
use super::names;
use super::schema::{Field, Kind, Message};

/// The source of all messages, each in a module of its own, and the table of them.
pub fn emit(messages: &[Message]) -> Result<String, String> {
    let mut out = String::new();
    for message in messages {
        emit_message(&mut out, message).map_err(|error| format!("{}: {error}", message.name))?;
    }
    let mut table = String::new();
    for message in messages {
        let (kind, key) = match message.kind {
            Kind::Request { key } => ("Request", Some(key)),
            Kind::Response { key } => ("Response", Some(key)),
            Kind::Data { .. } => ("Data", None),
        };
        line(
            &mut table,
            &format!("MessageInfo::of::<{}>(MessageKind::{kind}, {key:?}),", message.name),
        );
    }
    line(&mut out, "/// Every message, by name.");
    line(&mut out, &format!("pub static ALL: &[MessageInfo] = &[\n{table}];"));
    Ok(out)
}

fn emit_message(out: &mut String, message: &Message) -> Result<(), String> {
    let (name, module) = (&message.name, names::snake(&message.name));
    line(out, &format!("pub use {module}::{name};"));
    line(out, &format!("/// [`{name}`] and its parts."));
    line(out, &format!("pub mod {module} {{ use super::prelude::*;"));
    emit_struct(out, message, name, &message.fields)?;
    emit_traits(out, message);
    for part in &message.structs {
        emit_struct(out, message, &part.name, &part.fields)?;
    }
    line(out, "}");
    Ok(())
}

fn emit_traits(out: &mut String, message: &Message) {
    let name = &message.name;
    let flexible = message.flexible_from.map_or("i16::MAX".to_owned(), |from| from.to_string());
    line(out, &format!("impl Message for {name} {{"));
    line(out, &format!("const NAME: &'static str = {name:?};"));
    line(out, &format!("const MIN_VERSION: i16 = {};", message.versions.low));
    line(out, &format!("const MAX_VERSION: i16 = {};", message.versions.high));
    line(out, &format!("const FLEXIBLE_FROM: i16 = {flexible};"));
    line(out, "fn decode(d: &mut Decoder, v: i16) -> Result<Self, DecodeError> {");
    line(out, "super::check_decode::<Self>(v)?; Self::read(d, v) }");
    line(out, "fn encode(&self, e: &mut Encoder, v: i16) -> Result<(), EncodeError> {");
    line(out, "super::check_encode::<Self>(v)?; self.write(e, v) } }");
    match message.kind {
        Kind::Request { .. } => {
            let api = name.trim_end_matches("Request");
            line(out, &format!("impl Request for {name} {{ const KEY: ApiKey = ApiKey::{api};"));
            line(out, &format!("type Response = super::{api}Response; }}"));
        }
        Kind::Data { record: Some(record) } => {
            line(out, &format!("impl {name} {{ /// Version that starts the key of such records."));
            line(out, &format!("pub const RECORD_TYPE: i16 = {record}; }}"));
        }
        Kind::Response { .. } | Kind::Data { record: None } => {}
    }
}

fn emit_struct(
    out: &mut String,
    message: &Message,
    name: &str,
    fields: &[Field],
) -> Result<(), String> {
    let spelled: Vec<Spelled<'_>> = fields.iter().map(|f| Spelled::new(message, f)).collect();
    let defaults = spelled.iter().map(Spelled::default).collect::<Result<Vec<_>, _>>()?;
    let is_plain = defaults.iter().all(|(_, is_plain)| *is_plain);
    let derived = if is_plain { ", Default" } else { "" };
    if name == message.name {
        line(out, &format!("/// Versions {}.", message.versions));
    } else {
        line(out, &format!("/// Part of [`{}`].", message.name));
    }
    line(out, &format!("#[derive(Debug, Clone, PartialEq{derived})] pub struct {name} {{"));
    for (field, spelled) in fields.iter().zip(&spelled) {
        line(out, &describe(message, field));
        line(out, &format!("pub {}: {},", spelled.name, spelled.rust_type()));
    }
    if message.flexible_from.is_some() {
        line(out, "/// Tagged fields that this codec does not know.");
        line(out, "pub unknown_tagged_fields: TaggedFields,");
    }
    line(out, "}");
    if !is_plain {
        line(out, &format!("impl Default for {name} {{ fn default() -> Self {{ Self {{"));
        for (spelled, (default, _)) in spelled.iter().zip(&defaults) {
            line(out, &format!("{}: {default},", spelled.name));
        }
        if message.flexible_from.is_some() {
            line(out, "unknown_tagged_fields: TaggedFields::new(),");
        }
        line(out, "} } }");
    }
    line(out, &format!("impl {name} {{"));
    emit_read(out, message, fields)?;
    emit_write(out, message, fields)?;
    line(out, "}");
    Ok(())
}

fn emit_read(out: &mut String, message: &Message, fields: &[Field]) -> Result<(), String> {
    line(out, "fn read(d: &mut Decoder, v: i16) -> Result<Self, DecodeError> {");
    emit_flexible(out, message);
    line(out, "let mut this = Self {");
    for field in fields {
        let spelled = Spelled::new(message, field);
        let (default, _) = spelled.default()?;
        let value = match (field.tag, field.versions.condition(message.versions)) {
            (Some(_), _) => default,
            (None, None) => spelled.read(),
            (None, Some(condition)) => {
                format!("if {condition} {{ {} }} else {{ {default} }}", spelled.read())
            }
        };
        line(out, &format!("{}: {value},", spelled.name));
    }
    if message.flexible_from.is_some() {
        line(out, "unknown_tagged_fields: TaggedFields::new(),");
    }
    line(out, "};");
    let tagged: Vec<_> = fields.iter().filter_map(|f| f.tag.map(|tag| (tag, f))).collect();
    if message.flexible_from.is_some() {
        line(out, "if flexible {");
        if tagged.is_empty() {
            line(out, "this.unknown_tagged_fields = d.tagged_fields()?;");
        } else {
            line(out, "let mut tags = d.begin_tags()?;");
            line(out, "while let Some(tag) = d.next_tag(&mut tags)? { match tag {");
            for (tag, field) in tagged {
                let spelled = Spelled::new(message, field);
                let guard = field.versions.condition(message.versions);
                let guard = guard.map(|guard| format!(" if {guard}")).unwrap_or_default();
                line(out, &format!("{tag}{guard} => this.{} = {},", spelled.name, spelled.read()));
            }
            line(out, "_ => d.unknown_tag(&tags, &mut this.unknown_tagged_fields)?, }");
            line(out, "d.end_tag(&tags)?; }");
        }
        line(out, "}");
    }
    line(out, "Ok(this) }");
    Ok(())
}

fn emit_write(out: &mut String, message: &Message, fields: &[Field]) -> Result<(), String> {
    line(out, "fn write(&self, e: &mut Encoder, v: i16) -> Result<(), EncodeError> {");
    emit_flexible(out, message);
    for field in fields {
        let spelled = Spelled::new(message, field);
        let refusal = if field.ignorable { String::new() } else { refuse(field, &spelled)? };
        match (field.tag, field.versions.condition(message.versions)) {
            (None, None) => line(out, &spelled.write()),
            (None, Some(condition)) => {
                line(
                    out,
                    &format!("if {condition} {{ {} }} else {{ {refusal} }}", spelled.write()),
                );
            }
            (Some(_), Some(condition)) if !field.ignorable => {
                line(out, &format!("if !({condition}) {{ {refusal} }}"));
            }
            (Some(_), _) => {}
        }
    }
    if message.flexible_from.is_some() {
        line(out, "if flexible {");
        emit_write_tags(out, message, fields)?;
        line(out, "} else if !self.unknown_tagged_fields.is_empty() {");
        line(
            out,
            "return Err(EncodeError::FieldNotInVersion { field: \"tagged fields\", version: v });",
        );
        line(out, "}");
    }
    line(out, "Ok(()) }");
    Ok(())
}

fn emit_write_tags(out: &mut String, message: &Message, fields: &[Field]) -> Result<(), String> {
    let mut tagged: Vec<_> = fields.iter().filter_map(|f| f.tag.map(|tag| (tag, f))).collect();
    if tagged.is_empty() {
        line(out, "e.put_tagged_fields(&self.unknown_tagged_fields)?;");
        return Ok(());
    }
    tagged.sort_by_key(|(tag, _)| *tag);
    line(out, "let mut tags = e.begin_tags();");
    for (tag, field) in tagged {
        let spelled = Spelled::new(message, field);
        let condition = field.versions.condition(message.versions);
        let condition = condition.map(|c| format!("{c} && ")).unwrap_or_default();
        line(out, &format!("if {condition}{} {{", spelled.is_set()?));
        line(out, &format!("e.begin_tag(&mut tags, &self.unknown_tagged_fields, {tag})?;"));
        line(out, &format!("{} e.end_tag(&mut tags)?; }}", spelled.write()));
    }
    line(out, "e.end_tags(tags, &self.unknown_tagged_fields)?;");
    Ok(())
}

/// Statements for versions that lack a field which must not be lost.
fn refuse(field: &Field, spelled: &Spelled<'_>) -> Result<String, String> {
    Ok(format!(
        "if {} {{ return Err(EncodeError::FieldNotInVersion {{ field: {:?}, version: v }}); }}",
        spelled.is_set()?,
        field.name
    ))
}

fn emit_flexible(out: &mut String, message: &Message) {
    if let Some(from) = message.flexible_from {
        let is_always = from <= message.versions.low;
        let value = if is_always { "true".into() } else { format!("v >= {from}") };
        line(out, &format!("let flexible = {value};"));
    }
}

fn describe(message: &Message, field: &Field) -> String {
    let mut text = format!("/// Versions {}", field.versions);
    if field.versions.covers(message.versions) {
        text = "/// All versions".into();
    }
    if let Some(tag) = field.tag {
        let _ = write!(text, ", tag {tag}");
    }
    if let Some(null) = field.null.filter(|null| !null.covers(field.versions)) {
        let _ = write!(text, "; null in {null}");
    }
    if field.ignorable {
        text.push_str("; dropped by others");
    }
    text.push('.');
    text
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}
