//! Messages -> untyped values, in one of three forms.
//!
//! Used by the codec only. The canonical form is prost-reflect's own JSON mapping with its map entries sorted; the human
//! form differs from it in durations, enum names and 64-bit numbers.

use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use prost_reflect::{ReflectMessage as _, SerializeOptions};
use serde_json::Value;

use super::duration;

/// Which form is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Canonical,
    /// As canonical, with what is zero, false or empty.
    Full,
    Human,
}

/// The message as a tree.
pub(super) fn value(message: &DynamicMessage, form: Form) -> Value {
    let options =
        SerializeOptions::new().stringify_64_bit_integers(form != Form::Human).skip_default_fields(form != Form::Full);
    // Into a tree of text and numbers nothing fails; were it to, null is refused by every reader.
    let mut value = message.serialize_with_options(serde_json::value::Serializer, &options).unwrap_or(Value::Null);
    tidy(&message.descriptor(), &mut value, form);
    value
}

fn tidy(message: &MessageDescriptor, value: &mut Value, form: Form) {
    let Value::Object(members) = value else {
        if form == Form::Human && message.full_name() == "google.protobuf.Duration" {
            humanise_duration(value);
        }
        return;
    };
    for (name, member) in members.iter_mut() {
        if let Some(field) = message.get_field_by_json_name(name) {
            tidy_field(&field, member, form);
        }
    }
}

fn tidy_field(field: &FieldDescriptor, member: &mut Value, form: Form) {
    if field.is_map() {
        if let Value::Object(entries) = member {
            entries.sort_keys();
        }
        return;
    }
    let items = match member {
        Value::Array(items) => items.as_mut_slice(),
        single => std::slice::from_mut(single),
    };
    for item in items {
        match field.kind() {
            Kind::Message(message) => tidy(&message, item, form),
            Kind::Enum(names) if form == Form::Human => shorten(&names, item),
            _ => {}
        }
    }
}

fn shorten(names: &EnumDescriptor, item: &mut Value) {
    if let Value::String(name) = item
        && let Some(short) = name.strip_prefix(&prefix(names))
    {
        *item = Value::String(short.to_owned());
    }
}

/// The prefix that every value of an enum carries: `NODE_PHASE_` for `NodePhase`; read off its zero value.
pub(super) fn prefix(names: &EnumDescriptor) -> String {
    let zero = names.default_value();
    zero.name().strip_suffix("UNSPECIFIED").unwrap_or_default().to_owned()
}

fn humanise_duration(value: &mut Value) {
    if let Some(d) = value.as_str().and_then(duration::parse) {
        *value = Value::String(duration::format(d.seconds, d.nanos));
    }
}
