//! Reading a value by its definition.

use super::def::{ConfigDef, ConfigType};
use super::validate;

/// A value of its config's type.
#[derive(Clone, PartialEq)]
pub enum ConfigValue {
    /// `true` or `false`.
    Boolean(bool),
    /// A text.
    String(String),
    /// A 32-bit number.
    Int(i32),
    /// A 16-bit number.
    Short(i16),
    /// A 64-bit number.
    Long(i64),
    /// A floating-point number.
    Double(f64),
    /// Several texts, in order.
    List(Vec<String>),
    /// The name of a Java class.
    Class(String),
    /// A secret.
    Password(String),
}

/// A value that its config does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} cannot be {value}: {problem}; allowed: {allowed}")]
pub struct ValueError {
    /// The config.
    pub name: String,
    /// The value in quotes, or a word in its place where it is a secret.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
    /// What would be right.
    pub allowed: String,
}

impl ConfigDef {
    /// Reads a value. White space around it is ignored, as Kafka does for all types but passwords.
    ///
    /// # Errors
    /// When it is not of the config's type or its validator refuses it; says what is allowed.
    pub fn parse(&self, text: &str) -> Result<ConfigValue, ValueError> {
        let value = self.parse_type(text).map_err(|problem| self.refuse(text, problem))?;
        validate::check(self.validator, &value).map_err(|problem| self.refuse(text, problem))?;
        Ok(value)
    }

    /// What may be set, for messages and documentation.
    pub fn allowed(&self) -> String {
        validate::describe(self.validator, self.kind)
    }

    fn parse_type(&self, text: &str) -> Result<ConfigValue, String> {
        let trimmed = text.trim();
        Ok(match self.kind {
            ConfigType::Boolean if trimmed.eq_ignore_ascii_case("true") => {
                ConfigValue::Boolean(true)
            }
            ConfigType::Boolean if trimmed.eq_ignore_ascii_case("false") => {
                ConfigValue::Boolean(false)
            }
            ConfigType::Boolean => return Err("it is neither true nor false".to_owned()),
            ConfigType::String => ConfigValue::String(trimmed.to_owned()),
            ConfigType::Class => ConfigValue::Class(trimmed.to_owned()),
            ConfigType::Password => ConfigValue::Password(text.to_owned()),
            ConfigType::Int => ConfigValue::Int(number(trimmed, i32::MIN.into(), i32::MAX.into())?),
            ConfigType::Short => {
                ConfigValue::Short(number(trimmed, i16::MIN.into(), i16::MAX.into())?)
            }
            ConfigType::Long => ConfigValue::Long(number(trimmed, i64::MIN, i64::MAX)?),
            ConfigType::Double => {
                ConfigValue::Double(trimmed.parse().map_err(|_| "it is not a number".to_owned())?)
            }
            ConfigType::List => ConfigValue::List(split_list(trimmed)?),
        })
    }

    fn refuse(&self, text: &str, problem: String) -> ValueError {
        let value = if self.is_sensitive() { "[hidden]".to_owned() } else { format!("{text:?}") };
        ValueError { name: self.name.to_owned(), value, problem, allowed: self.allowed() }
    }
}

/// A list's items without white space around them and without repetitions; an empty text is an empty
/// list.
pub(super) fn split_list(text: &str) -> Result<Vec<String>, String> {
    let mut items: Vec<String> = Vec::new();
    if text.is_empty() {
        return Ok(items);
    }
    for item in text.split(',').map(str::trim) {
        if item.is_empty() {
            return Err("one of its items is empty".to_owned());
        }
        if !items.iter().any(|known| known == item) {
            items.push(item.to_owned());
        }
    }
    Ok(items)
}

fn number<N: TryFrom<i64>>(text: &str, min: i64, max: i64) -> Result<N, String> {
    let value: i128 = text.parse().map_err(|_| "it is not a whole number".to_owned())?;
    i64::try_from(value)
        .ok()
        .and_then(|value| N::try_from(value).ok())
        .ok_or_else(|| format!("it does not fit between {min} and {max}"))
}

impl std::fmt::Display for ConfigValue {
    /// As Kafka shows it; reads back as the same value. A password is shown in clear.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(out),
            Self::String(value) | Self::Class(value) | Self::Password(value) => value.fmt(out),
            Self::Int(value) => value.fmt(out),
            Self::Short(value) => value.fmt(out),
            Self::Long(value) => value.fmt(out),
            Self::Double(value) => out.write_str(&java_double(*value)),
            Self::List(items) => out.write_str(&items.join(",")),
        }
    }
}

impl std::fmt::Debug for ConfigValue {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password(_) => out.write_str("Password([hidden])"),
            value => write!(out, "{value}"),
        }
    }
}

/// A floating-point number as Java prints it, which is what tools compare with.
fn java_double(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() {
        return if value.is_nan() {
            "NaN"
        } else if value < 0.0 {
            "-Infinity"
        } else {
            "Infinity"
        }
        .to_owned();
    }
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        let text = format!("{value}");
        return if text.contains('.') { text } else { format!("{text}.0") };
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::def::Validator;
    use proptest::prelude::*;

    fn parsed(def: &ConfigDef, text: &str) -> Result<String, String> {
        def.parse(text).map(|value| value.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn white_space_around_a_value_is_ignored() {
        assert_eq!(parsed(&ConfigDef::long("a.ms", "0"), "  +5 "), Ok("5".to_owned()));
        assert_eq!(parsed(&ConfigDef::boolean("a", "true"), " TRUE "), Ok("true".to_owned()));
        assert_eq!(parsed(&ConfigDef::list("a", ""), " x , y,x "), Ok("x,y".to_owned()));
    }

    #[test]
    fn an_error_names_the_config_the_problem_and_what_is_allowed() {
        let def = ConfigDef::int("num.io.threads", "8").at_least(1);
        assert_eq!(
            parsed(&def, "lots").unwrap_err(),
            "num.io.threads cannot be \"lots\": it is not a whole number; \
             allowed: a whole number of at least 1"
        );
        assert!(parsed(&def, "0").unwrap_err().contains("less than 1"));
        assert!(parsed(&def, "99999999999").unwrap_err().contains("does not fit"));
        let level = ConfigDef::int("l", "-1").check(Validator::GzipLevel);
        assert!(parsed(&level, "0").is_err());
        assert_eq!(parsed(&level, "-1"), Ok("-1".to_owned()));
    }

    #[test]
    fn a_secret_is_neither_in_an_error_nor_in_debug_output() {
        let def = ConfigDef::password("p").check(Validator::NotEmpty);
        let value = def.parse(" geheim ").unwrap();
        assert_eq!(value.to_string(), " geheim ");
        assert_eq!(format!("{value:?}"), "Password([hidden])");
        assert!(!def.refuse("geheim", "x".to_owned()).to_string().contains("geheim"));
    }

    #[test]
    fn floating_point_numbers_look_like_javas() {
        assert_eq!(java_double(0.5), "0.5");
        assert_eq!(java_double(1.0), "1.0");
        assert_eq!(java_double(f64::MAX), "1.7976931348623157E308");
        assert_eq!(java_double(1e7), "1.0E7");
        assert_eq!(java_double(0.0001), "1.0E-4");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(value in any::<f64>(), number in any::<i64>()) {
            let double = ConfigDef::double("d", "0");
            let shown = ConfigValue::Double(value).to_string();
            if value.is_finite() {
                prop_assert_eq!(double.parse(&shown).unwrap(), ConfigValue::Double(value));
            }
            let long = ConfigDef::long("l", "0");
            prop_assert_eq!(long.parse(&number.to_string()).unwrap(), ConfigValue::Long(number));
        }

        #[test]
        fn no_text_makes_parsing_panic(text in ".{0,40}") {
            for def in crate::config::table::all() {
                let _ = def.parse(&text);
            }
        }
    }
}
