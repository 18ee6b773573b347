//! Names → image IDs, in both directions. A name has either a tag or a digest, never both and never none.

use oci::{Digest, Reference};
use std::collections::{BTreeMap, BTreeSet};

/// The table of names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    to: BTreeMap<Reference, Digest>,
    of: BTreeMap<Digest, BTreeSet<Reference>>,
}

/// The form under which a reference is kept: the digest alone if there is one, else the tag, `latest` if none.
pub(crate) fn canonical(reference: &Reference) -> Reference {
    match reference.digest() {
        Some(digest) => reference.with_digest(digest.clone()),
        None => reference.clone().or_latest(),
    }
}

impl Names {
    pub(crate) fn get(&self, reference: &Reference) -> Option<&Digest> {
        self.to.get(&canonical(reference))
    }

    /// Points a name at an image; says which image had it before.
    pub(crate) fn set(&mut self, reference: &Reference, id: &Digest) -> Option<Digest> {
        let reference = canonical(reference);
        let before = self.remove(&reference);
        self.of.entry(id.clone()).or_default().insert(reference.clone());
        self.to.insert(reference, id.clone());
        before
    }

    pub(crate) fn remove(&mut self, reference: &Reference) -> Option<Digest> {
        let reference = canonical(reference);
        let id = self.to.remove(&reference)?;
        if let Some(set) = self.of.get_mut(&id) {
            set.remove(&reference);
            if set.is_empty() {
                self.of.remove(&id);
            }
        }
        Some(id)
    }

    /// Tags first, then digests, each in order.
    pub(crate) fn of(&self, id: &Digest) -> Vec<Reference> {
        let mut all: Vec<Reference> = self.of.get(id).into_iter().flatten().cloned().collect();
        all.sort_by_key(|r| r.digest().is_some());
        all
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Reference, &Digest)> {
        self.to.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_agree() {
        let id = |n: u8| Digest::from_sha256(&[n; 32]);
        let name = |text: &str| text.parse::<Reference>().unwrap();
        let mut names = Names::default();
        assert_eq!(names.set(&name("debian"), &id(1)), None);
        assert_eq!(names.set(&name("debian:latest"), &id(2)), Some(id(1)));
        let by_digest = name(&format!("debian:13@{}", id(9)));
        assert_eq!(names.set(&by_digest, &id(2)), None);
        assert_eq!(names.get(&name("debian")), Some(&id(2)));
        assert_eq!(names.get(&name(&format!("debian@{}", id(9)))), Some(&id(2)));
        assert_eq!(names.of(&id(1)), []);
        let shown: Vec<String> = names.of(&id(2)).iter().map(Reference::familiar).collect();
        assert_eq!(shown, ["debian:latest".to_owned(), format!("debian@{}", id(9))]);
        assert_eq!(names.remove(&name("debian")), Some(id(2)));
        assert_eq!(names.remove(&name("debian")), None);
        assert_eq!(names.of(&id(2)).len(), 1);
    }
}
