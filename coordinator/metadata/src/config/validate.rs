//! What a validator accepts, and how it says so.

use super::def::{ConfigType, Validator};
use super::listeners;
use super::value::ConfigValue;

/// Refuses a value of the right type that the validator does not allow, with the problem.
pub(super) fn check(validator: Validator, value: &ConfigValue) -> Result<(), String> {
    match (validator, value) {
        (Validator::Any, _) => Ok(()),
        (Validator::AtLeast(min), value) => within(whole(value), min, i64::MAX),
        (Validator::Between(min, max), value) => within(whole(value), min, max),
        (Validator::GzipLevel, value) if whole(value) == Some(-1) => Ok(()),
        (Validator::GzipLevel, value) => within(whole(value), 1, 9),
        (Validator::Ratio(min, max), ConfigValue::Double(value)) => {
            // Written so that NaN is refused.
            if (min..=max).contains(value) { Ok(()) } else { Err("it is out of range".to_owned()) }
        }
        (Validator::OneOf(allowed), value) => {
            one_of(allowed.iter().any(|word| *word == value.to_string()))
        }
        (Validator::OneOfAnyCase(allowed), value) => {
            one_of(allowed.iter().any(|word| word.eq_ignore_ascii_case(&value.to_string())))
        }
        (Validator::EachOf(allowed), ConfigValue::List(items)) => {
            match items.iter().find(|item| !allowed.contains(&item.as_str())) {
                Some(item) => Err(format!("{item:?} is not one of the words allowed")),
                None => Ok(()),
            }
        }
        (Validator::NotEmpty, ConfigValue::List(items)) => not_empty(items.is_empty()),
        (Validator::NotEmpty, value) => not_empty(value.to_string().is_empty()),
        (Validator::ThrottledReplicas, ConfigValue::List(items)) => throttled_replicas(items),
        (Validator::OffsetReset, value) => offset_reset(&value.to_string()),
        (Validator::Listeners, value) => listeners::parse_listeners(&value.to_string()).map(|_| ()),
        (Validator::ListenerMap, value) => listeners::parse_map(&value.to_string()).map(|_| ()),
        (Validator::IpOverrides, value) => ip_overrides(&value.to_string()),
        (Validator::HostPorts, ConfigValue::List(items)) => {
            items.iter().try_for_each(|item| listeners::parse_host_port(item).map(|_| ()))
        }
        (Validator::Endpoints, ConfigValue::List(items)) => {
            items.iter().try_for_each(|item| endpoint(item))
        }
        (Validator::KeyPrefix, value) if value.to_string().starts_with('/') => Ok(()),
        (Validator::KeyPrefix, _) => Err("it does not start with a slash".to_owned()),
        (validator, value) => Err(format!("{validator:?} cannot judge {value:?}")),
    }
}

/// What a validator allows, in words.
pub(super) fn describe(validator: Validator, kind: ConfigType) -> String {
    match validator {
        Validator::Any => kind_in_words(kind).to_owned(),
        Validator::AtLeast(min) => format!("a whole number of at least {min}"),
        Validator::Between(min, max) => format!("a whole number from {min} to {max}"),
        Validator::Ratio(min, max) => format!("a number from {min} to {max}"),
        Validator::OneOf(words) => words.join(", "),
        Validator::OneOfAnyCase(words) => format!("{} (upper or lower case)", words.join(", ")),
        Validator::EachOf(words) => format!("a comma-separated list of {}", words.join(", ")),
        Validator::NotEmpty => format!("{}, not empty", kind_in_words(kind)),
        Validator::GzipLevel => "-1, or a whole number from 1 to 9".to_owned(),
        Validator::ThrottledReplicas => {
            "* or a list of partition:broker, such as 0:1,1:2".to_owned()
        }
        Validator::OffsetReset => {
            "latest, earliest, or by_duration: and an ISO 8601 duration such as PT1H".to_owned()
        }
        Validator::Listeners => {
            "a list of NAME://host:port; no host means loopback, no name occurs twice".to_owned()
        }
        Validator::ListenerMap => {
            "a list of NAME:PROTOCOL, the protocol one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
                .to_owned()
        }
        Validator::IpOverrides => "a list of host:number, such as 10.0.0.7:100".to_owned(),
        Validator::HostPorts => "a list of host:port, such as 10.0.0.7:9081".to_owned(),
        Validator::Endpoints => {
            "a list of host:port or of URLs, such as http://10.0.0.7:2379".to_owned()
        }
        Validator::KeyPrefix => "a text that starts with a slash, such as /ottla/".to_owned(),
    }
}

fn kind_in_words(kind: ConfigType) -> &'static str {
    match kind {
        ConfigType::Boolean => "true or false",
        ConfigType::String => "a text",
        ConfigType::Int => "a whole number of 32 bits",
        ConfigType::Short => "a whole number of 16 bits",
        ConfigType::Long => "a whole number of 64 bits",
        ConfigType::Double => "a number",
        ConfigType::List => "a comma-separated list",
        ConfigType::Class => "the name of a class",
        ConfigType::Password => "a secret",
    }
}

fn whole(value: &ConfigValue) -> Option<i64> {
    match value {
        ConfigValue::Int(value) => Some((*value).into()),
        ConfigValue::Short(value) => Some((*value).into()),
        ConfigValue::Long(value) => Some(*value),
        _ => None,
    }
}

fn within(value: Option<i64>, min: i64, max: i64) -> Result<(), String> {
    match value {
        None => Err("it is not a whole number".to_owned()),
        Some(value) if value < min => Err(format!("it is less than {min}")),
        Some(value) if max < value => Err(format!("it is more than {max}")),
        Some(_) => Ok(()),
    }
}

fn one_of(found: bool) -> Result<(), String> {
    if found { Ok(()) } else { Err("it is none of the words allowed".to_owned()) }
}

fn not_empty(empty: bool) -> Result<(), String> {
    if empty { Err("it is empty".to_owned()) } else { Ok(()) }
}

fn throttled_replicas(items: &[String]) -> Result<(), String> {
    if matches!(items, [only] if only == "*") {
        return Ok(());
    }
    for item in items {
        let pair = item.split_once(':').filter(|(partition, broker)| {
            partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok()
        });
        if pair.is_none() {
            return Err(format!("{item:?} is not partition:broker"));
        }
    }
    Ok(())
}

fn offset_reset(text: &str) -> Result<(), String> {
    if text == "latest" || text == "earliest" {
        return Ok(());
    }
    let duration = text
        .strip_prefix("by_duration:")
        .ok_or_else(|| "it is none of the words allowed".to_owned())?;
    if is_iso_duration(duration) {
        Ok(())
    } else {
        Err(format!("{duration:?} is not a duration without a sign"))
    }
}

/// `PnDTnHnMn.nS` with at least one part.
fn is_iso_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('P') else { return false };
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return false,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    if days.is_empty() && time.is_empty() {
        return false;
    }
    has_parts(days, &['D'], false) && has_parts(time, &['H', 'M', 'S'], true)
}

/// Whether a text is made of a number and one of the letters, several times, in the letters' order.
fn has_parts(text: &str, letters: &[char], fraction_in_last: bool) -> bool {
    let mut rest = text;
    for (index, letter) in letters.iter().enumerate() {
        let Some((number, after)) = rest.split_once(*letter) else { continue };
        let is_last = index + 1 == letters.len();
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) if is_last && fraction_in_last => (whole, fraction),
            Some(_) => return false,
            None => (number, "0"),
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

fn ip_overrides(text: &str) -> Result<(), String> {
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let limit = item.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if limit.is_none_or(|(_, limit)| limit.parse::<u32>().is_err()) {
            return Err(format!("{item:?} is not host:number"));
        }
    }
    Ok(())
}

fn endpoint(text: &str) -> Result<(), String> {
    let address = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
        .unwrap_or(text)
        .trim_end_matches('/');
    listeners::parse_host_port(address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_durations_have_parts_in_order_and_a_fraction_only_in_seconds() {
        for good in ["PT1H", "P1D", "P2DT3H4M5.5S", "PT0.1S", "PT10M"] {
            assert!(is_iso_duration(good), "{good}");
        }
        for bad in ["", "P", "PT", "1H", "PT1.5H", "PT-1H", "PT1S1H", "P1H", "PTH", "PT1.S", "PT1"]
        {
            assert!(!is_iso_duration(bad), "{bad}");
        }
    }

    #[test]
    fn throttled_replicas_are_pairs_or_a_lone_star() {
        let list = |items: &[&str]| -> Vec<String> { items.iter().map(|i| (*i).into()).collect() };
        assert!(throttled_replicas(&list(&[])).is_ok());
        assert!(throttled_replicas(&list(&["*"])).is_ok());
        assert!(throttled_replicas(&list(&["0:1", "1:2"])).is_ok());
        assert!(throttled_replicas(&list(&["0:1", "*"])).is_err());
        assert!(throttled_replicas(&list(&["a"])).is_err());
        assert!(throttled_replicas(&list(&["0:-1"])).is_err());
    }

    #[test]
    fn endpoints_are_addresses_or_urls() {
        for good in ["127.0.0.1:2379", "http://etcd:2379", "https://[::1]:2379/"] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in ["etcd", "http://etcd", "ftp://etcd:1", "http://:2379x", ""] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn not_a_number_is_no_ratio() {
        let ratio = Validator::Ratio(0.0, 1.0);
        assert!(check(ratio, &ConfigValue::Double(f64::NAN)).is_err());
        assert!(check(ratio, &ConfigValue::Double(1.0)).is_ok());
    }
}
