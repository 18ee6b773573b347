//! `cargo xtask vm`: dhow on a machine whose only cgroups are v2, with a kernel and a systemd of Debian stable, or of another
//! release in `vm-RELEASE/`.
//!
//! ```text
//! <target>/<triple>/debug/vm/qemu/     QEMU with its libraries, unless the machine has one
//!                           guest/     Debian, made by debootstrap, kernel and initramfs in its /boot
//!                           guest.img  the same as a file system; every boot sees it unchanged
//!                           data.img   /var/lib/dhow, empty at the first boot, kept over the following ones
//!                           power.img  /var/lib/dhow of the boots of `power` (power.rs), heard.img what they have said
//!                           hand.tar   the binary and the scripts of xtask/vm
//! ```
//!
//! There is no network to the outside; the serial console is all that comes back. Each boot runs one script, which prints
//! a line for each check. The first boot ends when the host kills QEMU, as when the power is cut.

use crate::{Outcome, cargo, debian, is_root, power, run, target_dir};
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const RELEASE: &str = "stable";
/// What Debian lacks without them: a kernel, what dhow runs, what the checks call, other runtimes to compare with.
const GUEST: &str =
    "linux-image-cloud-amd64,systemd-sysv,udev,dbus,libpam-systemd,nftables,iproute2,busybox-static,procps,runc,crun";
/// How long one boot may take, on an emulated processor of a busy machine.
const PATIENCE: Duration = Duration::from_secs(1200);

const FILES: [(&str, &str); 9] = [
    ("boot", include_str!("../vm/boot")),
    ("lib.sh", include_str!("../vm/lib.sh")),
    ("first.sh", include_str!("../vm/first.sh")),
    ("second.sh", include_str!("../vm/second.sh")),
    ("systemd.sh", include_str!("../vm/systemd.sh")),
    ("scope.sh", include_str!("../vm/scope.sh")),
    ("power.sh", include_str!("../vm/power.sh")),
    ("registry.pl", include_str!("../vm/registry.pl")),
    ("checks.service", include_str!("../vm/checks.service")),
];

/// How often `power` cuts the power when nothing else is said.
const CUTS: u32 = 30;

/// Boots thrice and fails when a check did. Flags: `--kvm` for a real processor, `--release=NAME` for another Debian, names of
/// boots for only these; `power` for many boots, each of which ends with the power cut, `--cuts=N` for how many.
pub fn vm(args: &[String]) -> Outcome {
    if !is_root() {
        return Err("debootstrap needs root".into());
    }
    if std::env::consts::ARCH != "x86_64" {
        return Err(format!("the virtual machine is for x86_64 as yet, not {}", std::env::consts::ARCH));
    }
    let (flags, boots): (Vec<&str>, Vec<&str>) = args.iter().map(String::as_str).partition(|a| a.starts_with('-'));
    let (mut cuts, mut release) = (CUTS, RELEASE);
    for flag in flags.iter().filter(|f| **f != "--kvm") {
        match flag.split_once('=') {
            Some(("--cuts", number)) => cuts = number.parse().map_err(|_| format!("not a number: {flag}"))?,
            Some(("--release", name)) => release = name,
            _ => return Err(format!("unknown flag {flag}")),
        }
    }
    if let Some(unknown) = boots.iter().find(|b| !["first", "second", "systemd", "power"].contains(*b)) {
        return Err(format!("there is no boot {unknown}: first, second, systemd, power"));
    }
    let all = target_dir()?;
    let dir = if release == RELEASE { all.join("vm") } else { all.join(format!("vm-{release}")) };
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let qemu = qemu(&all.join("vm"))?;
    guest(&dir, release)?;
    hand_over(&dir)?;
    let machine = Machine::new(qemu, &dir, flags.contains(&"--kvm"))?;
    let mut failed = Vec::new();
    for mode in ["first", "second", "systemd"] {
        if !boots.is_empty() && !boots.contains(&mode) {
            continue;
        }
        if mode == "first" || !dir.join("data.img").exists() {
            machine.empty_disk("data.img")?;
        }
        if let Err(text) = boot(&machine, mode) {
            failed.push(format!("boot {mode}: {text}"));
        }
    }
    if boots.contains(&"power")
        && let Err(text) = power::cuts(&machine, &dir, cuts)
    {
        failed.push(format!("power: {text}"));
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

/// The words that start QEMU: the machine's own, or Debian's with its libraries through its own loader.
fn qemu(dir: &Path) -> Result<Vec<OsString>, String> {
    let own = Command::new("qemu-system-x86_64").arg("--version").stdout(Stdio::null()).status();
    if own.is_ok_and(|s| s.success()) {
        return Ok(vec!["qemu-system-x86_64".into()]);
    }
    let root = dir.join("qemu/root");
    let done = dir.join("qemu/done");
    if !done.exists() {
        debian::unpack(&dir.join("qemu"), RELEASE, true, &["qemu-system-x86"])?;
        std::fs::write(&done, "").map_err(|e| e.to_string())?;
    }
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let mut words: Vec<OsString> = vec![libraries.join("ld-linux-x86-64.so.2").into(), "--library-path".into()];
    words.extend([libraries.into_os_string(), root.join("usr/bin/qemu-system-x86_64").into()]);
    for firmware in ["usr/share/qemu", "usr/share/seabios"] {
        words.extend(["-L".into(), root.join(firmware).into_os_string()]);
    }
    Ok(words)
}

/// Makes the system that boots, once.
fn guest(dir: &Path, release: &str) -> Outcome {
    let script = r#"
        set -eu; cd "$1"; umask 022
        if [ "$(cat guest/.made 2>/dev/null)" != "$3" ]; then
            rm -rf guest
            debootstrap --variant=minbase --include="$3" "$2" guest "$mirror"
            rm -rf guest/var/cache/apt/* guest/var/lib/apt/lists/* guest/usr/share/doc guest/usr/share/locale
            rm -f guest/etc/machine-id; : >guest/etc/machine-id; : >guest/etc/fstab
            printf '%s' "$3" >guest/.made
        fi
        printf '%s' "$4" >guest/sbin/vm-init; chmod 755 guest/sbin/vm-init
        rm -f guest.img; mkfs.ext4 -q -d guest guest.img 1500M
    "#;
    let (image, init) = (dir.join("guest.img"), include_str!("../vm/init"));
    let is = |file: &str, what: &str| std::fs::read_to_string(dir.join(file)).is_ok_and(|text| text == what);
    if image.exists() && is("guest/sbin/vm-init", init) && is("guest/.made", GUEST) {
        return Ok(());
    }
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{}{script}", debian::MIRROR), "sh"]).arg(dir).args([release, GUEST, init]);
    run(&mut command)
}

/// Packs the binary and the scripts: a tar archive that the guest reads from a disk.
fn hand_over(dir: &Path) -> Outcome {
    let ready = std::env::var_os("DHOW_TEST_BIN").map(PathBuf::from);
    if ready.is_none() {
        run(&mut cargo(&["build", "--quiet", "--package", "dhow"]))?;
    }
    let binary = ready.map_or_else(|| target_dir().map(|d| d.join("dhow")), Ok)?;
    let hand = dir.join("hand");
    let fail = |e: std::io::Error| format!("{}: {e}", hand.display());
    let _ = std::fs::remove_dir_all(&hand);
    std::fs::create_dir_all(hand.join("vm/systemd")).map_err(fail)?;
    std::fs::create_dir_all(hand.join("usr/local/bin")).map_err(fail)?;
    for (name, text) in FILES {
        std::fs::write(hand.join("vm").join(name), text).map_err(fail)?;
    }
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd");
    run(Command::new("cp").arg("-r").arg(units.join(".")).arg(hand.join("vm/systemd")))?;
    run(Command::new("install").args(["-m", "755", "-s"]).arg(binary).arg(hand.join("usr/local/bin/dhow")))?;
    run(Command::new("chmod").arg("755").arg(hand.join("vm/boot")))?;
    run(Command::new("tar")
        .args(["--owner=0", "--group=0", "-cf"])
        .arg(dir.join("hand.tar"))
        .arg("-C")
        .arg(&hand)
        .args(["vm", "usr"]))
}

/// Everything that a boot needs.
pub struct Machine {
    qemu: Vec<OsString>,
    dir: PathBuf,
    kernel: PathBuf,
    initramfs: PathBuf,
    kvm: bool,
}

/// A virtual machine that runs.
pub struct Guest {
    child: Child,
    lines: mpsc::Receiver<String>,
    reader: Option<std::thread::JoinHandle<()>>,
    log: File,
    path: PathBuf,
    begun: Instant,
}

impl Machine {
    fn new(qemu: Vec<OsString>, dir: &Path, kvm: bool) -> Result<Machine, String> {
        let newest = |prefix: &str| {
            let entries = std::fs::read_dir(dir.join("guest/boot")).into_iter().flatten().flatten();
            let mut found: Vec<_> = entries.filter(|e| e.file_name().to_string_lossy().starts_with(prefix)).collect();
            found.sort_by_key(|e| e.file_name());
            found.pop().map(|e| e.path()).ok_or_else(|| format!("no {prefix} in {}/guest/boot", dir.display()))
        };
        let (kernel, initramfs) = (newest("vmlinuz-")?, newest("initrd.img-")?);
        Ok(Machine { qemu, dir: dir.to_owned(), kernel, initramfs, kvm })
    }

    /// Makes an empty disk, in place of what was there.
    pub fn empty_disk(&self, name: &str) -> Outcome {
        let disk = self.dir.join(name);
        let _ = std::fs::remove_file(&disk);
        run(Command::new("mkfs.ext4").arg("-q").arg(&disk).arg("2G"))
    }

    /// Boots with more words on the kernel's command line; the first of `disks` is /var/lib/dhow, another is only read.
    /// What the console says goes to `log` too.
    pub fn start(&self, words: &str, disks: &[&str], log: &Path) -> Result<Guest, String> {
        let mut command = Command::new(&self.qemu[0]);
        command.args(&self.qemu[1..]).args(["-accel", if self.kvm { "kvm" } else { "tcg,thread=multi" }]);
        command
            .args(["-cpu", "max", "-m", "1536", "-smp", "2", "-display", "none", "-monitor", "none", "-nic", "none"]);
        command.args(["-no-reboot", "-serial", "stdio", "-device", "virtio-rng-pci"]);
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.initramfs);
        command.arg("-append").arg(format!(
            "root=/dev/vda rw rootfstype=ext4 console=ttyS0 quiet loglevel=3 panic=-1 no_timer_check init=/sbin/vm-init systemd.show_status=no {words}"
        ));
        let own = [("guest.img", ",snapshot=on"), (disks[0], ""), ("hand.tar", ",readonly=on")];
        for (file, rest) in own.into_iter().chain(disks[1..].iter().map(|disk| (*disk, ",readonly=on"))) {
            command.arg("-drive").arg(format!("if=virtio,format=raw,file={}{rest}", self.dir.join(file).display()));
        }
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|e| format!("{command:?}: {e}"))?;
        let console = child.stdout.take().ok_or("no console")?;
        let (send, lines) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
                let _ = send.send(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned());
            }
        });
        let path = log.to_owned();
        let log = File::create(log).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Guest { child, lines, reader: Some(reader), log, path, begun: Instant::now() })
    }
}

impl Guest {
    /// The next line of the console; `None` when there is none until `end`.
    ///
    /// # Errors
    /// When the machine has gone off.
    pub fn line(&mut self, end: Instant) -> Result<Option<String>, String> {
        match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let _ = writeln!(self.log, "{:8.2} {line}", self.begun.elapsed().as_secs_f32());
                Ok(Some(line))
            }
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(None),
            Err(_) => Err(format!("it ended before its script did: see {}", self.path.display())),
        }
    }

    /// Cuts the power.
    pub fn cut(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.cut();
    }
}

/// Runs one boot and shows what it says; the whole console stays in `<mode>.log`. After the last line the machine goes off
/// by itself; for the first boot this is the cut of the power.
fn boot(machine: &Machine, mode: &str) -> Outcome {
    eprintln!("+ boot {mode}");
    let begun = Instant::now();
    let log = machine.dir.join(format!("{mode}.log"));
    let mut guest = machine.start(&format!("vm={mode}"), &["data.img"], &log)?;
    let (mut passed, mut failed) = (0, 0);
    loop {
        let Some(line) = guest.line(begun + PATIENCE)? else {
            return Err(format!("no end after {PATIENCE:?}: see {}", log.display()));
        };
        eprintln!("  {line}");
        // systemd may have put escape sequences before it.
        if line.contains("ok      ") {
            passed += 1;
        } else if line.contains("FAILED  ") {
            failed += 1;
        } else if line.ends_with("vm: end") || line.ends_with("vm: cut the power") {
            eprintln!("  {passed} passed, {failed} failed, {} s", begun.elapsed().as_secs());
            return if failed == 0 { Ok(()) } else { Err(format!("{failed} of {} checks failed", passed + failed)) };
        }
    }
}
