use oci::runtime::*;
use runtime::cgroup::Place;
use runtime::{Create, Created, Failure, Running, Stdio};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A root file system in a directory of its own, and what Docker would configure for it.
pub struct Bench {
    pub base: PathBuf,
    pub id: String,
    pub spec: Spec,
    pub overlay: Option<Mount>,
    /// It is made in a copy of the host's mount namespace, and not of a bare one.
    pub among_hosts: bool,
}

/// A mount namespace without the host's mounts.
pub fn bare() -> BorrowedFd<'static> {
    static BARE: LazyLock<OwnedFd> = LazyLock::new(|| sys::bare::mounts().unwrap());
    BARE.as_fd()
}

/// How a process ended, and what it wrote.
#[derive(Debug, PartialEq, Eq)]
pub struct Out {
    pub code: i32,
    pub text: String,
}

impl Bench {
    pub fn new(args: &[&str]) -> Bench {
        let id = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let base = std::env::temp_dir().join(format!("dhow-{id}"));
        for directory in ["root/bin", "root/etc", "root/tmp", "canary"] {
            std::fs::create_dir_all(base.join(directory)).unwrap();
        }
        std::fs::copy("/bin/busybox", base.join("root/bin/busybox")).unwrap();
        for applet in
            ["sh", "true", "false", "cat", "ls", "id", "sleep", "stat", "env", "hostname", "tty", "test", "stty"]
        {
            symlink("busybox", base.join("root/bin").join(applet)).unwrap();
        }
        std::fs::write(base.join("root/etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n")
            .unwrap();
        std::fs::write(base.join("canary/file"), "canary").unwrap();
        let spec = docker_like(args, &base.join("root"), &id);
        Bench { base, id, spec, overlay: None, among_hosts: false }
    }

    /// `sh -c script`.
    pub fn sh(script: &str) -> Bench {
        Bench::new(&["sh", "-c", script])
    }

    pub fn root(&self) -> PathBuf {
        self.base.join("root")
    }

    pub fn process(&mut self) -> &mut Process {
        self.spec.process.as_mut().unwrap()
    }

    pub fn linux(&mut self) -> &mut Linux {
        self.spec.linux.as_mut().unwrap()
    }

    pub fn mount(&mut self, kind: &str, source: &str, destination: &str, options: &[&str]) {
        self.spec.mounts.push(mount(kind, source, destination, options));
    }

    pub fn place(&self) -> Place {
        Place::new(&self.spec, &self.id, false).unwrap()
    }

    pub fn create_with(&self, stdio: Stdio, netns: Option<BorrowedFd>) -> Result<Created, Failure> {
        runtime::create(Create {
            id: &self.id,
            spec: &self.spec,
            rootfs: self.overlay.as_ref(),
            rootfs_base: &self.base,
            cgroup: &self.place(),
            stdio,
            netns,
            sysfs: None,
            bare: (!self.among_hosts).then(bare),
            init: None,
            detached: None,
        })
    }

    pub fn start(&self, stdio: Stdio) -> Result<Running, Failure> {
        self.create_with(stdio, None)?.start()
    }

    /// Runs to the end; output and errors together.
    pub fn run(&self) -> Result<Out, Failure> {
        let (mut reader, stdio) = captured();
        let running = self.start(stdio)?;
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let code = wait(running.pidfd.as_fd());
        running.cgroup.remove().unwrap();
        self.canary_is_unchanged();
        Ok(Out { code, text })
    }

    /// Runs and expects this of it.
    pub fn gives(&self, code: i32, text: &str) {
        assert_eq!(self.run(), Ok(Out { code, text: text.into() }));
    }

    /// Expects that it cannot be started; nothing may be left.
    pub fn refused(&self) -> Failure {
        let failure = self.run().unwrap_err();
        self.canary_is_unchanged();
        for controller in ["", "memory", "pids", "devices", "freezer"] {
            let left = Path::new("/sys/fs/cgroup").join(controller).join(format!("dhow/{}", self.id));
            assert!(!left.exists(), "{}", left.display());
        }
        failure
    }

    fn canary_is_unchanged(&self) {
        let names: Vec<_> =
            std::fs::read_dir(self.base.join("canary")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["file"]);
        assert_eq!(std::fs::read(self.base.join("canary/file")).unwrap(), b"canary");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

pub fn captured() -> (std::io::PipeReader, Stdio) {
    let (reader, writer) = std::io::pipe().unwrap();
    let second = writer.try_clone().unwrap();
    (reader, Stdio { stdin: None, stdout: Some(OwnedFd::from(writer)), stderr: Some(OwnedFd::from(second)) })
}

/// Reaps; 128 + signal for a killed one.
pub fn wait(pidfd: BorrowedFd) -> i32 {
    let status = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED).unwrap().unwrap();
    status.exit_status().or(status.terminating_signal().map(|s| 128 + s)).unwrap()
}

/// A running container that does not outlive its test.
pub struct Live(pub Running);

impl std::ops::Deref for Live {
    type Target = Running;
    fn deref(&self) -> &Running {
        &self.0
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = sys::process::pidfd_send_signal(self.pidfd.as_fd(), 9);
        let _ = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        let _ = self.cgroup.remove();
    }
}

pub fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| s.to_string()).collect()
}

pub fn mount(kind: &str, source: &str, destination: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        kind: kind.into(),
        source: source.into(),
        options: strings(options),
        ..Mount::default()
    }
}

pub fn namespace(kind: &str, path: &str) -> Namespace {
    Namespace { kind: kind.into(), path: path.into() }
}

pub const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

fn docker_like(args: &[&str], root: &Path, id: &str) -> Spec {
    let set = strings(&CAPABILITIES);
    let capabilities =
        Capabilities { bounding: set.clone(), effective: set.clone(), permitted: set, ..Capabilities::default() };
    let nosuid = ["nosuid", "noexec", "nodev"];
    let with = |more: &[&'static str]| [&nosuid[..], more].concat();
    Spec {
        oci_version: "1.3.0".into(),
        process: Some(Process {
            args: strings(args),
            env: strings(&["PATH=/usr/bin:/bin"]),
            cwd: "/".into(),
            capabilities: Some(capabilities),
            ..Process::default()
        }),
        root: Some(Root { path: root.into(), readonly: false }),
        hostname: "box".into(),
        mounts: vec![
            mount("proc", "proc", "/proc", &nosuid),
            mount("tmpfs", "tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount(
                "devpts",
                "devpts",
                "/dev/pts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            ),
            mount("sysfs", "sysfs", "/sys", &with(&["ro"])),
            mount("cgroup", "cgroup", "/sys/fs/cgroup", &with(&["ro"])),
            mount("mqueue", "mqueue", "/dev/mqueue", &nosuid),
            mount("tmpfs", "shm", "/dev/shm", &with(&["mode=1777", "size=67108864"])),
        ],
        linux: Some(Linux {
            cgroups_path: format!("/dhow/{id}"),
            namespaces: ["mount", "network", "uts", "pid", "ipc"].map(|kind| namespace(kind, "")).into(),
            resources: Some(Resources {
                devices: vec![DeviceRule { allow: false, access: "rwm".into(), ..DeviceRule::default() }],
                ..Resources::default()
            }),
            masked_paths: strings(&[
                "/proc/asound",
                "/proc/acpi",
                "/proc/interrupts",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/proc/scsi",
                "/sys/firmware",
                "/sys/devices/virtual/powercap",
            ]),
            readonly_paths: strings(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}
