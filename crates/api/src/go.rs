//! What Go's `encoding/json` does and serde does not.
//!
//! A Go slice or map is either nil (`null`) or there (`[]`, `{}`), and Docker's output shows which. [`List`] and [`Map`]
//! remember it; both deref to the collection, nil being empty.

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Reads `null` as the default.
pub(crate) fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// Reads a list, or one string as a list of one (Docker's `strslice`).
pub(crate) fn one_or_many<'de, D: Deserializer<'de>>(d: D) -> Result<List<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::<Either>::deserialize(d)? {
        None => List::default(),
        Some(Either::One(s)) => vec![s].into(),
        Some(Either::Many(v)) => v.into(),
    })
}

/// Reads an object as a struct. serde alone would also take a list, for the fields in their order, which Go refuses.
pub(crate) struct Object<D>(pub D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Object<D> {
    type Error = D::Error;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(OnlyFields(visitor))
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, OnlyFields(visitor))
    }
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// A visitor that is given an object or nothing.
struct OnlyFields<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for OnlyFields<V> {
    type Value = V::Value;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.expecting(f)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(map)
    }
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// `{}`: the values of Go's `map[string]struct{}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Empty {}

impl Serialize for Empty {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, s)
    }
}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::deserialize(Object(d))
    }
}

/// A Go slice: nil, which prints as `null`, or a list. Reads like a `Vec`; the default is nil.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct List<T> {
    there: bool,
    items: Vec<T>,
}

impl<T> List<T> {
    /// Nil.
    pub const fn null() -> List<T> {
        List { there: false, items: Vec::new() }
    }

    /// There, but empty: prints `[]`.
    pub const fn empty() -> List<T> {
        List { there: true, items: Vec::new() }
    }

    /// Whether it prints as `null`.
    pub fn is_null(&self) -> bool {
        !self.there && self.items.is_empty()
    }

    /// Whether nothing is in it, nil or not.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The items.
    pub fn into_vec(self) -> Vec<T> {
        self.items
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        List::null()
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(items: Vec<T>) -> Self {
        List { there: true, items }
    }
}

impl<T, const N: usize> From<[T; N]> for List<T> {
    fn from(items: [T; N]) -> Self {
        Vec::from(items).into()
    }
}

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(iter: I) -> Self {
        iter.into_iter().collect::<Vec<_>>().into()
    }
}

impl<T> IntoIterator for List<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl<T> Deref for List<T> {
    type Target = Vec<T>;
    fn deref(&self) -> &Vec<T> {
        &self.items
    }
}

impl<T> DerefMut for List<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.items
    }
}

impl<T: Serialize> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.is_null() { s.serialize_none() } else { self.items.serialize(s) }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Option::<Vec<T>>::deserialize(d)?.map_or_else(List::null, List::from))
    }
}

/// A Go map with string keys: nil, which prints as `null`, or a map, printed in the order of its keys as Go does.
/// Reads like a `BTreeMap`; the default is nil.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map<V> {
    there: bool,
    items: BTreeMap<String, V>,
}

impl<V> Map<V> {
    /// Nil.
    pub const fn null() -> Map<V> {
        Map { there: false, items: BTreeMap::new() }
    }

    /// There, but empty: prints `{}`.
    pub const fn empty() -> Map<V> {
        Map { there: true, items: BTreeMap::new() }
    }

    /// Whether it prints as `null`.
    pub fn is_null(&self) -> bool {
        !self.there && self.items.is_empty()
    }

    /// Whether nothing is in it, nil or not.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The items.
    pub fn into_btree(self) -> BTreeMap<String, V> {
        self.items
    }
}

impl<V> Default for Map<V> {
    fn default() -> Self {
        Map::null()
    }
}

impl<V> From<BTreeMap<String, V>> for Map<V> {
    fn from(items: BTreeMap<String, V>) -> Self {
        Map { there: true, items }
    }
}

impl<V> FromIterator<(String, V)> for Map<V> {
    fn from_iter<I: IntoIterator<Item = (String, V)>>(iter: I) -> Self {
        iter.into_iter().collect::<BTreeMap<_, _>>().into()
    }
}

impl<V> IntoIterator for Map<V> {
    type Item = (String, V);
    type IntoIter = std::collections::btree_map::IntoIter<String, V>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a, V> IntoIterator for &'a Map<V> {
    type Item = (&'a String, &'a V);
    type IntoIter = std::collections::btree_map::Iter<'a, String, V>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl<V> Deref for Map<V> {
    type Target = BTreeMap<String, V>;
    fn deref(&self) -> &BTreeMap<String, V> {
        &self.items
    }
}

impl<V> DerefMut for Map<V> {
    fn deref_mut(&mut self) -> &mut BTreeMap<String, V> {
        &mut self.items
    }
}

impl<V: Serialize> Serialize for Map<V> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.is_null() { s.serialize_none() } else { self.items.serialize(s) }
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Map<V> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Option::<BTreeMap<String, V>>::deserialize(d)?.map_or_else(Map::null, Map::from))
    }
}

/// Declares API objects: every field public, PascalCase on the wire, absent or `null` reading as the default, and nothing
/// but an object taken for one.
macro_rules! objects {
    ($( $(#[$meta:meta])* struct $name:ident { $( $(#[$fmeta:meta])* $field:ident : $ty:ty ),* $(,)? } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "PascalCase", default, remote = "Self")]
        #[allow(missing_docs)]
        pub struct $name { $(
            $(#[$fmeta])*
            #[serde(deserialize_with = "crate::go::null_is_default")]
            pub $field: $ty,
        )* }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, s)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Self::deserialize(crate::go::Object(d))
            }
        }
    )* };
}
pub(crate) use objects;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_no_object() {
        use crate::container::CreateContainer;
        let read = |json: &str| serde_json::from_str::<CreateContainer>(json).map_err(|e| e.to_string());
        for (json, what) in [
            (r#"[]"#, "CreateContainer"),
            (r#"{"HostConfig":[]}"#, "HostConfig"),
            (r#"{"NetworkingConfig":[]}"#, "NetworkingConfig"),
            (r#"{"NetworkingConfig":{"EndpointsConfig":{"n":[]}}}"#, "EndpointSettings"),
            (r#"{"NetworkingConfig":{"EndpointsConfig":{"n":{"IPAMConfig":[]}}}}"#, "EndpointIpam"),
            (r#"{"Healthcheck":[]}"#, "HealthConfig"),
            (r#"{"ExposedPorts":{"80/tcp":[]}}"#, "Empty"),
            (r#"{"HostConfig":{"LogConfig":[]}}"#, "LogConfig"),
            (r#"{"HostConfig":{"RestartPolicy":["always"]}}"#, "RestartPolicy"),
            (r#"{"HostConfig":{"Mounts":[[]]}}"#, "Mount"),
            (r#"{"HostConfig":{"Mounts":[{"TmpfsOptions":[]}]}}"#, "TmpfsOptions"),
            (r#"{"HostConfig":{"Devices":[["/dev/null"]]}}"#, "DeviceMapping"),
            (r#"{"HostConfig":{"Ulimits":[["nofile",1,2]]}}"#, "Ulimit"),
            (r#"{"HostConfig":{"BlkioWeightDevice":[[]]}}"#, "WeightDevice"),
            (r#"{"HostConfig":{"PortBindings":{"80/tcp":[["","1"]]}}}"#, "PortBinding"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.starts_with(&format!("invalid type: sequence, expected struct {what}")), "{json}: {error}");
        }
        assert!(read(r#"{"HostConfig":{"Mounts":[{}]},"NetworkingConfig":null}"#).is_ok());
    }

    #[test]
    fn nil_and_empty_survive() {
        for text in ["null", "[]", "[1,2]"] {
            let list: List<u8> = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&list).unwrap(), text);
        }
        for text in ["null", "{}", r#"{"a":1,"b":2}"#] {
            let map: Map<u8> = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&map).unwrap(), text);
        }
        let mut list = List::null();
        list.push(1);
        assert_eq!(serde_json::to_string(&list).unwrap(), "[1]");
        assert!(List::<u8>::null().is_null() && !List::<u8>::empty().is_null());
    }
}
