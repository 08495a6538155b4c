//! What one config is.

/// One config: its name, what it may be, and what it does.
///
/// Made by the functions in `table` ([`ConfigDef::int`] and its like, then the refinements); never
/// changes while the process runs.
#[derive(Debug, Clone, Copy)]
pub struct ConfigDef {
    /// Kafka's name, or Ottla's own.
    pub name: &'static str,
    /// Type of the value.
    pub kind: ConfigType,
    /// Value where nobody set one.
    pub default: DefaultValue,
    /// What is allowed beyond the type.
    pub validator: Validator,
    /// How likely a user is to need it.
    pub importance: Importance,
    /// What carries it.
    pub resource: Resource,
    /// Who may change it while the cluster runs.
    pub update: Update,
    /// Configs that stand in when this one is not set, best first. For a topic or group config these
    /// are broker configs; for a broker config the coarser units of the same setting.
    pub synonyms: &'static [Synonym],
    /// What it means, in a sentence or two.
    pub doc: &'static str,
    /// Whether setting it changes anything.
    pub effect: Effect,
    /// Whether the name is Ottla's own and unknown to Kafka.
    pub own: bool,
}

/// Type of a config's value, numbered as DescribeConfigs does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    /// `true` or `false`.
    Boolean = 1,
    /// Any text.
    String = 2,
    /// 32-bit whole number.
    Int = 3,
    /// 16-bit whole number.
    Short = 4,
    /// 64-bit whole number.
    Long = 5,
    /// Floating-point number.
    Double = 6,
    /// Texts separated by commas.
    List = 7,
    /// Name of a Java class. Ottla loads none.
    Class = 8,
    /// A secret: never shown, never logged.
    Password = 9,
}

/// Value where nobody set one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// None: somebody has to set it.
    Required,
    /// None, and that means something.
    Null,
    /// This one, as text.
    Value(&'static str),
}

/// What is allowed beyond the type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Validator {
    /// Everything of the type.
    Any,
    /// A whole number of at least this.
    AtLeast(i64),
    /// A whole number within these bounds, both included.
    Between(i64, i64),
    /// A floating-point number within these bounds, both included.
    Ratio(f64, f64),
    /// Exactly one of these.
    OneOf(&'static [&'static str]),
    /// One of these, in upper or lower case.
    OneOfAnyCase(&'static [&'static str]),
    /// A list of these; empty is allowed.
    EachOf(&'static [&'static str]),
    /// A list or text that is not empty once it is set.
    NotEmpty,
    /// 1 to 9, or -1 for the codec's own default.
    GzipLevel,
    /// `*`, or a list of `partition:broker`.
    ThrottledReplicas,
    /// `latest`, `earliest` or `by_duration:` and an ISO 8601 duration.
    OffsetReset,
    /// A list of `NAME://host:port`.
    Listeners,
    /// A comma-separated list of `NAME:PROTOCOL`.
    ListenerMap,
    /// A comma-separated list of `host:number`; may be empty.
    IpOverrides,
    /// A list of `host:port`.
    HostPorts,
    /// A list of `host:port`, or URLs of `http` or `https`.
    Endpoints,
    /// A key prefix: starts with a slash.
    KeyPrefix,
}

/// How likely a user is to need a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    /// Most do.
    High,
    /// Some do.
    Medium,
    /// Few do.
    Low,
}

/// What carries a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// A topic.
    Topic,
    /// A broker, or all of them.
    Broker,
    /// A consumer, share or streams group.
    Group,
    /// A coordinator's own file.
    Coordinator,
}

/// Who may change a config while the cluster runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// Nobody: it is read at start, from the node's file.
    ReadOnly,
    /// An admin, for one broker at a time.
    PerBroker,
    /// An admin, for all brokers at once or for one.
    ClusterWide,
    /// An admin, for the topic or group.
    PerResource,
}

/// Another config that stands in for one that is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synonym {
    /// Its name, always a broker config.
    pub name: &'static str,
    /// How its value becomes this config's.
    pub unit: Unit,
}

/// How a synonym's value is converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// As it is.
    Same,
    /// From hours to milliseconds. Negative values mean «no limit» and become -1.
    Hours,
    /// From minutes to milliseconds. Negative values mean «no limit» and become -1.
    Minutes,
}

/// Whether setting a config changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does what its documentation says.
    Honoured,
    /// It is known and checked, so that existing files and tools work, but nothing reads it.
    KnownNoEffect(&'static str),
}

impl ConfigDef {
    const fn new(name: &'static str, kind: ConfigType, default: DefaultValue) -> Self {
        Self {
            name,
            kind,
            default,
            validator: Validator::Any,
            importance: Importance::Medium,
            resource: Resource::Broker,
            update: Update::ReadOnly,
            synonyms: &[],
            doc: "",
            effect: Effect::Honoured,
            own: false,
        }
    }

    /// A truth value.
    pub const fn boolean(name: &'static str, default: &'static str) -> Self {
        Self::new(name, ConfigType::Boolean, DefaultValue::Value(default))
    }

    /// A text.
    pub const fn string(name: &'static str, default: &'static str) -> Self {
        Self::new(name, ConfigType::String, DefaultValue::Value(default))
    }

    /// A 32-bit number.
    pub const fn int(name: &'static str, default: &'static str) -> Self {
        Self::new(name, ConfigType::Int, DefaultValue::Value(default))
    }

    /// A 16-bit number.
    pub const fn short(name: &'static str, default: &'static str) -> Self {
        Self::new(name, ConfigType::Short, DefaultValue::Value(default))
    }

    /// A 64-bit number.
    pub const fn long(name: &'static str, default: &'static str) -> Self {
        Self::new(name, ConfigType::Long, DefaultValue::Value(default))
    }

    /// A floating-point number.
    pub const fn double(name: &'static str, default: &'static str) -> Self {
        Self::new(name, ConfigType::Double, DefaultValue::Value(default))
    }

    /// A comma-separated list.
    pub const fn list(name: &'static str, default: &'static str) -> Self {
        Self::new(name, ConfigType::List, DefaultValue::Value(default))
    }

    /// The name of a Java class.
    pub const fn class(name: &'static str, default: &'static str) -> Self {
        Self::new(name, ConfigType::Class, DefaultValue::Value(default))
    }

    /// A secret, without a default.
    pub const fn password(name: &'static str) -> Self {
        Self::new(name, ConfigType::Password, DefaultValue::Null)
    }

    /// Has no default, and that means something.
    pub const fn nullable(self) -> Self {
        Self { default: DefaultValue::Null, ..self }
    }

    /// Has no default, and somebody has to set it.
    pub const fn required(self) -> Self {
        Self { default: DefaultValue::Required, ..self }
    }

    /// Allows only this.
    pub const fn check(self, validator: Validator) -> Self {
        Self { validator, ..self }
    }

    /// Allows only numbers of at least this.
    pub const fn at_least(self, min: i64) -> Self {
        self.check(Validator::AtLeast(min))
    }

    /// Most users need it.
    pub const fn high(self) -> Self {
        Self { importance: Importance::High, ..self }
    }

    /// Few users need it.
    pub const fn low(self) -> Self {
        Self { importance: Importance::Low, ..self }
    }

    /// May be changed for one broker at a time.
    pub const fn per_broker(self) -> Self {
        Self { update: Update::PerBroker, ..self }
    }

    /// May be changed for all brokers at once.
    pub const fn cluster_wide(self) -> Self {
        Self { update: Update::ClusterWide, ..self }
    }

    /// A topic's config.
    pub const fn of_topic(self) -> Self {
        Self { resource: Resource::Topic, update: Update::PerResource, ..self }
    }

    /// A group's config.
    pub const fn of_group(self) -> Self {
        Self { resource: Resource::Group, update: Update::PerResource, ..self }
    }

    /// A config of the coordinator.
    pub const fn of_coordinator(self) -> Self {
        Self { resource: Resource::Coordinator, ..self }
    }

    /// Names what stands in for it.
    pub const fn synonyms(self, synonyms: &'static [Synonym]) -> Self {
        Self { synonyms, ..self }
    }

    /// Is known and checked, but nothing reads it.
    pub const fn no_effect(self, reason: &'static str) -> Self {
        Self { effect: Effect::KnownNoEffect(reason), ..self }
    }

    /// Is Ottla's own.
    pub const fn own(self) -> Self {
        Self { own: true, ..self }
    }

    /// Says what it means.
    pub const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }

    /// Whether the value is a secret.
    pub const fn is_sensitive(&self) -> bool {
        matches!(self.kind, ConfigType::Password)
    }

    /// Whether no admin request can change it.
    pub const fn is_read_only(&self) -> bool {
        matches!(self.update, Update::ReadOnly)
    }
}

impl Synonym {
    /// The same value under another name.
    pub const fn same(name: &'static str) -> Self {
        Self { name, unit: Unit::Same }
    }

    /// The same setting in hours.
    pub const fn hours(name: &'static str) -> Self {
        Self { name, unit: Unit::Hours }
    }

    /// The same setting in minutes.
    pub const fn minutes(name: &'static str) -> Self {
        Self { name, unit: Unit::Minutes }
    }
}

impl ConfigType {
    /// The number that DescribeConfigs uses.
    pub const fn code(self) -> i8 {
        self as i8
    }

    /// Kafka's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Int => "int",
            Self::Short => "short",
            Self::Long => "long",
            Self::Double => "double",
            Self::List => "list",
            Self::Class => "class",
            Self::Password => "password",
        }
    }
}

impl Importance {
    /// Kafka's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}
