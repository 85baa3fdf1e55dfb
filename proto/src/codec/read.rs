//! Untyped values -> messages, collecting every mistake with its path.
//!
//! Used by the codec only. It must not stop at a mistake, nor panic on any tree.

use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor};
use prost_reflect::{ReflectMessage as _, Value as Field};
use serde_json::{Map, Value};

use super::words::{cut, describe, unknown};
use super::{FieldError, Strictness, duration, write};

/// Deepest nesting that is read; our own messages need 8.
const MAX_DEPTH: usize = 32;

/// Most mistakes that are told one by one: nobody reads more, and whoever wrote a document decides how many it has.
const MAX_ERRORS: usize = 100;

/// Fields that hold a share as text, where a number in quotes would be as wrong as without.
const SHARES: [&str; 4] = [
    "echo.v1.RolloutPolicy.waves",
    "echo.v1.RolloutPolicy.max_failures",
    "echo.v1.Autoscale.tolerance",
    "echo.v1.Autoscale.Target.cpu",
];

/// Walks one document.
pub(super) struct Reader {
    strictness: Strictness,
    path: String,
    depth: usize,
    told: Told,
    /// What is unknown, where that is told apart.
    unknown: Told,
}

/// Mistakes.
#[derive(Default)]
struct Told {
    errors: Vec<FieldError>,
    /// How many there are beyond [`MAX_ERRORS`].
    untold: usize,
}

impl Told {
    fn note(&mut self, path: &str, cause: impl Into<String>) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(FieldError::new(path, cause));
        } else {
            self.untold += 1;
        }
    }

    /// Every mistake, or [`MAX_ERRORS`] of them and how many more there are.
    fn into_errors(mut self) -> Vec<FieldError> {
        if self.untold > 0 {
            self.errors.push(FieldError::new("", format!("{} more mistakes are not shown", self.untold)));
        }
        self.errors
    }
}

impl Reader {
    pub(super) fn new(strictness: Strictness) -> Self {
        Self { strictness, path: String::new(), depth: 0, told: Told::default(), unknown: Told::default() }
    }

    /// Notes a mistake at the current path.
    pub(super) fn fail(&mut self, cause: impl Into<String>) {
        self.told.note(&self.path, cause);
    }

    /// Notes what is unknown here, as strictly as is asked.
    fn meet_unknown(&mut self, cause: impl FnOnce() -> String) {
        match self.strictness {
            Strictness::Strict => self.told.note(&self.path, cause()),
            Strictness::Lenient => {}
            Strictness::Apart => self.unknown.note(&self.path, cause()),
        }
    }

    /// The mistakes, and what is unknown where that is told apart.
    pub(super) fn into_errors(self) -> (Vec<FieldError>, Vec<FieldError>) {
        (self.told.into_errors(), self.unknown.into_errors())
    }

    /// Runs `read` one step down the path.
    fn at<T>(&mut self, step: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if length > 0 && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(&cut(step));
        let result = read(self);
        self.path.truncate(length);
        result
    }

    /// A message of the given type; what was wrong is absent in it.
    pub(super) fn message(&mut self, descriptor: &MessageDescriptor, value: &Value) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        let Value::Object(members) = value else {
            self.fail(format!("expected a mapping, got {}", describe(value)));
            return message;
        };
        if self.depth == MAX_DEPTH {
            self.fail(format!("nested deeper than {MAX_DEPTH} levels"));
            return message;
        }
        self.depth += 1;
        for (name, member) in members {
            self.at(name, |reader| reader.member(descriptor, &mut message, name, member));
        }
        self.depth -= 1;
        self.check_oneofs(descriptor, members);
        message
    }

    fn member(&mut self, descriptor: &MessageDescriptor, message: &mut DynamicMessage, name: &str, member: &Value) {
        let field = descriptor.get_field_by_json_name(name).or_else(|| descriptor.get_field_by_name(name));
        let Some(field) = field else {
            self.meet_unknown(|| unknown("field", name, descriptor.fields().map(|f| f.json_name().to_owned())));
            return;
        };
        // As in protobuf JSON: null is the absent field.
        if !member.is_null()
            && let Some(value) = self.field(&field, member)
        {
            message.set_field(&field, value);
        }
    }

    fn field(&mut self, field: &FieldDescriptor, value: &Value) -> Option<Field> {
        if field.is_map() {
            return self.map(field, value);
        }
        if !field.is_list() {
            return self.single(field, value);
        }
        let Value::Array(items) = value else {
            self.fail(format!("expected a list, got {}", describe(value)));
            return None;
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let read = self.at(&format!("[{index}]"), |reader| reader.single(field, item));
            // A hole keeps the place, so that the paths of later findings stay true.
            list.push(read.unwrap_or_else(|| Field::default_value(&field.kind())));
        }
        Some(Field::List(list))
    }

    /// Maps in the contract are of text to something.
    fn map(&mut self, field: &FieldDescriptor, value: &Value) -> Option<Field> {
        let (Value::Object(entries), Kind::Message(entry)) = (value, field.kind()) else {
            self.fail(format!("expected a mapping, got {}", describe(value)));
            return None;
        };
        let of = entry.map_entry_value_field();
        let mut map = std::collections::HashMap::with_capacity(entries.len());
        for (key, value) in entries {
            if let Some(value) = self.at(key, |reader| reader.single(&of, value)) {
                map.insert(MapKey::String(key.clone()), value);
            }
        }
        Some(Field::Map(map))
    }

    fn single(&mut self, field: &FieldDescriptor, value: &Value) -> Option<Field> {
        if SHARES.contains(&field.full_name()) && value.is_number() {
            self.fail(format!("expected a share such as {value}%, got {value}"));
            return None;
        }
        match field.kind() {
            Kind::Message(m) if m.full_name() == "google.protobuf.Duration" => self.duration(value),
            Kind::Message(m) if m.full_name() == "google.protobuf.Timestamp" => self.timestamp(&m, value),
            Kind::Message(m) => Some(Field::Message(self.message(&m, value))),
            Kind::Enum(names) => self.enumeration(&names, value),
            Kind::String => self.expect(value, "text", |v| v.as_str().map(|s| Field::String(s.to_owned()))),
            Kind::Bool => self.expect(value, "true or false", |v| v.as_bool().map(Field::Bool)),
            Kind::Double => self.expect(value, "a number", |v| v.as_f64().map(Field::F64)),
            Kind::Uint32 => {
                self.whole(value, u64::from(u32::MAX)).map(|n| Field::U32(n.try_into().unwrap_or(u32::MAX)))
            }
            Kind::Uint64 => self.whole(value, u64::MAX).map(Field::U64),
            other => {
                self.fail(format!("fields of type {other:?} are not part of this contract"));
                None
            }
        }
    }

    fn expect(&mut self, value: &Value, what: &str, read: impl FnOnce(&Value) -> Option<Field>) -> Option<Field> {
        let found = read(value);
        if found.is_none() {
            let hint =
                if what == "text" && !value.is_array() && !value.is_object() { "; put it in quotes" } else { "" };
            self.fail(format!("expected {what}, got {}{hint}", describe(value)));
        }
        found
    }

    /// A whole number; as text too, since canonical JSON writes 64-bit numbers so.
    fn whole(&mut self, value: &Value, max: u64) -> Option<u64> {
        let number = value.as_u64().or_else(|| value.as_str().and_then(|s| s.parse().ok()));
        if number.is_none_or(|n| n > max) {
            self.fail(format!("expected a whole number from 0 to {max}, got {}", describe(value)));
            return None;
        }
        number
    }

    fn duration(&mut self, value: &Value) -> Option<Field> {
        let Some(d) = value.as_str().and_then(duration::parse) else {
            self.fail(format!("expected a duration such as 300s, 50us or 1h30m, got {}", describe(value)));
            return None;
        };
        let mut message = DynamicMessage::new(d.descriptor());
        message.transcode_from(&d).ok()?;
        Some(Field::Message(message))
    }

    fn timestamp(&mut self, descriptor: &MessageDescriptor, value: &Value) -> Option<Field> {
        match DynamicMessage::deserialize(descriptor.clone(), value) {
            Ok(message) => Some(Field::Message(message)),
            Err(_) => {
                self.fail(format!("expected a time such as 2026-01-31T12:00:00Z, got {}", describe(value)));
                None
            }
        }
    }

    /// The full name of a value, or what follows the enum's prefix.
    fn enumeration(&mut self, names: &EnumDescriptor, value: &Value) -> Option<Field> {
        let prefix = write::prefix(names);
        let text = value.as_str().unwrap_or_default();
        let found = names.get_value_by_name(text).or_else(|| names.get_value_by_name(&format!("{prefix}{text}")));
        match found {
            Some(found) => Some(Field::EnumNumber(found.number())),
            None => {
                self.meet_unknown(|| {
                    let short = |name: &str| name.strip_prefix(&prefix).unwrap_or(name).to_owned();
                    let known: Vec<_> = names.values().skip(1).map(|v| short(v.name())).collect();
                    format!("expected one of {}, got {}", known.join(", "), describe(value))
                });
                None
            }
        }
    }

    /// At most one member of each oneof may be present.
    fn check_oneofs(&mut self, descriptor: &MessageDescriptor, members: &Map<String, Value>) {
        let present = |f: &FieldDescriptor| members.get(f.json_name()).is_some_and(|v| !v.is_null());
        for oneof in descriptor.oneofs().filter(|o| !o.is_synthetic()) {
            let found: Vec<_> = oneof.fields().filter(present).map(|f| f.json_name().to_owned()).collect();
            if found.len() > 1 {
                self.fail(format!("only one of {} may be given", found.join(", ")));
            }
        }
    }
}
