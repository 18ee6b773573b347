//! The store: resuming, refusing, durability, damage.

use crate::scene::{Scene, archive, digest, member};
use layer::{ChainId, Error, Layers, Limits};
use oci::image::Compression;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::Path;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn layer() -> Vec<u8> {
    let noise: Vec<u8> = (0..900_000u32).flat_map(|i| (i.wrapping_mul(2654435761) >> 7).to_le_bytes()).collect();
    archive(&[member(b'5', b"d/", b"", b""), member(b'0', b"d/noise", b"", &noise), member(b'0', b"d/f", b"", b"text")])
}

/// The smallest runtime: parks the thread until it is woken.
fn block_on<T>(task: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut task = std::pin::pin!(task);
    loop {
        match task.as_mut().poll(&mut context) {
            std::task::Poll::Ready(done) => return done,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

fn empty(root: &Path, dirs: &[&str]) {
    for dir in dirs {
        let left: Vec<_> = std::fs::read_dir(root.join(dir)).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{dir}: {left:?}");
    }
}

#[test]
fn a_download_goes_on_where_it_was_cut() {
    let scene = Scene::new();
    let tar = layer();
    let blob = gzip(&tar);
    let (name, diff_id, size) = (digest(&blob), digest(&tar), Some(blob.len() as u64));
    let limits = Limits::default();
    let root = scene.0.join("layer");
    let mut layers = Layers::open(&root).unwrap();
    let cut = blob.len() / 2;
    {
        let mut sink = layers.pull_sink(&name, size, Compression::Gzip, Some(&diff_id), &limits).unwrap();
        assert_eq!(sink.offset(), 0);
        sink.write(&blob[..cut]).unwrap();
        assert!(matches!(layers.pull_sink(&name, size, Compression::Gzip, None, &limits), Err(Error::Busy(_))));
    }
    for again in 0..2 {
        if again == 1 {
            // The process is another one now.
            layers.settle();
            drop(layers);
            layers = Layers::open(&root).unwrap();
        }
        let sink = layers.pull_sink(&name, size, Compression::Gzip, Some(&diff_id), &limits).unwrap();
        assert_eq!(sink.offset(), cut as u64);
    }
    assert!(layers.blob(&name).unwrap().is_none());
    let mut sink = layers.pull_sink(&name, size, Compression::Gzip, Some(&diff_id), &limits).unwrap();
    for (i, piece) in blob[cut..].chunks(10_000).enumerate() {
        match i % 2 {
            0 => sink.write(piece).unwrap(),
            _ => block_on(sink.write_async(piece)).unwrap(),
        }
    }
    let applied = sink.finish().unwrap().commit(None).unwrap();
    assert_eq!(applied, layer::Applied { chain: ChainId(diff_id.clone()), diff_id, size: 3_600_004 });
    let mut stored = Vec::new();
    layers.blob(&name).unwrap().unwrap().read_to_end(&mut stored).unwrap();
    assert_eq!(stored, blob);
    layers.sync().unwrap();
    assert!(root.join("blobs/sha256").join(name.hex()).exists());
    layers.settle();
    empty(&root, &["partial", "trash", "quarantine"]);
    assert_eq!(std::fs::read_dir(root.join("layers")).unwrap().count(), 1);
    // From the stored blob it comes out the same, and is the same layer.
    let staged = layers.stage_blob(&name, Compression::Gzip, None, &limits).unwrap();
    assert_eq!(staged.commit(None).unwrap().chain, applied.chain);
    drop(layers);
    let layers = Layers::open(&root).unwrap();
    assert!(layers.has(&applied.chain));
    assert_eq!(layers.layer_size(&applied.chain).unwrap(), 3_600_004);
}

#[test]
fn what_is_not_what_it_should_be_gets_no_name() {
    let scene = Scene::new();
    let root = scene.0.join("layer");
    let layers = Layers::open(&root).unwrap();
    let tar = layer();
    let blob = gzip(&tar);
    let limits = Limits::default();
    let wrong = digest(b"something else");
    let pull = |name: &oci::Digest, diff_id: Option<&oci::Digest>, size: Option<u64>, bytes: &[u8], limits: &Limits| {
        let mut sink = layers.pull_sink(name, size, Compression::Gzip, diff_id, limits).unwrap();
        sink.write(bytes).and_then(|()| sink.finish().map(drop)).unwrap_err()
    };
    let size = Some(blob.len() as u64);
    assert!(matches!(pull(&wrong, None, size, &blob, &limits), Error::Digest { what: "blob", .. }));
    assert!(matches!(pull(&digest(&blob), Some(&wrong), size, &blob, &limits), Error::Digest { what: "layer", .. }));
    assert!(matches!(pull(&digest(&blob), None, Some(10), &blob, &limits), Error::Size { .. }));
    let long = [&blob[..], b"\0"].concat();
    assert!(matches!(pull(&digest(&long), None, None, &long, &limits), Error::Compressed(_)));
    let small = Limits { bytes: 100_000, ..Limits::default() };
    assert!(matches!(pull(&digest(&blob), None, size, &blob, &small), Error::Limit { .. }));
    let bomb = gzip(&archive(&[member(b'0', b"zeros", b"", &vec![0; 4 << 20])]));
    let few = Limits { ratio: 20, ratio_from: 1 << 20, ..Limits::default() };
    let error = pull(&digest(&bomb), None, None, &bomb, &few);
    assert!(matches!(error, Error::Limit { what: "compression ratio of the layer", limit: 20 }), "{error}");
    // A stream that ends early is kept, for it may go on; nothing else of it is.
    let error = pull(&digest(&blob), None, size, &blob[..blob.len() - 100_000], &limits);
    assert!(matches!(error, Error::Size { .. } | Error::Compressed(_)), "{error}");
    layers.forget_partial(&digest(&blob)).unwrap();
    layers.sync().unwrap();
    layers.settle();
    empty(&root, &["layers", "partial", "trash", "quarantine", "blobs/sha256"]);
}

#[test]
fn plain_blobs_are_resumed_and_verified() {
    let scene = Scene::new();
    let layers = Layers::open(&scene.0.join("layer")).unwrap();
    let name = digest(b"0123456789");
    let mut ingest = layers.ingest(&name, Some(10)).unwrap();
    ingest.write(b"01234").unwrap();
    assert!(matches!(layers.ingest(&name, None), Err(Error::Busy(_))));
    drop(ingest);
    let mut ingest = layers.ingest(&name, Some(10)).unwrap();
    assert_eq!(ingest.offset(), 5);
    ingest.write(b"56789").unwrap();
    ingest.commit().unwrap();
    assert_eq!(layers.blob_size(&name).unwrap(), Some(10));
    assert!(matches!(layers.ingest(&name, None), Err(Error::Conflict(_))));
    layers.put_blob(&name, b"0123456789").unwrap();
    assert!(matches!(layers.put_blob(&digest(b"a"), b"b"), Err(Error::Digest { .. })));
    assert_eq!(layers.blob_size(&digest(b"a")).unwrap(), None);
    layers.sync().unwrap();
    assert_eq!(layers.blob_size(&name).unwrap(), Some(10));
    layers.remove_blob(&name).unwrap();
    assert_eq!(layers.blob_size(&name).unwrap(), None);
}

#[test]
fn a_store_opens_whatever_a_crash_or_damage_left() {
    let scene = Scene::new();
    let root = scene.0.join("layer");
    let layers = Layers::open(&root).unwrap();
    assert!(matches!(Layers::open(&root), Err(Error::InUse { .. })));
    let limits = Limits::default();
    let apply = |layers: &Layers, parent: Option<&ChainId>, name: &[u8]| {
        let tar = archive(&[member(b'0', name, b"", b"x")]);
        layers.apply(parent, &mut tar.as_slice(), Compression::None, None, &limits).unwrap().chain
    };
    let one = apply(&layers, None, b"1");
    let two = apply(&layers, Some(&one), b"2");
    let other = apply(&layers, None, b"3");
    layers.prepare("c1", Some(&two)).unwrap();
    layers.prepare("c2", None).unwrap();
    layers.sync().unwrap();
    let lost = apply(&layers, None, b"never synced");
    layers.put_blob(&digest(b"b"), b"b").unwrap();
    assert!(layers.has(&lost));
    drop(layers);
    std::fs::create_dir(root.join("rw/half")).unwrap();
    std::fs::write(root.join("layers/1/meta.json"), b"{").unwrap();
    let layers = Layers::open(&root).unwrap();
    assert!(!layers.has(&lost) && !layers.has(&one) && !layers.has(&two) && layers.has(&other));
    assert_eq!(layers.quarantined().len(), 2, "{:?}", layers.quarantined());
    assert_eq!(layers.blob_size(&digest(b"b")).unwrap(), None);
    assert!(matches!(layers.writable_size("half"), Err(Error::NotFound { .. })));
    assert_eq!(layers.writable_top("c1").unwrap(), Some(two));
    layers.reclaim(&HashSet::from(["c2".into()]), &HashSet::from([other.clone()]), &HashSet::new()).unwrap();
    assert!(layers.has(&other) && layers.writable_size("c1").is_err() && layers.writable_size("c2").is_ok());
    layers.reclaim(&HashSet::new(), &HashSet::new(), &HashSet::new()).unwrap();
    layers.settle();
    empty(&root, &["layers", "rw", "trash"]);
    for bad in ["", "..", "a/b", "a,b", "a:b"] {
        assert!(matches!(layers.prepare(bad, None), Err(Error::Name { .. })), "{bad}");
    }
}
