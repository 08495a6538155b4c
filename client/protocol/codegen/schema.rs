//! What a descriptor says.

/// Versions from `low` to `high`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    pub low: i16,
    pub high: i16,
}

impl Versions {
    pub fn contains(self, version: i16) -> bool {
        self.low <= version && version <= self.high
    }

    pub fn covers(self, other: Self) -> bool {
        self.low <= other.low && other.high <= self.high
    }

    /// Rust that is true for these versions, given that `v` is one of `all`; `None` if it always is.
    pub fn condition(self, all: Self) -> Option<String> {
        match (all.low < self.low, self.high < all.high) {
            (false, false) => None,
            (true, false) => Some(format!("v >= {}", self.low)),
            (false, true) => Some(format!("v <= {}", self.high)),
            (true, true) if self.low == self.high => Some(format!("v == {}", self.low)),
            (true, true) => Some(format!("v >= {} && v <= {}", self.low, self.high)),
        }
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.low == self.high {
            return write!(f, "{}", self.low);
        }
        write!(f, "{}-{}", self.low, self.high)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Request {
        key: i16,
    },
    Response {
        key: i16,
    },
    /// Not sent on its own: a record of an internal topic, if it has a type, or part of a client's data.
    Data {
        record: Option<i16>,
    },
}

#[derive(Debug)]
pub struct Message {
    pub kind: Kind,
    pub name: String,
    pub versions: Versions,
    pub flexible_from: Option<i16>,
    pub fields: Vec<Field>,
    /// Every struct in it, at whatever depth it is described.
    pub structs: Vec<Struct>,
}

#[derive(Debug)]
pub struct Struct {
    pub name: String,
    pub fields: Vec<Field>,
}

#[derive(Debug)]
pub struct Field {
    pub name: String,
    pub kind: FieldKind,
    pub versions: Versions,
    pub null: Option<Versions>,
    pub tag: Option<u32>,
    pub default: Option<String>,
    pub ignorable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldKind {
    /// A number, a bool or a uuid: name of its Rust type, name in `Decoder` and `Encoder`, bytes.
    Fixed {
        rust: &'static str,
        method: &'static str,
        size: usize,
    },
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<FieldKind>),
}

impl Message {
    pub fn is_flexible(&self, version: i16) -> bool {
        self.flexible_from.is_some_and(|from| from <= version)
    }

    /// Fewest bytes that one value takes on the wire in that version.
    pub fn wire_size_min(&self, kind: &FieldKind, version: i16) -> usize {
        let is_flexible = self.is_flexible(version);
        match kind {
            FieldKind::Fixed { size, .. } => *size,
            FieldKind::String => {
                if is_flexible {
                    1
                } else {
                    2
                }
            }
            FieldKind::Bytes | FieldKind::Records | FieldKind::Array(_) => {
                if is_flexible {
                    1
                } else {
                    4
                }
            }
            FieldKind::Struct(name) => {
                let fields = self.structs.iter().find(|s| s.name == *name).map(|s| &s.fields);
                let sizes = fields.into_iter().flatten().map(|field| match field {
                    _ if field.tag.is_some() || !field.versions.contains(version) => 0,
                    Field { null: Some(_), kind: FieldKind::Struct(_), .. } => 1,
                    _ => self.wire_size_min(&field.kind, version),
                });
                sizes.sum::<usize>() + usize::from(is_flexible)
            }
        }
    }
}
