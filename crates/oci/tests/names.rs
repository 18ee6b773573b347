//! References, digests and platforms: any text is a name or is refused, and a name is the same after a round trip.

use oci::{Digest, Platform, Reference};
use proptest::prelude::*;

/// The grammar of distribution/reference for one component of a path, read from left to right.
fn is_component(text: &str) -> bool {
    let alnum = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    let mut rest = text;
    loop {
        let word = rest.trim_start_matches(alnum);
        if word.len() == rest.len() {
            return false;
        }
        if word.is_empty() {
            return true;
        }
        let dashes = word.trim_start_matches('-');
        rest = match word {
            w if w.starts_with("__") => &w[2..],
            w if w.starts_with(['.', '_']) => &w[1..],
            _ if dashes.len() < word.len() => dashes,
            _ => return false,
        };
    }
}

fn is_tag(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128 && text.starts_with(first) && text.chars().all(|c| first(c) || c == '.' || c == '-')
}

fn is_digest(text: &str) -> bool {
    let hex = |t: &str, n: usize| t.len() == n && t.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    text.strip_prefix("sha256:").is_some_and(|t| hex(t, 64))
        || text.strip_prefix("sha512:").is_some_and(|t| hex(t, 128))
}

/// What holds of every reference that was accepted.
fn sound(text: &str) -> Result<(), TestCaseError> {
    let Ok(r) = text.parse::<Reference>() else { return Ok(()) };
    prop_assert!(r.path().split('/').all(is_component), "{}", r.path());
    prop_assert!(r.tag().is_none_or(is_tag) && r.digest().is_none_or(|d| is_digest(d.as_str())));
    prop_assert!(r.host().len() + 1 + r.path().len() <= 255);
    prop_assert!(!r.host().is_empty() && !r.host().contains(['/', '@', ' ', '\n', '\0']), "{}", r.host());
    for shown in [r.to_string(), r.familiar()] {
        prop_assert_eq!(shown.parse::<Reference>(), Ok(r.clone()), "{} of {:?}", shown, text);
    }
    let repository = r.repository().parse::<Reference>().map(|r| r.repository());
    prop_assert_eq!(repository, Ok(r.repository()));
    let familiar = r.familiar_repository().parse::<Reference>().map(|r| r.repository());
    prop_assert_eq!(familiar, Ok(r.repository()), "{}", r.familiar_repository());
    // Nothing was read that is not there, and nothing that is there was lost.
    let read = format!("{r}");
    let tail = text.strip_prefix("index.docker.io/").unwrap_or(text);
    let short = tail.strip_prefix("docker.io/").unwrap_or(tail);
    prop_assert!(read.ends_with(short), "{} of {}", read, text);
    Ok(())
}

/// Texts that are nearly references.
fn nearly() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        4 => Just(String::new()),
        2 => prop::sample::select(vec![
            "docker.io/", "index.docker.io/", "localhost/", "Docker.io/", "h.example:5000/", "[::1]:80/", "[::1]/", "a.b/",
            "1.2.3.4/", "library/", "EXAMPLE/", "x:0/", "x:65536/", "x:05/", "[::g]/", "-a.b/", "a..b/", "[::1]x/", "/",
        ]).prop_map(str::to_owned),
        1 => "[a-z0-9.:\\[\\]-]{1,12}/",
    ];
    let part = prop_oneof![
        6 => "[a-z0-9]{1,6}",
        2 => "[a-z0-9._-]{1,8}",
        1 => "[A-Za-z0-9._/ -]{0,6}",
        1 => Just("library".to_owned()),
        1 => Just("ab".repeat(32)),
        1 => "[a-z]{200,260}",
    ];
    let tag = prop_oneof![
        3 => Just(String::new()),
        2 => ":[A-Za-z0-9_.-]{0,6}",
        1 => ":[a-z]{126,130}",
        1 => ":[ -~]{0,5}",
    ];
    let digest = prop_oneof![
        4 => Just(String::new()),
        1 => "@sha256:[0-9a-f]{64}",
        1 => "@sha512:[0-9a-f]{128}",
        1 => "@[a-zA-Z0-9+.:/_-]{0,72}",
        1 => "@sha256:[0-9a-fA-F]{63,65}",
    ];
    (host, prop::collection::vec(part, 1..4), tag, digest)
        .prop_map(|(host, parts, tag, digest)| format!("{host}{}{tag}{digest}", parts.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_reference_or_none(text in any::<String>()) {
        sound(&text)?;
    }

    #[test]
    fn what_is_nearly_a_reference(text in nearly()) {
        sound(&text)?;
    }

    #[test]
    fn what_follows_the_grammar_is_a_reference(
        parts in prop::collection::vec("[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}", 1..4),
        tag in prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
        digest in prop::option::of("sha256:[0-9a-f]{64}"),
    ) {
        let path = parts.join("/");
        let tail = |mark: &str, part: &Option<String>| part.as_ref().map_or(String::new(), |p| format!("{mark}{p}"));
        let text = format!("host.example/{path}{}{}", tail(":", &tag), tail("@", &digest));
        let r: Reference = text.parse().unwrap();
        prop_assert_eq!((r.host(), r.path(), r.tag()), ("host.example", path.as_str(), tag.as_deref()));
        prop_assert_eq!(r.digest().map(Digest::as_str), digest.as_deref());
    }

    #[test]
    fn digests_are_exact(text in prop_oneof![
        "(sha256|sha512|md5|SHA256|sha1)?:?[0-9a-f]{60,66}", "sha256:[0-9a-fG]{64}", "sha512:[0-9a-f]{127,129}",
        "sha256:(\\.\\./){1,20}x", any::<String>(),
    ]) {
        match text.parse::<Digest>() {
            Ok(digest) => {
                prop_assert!(is_digest(&text));
                prop_assert_eq!(digest.as_str(), &text);
                prop_assert_eq!(format!("{}:{}", digest.algorithm().name(), digest.hex()), text);
            }
            Err(error) => {
                prop_assert!(!is_digest(&text));
                // However long the text was.
                prop_assert!(error.to_string().len() < 3000);
            }
        }
    }

    #[test]
    fn platforms_are_the_same_after_a_round_trip(text in prop_oneof![
        any::<String>(), "[a-zA-Z0-9_.-]{0,8}(/[a-zA-Z0-9_.-]{0,8}){0,3}",
        "(linux|Linux|windows|)/(amd64|x86_64|x86-64|aarch64|arm64|arm|armhf|armel|i386|i686|386)(/(v?[0-9]{1,2}|V8|x))?",
    ]) {
        if let Ok(platform) = text.parse::<Platform>() {
            prop_assert_eq!(platform.to_string().parse::<Platform>(), Ok(platform.clone()), "{}", text);
            prop_assert_eq!(platform.clone().normalized(), platform.clone());
            prop_assert_eq!(platform.rank(&platform), Some(0));
        }
    }
}
