//! The `filters` query parameter: `{"status":["exited"]}`, or the older `{"status":{"exited":true}}`.

use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Values by key. A request without the parameter has none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

/// `invalid filter`, `invalid filter 'key'` or `invalid filter 'key=[values]'`: a 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidFilter(
    /// The whole sentence.
    pub String,
);

impl fmt::Display for InvalidFilter {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidFilter {}

impl Filters {
    /// Reads the parameter's value; empty is no filter.
    ///
    /// # Errors
    /// When it is neither of the two forms.
    pub fn parse(text: &str) -> Result<Filters, InvalidFilter> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Values {
            List(Vec<String>),
            Set(BTreeMap<String, bool>),
        }
        if text.is_empty() {
            return Ok(Filters::default());
        }
        let raw: Option<BTreeMap<String, Option<Values>>> =
            serde_json::from_str(text).map_err(|_| InvalidFilter("invalid filter".into()))?;
        let values = |v: Option<Values>| match v {
            None => BTreeSet::new(),
            Some(Values::List(list)) => list.into_iter().collect(),
            Some(Values::Set(set)) => set.into_keys().collect(),
        };
        Ok(Filters(raw.unwrap_or_default().into_iter().map(|(k, v)| (k, values(v))).collect()))
    }

    /// The older form, which every server reads: what Docker's own client sends.
    pub fn to_query(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Adds a value.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(key.into()).or_default().insert(value.into());
    }

    /// Whether there is no filter at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the key was given.
    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The values of a key.
    pub fn get(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Refuses keys that are not in `accepted`.
    ///
    /// # Errors
    /// `invalid filter 'key'`
    pub fn validate(&self, accepted: &[&str]) -> Result<(), InvalidFilter> {
        match self.0.keys().find(|key| !accepted.contains(&key.as_str())) {
            Some(key) => Err(InvalidFilter(format!("invalid filter '{key}'"))),
            None => Ok(()),
        }
    }

    /// A boolean, or `default` when the key was not given.
    ///
    /// # Errors
    /// When its values are not one boolean.
    pub fn boolean(&self, key: &str, default: bool) -> Result<bool, InvalidFilter> {
        let Some(values) = self.0.get(key) else { return Ok(default) };
        if values.is_empty() {
            return Err(InvalidFilter(format!("invalid filter '{key}'")));
        }
        let no = values.contains("0") || values.contains("false");
        let yes = values.contains("1") || values.contains("true");
        if no == yes {
            return Err(self.invalid(key));
        }
        Ok(yes)
    }

    /// `invalid filter 'key=[values]'`
    pub fn invalid(&self, key: &str) -> InvalidFilter {
        let values = self.get(key).collect::<Vec<_>>().join(" ");
        InvalidFilter(format!("invalid filter '{key}=[{values}]'"))
    }

    /// True without values of `key`, or when one of them is `text`.
    pub fn exact(&self, key: &str, text: &str) -> bool {
        self.0.get(key).is_none_or(|values| values.is_empty() || values.contains(text))
    }

    /// True without values of `key`, or when one of them is the beginning of `text`.
    pub fn prefix(&self, key: &str, text: &str) -> bool {
        self.exact(key, text) || self.get(key).any(|value| text.starts_with(value))
    }

    /// True without values of `key`, or when one of them is `text` or a regular expression that is found in it.
    pub fn matches(&self, key: &str, text: &str) -> bool {
        self.exact(key, text) || self.get(key).any(|value| crate::filters::pattern::found(value, text))
    }

    /// True when every value of `key` (`name` or `name=value`) is among `labels`.
    pub fn labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.get(key).all(|wanted| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|v| v == value),
            None => labels.contains_key(wanted),
        })
    }
}

impl Serialize for Filters {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(
            self.0.iter().map(|(key, values)| (key, values.iter().map(|v| (v, true)).collect::<BTreeMap<_, _>>())),
        )
    }
}

pub mod pattern;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let list = Filters::parse(r#"{"status":["exited","dead"],"label":["a=b"]}"#).unwrap();
        let set = Filters::parse(r#"{"status":{"exited":true,"dead":true},"label":{"a=b":true}}"#).unwrap();
        assert_eq!(list, set);
        assert_eq!(list.get("status").collect::<Vec<_>>(), ["dead", "exited"]);
        assert_eq!(set.to_query(), r#"{"label":{"a=b":true},"status":{"dead":true,"exited":true}}"#);
        assert_eq!(Filters::parse("").unwrap(), Filters::default());
        for bad in ["x", "[]", r#"{"a":1}"#, r#"{"a":[1]}"#] {
            assert_eq!(Filters::parse(bad).unwrap_err().to_string(), "invalid filter", "{bad}");
        }
    }

    #[test]
    fn refusals_in_dockers_words() {
        let filters = Filters::parse(r#"{"nope":["x"],"dangling":["maybe","x"]}"#).unwrap();
        assert_eq!(filters.validate(&["dangling"]).unwrap_err().0, "invalid filter 'nope'");
        assert_eq!(filters.boolean("dangling", false).unwrap_err().0, "invalid filter 'dangling=[maybe x]'");
        assert_eq!(filters.boolean("other", true), Ok(true));
    }

    #[test]
    fn matching() {
        let filters = Filters::parse(r#"{"name":["^/?we","db$"],"id":["ab"],"label":["k=v","z"]}"#).unwrap();
        assert!(filters.matches("name", "web") && filters.matches("name", "mydb") && !filters.matches("name", "other"));
        assert!(filters.prefix("id", "abc") && !filters.prefix("id", "xab") && filters.prefix("absent", "x"));
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert!(filters.labels("label", &labels(&[("k", "v"), ("z", "")])));
        assert!(!filters.labels("label", &labels(&[("k", "w"), ("z", "")])));
    }
}
