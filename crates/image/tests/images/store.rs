//! Import, removal, recovery.

use crate::Place;
use crate::layers::{gzip, noise, tar, through};
use image::{Error, File, Images, Import, Removed, User};
use oci::Digest;

fn import(images: &Images, archive: &[u8], name: &str, changes: &[&str]) -> Digest {
    let import = Import {
        reference: Some(name.parse().unwrap()),
        changes: changes.iter().map(|c| (*c).to_owned()).collect(),
        message: "made by hand".into(),
        platform: None,
    };
    images.import(&mut &archive[..], &import).unwrap()
}

fn nobody(_: &Digest) -> Vec<User> {
    Vec::new()
}

#[test]
fn imports_survive_a_restart() {
    let place = Place::fresh();
    let images = place.open();
    let archive = tar(&[("etc/motd", b"hello\n"), ("big", &noise(300_000, 3))]);
    for (name, packed) in
        [("plain", archive.clone()), ("gzip:1", gzip(&archive)), ("zstd", through("zstd", "-qc", &archive))]
    {
        let id = import(&images, &packed, name, &["CMD [\"/bin/sh\"]", "ENV A=b"]);
        assert_eq!(images.get(name).unwrap().id, id);
    }
    drop(images);
    let images = place.open();
    assert_eq!(images.count(), 3);
    let image = images.get("gzip:1").unwrap();
    assert_eq!(image.config.config.cmd.as_deref(), Some(&["/bin/sh".to_owned()][..]));
    assert_eq!(image.config.config.env, ["A=b"]);
    assert_eq!((image.size, image.chains.len()), (300_006, 1));
    assert_eq!(image.chain, images.get("plain").unwrap().chain);
    let history = images.history("gzip:1").unwrap();
    assert_eq!((history[0].comment.as_str(), history[0].tags.as_slice()), ("made by hand", &["gzip:1".to_owned()][..]));
    assert_eq!(images.get("nope").unwrap_err().to_string(), "No such image: nope:latest");
}

#[test]
fn bad_archives_leave_nothing() {
    let place = Place::fresh();
    let images = place.open();
    let half = tar(&[("a", &noise(10_000, 5))]);
    let packed = gzip(&half);
    for (what, bytes) in [("cut", &half[..5_000]), ("cut gzip", &packed[..5_000]), ("text", &[b'x'; 2_000][..])] {
        let error = images.import(&mut &bytes[..], &Import::default()).unwrap_err();
        assert!(matches!(error, Error::Layer(_)), "{what}: {error}");
    }
    let import = Import { changes: vec!["RUN x".into()], ..Import::default() };
    assert!(matches!(images.import(&mut &half[..], &import), Err(Error::Invalid(_))));
    assert_eq!(images.count(), 0);
    assert_eq!(place.files("image"), [] as [&str; 0]);
}

#[test]
fn layers_go_with_their_last_image() {
    let place = Place::fresh();
    let images = place.open();
    let archive = tar(&[("a", b"1")]);
    let one = import(&images, &archive, "one", &[]);
    let two = import(&images, &archive, "two", &["USER x"]);
    let chain = images.get("one").unwrap().chain.unwrap();
    images.tag("one", &"also:1".parse().unwrap()).unwrap();
    let done = images.remove("one", false, &nobody).unwrap();
    assert_eq!(done, [Removed::Untagged("one:latest".into())]);
    assert_eq!(images.get("also:1").unwrap().id, one);
    let done = images.remove("also:1", false, &nobody).unwrap();
    assert_eq!(done, [Removed::Untagged("also:1".into()), Removed::Deleted(one.to_string())]);
    let done = images.remove(&two.hex()[..10], false, &nobody).unwrap();
    let expected = [
        Removed::Untagged("two:latest".into()),
        Removed::Deleted(two.to_string()),
        Removed::Deleted(chain.to_string()),
    ];
    assert_eq!(done, expected);
    images.flush().unwrap();
    drop(images);
    assert_eq!(place.files("image"), ["image/repositories.json"]);
    let layers = place.layers();
    assert!(!layers.has(&chain));
    assert!(layers.blob(&one).unwrap().is_none() && layers.blob(&two).unwrap().is_none());
}

#[test]
fn layers_under_a_container_stay_until_it_is_gone() {
    let place = Place::fresh();
    let (images, layers) = place.open_both();
    let id = import(&images, &tar(&[("a-file", b"1")]), "one", &[]);
    let chain = images.get("one").unwrap().chain.unwrap();
    layers.prepare("c1", Some(&chain)).unwrap();
    let stopped = |_: &Digest| vec![User { id: "c".repeat(64), running: false }];
    assert!(matches!(images.remove("one", false, &stopped), Err(Error::Conflict(_))));
    let done = images.remove("one", true, &stopped).unwrap();
    assert_eq!(done, [Removed::Untagged("one:latest".into()), Removed::Deleted(id.to_string())]);
    images.flush().unwrap();
    assert!(layers.has(&chain));
    images.released(&chain);
    images.flush().unwrap();
    assert!(layers.has(&chain));
    layers.discard("c1").unwrap();
    images.released(&chain);
    images.flush().unwrap();
    assert!(!layers.has(&chain));
}

#[test]
fn damage_is_put_aside_and_reported() {
    let place = Place::fresh();
    let images = place.open();
    let good = import(&images, &tar(&[("a", b"1")]), "good", &[]);
    let bad = import(&images, &tar(&[("b", b"2")]), "bad", &[]);
    drop(images);
    let record = place.path().join("image/record");
    std::fs::write(record.join(format!("{}.json", bad.hex())), b"{\"version\":1").unwrap();
    std::fs::write(record.join("garbage.json"), [0; 100]).unwrap();
    std::fs::write(record.join(format!("{}.json.tmp", good.hex())), b"").unwrap();
    let images = place.open();
    assert_eq!(images.problems().len(), 3, "{:?}", images.problems());
    assert_eq!((images.count(), images.get("good").unwrap().id), (1, good.clone()));
    assert!(matches!(images.get("bad"), Err(Error::NotFound(_))));
    assert_eq!(place.files("image/quarantine").len(), 2);
    // What nothing names any more is reclaimed.
    images.reclaim(&[], &[]).unwrap();
    drop(images);
    let layers = place.layers();
    assert!(layers.blob(&bad).unwrap().is_none() && layers.blob(&good).unwrap().is_some());
    drop(layers);
    for damage in [&b""[..], b"nonsense", b"{\"version\":9,\"names\":{}}"] {
        std::fs::write(place.path().join("image/repositories.json"), damage).unwrap();
        let images = place.open();
        assert_eq!((images.problems().len(), images.count()), (1, 1));
        assert!(matches!(images.get("good"), Err(Error::NotFound(_))));
        images.tag(good.as_str(), &"good".parse().unwrap()).unwrap();
    }
    assert_eq!(place.open().problems(), [] as [String; 0]);
    // A configuration whose bytes are others.
    let blob = place.files("layer").into_iter().find(|f| f.contains(good.hex())).unwrap();
    std::fs::write(place.path().join(blob), b"{}").unwrap();
    let images = place.open();
    assert_eq!((images.problems().len(), images.count()), (2, 0));
}

#[test]
fn the_embedded_image_is_the_same_everywhere() {
    let (one, two) = (Place::fresh(), Place::fresh());
    let files = [File { path: "hello", mode: 0o755, bytes: b"\x7fELF" }];
    let make = |place: &Place| {
        let images = place.open();
        let config = oci::image::ContainerConfig { cmd: Some(vec!["/hello".into()]), ..Default::default() };
        let id = images.ensure_embedded("hello:latest", &files, config.clone()).unwrap();
        assert_eq!(images.ensure_embedded("hello", &[], config).unwrap(), id);
        id
    };
    assert_eq!(make(&one), make(&two));
    assert_eq!(one.open().get("hello").unwrap().size, 4);
}
