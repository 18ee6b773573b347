//! The `WWW-Authenticate` header (RFC 9110 section 11.6.1): several challenges, each a scheme and its parameters.

use std::collections::BTreeMap;

/// One challenge; names are lower case.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub scheme: String,
    pub parameters: BTreeMap<String, String>,
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Everything that can be understood; what cannot ends the list.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let bytes = header.as_bytes();
    let mut at = 0;
    let mut found: Vec<Challenge> = Vec::new();
    let skip = |at: &mut usize, set: &[u8]| {
        while bytes.get(*at).is_some_and(|b| set.contains(b)) {
            *at += 1;
        }
    };
    let word = |at: &mut usize| {
        let start = *at;
        while bytes.get(*at).is_some_and(|b| is_token(*b)) {
            *at += 1;
        }
        header[start..*at].to_ascii_lowercase()
    };
    loop {
        skip(&mut at, b" \t,");
        let name = word(&mut at);
        if name.is_empty() {
            return found;
        }
        let after = at;
        skip(&mut at, b" \t");
        if bytes.get(at) != Some(&b'=') {
            // A word without '=' begins the next challenge.
            at = after;
            found.push(Challenge { scheme: name, parameters: BTreeMap::new() });
            continue;
        }
        at += 1;
        skip(&mut at, b" \t");
        let value = if bytes.get(at) == Some(&b'"') {
            at += 1;
            let mut value = Vec::new();
            loop {
                match bytes.get(at) {
                    Some(b'"') => break,
                    Some(b'\\') if at + 1 < bytes.len() => {
                        value.push(bytes[at + 1]);
                        at += 2;
                    }
                    Some(b) => {
                        value.push(*b);
                        at += 1;
                    }
                    None => return found,
                }
            }
            at += 1;
            String::from_utf8_lossy(&value).into_owned()
        } else {
            let start = at;
            while bytes.get(at).is_some_and(|b| !b" \t,".contains(b)) {
                at += 1;
            }
            String::from_utf8_lossy(&bytes[start..at]).into_owned()
        };
        let Some(challenge) = found.last_mut() else { return found };
        challenge.parameters.entry(name).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn challenges() {
        let header = r#"Basic realm="a \"b\", c", Bearer realm="https://auth.test/token",service="reg",scope="repository:x:pull,push",error=invalid_token"#;
        let found = parse(header);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].scheme.as_str(), found[0].parameters["realm"].as_str()), ("basic", "a \"b\", c"));
        let bearer = &found[1].parameters;
        assert_eq!(bearer["realm"], "https://auth.test/token");
        assert_eq!(bearer["scope"], "repository:x:pull,push");
        assert_eq!(bearer["error"], "invalid_token");
        assert_eq!(parse("Negotiate"), [Challenge { scheme: "negotiate".into(), parameters: BTreeMap::new() }]);
        assert_eq!(parse("realm=x"), []);
        assert_eq!(
            parse(r#"Bearer realm="open"#),
            [Challenge { scheme: "bearer".into(), parameters: BTreeMap::new() }]
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,200}") {
            parse(&text);
        }
    }
}
