//! Registries that do as they like.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tests::evil::{self, Answer, Evil, Parts, digest, found, media};
use tests::tar::Tar;
use tests::{Engine, Said, need_root, wait_for};

/// How a registry misbehaves, what of it the client must be told.
fn registries() -> Vec<(&'static str, &'static [&'static str])> {
    vec![
        ("truncated", &["EOF", "closed", "ended", "unexpected"]),
        ("endless", &["size", "larger", "longer", "more"]),
        ("wrong-bytes", &["digest", "verification"]),
        ("wrong-size", &["size", "digest", "verification", "larger", "longer", "bytes"]),
        ("size-huge", &["size", "larger", "limit", "EOF", "closed", "ended", "bytes"]),
        ("size-negative", &["size", "invalid", "manifest"]),
        ("wrong-diff-id", &["diff", "digest", "verification"]),
        ("both", &["manifest"]),
        ("media-mismatch", &["media", "manifest"]),
        ("no-layers-list", &["manifest"]),
        ("config-array", &["config", "configuration"]),
        ("config-word", &["config", "configuration"]),
        ("config-shape", &["config", "configuration"]),
        ("config-no-rootfs", &["config", "configuration", "rootfs", "layers"]),
        ("config-other-os", &["platform", "operating system", "windows", "os"]),
        ("schema-1", &["schema", "manifest", "not supported"]),
        ("manifest-large", &["manifest", "larger", "limit"]),
        ("manifest-endless", &["manifest", "larger", "limit"]),
        ("manifest-html", &["manifest", "media", "html"]),
        ("manifest-trailing", &["manifest", "trailing"]),
        ("manifest-twice", &["manifest", "duplicate"]),
        ("manifest-digest", &["digest", "verification"]),
        ("manifest-bom", &["manifest"]),
        ("manifest-cased", &["case"]),
        ("manifest-deep-twice", &["duplicate"]),
        ("manifest-list", &["manifest"]),
        ("by-digest", &["digest", "verification"]),
        ("index-by-digest", &["digest", "verification"]),
        ("index-lies", &["manifest", "says it is"]),
        ("index-size", &["bytes", "says"]),
        ("index-cycle", &["digest", "verification"]),
        ("index-wide", &["no matching manifest"]),
        ("digest-path", &["digest", "manifest"]),
        ("digest-case", &["digest", "manifest"]),
        ("index-deep", &["index", "manifest", "nest"]),
        ("index-empty", &["manifest", "platform"]),
        ("foreign-url", &["not supported", "not found", "url", "foreign", "404", "unknown"]),
        ("unauthorized-for-ever", &["unauthorized", "denied", "authorization", "authentication", "credentials"]),
        ("bearer-for-ever", &["unauthorized", "denied", "authorization", "authentication", "token"]),
        ("redirect-for-ever", &["redirect"]),
        ("redirect-file", &["redirect", "scheme", "URL"]),
        ("garbage", &["HTTP", "invalid", "malformed", "response", "parse"]),
        ("headers-endless", &["HTTP", "header", "response", "large", "parse"]),
        ("missing", &["not found", "does not exist", "denied"]),
    ]
}

/// A sound image with a layer that no other has.
fn own_image(case: &str) -> Parts {
    evil::image(&[Tar::new().file(case, &vec![b'h'; 100_000]).end()])
}

fn manifest(bytes: &[u8]) -> Answer {
    found(media::MANIFEST, bytes)
}

fn misbehave(case: &str, good: &Parts, asked: &evil::Asked) -> Answer {
    let path = asked.path.as_str();
    let is_manifest = path.contains("/manifests/");
    let is_layer = path.ends_with(&digest(&good.layers[0]));
    let mut bad = good.clone();
    let served = |parts: &Parts| parts.answer(asked);
    let config = |config: Value| evil::with_config(config, &good.layers).answer(asked);
    match case {
        "truncated" if is_layer => {
            let mut out = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", good.layers[0].len()).into_bytes();
            out.extend_from_slice(&good.layers[0][..100]);
            Answer::Raw(out)
        }
        "endless" if is_layer => Answer::Endless(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec()),
        "wrong-bytes" if is_layer => found("application/octet-stream", &vec![b'x'; good.layers[0].len()]),
        "wrong-size" => {
            bad.manifest["layers"][0]["size"] = 777.into();
            served(&bad)
        }
        "size-huge" => {
            bad.manifest["layers"][0]["size"] = i64::MAX.into();
            served(&bad)
        }
        "size-negative" => {
            bad.manifest["layers"][0]["size"] = (-1).into();
            served(&bad)
        }
        "wrong-diff-id" => config(json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(b"other")]}})),
        "both" => {
            bad.manifest["manifests"] = json!([evil::descriptor(media::MANIFEST, b"{}")]);
            served(&bad)
        }
        "media-mismatch" => {
            bad.manifest["mediaType"] = media::INDEX.into();
            served(&bad)
        }
        "no-layers-list" => {
            bad.manifest["layers"] = json!({"0": 1});
            served(&bad)
        }
        "config-array" => config(json!([])),
        "config-word" => config(json!("config")),
        "config-shape" => config(json!({"architecture": 5, "os": ["linux"], "config": "x", "rootfs": 7})),
        "config-no-rootfs" => config(json!({"architecture": "amd64", "os": "linux"})),
        "config-other-os" => config(json!({"architecture": "amd64", "os": "windows", "rootfs": {"type": "layers", "diff_ids": [digest(&good.layers[0])]}})),
        "schema-1" if is_manifest => found(
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            br#"{"schemaVersion":1,"name":"x","tag":"latest","architecture":"amd64","fsLayers":[],"history":[],"signatures":[]}"#,
        ),
        "manifest-large" => {
            bad.manifest["annotations"] = json!({"x": "y".repeat(5 << 20)});
            served(&bad)
        }
        "manifest-endless" if is_manifest => {
            Answer::Endless(format!("HTTP/1.1 200 OK\r\nContent-Type: {}\r\n\r\n", media::MANIFEST).into_bytes())
        }
        "manifest-html" if is_manifest => found("text/html", b"<html>log in to the hotel's network</html>"),
        "manifest-trailing" if is_manifest => manifest(format!("{}{{}}", good.manifest).as_bytes()),
        "manifest-twice" if is_manifest => {
            let text = good.manifest.to_string();
            let second = format!(r#","layers":[{}]}}"#, evil::descriptor(media::TAR, b"other"));
            manifest(format!("{}{second}", text.strip_suffix('}').unwrap()).as_bytes())
        }
        "manifest-digest" if is_manifest => Answer::Plain(
            200,
            vec![("Content-Type", media::MANIFEST.into()), ("Docker-Content-Digest", digest(b"other"))],
            good.manifest.to_string().into_bytes(),
        ),
        "digest-path" => {
            bad.manifest["layers"][0]["digest"] = "sha256:../../../../etc/passwd".into();
            served(&bad)
        }
        "digest-case" => {
            bad.manifest["layers"][0]["digest"] = digest(&good.layers[0]).to_uppercase().replace("SHA", "sha").into();
            served(&bad)
        }
        "index-deep" if is_manifest => {
            let mut levels = vec![good.manifest.to_string().into_bytes()];
            for n in 0..8 {
                let media = if n == 0 { media::MANIFEST } else { media::INDEX };
                let index = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": [evil::descriptor(media, &levels[n])]});
                levels.push(index.to_string().into_bytes());
            }
            match levels.iter().find(|l| path.ends_with(&digest(l))) {
                Some(level) => found(if *level == levels[0] { media::MANIFEST } else { media::INDEX }, level),
                None => found(media::INDEX, &levels[8]),
            }
        }
        "manifest-bom" if is_manifest => manifest(format!("\u{feff}{}", good.manifest).as_bytes()),
        "manifest-cased" if is_manifest => {
            let text = good.manifest.to_string();
            manifest(format!("{},\"Layers\":[]}}", text.strip_suffix('}').unwrap()).as_bytes())
        }
        "manifest-deep-twice" if is_manifest => {
            let size = format!("\"size\":{}", good.layers[0].len());
            manifest(good.manifest.to_string().replacen(&size, &format!("{size},{size}"), 1).as_bytes())
        }
        "manifest-list" if is_manifest => {
            let fields = ["schemaVersion", "mediaType", "config", "layers"].map(|key| good.manifest[key].clone());
            manifest(json!(fields).to_string().as_bytes())
        }
        // Asked for by a digest, it gives the sound image of another.
        "by-digest" if is_manifest => manifest(good.manifest.to_string().as_bytes()),
        "index-by-digest" | "index-lies" | "index-size" | "index-cycle" if is_manifest => {
            let child = good.manifest.to_string().into_bytes();
            let mut one = evil::descriptor(media::MANIFEST, &child);
            match case {
                "index-lies" => one["mediaType"] = media::INDEX.into(),
                "index-size" => one["size"] = (child.len() + 1).into(),
                _ => {}
            }
            let index = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": [one]}).to_string();
            match (path.contains("/sha256:"), case) {
                (false, _) | (_, "index-cycle") => found(media::INDEX, index.as_bytes()),
                (_, "index-by-digest") => manifest(format!("{} ", good.manifest).as_bytes()),
                _ => manifest(&child),
            }
        }
        "index-wide" if is_manifest => {
            let mut one = evil::descriptor(media::MANIFEST, b"{}");
            one["platform"] = json!({"os": "linux", "architecture": "none"});
            let index = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": vec![one; 10_000]});
            found(media::INDEX, index.to_string().as_bytes())
        }
        "index-empty" if is_manifest => found(media::INDEX, json!({"schemaVersion": 2, "manifests": []}).to_string().as_bytes()),
        "foreign-url" => {
            bad.manifest["layers"][0] = evil::descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"away");
            bad.manifest["layers"][0]["urls"] = json!(["http://127.0.0.1:1/x"]);
            served(&bad)
        }
        "unauthorized-for-ever" => Answer::Plain(401, vec![("WWW-Authenticate", "Basic realm=\"x\"".into())], vec![]),
        "bearer-for-ever" => {
            if path.starts_with("/token") {
                return found("application/json", b"{\"token\":\"abc\"}");
            }
            let realm = format!("Bearer realm=\"http://{}/token\",service=\"x\"", asked.header("host").unwrap_or_default());
            Answer::Plain(401, vec![("WWW-Authenticate", realm)], vec![])
        }
        "redirect-for-ever" => Answer::Plain(307, vec![("Location", path.to_owned())], vec![]),
        "redirect-file" if is_layer => Answer::Plain(307, vec![("Location", "file:///etc/passwd".into())], vec![]),
        "garbage" => Answer::Raw(b"\x16\x03\x01 this is no HTTP at all\r\n\r\n".to_vec()),
        "headers-endless" => {
            let mut out = b"HTTP/1.1 200 OK\r\n".to_vec();
            (0..200_000).for_each(|n| out.extend_from_slice(format!("X-{n}: {n}\r\n").as_bytes()));
            Answer::Raw(out)
        }
        "missing" => evil::missing(),
        _ => served(good),
    }
}

#[test]
fn a_registry_may_do_as_it_likes() {
    need_root!();
    let mut e = Engine::start(&[]);
    let cases = registries();
    let server = Evil::start(&e.net, move |asked| {
        let case = asked.path.split('/').nth(2).unwrap_or_default();
        // A token's address has no name in it.
        let case = if asked.path.starts_with("/token") { "bearer-for-ever" } else { case };
        // `/v2/` alone is asked by whoever wants to know how to log in.
        if case.is_empty() { found("application/json", b"{}") } else { misbehave(case, &own_image(case), asked) }
    });
    let before = e.stored_at_first();
    let begun = Instant::now();
    let running: Vec<_> = cases
        .iter()
        .map(|(case, _)| {
            let by = if *case == "by-digest" { format!("@{}", digest(b"another")) } else { String::new() };
            let mut command = e.dhow_command(["pull", &format!("{}/{case}{by}", server.host)]);
            command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
            command.stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut wrong = Vec::new();
    for ((case, words), child) in cases.iter().zip(running) {
        let said = Said::from(child.wait_with_output().unwrap());
        let err = said.err.to_lowercase();
        if said.code != 1 || !words.iter().any(|word| err.contains(&word.to_lowercase())) || err.contains("panic") {
            wrong.push(format!("{case}: want one of {words:?}, got {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    assert_eq!(e.dhow(["images", "--format", "{{.Repository}}", "--filter", "reference=127.0.0.1:*/*"]).ok(), "");
    // The beginning of a sound layer may stay for the next attempt; nothing else may.
    let left: Vec<_> = e.stored().into_iter().filter(|p| !before.contains(p)).collect();
    assert!(left.iter().all(|p| p.starts_with("layer/partial/")), "{left:?}");
    // And what a name at that server is good for is still there.
    e.dhow(["pull", "-q", &format!("{}/sound", server.host)]).ok();
    e.alive();
}

/// Two pulls of one layer share its way here, but not the failure of one's registry.
#[test]
fn a_bad_registry_spoils_no_other_pull() {
    need_root!();
    let mut e = Engine::start(&[]);
    let good = evil::image(&[Tar::new().file("shared", &vec![b's'; 200_000]).end()]);
    let (met, meet) = std::sync::mpsc::channel();
    let (bad, layer) = (good.clone(), digest(&good.layers[0]));
    let gate = std::sync::Arc::new((std::sync::Mutex::new(false), std::sync::Condvar::new()));
    let opened = gate.clone();
    let evil = Evil::start(&e.net, move |asked| {
        if !asked.path.ends_with(&layer) {
            return bad.answer(asked);
        }
        let _ = met.send(());
        let (open, changed) = &*opened;
        drop(changed.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
        evil::missing()
    });
    let sound = Evil::start(&e.net, move |asked| good.answer(asked));
    let pull = |host: &str| {
        let mut command = e.dhow_command(["pull", "-q", &format!("{host}/x")]);
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let first = pull(&evil.host);
    meet.recv_timeout(tests::DEADLINE).unwrap();
    let second = pull(&sound.host);
    wait_for("the second pull to wait for the layer", || {
        sound.asked().iter().any(|a| a.path.contains("/manifests/")).then_some(())
    });
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    Said::from(first.wait_with_output().unwrap()).fails(1, "not found");
    Said::from(second.wait_with_output().unwrap()).ok();
    e.alive();
}

/// Credentials are for the registry they were given for, not for where it sends us.
#[test]
fn credentials_follow_no_redirect() {
    need_root!();
    let mut e = Engine::start(&[]);
    let good = evil::image(&[Tar::new().file("hello", b"hello").end()]);
    let (there, layer) = (good.clone(), digest(&good.layers[0]));
    let other = Evil::start(&e.net, move |asked| match asked.path.contains("/stolen") {
        true => found("application/octet-stream", &there.layers[0]),
        false => evil::missing(),
    });
    let away = format!("http://{}/stolen", other.host);
    let server = Evil::start(&e.net, move |asked| {
        if asked.header("authorization").is_none() {
            return Answer::Plain(401, vec![("WWW-Authenticate", "Basic realm=\"x\"".into())], vec![]);
        }
        match asked.path.ends_with(&layer) {
            true => Answer::Plain(307, vec![("Location", away.clone())], vec![]),
            false => good.answer(asked),
        }
    });
    let client = e.dir.path().join("client");
    std::fs::create_dir_all(&client).unwrap();
    let auths = json!({"auths": {&server.host: {"auth": "c2VudGluZWw6c2VjcmV0"}}});
    std::fs::write(client.join("config.json"), auths.to_string()).unwrap();
    e.dhow(["pull", "-q", &format!("{}/x", server.host)]).ok();
    assert!(server.asked().iter().any(|a| a.header("authorization") == Some("Basic c2VudGluZWw6c2VjcmV0")));
    assert!(!other.asked().is_empty());
    for asked in other.asked() {
        assert_eq!((asked.header("authorization"), asked.header("cookie")), (None, None), "{asked:?}");
    }
    // Nor does the secret lie anywhere on disk, or in the log.
    let data = e.dir.path().join("data").display().to_string();
    let found =
        tests::said(std::process::Command::new("grep").args(["-rlE", "c2VudGluZWw6c2VjcmV0|sentinel:secret", &data]));
    assert_eq!(found.out, "");
    assert!(!e.log().contains("c2VudGluZWw6c2VjcmV0") && !e.log().contains("secret"));
    // A registry that is not there.
    e.dhow(["pull", "127.0.0.1:9/x"]).fails(1, "connection refused");
    e.alive();
}
