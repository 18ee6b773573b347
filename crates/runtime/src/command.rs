//! Finding the program of a command inside the container, before the go, so that its absence is an ordinary failure.

use crate::{Failure, FailureKind};
use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;

/// The path to execute for `name`, looked up in the `PATH` of `env` when it has no slash. The process already is in its
/// root, in its working directory and its user.
pub(crate) fn find(name: &CStr, env: &[CString]) -> Result<CString, Failure> {
    if name.to_bytes().contains(&b'/') {
        return match executable(name) {
            Ok(()) => Ok(name.into()),
            Err((errno, statting)) => Err(refused(name, errno, statting)),
        };
    }
    let path = env.iter().rev().find_map(|variable| variable.to_bytes().strip_prefix(b"PATH="));
    let directories = path.unwrap_or_default().split(|b| *b == b':').filter(|d| d.starts_with(b"/"));
    for directory in directories {
        let Ok(candidate) = CString::new([directory, b"/", name.to_bytes()].concat()) else { continue };
        if !name.is_empty() && executable(&candidate).is_ok() {
            return Ok(candidate);
        }
    }
    let text = format!("exec: {}: executable file not found in $PATH", quoted(name));
    Err(Failure { stage: "exec".into(), kind: FailureKind::CommandNotFound, errno: Errno::NOENT.raw_os_error(), text })
}

/// Whether this process may execute `path`; else why not, and whether not even stat(2) worked.
fn executable(path: &CStr) -> Result<(), (Errno, bool)> {
    let stat = rustix::fs::stat(path).map_err(|e| (e, true))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err((Errno::ISDIR, false));
    }
    match rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => Ok(()),
        // faccessat2 is of Linux 5.8.
        Err(Errno::NOSYS) if stat.st_mode & 0o111 != 0 => Ok(()),
        Err(Errno::NOSYS) => Err((Errno::ACCESS, false)),
        Err(e) => Err((e, false)),
    }
}

fn refused(name: &CStr, errno: Errno, statting: bool) -> Failure {
    let shown = String::from_utf8_lossy(name.to_bytes());
    let what =
        if statting { format!("exec: {}: stat {shown}", quoted(name)) } else { format!("exec: {}", quoted(name)) };
    Failure { kind: kind(errno), ..Failure::system("exec", &what, errno) }
}

/// What execve(2) itself said.
pub(crate) fn failed(path: &CStr, errno: Errno) -> Failure {
    let what = format!("exec {}", String::from_utf8_lossy(path.to_bytes()));
    Failure { kind: kind(errno), ..Failure::system("exec", &what, errno) }
}

fn kind(errno: Errno) -> FailureKind {
    match errno {
        Errno::NOENT | Errno::NOTDIR => FailureKind::CommandNotFound,
        _ => FailureKind::NotExecutable,
    }
}

/// In quotes as Go prints them (`%q`), which is what clients have always seen.
fn quoted(name: &CStr) -> String {
    format!("{:?}", OsStr::from_bytes(name.to_bytes()))
}

/// `HOME=…` of `uid` as the container's `/etc/passwd` says, else `/`. `passwd` is a file of the container: whatever it
/// holds, the answer is one line.
pub(crate) fn home(passwd: &[u8], uid: u32) -> CString {
    for line in passwd.split(|b| *b == b'\n') {
        let mut fields = line.split(|b| *b == b':');
        let number = fields.nth(2).and_then(|n| std::str::from_utf8(n).ok()?.parse::<u32>().ok());
        let Some(home) = fields.nth(2).filter(|home| home.starts_with(b"/")) else { continue };
        if number == Some(uid)
            && let Ok(variable) = CString::new([b"HOME=", home].concat())
        {
            return variable;
        }
    }
    c"HOME=/".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, path: &str) -> Result<CString, (FailureKind, String)> {
        let env = [CString::new(format!("PATH={path}")).unwrap()];
        find(&CString::new(name).unwrap(), &env).map_err(|f| (f.kind, f.text))
    }

    #[test]
    fn where_programs_are() {
        assert_eq!(of("sh", "/nonexistent:/bin"), Ok(c"/bin/sh".into()));
        assert_eq!(of("/bin/sh", ""), Ok(c"/bin/sh".into()));
    }

    #[test]
    fn dockers_words() {
        let none = |name: &str| {
            Err((FailureKind::CommandNotFound, format!("exec: \"{name}\": executable file not found in $PATH")))
        };
        assert_eq!(of("nosuch", "/bin"), none("nosuch"));
        assert_eq!(of("passwd", "/etc"), none("passwd"));
        assert_eq!(of("", "/bin"), none(""));
        assert_eq!(of("sh", "bin:."), none("sh"));
        let not = |kind, text: &str| Err((kind, text.to_string()));
        use FailureKind::{CommandNotFound, NotExecutable};
        assert_eq!(
            of("/nosuch", ""),
            not(CommandNotFound, "exec: \"/nosuch\": stat /nosuch: no such file or directory")
        );
        assert_eq!(of("/etc", ""), not(NotExecutable, "exec: \"/etc\": is a directory"));
        assert_eq!(of("/etc/passwd", ""), not(NotExecutable, "exec: \"/etc/passwd\": permission denied"));
        assert_eq!(
            of("/etc/passwd/x", ""),
            not(CommandNotFound, "exec: \"/etc/passwd/x\": stat /etc/passwd/x: not a directory")
        );
    }

    #[test]
    fn homes() {
        let passwd = b"# x\nroot:x:0:0:root:/root:/bin/sh\nbad:x:7:7\nu:x:1000:1000::/home/u:\nrel:x:5:5::rel:\n";
        assert_eq!(home(passwd, 0).as_c_str(), c"HOME=/root");
        assert_eq!(home(passwd, 1000).as_c_str(), c"HOME=/home/u");
        for other in [7, 5, 8, u32::MAX] {
            assert_eq!(home(passwd, other).as_c_str(), c"HOME=/");
        }
        assert_eq!(home(b"", 0).as_c_str(), c"HOME=/");
    }
}
