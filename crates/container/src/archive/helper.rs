//! The process behind `cp` and `export`.

use super::root::{self, Failure};
use super::{Answer, Request, Task, Why};
use api::container::{PathStat, go_mode};
use layer::tar::Writer;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io::{BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

/// The longest request.
const MAX_REQUEST: u32 = 64 << 20;
/// What it needs once it is in the root: CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID MKNOD SETFCAP.
const CAPABILITIES: [u8; 7] = [0, 1, 2, 3, 4, 27, 31];

/// `dhow archive`: to be called before the program makes any thread.
pub fn main(_arguments: &[OsString]) -> ExitCode {
    // Without the standard library's buffers: what follows the request belongs to the archive.
    let own = |fd: BorrowedFd| fd.try_clone_to_owned().map(std::fs::File::from);
    let (Ok(mut input), Ok(mut output)) = (own(std::io::stdin().as_fd()), own(std::io::stdout().as_fd())) else {
        return ExitCode::FAILURE;
    };
    let done = work(&mut input, &mut output);
    let (answer, code) = match done {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(answer)) => (answer, ExitCode::SUCCESS),
        Err((why, text)) => (Answer::Failed(why, text), ExitCode::FAILURE),
    };
    let _ = say(&mut output, &answer);
    code
}

fn say(output: &mut impl Write, answer: &Answer) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

/// Does what is asked. `None`: the answer has been given already, with an archive behind it.
fn work(input: &mut (impl Read + Send), output: &mut impl Write) -> Result<Option<Answer>, Failure> {
    let system = |doing: &str, e: std::io::Error| (Why::System, format!("{doing}: {e}"));
    let request = read(input).map_err(|e| system("reading the request", e))?;
    let root = root::enter(&request.root)?;
    confine().map_err(|e| system("giving up capabilities", e.into()))?;
    match &request.task {
        Task::Stat => stat(root.as_fd(), &request.path).map(|s| Some(Answer::Stat(Box::new(s)))),
        Task::Get => {
            let stat = stat(root.as_fd(), &request.path)?;
            say(output, &Answer::Stat(Box::new(stat))).map_err(|e| system("answering", e))?;
            match pack(root.as_fd(), &request.path, output) {
                Ok(()) => Ok(None),
                // The answer is out: the exit code alone tells that the archive is not whole.
                Err(_) => std::process::exit(1),
            }
        }
        Task::Put { keep_types, owner } => {
            put(root.as_fd(), &request, *keep_types, *owner, input)?;
            Ok(Some(Answer::Done))
        }
    }
}

fn read(input: &mut impl Read) -> std::io::Result<Request> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MAX_REQUEST {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length as usize];
    input.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// From here on it can read and write any file it can name, and nothing else.
fn confine() -> rustix::io::Result<()> {
    let kept = CAPABILITIES.iter().fold(0u64, |mask, n| mask | 1 << n);
    let have = sys::caps::capget()?;
    sys::caps::no_new_privs()?;
    let permitted = have.permitted & kept;
    sys::caps::capset(sys::caps::Sets { effective: permitted, permitted, inheritable: 0 })
}

/// Errors of looking something up.
fn lookup(path: &str, e: Errno) -> Failure {
    match e {
        Errno::NOENT | Errno::NOTDIR => (Why::Missing, format!("{path}: no such file or directory")),
        e => (Why::System, format!("{path}: {}", std::io::Error::from(e))),
    }
}

/// A path that ends in a slash or a dot means what a link at its end leads to.
fn follows(path: &str) -> bool {
    path.ends_with('/') || matches!(path.rsplit('/').next(), Some("." | ".."))
}

fn stat(root: BorrowedFd, path: &str) -> Result<PathStat, Failure> {
    let flags = if follows(path) { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW };
    let found = sys::rootfs::resolve(root, path.as_bytes(), flags).map_err(|e| lookup(path, e))?;
    let stat = rustix::fs::fstat(&found).map_err(|e| lookup(path, e))?;
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    Ok(PathStat {
        name: base_name(path).to_owned(),
        size: stat.st_size,
        mode: go_mode::from_unix(stat.st_mode),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        link_target: if is_link { target(root, path, &found) } else { String::new() },
    })
}

/// Where a link ends, as a path in the root; of a dangling one, what it says.
fn target(root: BorrowedFd, path: &str, link: &OwnedFd) -> String {
    if let Ok(end) = sys::rootfs::resolve(root, path.as_bytes(), OFlags::PATH)
        && let Some(path) = path_in(root, end.as_fd())
    {
        return path;
    }
    let text =
        rustix::fs::readlinkat(link, "", Vec::new()).map(|t| t.to_string_lossy().into_owned()).unwrap_or_default();
    let above = path.trim_end_matches('/').rsplit_once('/').map_or("", |(above, _)| above);
    let joined = if text.starts_with('/') { text } else { format!("{above}/{text}") };
    crate::mounts::clean(&joined)
}

/// The path of a descriptor, below the root.
fn path_in(root: BorrowedFd, found: BorrowedFd) -> Option<String> {
    let path = |fd: BorrowedFd| {
        let link = rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new()).ok()?;
        link.into_string().ok()
    };
    let (root, found) = (path(root)?, path(found)?);
    let inside = found.strip_prefix(root.trim_end_matches('/'))?;
    Some(if inside.is_empty() { "/".to_owned() } else { inside.to_owned() })
}

/// Go's `filepath.Base`.
fn base_name(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        path => path.rsplit('/').next().unwrap_or(path),
    }
}

fn time(seconds: i64, nanoseconds: impl TryInto<i32>) -> String {
    let at = jiff::Timestamp::new(seconds, nanoseconds.try_into().unwrap_or(0)).unwrap_or_default();
    at.to_string()
}

/// Packs the thing at `path` under its own name.
fn pack(root: BorrowedFd, path: &str, output: &mut impl Write) -> layer::Result<()> {
    let name = match base_name(path) {
        "/" | "." | ".." => "",
        name => name,
    };
    let mut writer = Writer::new(std::io::BufWriter::with_capacity(256 << 10, output));
    let options = layer::pack::Options::default();
    // A slash at the end asks for the directory behind a link: then `.` is what is packed.
    let inside = if path.ends_with('/') { format!("{path}.") } else { path.to_owned() };
    layer::pack(root, inside.as_bytes(), name.as_bytes(), &mut writer, &options)?;
    let mut output = writer.finish()?;
    output.flush().map_err(|e| layer::Error::Io { doing: "write", path: "the archive".into(), source: e })
}

fn put(
    root: BorrowedFd,
    request: &Request,
    keep_types: bool,
    owner: Option<(u32, u32)>,
    input: &mut (impl Read + Send),
) -> Result<(), Failure> {
    let path = request.path.as_str();
    let target = sys::rootfs::resolve(root, path.as_bytes(), OFlags::PATH).map_err(|e| lookup(path, e))?;
    let stat = rustix::fs::fstat(&target).map_err(|e| lookup(path, e))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err((Why::Invalid, "extraction point is not a directory".into()));
    }
    check_writable(root, request, target.as_fd())?;
    let mut input = BufReader::with_capacity(256 << 10, input);
    let options =
        layer::unpack::Options { keep_types, owner, ..layer::unpack::Options::files(&layer::Limits::default()) };
    // The directory itself is the root of what is unpacked: nothing in the archive leads out of it.
    let directory = rustix::fs::openat(&target, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| lookup(path, e))?;
    let unpacked = layer::unpack(directory.as_fd(), b"", &mut input, &options);
    unpacked.map_err(|e| (Why::System, e.to_string()))?;
    // What follows the end of the archive is read, so that the sender is not cut off.
    std::io::copy(&mut input, &mut std::io::sink()).map_err(|e| (Why::System, e.to_string()))?;
    Ok(())
}

/// Docker's own words for what the kernel would refuse with EROFS.
fn check_writable(root: BorrowedFd, request: &Request, target: BorrowedFd) -> Result<(), Failure> {
    let Some(path) = path_in(root, target) else { return Ok(()) };
    let covers = |d: &str| path == d || path.strip_prefix(d).is_some_and(|rest| rest.starts_with('/'));
    let point = request.points.iter().filter(|(d, _)| covers(d)).max_by_key(|(d, _)| d.len());
    match point {
        Some((_, true)) => Ok(()),
        Some((_, false)) => Err((Why::Invalid, "mounted volume is marked read-only".into())),
        None if request.writable => Ok(()),
        None => Err((Why::Invalid, "container rootfs is marked read-only".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (path, base, follow) in [
            ("/", "/", true),
            ("/a/b", "b", false),
            ("/a/b/", "b", true),
            ("/a/.", ".", true),
            ("a", "a", false),
            ("", "/", false),
        ] {
            assert_eq!((base_name(path), follows(path)), (base, follow), "{path}");
        }
    }

    #[test]
    fn what_is_at_a_path() {
        let dir = std::env::temp_dir().join(format!("dhow-archive-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("real")).unwrap();
        std::fs::write(dir.join("real/file"), "12345").unwrap();
        std::os::unix::fs::symlink("/real/file", dir.join("link")).unwrap();
        std::os::unix::fs::symlink("../../nowhere", dir.join("real/dangling")).unwrap();
        let root = sys::rootfs::open_root(&dir).unwrap();
        let of = |path: &str| stat(root.as_fd(), path);
        let file = of("/real/file").unwrap();
        assert_eq!((file.name.as_str(), file.size, file.link_target.as_str()), ("file", 5, ""));
        let link = of("/link").unwrap();
        assert_eq!((link.mode & go_mode::SYMLINK != 0, link.link_target.as_str()), (true, "/real/file"));
        assert_eq!(of("/real/dangling").unwrap().link_target, "/nowhere");
        assert_eq!(of("/../../../real/").unwrap().mode & go_mode::DIR, go_mode::DIR);
        assert_eq!(of("/none").unwrap_err().0, Why::Missing);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
