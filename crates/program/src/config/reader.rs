//! Deserialises the merged tree, so that errors name the setting at fault and unknown settings are found.

use std::cell::RefCell;
use std::collections::btree_map;
use std::fmt;
use std::slice;

use serde::de::value::StringDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};

use super::error::UnknownSetting;
use super::node::{Content, Node, child};
use super::{ConfigError, Origin};

pub(super) fn deserialize<T: DeserializeOwned>(root: &Node) -> Result<T, ConfigError> {
    let unknown = RefCell::new(Vec::new());
    let result = T::deserialize(Reader { node: root, unknown: &unknown });
    let unknown = unknown.into_inner();
    match result {
        // An unknown setting is often the misspelt twin of one that is now missing: name it first.
        _ if !unknown.is_empty() => Err(ConfigError::Unknown(unknown)),
        Ok(value) => Ok(value),
        Err(error) => Err(error.into_config_error()),
    }
}

#[derive(Debug)]
struct ReadError {
    kind: Kind,
    place: Option<(String, Origin)>,
}

#[derive(Debug)]
enum Kind {
    Message(String),
    Missing(&'static str),
}

impl ReadError {
    fn at(mut self, node: &Node) -> Self {
        self.place.get_or_insert_with(|| (node.path.clone(), node.origin.clone()));
        self
    }

    fn into_config_error(self) -> ConfigError {
        let (path, origin) = self.place.unwrap_or((String::new(), Origin::Default));
        match self.kind {
            Kind::Missing(field) => ConfigError::Missing { key: child(&path, field) },
            Kind::Message(message) => ConfigError::Invalid {
                key: if path.is_empty() { "(top level)".to_owned() } else { path },
                origin,
                message,
            },
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Message(message) => formatter.write_str(message),
            Kind::Missing(field) => write!(formatter, "missing `{field}`"),
        }
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<M: fmt::Display>(message: M) -> Self {
        Self { kind: Kind::Message(message.to_string()), place: None }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { kind: Kind::Missing(field), place: None }
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    unknown: &'a RefCell<Vec<UnknownSetting>>,
}

impl<'a> Reader<'a> {
    fn inner(self, node: &'a Node) -> Self {
        Self { node, ..self }
    }

    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.content {
            Content::Table(rows) => {
                visitor.visit_map(Table { rows: rows.iter(), value: None, unknown: self.unknown })
            }
            Content::Array(rows) => visitor.visit_seq(List { rows: rows.iter(), unknown: self.unknown }),
            Content::String(text) => visitor.visit_str(text),
            Content::Integer(number) => visitor.visit_i64(*number),
            Content::Float(number) => visitor.visit_f64(*number),
            Content::Boolean(boolean) => visitor.visit_bool(*boolean),
            Content::Text(text) => match (text.parse::<i64>(), text.parse::<f64>(), text.parse::<bool>()) {
                (Ok(number), _, _) => visitor.visit_i64(number),
                (_, Ok(number), _) => visitor.visit_f64(number),
                (_, _, Ok(boolean)) => visitor.visit_bool(boolean),
                _ => visitor.visit_str(text),
            },
        }
    }

    fn text(self) -> Option<&'a str> {
        match &self.node.content {
            Content::Text(text) => Some(text),
            Content::Table(_)
            | Content::Array(_)
            | Content::String(_)
            | Content::Integer(_)
            | Content::Float(_)
            | Content::Boolean(_) => None,
        }
    }
}

/// Rows of a table. An error of a row's type is placed at the row even where the type asked for plain text and judged
/// it afterwards (`#[serde(with = "…")]`).
struct Table<'a> {
    rows: btree_map::Iter<'a, String, Node>,
    value: Option<&'a Node>,
    unknown: &'a RefCell<Vec<UnknownSetting>>,
}

impl<'de> de::MapAccess<'de> for Table<'_> {
    type Error = ReadError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, ReadError> {
        let Some((key, row)) = self.rows.next() else { return Ok(None) };
        self.value = Some(row);
        let key: de::value::StrDeserializer<'_, ReadError> = key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|error| error.at(row))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        let node = self.value.take().ok_or_else(|| de::Error::custom("a value was read before its key"))?;
        seed.deserialize(Reader { node, unknown: self.unknown }).map_err(|error| error.at(node))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rows.len())
    }
}

struct List<'a> {
    rows: slice::Iter<'a, Node>,
    unknown: &'a RefCell<Vec<UnknownSetting>>,
}

impl<'de> de::SeqAccess<'de> for List<'_> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, ReadError> {
        let Some(node) = self.rows.next() else { return Ok(None) };
        seed.deserialize(Reader { node, unknown: self.unknown }).map(Some).map_err(|error| error.at(node))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rows.len())
    }
}

macro_rules! parse_text {
    ($($method:ident $visit:ident $kind:ty, $wanted:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            match self.text() {
                None => self.visit(visitor),
                Some(text) => match text.trim().parse::<$kind>() {
                    Ok(value) => visitor.$visit(value),
                    Err(_) => Err(de::Error::custom(concat!("expected ", $wanted))),
                },
            }
            .map_err(|error: ReadError| error.at(self.node))
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    parse_text! {
        deserialize_bool visit_bool bool, "true or false";
        deserialize_i8 visit_i8 i8, "a whole number from -128 to 127";
        deserialize_i16 visit_i16 i16, "a whole number of 16 bits";
        deserialize_i32 visit_i32 i32, "a whole number of 32 bits";
        deserialize_i64 visit_i64 i64, "a whole number of 64 bits";
        deserialize_u8 visit_u8 u8, "a whole number from 0 to 255";
        deserialize_u16 visit_u16 u16, "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 u32, "a whole number from 0 to 4294967295";
        deserialize_u64 visit_u64 u64, "a whole number, not negative";
        deserialize_f32 visit_f32 f32, "a number";
        deserialize_f64 visit_f64 f64, "a number";
        deserialize_str visit_string String, "text";
        deserialize_string visit_string String, "text";
        deserialize_char visit_char char, "one character";
        deserialize_identifier visit_string String, "a name";
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit(visitor).map_err(|error| error.at(self.node))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self).map_err(|error: ReadError| error.at(self.node))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self).map_err(|error: ReadError| error.at(self.node))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Some(text) = self.text() else { return self.deserialize_any(visitor) };
        let parts: Vec<String> = match format!("list = {text}").parse::<toml::Table>() {
            Ok(table) => match table.get("list") {
                Some(toml::Value::Array(values)) => values.iter().map(plain).collect(),
                _ => split(text),
            },
            Err(_) => split(text),
        };
        let rows: Vec<Node> = parts
            .into_iter()
            .enumerate()
            .map(|(index, part)| Node {
                path: format!("{}[{index}]", self.node.path),
                origin: self.node.origin.clone(),
                content: Content::Text(part),
            })
            .collect();
        visitor
            .visit_seq(List { rows: rows.iter(), unknown: self.unknown })
            .map_err(|error: ReadError| error.at(self.node))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.node.content {
            Content::Table(rows) => match rows.iter().next() {
                Some((key, row)) if rows.len() == 1 => {
                    visitor.visit_enum(Variant { name: key, reader: self.inner(row) })
                }
                _ => Err(de::Error::custom(format!("choose exactly one of {}", variants.join(", ")))),
            },
            Content::String(text) | Content::Text(text) => {
                let plain: StringDeserializer<ReadError> = text.clone().into_deserializer();
                de::Deserializer::deserialize_enum(plain, name, variants, visitor)
            }
            Content::Array(_) | Content::Integer(_) | Content::Float(_) | Content::Boolean(_) => {
                Err(de::Error::custom(format!("expected one of {}", variants.join(", "))))
            }
        }
        .map_err(|error: ReadError| error.at(self.node))
    }

    /// Serde asks for this where a field is unknown: that is where unknown settings are found.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.unknown
            .borrow_mut()
            .push(UnknownSetting { key: self.node.path.clone(), origin: self.node.origin.clone() });
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bytes byte_buf unit unit_struct tuple tuple_struct map struct
    }
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

struct Variant<'a> {
    name: &'a str,
    reader: Reader<'a>,
}

impl<'a, 'de> de::EnumAccess<'de> for Variant<'a> {
    type Error = ReadError;
    type Variant = Reader<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Reader<'a>), ReadError> {
        let name: de::value::StrDeserializer<'_, ReadError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self.reader))
    }
}

impl<'de> de::VariantAccess<'de> for Reader<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Err(ReadError::at(de::Error::custom("takes no settings of its own"), self.node))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, ReadError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value, ReadError> {
        de::Deserializer::deserialize_seq(self, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        de::Deserializer::deserialize_any(self, visitor)
    }
}
