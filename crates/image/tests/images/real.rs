//! Debian's docker-registry, filled by skopeo with what umoci made.

use crate::layers::{Made, sha256, tar, through, with};
use crate::{News, Place, run};
use oci::image::media;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Real {
    child: Child,
    address: String,
}

impl Real {
    fn start(place: &Path) -> Real {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let config = place.join("registry.yml");
        let root = place.join("registry");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
            root.display()
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry (Debian package docker-registry)");
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&address).is_err() {
            assert!(Instant::now() < deadline, "docker-registry does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Real { child, address }
    }

    fn request(&self, method: &str, path: &str, media: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAccept: {media}\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tool(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect(program);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Writes an image as an OCI layout with one entry.
fn lay_out(layout: &Path, made: &Made) {
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [
        {"mediaType": media::OCI_MANIFEST, "digest": sha256(&made.manifest), "size": made.manifest.len()}]});
    std::fs::write(layout.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    for bytes in [&made.config, &made.manifest].into_iter().chain(made.layers.iter().map(|(_, b)| b)) {
        std::fs::write(blobs.join(sha256(bytes).hex()), bytes).unwrap();
    }
}

#[test]
fn every_form_that_skopeo_pushes() {
    let place = Place::fresh();
    let real = Real::start(place.path());
    let layout = place.path().join("layout");
    let (layout, tagged) = (layout.to_str().unwrap(), format!("{}:base", layout.to_str().unwrap()));
    tool("umoci", &["init", "--layout", layout]);
    tool("umoci", &["new", "--image", &tagged]);
    for (name, bytes) in [("one", vec![b'1'; 100_000]), ("two", vec![b'2'; 50])] {
        let bundle = place.path().join(format!("bundle-{name}"));
        tool("umoci", &["unpack", "--image", &tagged, bundle.to_str().unwrap()]);
        std::fs::write(bundle.join("rootfs").join(name), bytes).unwrap();
        tool("umoci", &["repack", "--image", &tagged, bundle.to_str().unwrap()]);
    }
    let source = format!("oci:{tagged}");
    let forms: [(&str, &[&str]); 2] = [("oci", &[]), ("docker", &["--format", "v2s2"])];
    let images = place.open();
    let mut chains = Vec::new();
    for (tag, options) in forms {
        let to = format!("docker://{}/me/app:{tag}", real.address);
        let mut arguments = vec!["copy", "--quiet", "--dest-tls-verify=false"];
        arguments.extend_from_slice(options);
        arguments.extend([source.as_str(), to.as_str()]);
        tool("skopeo", &arguments);
        let reference = format!("{}/me/app:{tag}", real.address).parse().unwrap();
        let news = News::default();
        let pulled = run(images.pull(&reference, None, None, news.take())).unwrap();
        let image = images.get(&reference.familiar()).unwrap();
        assert_eq!((image.id, image.size), (pulled.id, 100_050), "{tag}");
        chains.push(image.chain);
    }
    // However it was packed, it is the same files.
    assert!(chains.iter().all(|chain| *chain == chains[0]));
    let archive = tar(&[("a", &[b'a'; 5_000]), ("b", b"")]);
    let packed =
        vec![(media::OCI_LAYER_ZSTD, through("zstd", "-qc", &archive)), (media::OCI_LAYER_TAR, tar(&[("c", b"c")]))];
    let diff_ids = [sha256(&archive), sha256(&packed[1].1)];
    let made = with(json!({"type": "layers", "diff_ids": diff_ids}), packed);
    lay_out(&place.path().join("by-hand"), &made);
    let source = format!("oci:{}", place.path().join("by-hand").display());
    let to = format!("docker://{}/me/app:zstd", real.address);
    tool("skopeo", &["copy", "--quiet", "--dest-tls-verify=false", &source, &to]);
    let reference = format!("{}/me/app:zstd", real.address).parse().unwrap();
    assert_eq!(run(images.pull(&reference, None, None, |_| {})).unwrap().id, sha256(&made.config));
    assert_eq!(images.get(&reference.familiar()).unwrap().size, 5_001);

    let answer = real.request("GET", "/v2/me/app/manifests/oci", media::OCI_MANIFEST, b"");
    let manifest = answer.split_once("\r\n\r\n").unwrap().1;
    let host = oci::Platform::host();
    let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [{
        "mediaType": media::OCI_MANIFEST, "digest": sha256(manifest.as_bytes()), "size": manifest.len(),
        "platform": {"os": "linux", "architecture": host.architecture}}]});
    let index = serde_json::to_vec(&index).unwrap();
    let answer = real.request("PUT", "/v2/me/app/manifests/index", media::OCI_INDEX, &index);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let reference = format!("{}/me/app:index", real.address).parse().unwrap();
    let pulled = run(images.pull(&reference, None, None, |_| {})).unwrap();
    assert_eq!(pulled.digest, sha256(&index));
    let by_digest = format!("{}/me/app@{}", real.address, sha256(&index)).parse().unwrap();
    assert!(run(images.pull(&by_digest, None, None, |_| {})).unwrap().up_to_date);
    let repository = images.registry().repository(&reference, None);
    assert_eq!(run(repository.head(None)).unwrap().digest, sha256(&index));
    let missing = format!("{}/me/none:1", real.address).parse().unwrap();
    let error = run(images.pull(&missing, None, None, |_| {})).unwrap_err().to_string();
    assert_eq!(error, format!("manifest for {}/me/none:1 not found: manifest unknown: manifest unknown", real.address));
    images.flush().unwrap();
}
