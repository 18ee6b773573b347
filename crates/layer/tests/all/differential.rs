//! Archives of GNU tar and Python: what they mean to their makers they mean to us, or we refuse.

use crate::scene::{Scene, assert_same, look, open};
use layer::unpack::Options;
use layer::{Limits, pack, tar, unpack};
use std::io::BufReader;
use std::os::fd::AsFd;

/// One of everything.
const TREE: &str = r#"
mkdir -m 755 tree && cd tree
mkdir -p a/b/c sticky setgid; chmod 1777 sticky; chmod 2755 setgid
echo hello > a/one; printf '' > a/empty; head -c 700000 /dev/urandom > a/b/large
chmod 4755 a/one; chmod 0000 a/empty; chown 1000:2000 a/b/large; chown 3000000:4000000 a/b/c
ln a/b/large hard; ln -s ../nowhere a/link; ln -s /abs/olute a/b/abs; ln a/link sticky/samelink
mkfifo -m 640 fifo; mknod -m 660 dev b 7 200; mknod -m 600 chr c 1 3
echo x > "ümläut name"; echo in > setgid/inherits
long=$(printf 'd%.0s' $(seq 90)); mkdir -p $long/$long; echo deep > $long/$long/file; ln -s $long/$long/$long $long/l
truncate -s 3M sparse; printf data | dd of=sparse bs=1 seek=1048576 conv=notrunc 2>/dev/null
printf end | dd of=sparse bs=1 seek=3000000 conv=notrunc 2>/dev/null; truncate -s 5000 holes
setfattr -n user.color -v blue a/one; setfattr -n user.dir -v 1 a/b
setfattr -n security.capability -v 0x0100000202000000000000000000000000000000 a/b/large
find . -depth -exec touch -h -d '2001-02-03 04:05:06.789' {} +
touch -d '1960-01-01' a/empty
"#;

fn unpacked(scene: &Scene, archive: &str, into: &str) -> std::path::PathBuf {
    let to = scene.dir(into);
    let file = std::fs::File::open(scene.0.join(archive)).unwrap();
    let options = Options::layer(&Limits::default());
    unpack(open(&to).as_fd(), b"", BufReader::with_capacity(3000, file), &options)
        .unwrap_or_else(|e| panic!("{archive}: {e}"));
    to
}

#[test]
fn gnu_tar_archives_come_out_as_they_went_in() {
    let scene = Scene::new();
    scene.sh(TREE);
    let forms = [
        "--format=gnu",
        "--format=gnu -S",
        "--format=posix",
        "--format=posix -S --sparse-version=0.0",
        "--format=posix -S --sparse-version=0.1",
        "--format=posix -S --sparse-version=1.0",
        "--format=gnu -b 1",
    ];
    for (i, form) in forms.iter().enumerate() {
        let exact = form.contains("posix");
        let xattrs = if exact { "--xattrs --xattrs-include='*'" } else { "" };
        scene.sh(&format!(
            "tar {form} {xattrs} -cf {i}.tar -C tree . && mkdir t{i} && tar {xattrs} -xpf {i}.tar -C t{i}"
        ));
        let ours = unpacked(&scene, &format!("{i}.tar"), &format!("o{i}"));
        assert_same(&ours, &scene.0.join(format!("t{i}")), form);
        if exact {
            assert_same(&ours, &scene.0.join("tree"), form);
        }
        if form.contains("-S") {
            use std::os::unix::fs::MetadataExt;
            assert!(std::fs::metadata(ours.join("sparse")).unwrap().blocks() < 100, "{form}: holes stay holes");
        }
    }
}

#[test]
fn many_small_files_come_out_as_they_went_in() {
    let scene = Scene::new();
    // More than are filled at once, by number and by size; some with set-id bits, other owners, links, and made twice.
    scene.sh("mkdir tree; cd tree; for i in $(seq 700); do
           [ $((i % 50)) = 1 ] && d=d$i && mkdir $d && chmod 2755 $d
           head -c $((i * 61)) /dev/urandom > $d/$i
         done
         ln d1/7 hard; chown 1000:2000 */2*; chmod 4755 */1*; chmod 0 */3*; touch -d '2001-02-03 04:05:06' */*
         tar -cf ../many.tar .
         for i in d*; do touch $i/again; done
         tar -rf ../many.tar ./d1 ./d251
         cd ..; mkdir theirs; tar -xpf many.tar -C theirs");
    let ours = unpacked(&scene, "many.tar", "ours");
    assert_same(&ours, &scene.0.join("theirs"), "many");
}

#[test]
fn python_archives_come_out_as_they_went_in() {
    let scene = Scene::new();
    scene.sh(TREE);
    for form in ["GNU", "PAX"] {
        scene.sh(&format!(
            "python3 -c \"import tarfile; t=tarfile.open('p.tar','w',format=tarfile.{form}_FORMAT); t.add('tree','.'); t.close()\"
             rm -rf p; mkdir p; tar -xpf p.tar -C p"
        ));
        let ours = unpacked(&scene, "p.tar", form);
        assert_same(&ours, &scene.0.join("p"), form);
    }
}

#[test]
fn what_we_pack_other_programs_read() {
    let scene = Scene::new();
    scene.sh(TREE);
    let file = std::fs::File::create(scene.0.join("w.tar")).unwrap();
    let mut writer = tar::Writer::new(std::io::BufWriter::new(file));
    let options = layer::pack::Options { exact_times: true, ..Default::default() };
    pack(open(&scene.0).as_fd(), b"tree", b"", &mut writer, &options).unwrap();
    writer.finish().unwrap().into_inner().unwrap();
    scene.sh("mkdir g && tar --xattrs --xattrs-include='*' -xpf w.tar -C g");
    assert_same(&scene.0.join("g"), &scene.0.join("tree"), "GNU tar");
    assert_same(&unpacked(&scene, "w.tar", "own"), &scene.0.join("tree"), "ours");
    let names = scene.sh("python3 -c \"import tarfile; print(len(tarfile.open('w.tar').getnames()))\"");
    assert_eq!(names.trim().parse::<usize>().unwrap(), look(&scene.0.join("tree")).len());
}

#[test]
fn a_packed_tree_holds_no_more_than_itself() {
    let scene = Scene::new();
    scene.sh("mkdir in; echo secret > outside; ln -s ../outside in/link; ln -s .. in/up; ln -s /etc in/etc");
    let mut writer = tar::Writer::new(Vec::new());
    pack(open(&scene.0).as_fd(), b"in", b"x", &mut writer, &Default::default()).unwrap();
    let bytes = writer.finish().unwrap();
    let mut reader = tar::Reader::new(bytes.as_slice(), &Limits::default());
    let (mut entry, mut seen) = (tar::Entry::default(), Vec::new());
    while reader.next(&mut entry).unwrap() {
        seen.push((
            String::from_utf8(entry.path.clone()).unwrap(),
            entry.kind,
            String::from_utf8(entry.link.clone()).unwrap(),
        ));
    }
    let link = |name: &str, to: &str| (name.to_string(), tar::Kind::Symlink, to.to_string());
    let want = [
        ("x/".into(), tar::Kind::Directory, String::new()),
        link("x/etc", "/etc"),
        link("x/link", "../outside"),
        link("x/up", ".."),
    ];
    assert_eq!(seen, want);
}
