//! Pulling, also from registries that fail in the middle.

use crate::fake::Fake;
use crate::layers::{Made, gzip, image, noise, sha256, tar, with};
use crate::{News, Place, run};
use image::{Error, Images};
use oci::image::media;
use oci::{Platform, Reference};
use serde_json::json;
use std::time::{Duration, Instant};

/// Two layers; the second does not compress.
fn app() -> Made {
    image(&[tar(&[("etc/hostname", b"x\n")]), tar(&[("data", &noise(600_000, 7))])])
}

fn pull(images: &Images, reference: &Reference) -> Result<image::Pulled, Error> {
    run(images.pull(reference, None, None, |_| {}))
}

fn path(made: &Made, layer: usize) -> String {
    format!("/v2/app/blobs/{}", sha256(&made.layers[layer].1))
}

fn wait_for(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !what() {
        assert!(Instant::now() < deadline, "it does not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_pull_says_what_docker_says() {
    let (place, fake, made) = (Place::fresh(), Fake::start(), app());
    fake.serve("app", "1", &made);
    let (images, reference, news) = (place.open(), fake.reference("app:1"), News::default());
    let pulled = run(images.pull(&reference, None, None, news.take())).unwrap();
    assert_eq!((pulled.id.clone(), pulled.up_to_date), (sha256(&made.config), false));
    let short = |n: usize| sha256(&made.layers[n].1).hex()[..12].to_owned();
    let mut lines = news.lines();
    let digest = sha256(&made.manifest);
    assert_eq!(
        lines[..3],
        [
            "1: Pulling from app".to_owned(),
            format!("{}: Pulling fs layer", short(0)),
            format!("{}: Pulling fs layer", short(1)),
        ]
    );
    assert_eq!(
        lines.split_off(lines.len() - 2),
        [format!("Digest: {digest}"), format!("Status: Downloaded newer image for {}/app:1", fake.address),]
    );
    for n in 0..2 {
        let own: Vec<&str> = lines.iter().filter_map(|l| l.strip_prefix(&format!("{}: ", short(n)))).collect();
        let all = ["Pulling fs layer", "Verifying Checksum", "Download complete", "Extracting", "Pull complete"];
        assert_eq!(own, all);
    }
    let image = images.get(&reference.familiar()).unwrap();
    assert_eq!(image.repo_tags, [reference.familiar()]);
    assert_eq!(image.repo_digests, [format!("{}/app@{digest}", fake.address)]);
    assert_eq!((image.created, image.size), (1_767_323_045, 600_002));
    assert_eq!(images.raw_config(&image.id).unwrap(), made.config);
    assert_eq!(images.raw_manifest(&digest).unwrap(), made.manifest);

    let again = News::default();
    assert!(run(images.pull(&reference, None, None, again.take())).unwrap().up_to_date);
    assert_eq!(
        again.lines(),
        [
            "1: Pulling from app".to_owned(),
            format!("Digest: {digest}"),
            format!("Status: Image is up to date for {}/app:1", fake.address),
        ]
    );
    // By digest, and after a restart.
    let by_digest = fake.reference(&format!("app@{digest}"));
    assert!(pull(&images, &by_digest).unwrap().up_to_date);
    images.flush().unwrap();
    drop(images);
    let reopened = place.open();
    assert_eq!(reopened.problems(), [] as [String; 0]);
    assert_eq!(reopened.get(&reference.familiar()).unwrap().repo_digests.len(), 1);
    let history = reopened.history(pulled.id.as_str()).unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(
        (history[0].id.as_str(), history[0].created_by.as_str(), history[0].size),
        (pulled.id.as_str(), "none", 0)
    );
    assert_eq!((history[1].id.as_str(), history[1].created_by.as_str(), history[1].size), ("<missing>", "one", 2));
}

#[test]
fn layers_that_are_there_are_not_fetched() {
    let (place, fake, first) = (Place::fresh(), Fake::start(), app());
    let second = image(&[tar(&[("etc/hostname", b"x\n")]), tar(&[("other", b"y")])]);
    fake.serve("app", "1", &first);
    fake.serve("app", "2", &second);
    let (images, news) = (place.open(), News::default());
    pull(&images, &fake.reference("app:1")).unwrap();
    run(images.pull(&fake.reference("app:2"), None, None, news.take())).unwrap();
    assert_eq!(fake.served(&path(&first, 0)).len(), 1);
    let exists = format!("{}: Already exists", &sha256(&first.layers[0].1).hex()[..12]);
    assert_eq!(news.lines()[1], exists);
}

#[test]
fn a_cut_is_continued_and_only_the_rest_is_fetched() {
    let (place, fake, made) = (Place::fresh(), Fake::start(), app());
    fake.serve("app", "1", &made);
    fake.cut(&path(&made, 1), 100_000);
    fake.cut(&path(&made, 1), 200_000);
    pull(&place.open(), &fake.reference("app:1")).unwrap();
    let size = made.layers[1].1.len();
    assert_eq!(fake.served(&path(&made, 1)), [(0, 100_000), (100_000, 200_000), (300_000, size - 300_000)]);
}

#[test]
fn a_pull_that_failed_is_continued_by_the_next_process() {
    let (place, fake, made) = (Place::fresh(), Fake::start(), app());
    fake.serve("app", "1", &made);
    // The registry goes away in the middle, for longer than patience lasts.
    for after in [550_000, 0, 0] {
        fake.cut(&path(&made, 1), after);
    }
    fake.hold(&path(&made, 1));
    run(async {
        let (images, reference, news) = (place.open(), fake.reference("app:1"), News::default());
        let tell = news.take();
        let pull = tokio::spawn(async move { images.pull(&reference, None, None, tell).await });
        let done = move || news.lines().iter().any(|l| l.ends_with("Pull complete"));
        tokio::task::spawn_blocking(move || wait_for(done)).await.unwrap();
        fake.release();
        let error = pull.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Registry(registry::Error::Unreachable(_))), "{error}");
    });
    let before = fake.served(&path(&made, 1)).len();
    let images = place.open();
    assert_eq!(images.count(), 0);
    pull(&images, &fake.reference("app:1")).unwrap();
    let later = fake.served(&path(&made, 1))[before..].to_vec();
    let size = made.layers[1].1.len();
    assert_eq!(later.len(), 1);
    // What was still in memory is fetched again: less than a few buffers.
    assert!(later[0].0 > 0 && later[0].0 + later[0].1 == size, "{later:?}");
    // The first layer was whole.
    assert_eq!(fake.served(&path(&made, 0)).len(), 1);
}

#[test]
fn two_pulls_share_the_work_and_one_may_go() {
    let (place, fake, made) = (Place::fresh(), Fake::start(), app());
    fake.serve("app", "1", &made);
    fake.serve("app", "2", &made);
    fake.hold(&path(&made, 1));
    let images = place.open();
    run(async {
        let one = images.clone();
        let reference = fake.reference("app:1");
        let first = tokio::spawn(async move { one.pull(&reference, None, None, |_| {}).await });
        let (two, reference) = (images.clone(), fake.reference("app:2"));
        let second = tokio::spawn(async move { two.pull(&reference, None, None, |_| {}).await });
        let (three, reference) = (images.clone(), fake.reference("app:1"));
        let third = tokio::spawn(async move { three.pull(&reference, None, None, |_| {}).await });
        let waiting = fake.clone();
        let layer = path(&made, 1);
        tokio::task::spawn_blocking(move || wait_for(|| !waiting.served(&layer).is_empty())).await.unwrap();
        // All three have begun when all have asked for the manifest; the first gives up.
        let waiting = fake.clone();
        tokio::task::spawn_blocking(move || wait_for(|| waiting.served("/manifests/").len() == 3)).await.unwrap();
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        fake.release();
        second.await.unwrap().unwrap();
        third.await.unwrap().unwrap();
    });
    for blob in [path(&made, 0), path(&made, 1), sha256(&made.config).to_string()] {
        assert_eq!(fake.served(&blob).len(), 1, "{blob}");
    }
    assert_eq!(images.count(), 1);
}

#[test]
fn a_pull_given_up_leaves_a_beginning_and_no_image() {
    let (place, fake, made) = (Place::fresh(), Fake::start(), app());
    fake.serve("app", "1", &made);
    fake.hold(&path(&made, 1));
    let images = place.open();
    run(async {
        let (one, reference) = (images.clone(), fake.reference("app:1"));
        let first = tokio::spawn(async move { one.pull(&reference, None, None, |_| {}).await });
        let (waiting, layer) = (fake.clone(), path(&made, 1));
        tokio::task::spawn_blocking(move || wait_for(|| !waiting.served(&layer).is_empty())).await.unwrap();
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(images.count(), 0);
        fake.release();
        // At once again, while the threads of the first may not have noticed yet.
        images.pull(&fake.reference("app:1"), None, None, |_| {}).await.unwrap();
    });
    assert_eq!(images.count(), 1);
}

#[test]
fn one_blob_twice_in_an_image() {
    let (place, fake) = (Place::fresh(), Fake::start());
    let same = tar(&[("a", b"1")]);
    let made = image(&[same.clone(), tar(&[("b", b"2")]), same]);
    fake.serve("app", "1", &made);
    pull(&place.open(), &fake.reference("app:1")).unwrap();
    assert_eq!(fake.served(&path(&made, 0)).len(), 1);
}

#[test]
fn what_is_not_what_it_says_is_refused_and_leaves_nothing() {
    let good = app();
    let diff = |bytes: &[u8]| json!({"type": "layers", "diff_ids": [sha256(bytes)]});
    let archive = tar(&[("a", b"1")]);
    let packed = gzip(&archive);
    let wrong_diff = with(diff(b"other"), vec![(media::OCI_LAYER_GZIP, packed.clone())]);
    let too_few = with(json!({"type": "layers", "diff_ids": []}), vec![(media::OCI_LAYER_GZIP, packed.clone())]);
    let not_gzip = with(diff(&archive), vec![(media::OCI_LAYER_GZIP, archive.clone())]);
    let odd = with(diff(&archive), vec![("application/x-odd", packed.clone())]);
    let digest = |n: u8| format!("sha256:{}", format!("{n:02x}").repeat(32));
    let many = (0..128).map(|n| json!({"mediaType": media::OCI_LAYER_TAR, "digest": digest(n), "size": 1}));
    let many = json!({"schemaVersion": 2, "config": {"mediaType": media::OCI_CONFIG, "digest": digest(1), "size": 1},
                      "layers": many.collect::<Vec<_>>()});
    for (name, made, part) in [
        ("wrong-diff-id", &wrong_diff, "digest"),
        ("too-few-diff-ids", &too_few, "layers from manifest don't match image configuration"),
        ("not-gzip", &not_gzip, "decompress"),
        ("odd-layer", &odd, "unsupported layer media type"),
    ] {
        let (place, fake) = (Place::fresh(), Fake::start());
        fake.serve("app", "1", made);
        let images = place.open();
        let error = pull(&images, &fake.reference("app:1")).unwrap_err().to_string();
        assert!(error.contains(part), "{name}: {error}");
        images.flush().unwrap();
        assert_eq!(images.count(), 0);
        assert_eq!(place.files("image"), [] as [&str; 0], "{name}");
        let left: Vec<String> =
            place.files("layer").into_iter().filter(|f| f.contains(sha256(&packed).hex())).collect();
        assert_eq!(left, [] as [&str; 0], "{name}");
    }
    let (place, fake) = (Place::fresh(), Fake::start());
    let images = place.open();
    let refuse = |tag: &str, media: &str, bytes: &[u8], part: &str| {
        fake.put(&format!("/v2/app/manifests/{tag}"), media, bytes);
        let error = pull(&images, &fake.reference(&format!("app:{tag}"))).unwrap_err().to_string();
        assert!(error.contains(part), "{tag}: {error}");
    };
    refuse("html", "text/html", b"<html>", "invalid image manifest");
    refuse("many", media::OCI_MANIFEST, &serde_json::to_vec(&many).unwrap(), "max depth exceeded: 128 layers");
    refuse("v1", "application/json", br#"{"schemaVersion":1}"#, "schema 1 is not supported");
    let evil = json!({"schemaVersion": 2, "layers": [],
                      "config": {"mediaType": media::OCI_CONFIG, "digest": "sha256:../../x", "size": 1}});
    refuse("traversal", media::OCI_MANIFEST, &serde_json::to_vec(&evil).unwrap(), "invalid digest");
    let mut inner = serde_json::to_vec(&evil).unwrap();
    let mut kind = media::OCI_MANIFEST;
    for _ in 0..8 {
        let index = json!({"schemaVersion": 2, "manifests": [
            {"mediaType": kind, "digest": sha256(&inner), "size": inner.len()}]});
        fake.put(&format!("/v2/app/manifests/{}", sha256(&inner)), kind, &inner);
        (inner, kind) = (serde_json::to_vec(&index).unwrap(), media::OCI_INDEX);
    }
    refuse("nested", media::OCI_INDEX, &inner, "manifest lists are nested too deeply");
    // A blob that is another one.
    fake.serve("app", "bad", &good);
    let mut other = good.layers[1].1.clone();
    other[300_000] ^= 1;
    fake.put(&path(&good, 1), "x", &other);
    refuse("bad2", media::OCI_MANIFEST, &good.manifest, "");
    let news = News::default();
    let unknown = run(images.pull(&fake.reference("app:nope"), None, None, news.take())).unwrap_err().to_string();
    assert_eq!(news.lines(), [] as [&str; 0]);
    let name = fake.reference("app:nope").familiar();
    assert_eq!(unknown, format!("manifest for {name} not found: manifest unknown: manifest unknown"));
    assert_eq!(images.count(), 0);
}

#[test]
fn an_index_gives_the_image_for_the_platform() {
    let (place, fake) = (Place::fresh(), Fake::start());
    let (amd, arm) = (app(), image(&[tar(&[("arm", b"")])]));
    fake.serve("app", "amd", &amd);
    fake.serve("app", "arm", &arm);
    let entry = |made: &Made, arch: &str| {
        json!({"mediaType": media::OCI_MANIFEST, "digest": sha256(&made.manifest), "size": made.manifest.len(),
               "platform": {"os": "linux", "architecture": arch}})
    };
    let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX,
                       "manifests": [entry(&arm, "arm64"), entry(&amd, "amd64")]});
    let index = serde_json::to_vec(&index).unwrap();
    fake.put("/v2/app/manifests/all", media::OCI_INDEX, &index);
    let (images, reference) = (place.open(), fake.reference("app:all"));
    let ask = |platform: &str| {
        let platform: Platform = platform.parse().unwrap();
        run(images.pull(&reference, Some(platform), None, |_| {}))
    };
    let pulled = ask("linux/amd64").unwrap();
    assert_eq!((pulled.id, pulled.digest), (sha256(&amd.config), sha256(&index)));
    assert_eq!(ask("linux/arm64").unwrap().id, sha256(&arm.config));
    let error = ask("linux/s390x").unwrap_err();
    assert!(
        matches!(error, Error::NotFound(t) if t == "no matching manifest for linux/s390x in the manifest list entries")
    );
}
