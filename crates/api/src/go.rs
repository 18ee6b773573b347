//! What Go's `encoding/json` does and serde does not.
//!
//! A Go slice or map is either nil (`null`) or there (`[]`, `{}`), and Docker's output shows which. [`List`] and [`Map`]
//! remember it; both deref to the collection, nil being empty.

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, MapAccess, Visitor};
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

/// Reads an object as a struct: its keys in any case, as Go does, and nothing but an object, which serde alone would not
/// insist on: it takes a list for the fields in their order.
pub(crate) struct Object<D>(pub D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Object<D> {
    type Error = D::Error;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(OnlyFields { visitor, fields: &[] })
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, OnlyFields { visitor, fields: &[fields] })
    }
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The same for a struct with another flattened into it, which serde reads as a map: the names of both must be said.
pub(crate) struct Flat<'f, D>(pub D, pub Names<'f>);

/// Names of fields.
type Names<'f> = &'f [&'f [&'static str]];

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Flat<'_, D> {
    type Error = D::Error;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(OnlyFields { visitor, fields: self.1 })
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(OnlyFields { visitor, fields: self.1 })
    }
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct struct enum identifier ignored_any
    }
}

/// The names of a struct's fields on the wire.
pub(crate) fn fields_of<T: Deserialize<'static>>() -> &'static [&'static str] {
    /// Reads nothing, and fails with what it was asked for.
    struct Asked;
    #[derive(Debug)]
    struct Fields(&'static [&'static str]);
    impl fmt::Display for Fields {
        fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
            write!(f, "{:?}", self.0)
        }
    }
    impl std::error::Error for Fields {}
    impl de::Error for Fields {
        fn custom<M: fmt::Display>(_: M) -> Fields {
            Fields(&[])
        }
    }
    impl<'de> Deserializer<'de> for Asked {
        type Error = Fields;
        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fields> {
            Err(Fields(&[]))
        }
        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Fields> {
            Err(Fields(fields))
        }
        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    T::deserialize(Asked).map_or_else(|fields| fields.0, |_| &[])
}

/// A visitor that is given an object or nothing.
struct OnlyFields<'f, V> {
    visitor: V,
    fields: Names<'f>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for OnlyFields<'_, V> {
    type Value = V::Value;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.visitor.expecting(f)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(AnyCase { map, fields: self.fields })
    }
}

/// An object whose keys come as the fields' own names when they differ from them in case alone. Two that become the same
/// are two of one name: whoever reads them refuses that as ever.
struct AnyCase<'f, A> {
    map: A,
    fields: Names<'f>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for AnyCase<'_, A> {
    type Error = A::Error;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.map.next_key_seed(Key { seed, fields: self.fields })
    }
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
    fn size_hint(&self) -> Option<usize> {
        self.map.size_hint()
    }
}

struct Key<'f, K> {
    seed: K,
    fields: Names<'f>,
}

impl<K> Key<'_, K> {
    fn name(&self, key: &str) -> Option<&'static str> {
        let all = || self.fields.iter().flat_map(|names| names.iter().copied());
        all().find(|name| *name == key).or_else(|| all().find(|name| name.eq_ignore_ascii_case(key)))
    }
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<'_, K> {
    type Value = K::Value;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<K::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl<'de, K: DeserializeSeed<'de>> Visitor<'de> for Key<'_, K> {
    type Value = K::Value;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: de::Error>(self, key: &str) -> Result<K::Value, E> {
        let name = self.name(key).unwrap_or(key);
        self.seed.deserialize(StrDeserializer::new(name))
    }
    fn visit_borrowed_str<E: de::Error>(self, key: &'de str) -> Result<K::Value, E> {
        let name = self.name(key).unwrap_or(key);
        self.seed.deserialize(BorrowedStrDeserializer::new(name))
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

/// Reads a struct with another flattened into it, whose fields' names are said.
macro_rules! flattened {
    ($name:ident, $own:expr, $inner:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, s)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Self::deserialize(crate::go::Flat(d, &[$own, crate::go::fields_of::<$inner>()]))
            }
        }
    };
}
pub(crate) use flattened;

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

        crate::go::object!($name);
    )* };
}
pub(crate) use objects;

/// Reads and writes a struct that was derived with `remote = "Self"`, as an [`Object`].
macro_rules! object {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
                Self::serialize(self, s)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
                Self::deserialize(crate::go::Object(d))
            }
        }
    };
}
pub(crate) use object;

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
    fn keys_in_any_case() {
        use crate::container::{CreateContainer, UpdateContainer};
        let read = |json: &str| serde_json::from_str::<CreateContainer>(json).map_err(|e| e.to_string());
        let made = read(
            r#"{"image":"i","ENV":["A=b"],"hostconfig":{"PRIVILEGED":true,"memory":5,"utsmode":"host",
                "restartpolicy":{"name":"always"},"portbindings":{"80/tcp":[{"hostport":"8"}]}},
                "labels":{"Label":"x","label":"y"}}"#,
        )
        .unwrap();
        let host = made.host_config.unwrap();
        assert_eq!((made.config.image.as_str(), &made.config.env[..]), ("i", &["A=b".to_owned()][..]));
        assert_eq!((host.privileged, host.resources.memory, host.uts_mode.as_str()), (true, 5, "host"));
        assert_eq!(host.restart_policy.name, "always");
        assert_eq!(host.port_bindings["80/tcp"][0].host_port, "8");
        // Keys of maps are data.
        assert_eq!(made.config.labels.len(), 2);
        // Escapes in a key make it one that cannot be borrowed.
        assert_eq!(read(r#"{"\u0069mage":"i"}"#).unwrap().config.image, "i");
        // Twice is once too often, however it is written.
        for twice in [
            r#"{"Image":"a","image":"b"}"#,
            r#"{"Image":"a","Image":"b"}"#,
            r#"{"HostConfig":{},"hostConfig":{}}"#,
            r#"{"HostConfig":{"Privileged":false,"privileged":true}}"#,
            r#"{"HostConfig":{"Memory":1,"memory":2}}"#,
            r#"{"HostConfig":{"LogConfig":{"Type":"none","type":"none"}}}"#,
        ] {
            assert!(read(twice).unwrap_err().starts_with("duplicate field"), "{twice}");
        }
        let update: UpdateContainer = serde_json::from_str(r#"{"memory":7,"restartPolicy":{"NAME":"no"}}"#).unwrap();
        assert_eq!((update.resources.memory, update.restart_policy.name.as_str()), (7, "no"));
        let how: crate::exec::StartExec = serde_json::from_str(r#"{"detach":true,"tTy":true}"#).unwrap();
        assert!(how.detach && how.tty);
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
