//! One JSON document as a tree that borrows its texts from the line it was read from.
//!
//! Reads what `serde_json` accepts, with its limit of depth, and never copies a text without an escape in it.

use std::borrow::Cow;
use std::fmt;

use rsigma_eval::event::JsonEvent;
use rsigma_eval::{Event as _, EventValue};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// How deep texts are looked for in a document, as the matcher does.
const DEPTH: usize = 64;

/// A value of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Node<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number that fits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Node<'a>>),
    /// Names and values, in the order of the document; of equal names the last one counts.
    Map(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// The value of this name, if this is a map that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node<'a>> {
        match self {
            Self::Map(members) => members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// The text, if this is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// The whole number, if this is one or a text of its digits.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Text(text) => canonical(text),
            Self::Null | Self::Bool(_) | Self::Float(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// The value as the matcher wants it.
    #[must_use]
    pub fn value(&self) -> EventValue<'_> {
        match self {
            Self::Null => EventValue::Null,
            Self::Bool(is) => EventValue::Bool(*is),
            Self::Int(number) => EventValue::Int(*number),
            Self::Float(number) => EventValue::Float(*number),
            Self::Text(text) => EventValue::Str(Cow::Borrowed(text)),
            Self::List(items) => EventValue::Array(items.iter().map(Node::value).collect()),
            Self::Map(members) => EventValue::Map(
                members.iter().map(|(name, value)| (Cow::Borrowed(name.as_ref()), value.value())).collect(),
            ),
        }
    }

    /// The field at a dotted path, as the matcher resolves it: the name as a whole first, then step by step, through
    /// every member of a list.
    #[must_use]
    pub fn field(&self, path: &str) -> Option<EventValue<'_>> {
        if let Some(found) = self.get(path) {
            return Some(found.value());
        }
        if path.contains(['[', '\\']) {
            return JsonEvent::owned(self.json()).get_field(path).map(owned);
        }
        if !path.contains('.') {
            return None;
        }
        let mut here = self;
        for step in path.split('.') {
            match here {
                Self::List(_) => return self.spread(path),
                Self::Map(_) => here = here.get(step)?,
                Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Text(_) => return None,
            }
        }
        Some(here.value())
    }

    /// The values at a path that leads through lists.
    fn spread(&self, path: &str) -> Option<EventValue<'_>> {
        let mut found = Vec::new();
        self.collect(path, &mut found);
        match found.len() {
            0 | 1 => found.pop(),
            _ => Some(EventValue::Array(found)),
        }
    }

    fn collect<'s>(&'s self, path: &str, found: &mut Vec<EventValue<'s>>) {
        let (step, rest) = path.split_once('.').map_or((path, None), |(step, rest)| (step, Some(rest)));
        match self {
            Self::Map(_) => match (self.get(step), rest) {
                (Some(next), Some(rest)) => next.collect(rest, found),
                (Some(last), None) => found.push(last.value()),
                (None, _) => {}
            },
            Self::List(items) => items.iter().for_each(|item| item.collect(path, found)),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Text(_) => {}
        }
    }

    /// The same as an owned value of `serde_json`.
    #[must_use]
    pub fn json(&self) -> Value {
        self.value().to_json()
    }

    /// Whether any text in it satisfies `is`.
    pub fn any_text(&self, is: &dyn Fn(&str) -> bool) -> bool {
        self.any_text_within(is, DEPTH)
    }

    fn any_text_within(&self, is: &dyn Fn(&str) -> bool, depth: usize) -> bool {
        let Some(below) = depth.checked_sub(1) else { return false };
        match self {
            Self::Text(text) => is(text),
            Self::List(items) => items.iter().any(|item| item.any_text_within(is, below)),
            Self::Map(members) => members.iter().any(|(_, value)| value.any_text_within(is, below)),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => false,
        }
    }

    /// Every text in it.
    pub fn texts<'s>(&'s self, found: &mut Vec<Cow<'s, str>>) {
        match self {
            Self::Text(text) => found.push(Cow::Borrowed(text)),
            Self::List(items) => items.iter().for_each(|item| item.texts(found)),
            Self::Map(members) => members.iter().for_each(|(_, value)| value.texts(found)),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => {}
        }
    }
}

/// The number that a text writes out in its shortest form, and no other text does.
#[must_use]
pub fn canonical(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    let is_shortest = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_shortest.then_some(number)
}

fn owned(value: EventValue<'_>) -> EventValue<'static> {
    match value {
        EventValue::Str(text) => EventValue::Str(Cow::Owned(text.into_owned())),
        EventValue::Int(number) => EventValue::Int(number),
        EventValue::Float(number) => EventValue::Float(number),
        EventValue::Bool(is) => EventValue::Bool(is),
        EventValue::Null => EventValue::Null,
        EventValue::Array(items) => EventValue::Array(items.into_iter().map(owned).collect()),
        EventValue::Map(members) => EventValue::Map(
            members.into_iter().map(|(name, value)| (Cow::Owned(name.into_owned()), owned(value))).collect(),
        ),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, is: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(is))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node<'de>, E> {
        Ok(Node::Int(number))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a number beyond i64 is compared as the nearest float, as the matcher does"
    )]
    fn visit_u64<E>(self, number: u64) -> Result<Node<'de>, E> {
        Ok(i64::try_from(number).map_or(Node::Float(number as f64), Node::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node<'de>, E> {
        Ok(Node::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut members = Vec::with_capacity(MEMBERS);
        while let Some(Name(name)) = map.next_key()? {
            members.push((name, map.next_value()?));
        }
        Ok(Node::Map(members))
    }
}

/// Room for the members of a map before it has to grow: most have fewer.
const MEMBERS: usize = 16;

struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1.0e6..1.0e6).prop_map(|x: f64| Value::from(x)),
            "[a-c\"\\\\\u{e4}\n.]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]{1,2}(\\.[a-b])?", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn fields_are_what_the_engines_own_event_finds(
            value in any_json(),
            paths in prop::collection::vec("[a-c]{1,2}(\\.[a-c]{1,2}){0,3}(\\[-?[0-2]\\])?", 1..6),
        ) {
            let text = value.to_string();
            let node: Node = serde_json::from_str(&text).unwrap();
            let parsed: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(node.value(), EventValue::from(&parsed));
            let reference = JsonEvent::borrow(&parsed);
            for path in &paths {
                let (ours, theirs) = (node.field(path), reference.get_field(path));
                prop_assert_eq!(ours, theirs, "{}", path);
            }
            prop_assert_eq!(node.any_text(&|text| text.contains('a')), reference.any_string_value(&|text| text.contains('a')));
        }
    }

    #[test]
    fn texts_without_escapes_are_borrowed_and_the_last_of_equal_names_counts() {
        let node: Node = serde_json::from_str(r#"{"a":"x","b":"\n","a":2}"#).unwrap();
        assert_eq!(node.get("a"), Some(&Node::Int(2)));
        let Node::Map(members) = &node else { panic!("{node:?}") };
        assert!(matches!(&members[0].1, Node::Text(Cow::Borrowed("x"))));
        assert!(serde_json::from_str::<Node>(&"[".repeat(5_000)).is_err());
    }

    #[test]
    fn only_the_shortest_form_of_a_number_is_canonical() {
        for (text, number) in
            [("0", Some(0)), ("4625", Some(4625)), ("04625", None), ("4625.0", None), ("+1", None), ("", None)]
        {
            assert_eq!(canonical(text), number, "{text}");
        }
    }
}
