//! Generated archives, most of them wrong in one or two places: what we accept, GNU tar and Python list alike, entry by
//! entry. `DHOW_TEST_ARCHIVES` says how many.

use crate::scene::{Scene, header, seal};
use layer::tar::{Entry, Kind, Reader};
use layer::{Error, Limits};

/// Numbers that look random and are the same in each run, and how many more oddities the archive may have: one that has
/// many is refused for the first, and tells nothing.
struct Dice(u64, usize);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn odd(&mut self, n: usize) -> bool {
        let odd = self.1 > 0 && self.one_in(n);
        self.1 -= usize::from(odd);
        odd
    }

    /// One of the usual, or of the odd.
    fn either<T: Clone>(&mut self, usual: &[T], odd: &[T]) -> T {
        if self.odd(4) { self.of(odd) } else { self.of(usual) }
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn block(flag: u8, name: &[u8], link: &[u8], data: &[u8]) -> Vec<u8> {
    [header(flag, name, link, data.len() as u64), padded(data.to_vec())].concat()
}

/// A record whose length is right, or off.
fn record(key: &str, value: &str, dice: &mut Dice) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let right = (rest..rest + 9).find(|len| rest + len.to_string().len() == *len).unwrap();
    let wrong = [(right + 1).to_string(), (right - 1).to_string(), format!("0{right}"), "99999999999999999999".into()];
    let wrong = [&wrong[..], &[format!("+{right}"), format!(" {right}"), "0".into()]].concat();
    let length = dice.either(&[right.to_string()], &wrong);
    let last = dice.either(&["\n"], &["", "\n\n", "\0"]);
    format!("{length} {key}={value}{last}").into_bytes()
}

/// What may be said of an entry beforehand.
fn before(size: usize, dice: &mut Dice) -> Vec<u8> {
    let mut out = Vec::new();
    let pax = |records: Vec<u8>, flag: u8| block(flag, b"pax", b"", &records);
    let long = |flag: u8, name: &[u8]| block(flag, b"././@LongLink", b"", name);
    for _ in 0..dice.either(&[0usize, 0, 1, 1], &[2, 3]) {
        let key = dice.of(&["path", "path", "size", "size", "mtime", "uid", "linkpath", "comment", "odd.key"]);
        let value = match key {
            "size" => {
                let odd = ["0", "512", "-1", "1e3", "+5", " 5", "0x5", ""].map(str::to_owned);
                dice.either(&[size.to_string()], &[&odd[..], &[(size + 512).to_string()]].concat())
            }
            "mtime" => dice.either(&["1.5", "-3", "1"], &["x", "99999999999", "", "1.5.5"]).to_owned(),
            "uid" => dice.either(&["7"], &["-7", "4294967296", "", "7 "]).to_owned(),
            _ => {
                let odd = ["", "x/", "two\nlines", "/", ".", "nul\0in", "\u{1}"];
                dice.either(&["renamed", "a/b", "\u{e4}", "with space", "n=m", "./d/e"], &odd).to_owned()
            }
        };
        let mut records = record(key, &value, dice);
        if dice.odd(4) {
            records.extend(record(key, "other", dice));
        }
        out.extend(match dice.either(&[0, 1, 2, 2, 2], &[3, 4, 5, 6, 7, 8]) {
            0 => long(b'L', b"long-name\0"),
            1 => long(b'L', &[&[b'n'; 150][..], b"\0"].concat()),
            2 => pax(records, b'x'),
            3 => pax(records, b'g'),
            4 => long(b'L', b"no-end"),
            5 => long(b'L', b"a\0b\0"),
            6 => long(b'K', b"long-target\0"),
            7 => pax([records, b"\0\0\0".to_vec()].concat(), b'x'),
            _ => pax(Vec::new(), b'x'),
        });
    }
    out
}

/// An entry that is a sparse file of one form or another.
fn sparse(dice: &mut Dice) -> Vec<u8> {
    let real = dice.either(&["5000", "99999"], &["4", "0", "104"]);
    match dice.below(3) {
        0 => {
            let mut block = header(b'S', b"sparse", b"", 4);
            block[257..265].copy_from_slice(b"ustar  \0");
            block[345..500].fill(0);
            block[386..398].copy_from_slice(b"00000000100\0");
            block[398..410].copy_from_slice(b"00000000004\0");
            block[483..495].copy_from_slice(format!("{:011o}\0", real.parse::<u64>().unwrap()).as_bytes());
            seal(&mut block);
            [block, padded(b"data".to_vec())].concat()
        }
        1 => {
            let map = dice.either(&["0,4", "100,4", "4996,4"], &["4,", "100,4,50,4", "0,4,", "100,2"]);
            let mut records = record("GNU.sparse.size", real, dice);
            records.extend(record("GNU.sparse.numblocks", dice.either(&["1"], &["2", "0"]), dice));
            records.extend(record("GNU.sparse.map", map, dice));
            [block(b'x', b"pax", b"", &records), block(b'0', b"sparse", b"", b"data")].concat()
        }
        _ => {
            let mut records = record("GNU.sparse.major", "1", dice);
            records.extend(record("GNU.sparse.minor", dice.either(&["0"], &["1"]), dice));
            records.extend(record("GNU.sparse.name", "true-name", dice));
            records.extend(record("GNU.sparse.realsize", real, dice));
            let map = dice.either(&["1\n100\n4\n", "1\n0\n4\n"], &["2\n0\n4\n", "x\n", "1\n100\n4", "0\n"]);
            let data = [padded(map.as_bytes().to_vec()), b"data".to_vec()].concat();
            [block(b'x', b"pax", b"", &records), block(b'0', b"GNUSparseFile.1/x", b"", &data)].concat()
        }
    }
}

fn entry(n: usize, dice: &mut Dice) -> Vec<u8> {
    if dice.one_in(10) {
        return sparse(dice);
    }
    let flag = dice.either(b"000000\x0052126134", b"7VDMNXSAIKL");
    let inner = block(b'0', b"smuggled", b"", b"");
    let data = match flag {
        b'0' | 0 => dice.of(&[Vec::new(), b"x".to_vec(), inner.clone(), [inner.clone(), vec![0; 1024]].concat()]),
        _ if dice.odd(4) => inner,
        _ => Vec::new(),
    };
    let name = match dice.below(8) {
        0 if flag == b'5' || flag == 0 && data.is_empty() || dice.odd(4) => format!("dir{n}/"),
        1 => format!("./f{n}"),
        2 => format!("a//b{n}"),
        _ => format!("f{n}"),
    };
    let link: &[u8] = if matches!(flag, b'1' | b'2') { b"target" } else { b"" };
    let mut bytes = block(flag, name.as_bytes(), link, &data);
    while dice.odd(3) {
        let size = data.len();
        let (at, field): (usize, Vec<u8>) = match dice.below(14) {
            0 => (124, [&[0x80, 0, 0, 0][..], &(size as u64).to_be_bytes()].concat()),
            1 => (124, vec![0xff; 12]),
            2 => (124, format!("{size:o}").into_bytes()),
            3 => (124, format!("{size:>11o} ").into_bytes()),
            4 => (124, b"-0000001000\0".to_vec()),
            5 => (124, format!("{:011o}\0", size + 512).into_bytes()),
            6 => (257, b"ustar  \0".to_vec()),
            7 => (257, vec![0; 8]),
            8 => (345, b"prefix".to_vec()),
            9 => (156, vec![dice.of(b"0127Sx")]),
            10 => (136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xf0".to_vec()),
            11 => (508, b"tar\0".to_vec()),
            12 => (0, vec![0; 5]),
            _ => (dice.below(500), vec![dice.of(b"0 \x00\xff7/")]),
        };
        bytes[at..at + field.len()].copy_from_slice(&field);
        if !dice.odd(8) {
            seal(&mut bytes[..512]);
        }
    }
    [before(data.len(), dice), bytes].concat()
}

fn generate(dice: &mut Dice) -> Vec<u8> {
    let mut all = Vec::new();
    dice.1 = dice.of(&[0, 1, 1, 1, 2, 2, 3]);
    for n in 0..1 + dice.below(4) {
        all.extend(entry(n, dice));
    }
    match dice.either(&[6], &[0, 1, 2, 3, 4, 5]) {
        0 => all.extend([vec![0; 512], block(b'0', b"after-one", b"", b""), vec![0; 1024]].concat()),
        1 => all.extend([vec![0; 1024], block(b'0', b"after-two", b"", b"")].concat()),
        2 => all.extend([vec![0; 1024], b"garbage".to_vec()].concat()),
        3 => {}
        4 => all.extend(vec![0; 512]),
        5 => {
            let cut = dice.below(all.len());
            all.truncate(cut);
        }
        _ => all.extend(vec![0; 1024]),
    }
    all
}

/// Our list, or why there is none. Times, owners and modes are not where archives hide entries.
fn list(bytes: &[u8]) -> Result<Vec<String>, Error> {
    let mut reader = Reader::new(bytes, &Limits::default());
    let (mut entry, mut all) = (Entry::default(), Vec::new());
    while reader.next(&mut entry)? {
        let kind = match entry.kind {
            Kind::File => "file",
            Kind::Directory => "dir",
            Kind::Symlink => "symlink",
            Kind::HardLink => "link",
            Kind::Fifo => "fifo",
            Kind::Char => "char",
            Kind::Block => "block",
        };
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let name = entry.path.strip_suffix(b"/").filter(|p| !p.is_empty()).unwrap_or(&entry.path);
        let name = name.iter().rposition(|b| *b != b'/').map_or(name, |last| &name[..=last]);
        all.push(format!("{kind} {} {} {}", entry.size, hex(name), hex(&entry.link)));
    }
    Ok(all)
}

/// Prints `N: list` of each archive as Python and GNU tar have it, and where they differ from `N.ours`.
const COMPARE: &str = r#"
import subprocess, sys, tarfile
kinds = {tarfile.REGTYPE: 'file', tarfile.AREGTYPE: 'file', tarfile.CONTTYPE: 'file', tarfile.DIRTYPE: 'dir',
         tarfile.SYMTYPE: 'symlink', tarfile.LNKTYPE: 'link', tarfile.FIFOTYPE: 'fifo', tarfile.CHRTYPE: 'char',
         tarfile.BLKTYPE: 'block', tarfile.GNUTYPE_SPARSE: 'file'}
letters = {'-': 'file', 'd': 'dir', 'l': 'symlink', 'h': 'link', 'p': 'fifo', 'c': 'char', 'b': 'block'}
def raw(text): return text.encode('utf-8', 'surrogateescape')
def python(path):
    out = []
    for m in tarfile.open(path, encoding='utf-8', errors='surrogateescape'):
        kind = kinds.get(m.type, repr(m.type))
        link = raw(m.linkname).hex() if kind in ('symlink', 'link') else ''
        out.append('%s %d %s %s' % (kind, m.size if kind == 'file' else 0, raw(m.name.rstrip('/') or m.name).hex(), link))
    return out
def unescape(text):
    out, i = b'', 0
    while i < len(text):
        if text[i:i+1] == b'\\' and text[i+1:i+4].isdigit():
            out, i = out + bytes([int(text[i+1:i+4], 8)]), i + 4
        elif text[i:i+1] == b'\\':
            out, i = out + {b'n': b'\n', b't': b'\t', b'\\': b'\\', b' ': b' ', b'r': b'\r', b'b': b'\b', b'f': b'\f', b'a': b'\a', b'v': b'\v'}[text[i+1:i+2]], i + 2
        else:
            out, i = out + text[i:i+1], i + 1
    return out
def gnu(path):
    done = subprocess.run(['tar', '-tvf', path, '--numeric-owner', '--full-time', '--quoting-style=escape'],
                          capture_output=True, env={'LC_ALL': 'C', 'PATH': '/usr/bin:/bin', 'TZ': 'UTC'})
    out = []
    for line in done.stdout.splitlines():
        mode, owner, size, rest = line.split(None, 3)
        date, time, name = rest.split(None, 2)
        kind = letters[chr(mode[0])]
        link = b''
        if kind == 'symlink': name, link = name.split(b' -> ', 1)
        if kind == 'link': name, link = name.split(b' link to ', 1)
        name = unescape(name)
        out.append('%s %d %s %s' % (kind, int(size) if kind == 'file' else 0, (name.rstrip(b'/') or name).hex(), unescape(link).hex()))
    if done.returncode: out.append('error: ' + done.stderr.decode(errors='replace').strip())
    return out
for n in sys.stdin.read().split():
    ours = open(n + '.ours').read().split('\n')[:-1]
    for who, read in (('python', python), ('GNU tar', gnu)):
        try: theirs = read(n + '.tar')
        except Exception as e: theirs = ['error: ' + repr(e)]
        if theirs != ours: print('archive %s: ours %s, %s: %s' % (n, ours, who, theirs))
"#;

#[test]
fn what_we_accept_of_generated_archives_others_list_alike() {
    let count = std::env::var("DHOW_TEST_ARCHIVES").ok().and_then(|n| n.parse().ok()).unwrap_or(600);
    let scene = Scene::new();
    let mut dice = Dice(20260, 0);
    let mut accepted = Vec::new();
    let mut refused = std::collections::BTreeMap::<String, usize>::new();
    for n in 0..count {
        let bytes = generate(&mut dice);
        match list(&bytes) {
            Ok(ours) => {
                std::fs::write(scene.0.join(format!("{n}.tar")), bytes).unwrap();
                let text: String = ours.iter().map(|line| format!("{line}\n")).collect();
                std::fs::write(scene.0.join(format!("{n}.ours")), text).unwrap();
                accepted.push(n.to_string());
            }
            Err(error) => *refused.entry(error.to_string()).or_default() += 1,
        }
    }
    // Enough of both, and refused for many a reason.
    assert!(accepted.len() > count / 6, "only {} of {count} accepted: {refused:#?}", accepted.len());
    assert!(refused.len() > 15, "{refused:#?}");
    std::fs::write(scene.0.join("compare.py"), COMPARE).unwrap();
    std::fs::write(scene.0.join("numbers"), accepted.join("\n")).unwrap();
    let differ = scene.sh("python3 compare.py <numbers");
    assert!(differ.is_empty(), "{} of {} accepted:\n{differ}", differ.lines().count(), accepted.len());
}
