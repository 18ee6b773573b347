use crate::world::*;
use rustix::pty::OpenptFlags;
use serde_json::json;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

/// Runs `line` by a shell that opens descriptors `redirections` for it.
fn by_shell(world: &World, line: &str, redirections: &str) -> (i32, String) {
    let (command, out) = world.command(&line.split(' ').collect::<Vec<_>>());
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let script = format!("exec {} {redirections}", words.join(" "));
    let mut child = std::process::Command::new("/bin/sh")
        .args(["-c", &script])
        .current_dir(world.dir.join("bundle"))
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(std::fs::File::create(out.with_extension("err")).unwrap())
        .spawn()
        .unwrap();
    let code = wait(&mut child);
    (code, std::fs::read_to_string(&out).unwrap() + &std::fs::read_to_string(out.with_extension("err")).unwrap())
}

#[test]
fn only_preserved_descriptors_reach_the_command() {
    let world = World::sh("ls /proc/self/fd | cat; cat <&4");
    std::fs::write(world.dir.join("file"), "kept\n").unwrap();
    let file = world.dir.join("file").to_str().unwrap().to_owned();
    let open = format!("3<{file} 4<{file} 5<{file}");
    // ls has one of its own, the first that is free.
    let (code, out) = by_shell(&world, "run --preserve-fds 2 c", &open);
    assert_eq!((code, out.as_str()), (0, "0\n1\n2\n3\n4\n5\nkept\n"));
    let (code, out) = by_shell(&world, "run --preserve-fds 1 c", &open);
    assert_eq!((code, out.lines().take(5).collect::<Vec<_>>()), (1, vec!["0", "1", "2", "3", "4"]));
    let (code, out) = by_shell(&world, "run --preserve-fds 4 c", &open);
    assert_eq!(code, 1);
    assert!(out.contains("unable to stat preserved-fd 3 (of 4): bad file descriptor"), "{out}");
    world.is_empty();

    // Of a container that waits, and of an exec.
    let world = World::sleeper();
    let (code, out) = by_shell(&world, "create --preserve-fds 1 c", &format!("3<{file} 7<{file}"));
    assert_eq!((code, out.as_str()), (0, ""));
    let pid = world.state()["pid"].as_i64().unwrap();
    world.does("start c").fine();
    let mut fds: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    fds.sort();
    assert_eq!(&fds[..4], ["0", "1", "2", "3"]);
    assert!(fds.len() == 4 || fds[4..] == ["10"], "{fds:?}");
    let (code, out) = by_shell(&world, "exec --preserve-fds 1 c cat /proc/self/fd/3", &format!("3<{file}"));
    assert_eq!((code, out.as_str()), (0, "kept\n"));
}

#[test]
fn socket_activation_is_passed_on() {
    let world = World::sh("echo $LISTEN_FDS $LISTEN_PID; cat <&3");
    std::fs::write(world.dir.join("file"), "kept\n").unwrap();
    let (command, out) = world.command(&["run", "c"]);
    let words: Vec<&str> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(|word| word.to_str().unwrap()).collect();
    let script = format!("LISTEN_FDS=1 LISTEN_PID=$$ exec {} 3<../file", words.join(" "));
    let mut child = std::process::Command::new("/bin/sh")
        .args(["-c", &script])
        .current_dir(world.dir.join("bundle"))
        .stdout(std::fs::File::create(&out).unwrap())
        .spawn()
        .unwrap();
    assert_eq!(wait(&mut child), 0);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "1 1\nkept\n");
}

/// Takes the descriptor that is sent to `listener`, and what it is called.
fn received(listener: &UnixListener) -> (String, OwnedFd) {
    let (socket, _) = listener.accept().unwrap();
    let mut name = [0; 64];
    let (n, mut fds) = sys::socket::recv_with_fds(socket.as_fd(), &mut name).unwrap();
    (String::from_utf8_lossy(&name[..n]).into_owned(), fds.pop().unwrap())
}

fn read_until(master: &mut std::fs::File, what: &str) {
    let mut text = Vec::new();
    let mut bytes = [0; 256];
    while !String::from_utf8_lossy(&text).contains(what) {
        let n = master.read(&mut bytes).unwrap_or(0);
        assert!(n > 0, "{:?} without {what:?}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&bytes[..n]);
    }
}

#[test]
fn a_console_socket_gets_the_terminal() {
    let mut world = World::sh("tty; stty size; read line; echo got $line; while :; do sleep 0.05; done");
    world.spec["process"]["terminal"] = json!(true);
    world.spec["process"]["consoleSize"] = json!({"height": 40, "width": 90});
    let listener = UnixListener::bind(world.dir.join("console")).unwrap();
    let pidfds = UnixListener::bind(world.dir.join("pidfd")).unwrap();
    world.does("create --console-socket ../console --pidfd-socket ../pidfd c").fine();
    let (name, master) = received(&listener);
    assert_eq!(name, "/dev/ptmx");
    assert!(rustix::termios::isatty(&master));
    let (_, pidfd) = received(&pidfds);
    assert_eq!(sys::process::pidfd_send_signal(pidfd.as_fd(), 0), Ok(()));
    world.does("start c").fine();
    let mut master = std::fs::File::from(master);
    read_until(&mut master, "/dev/pts/0\r\n40 90\r\n");
    master.write_all(b"it\n").unwrap();
    read_until(&mut master, "got it\r\n");

    world.does("exec -d -t --console-socket ../console c tty").fine();
    let (_, master) = received(&listener);
    read_until(&mut std::fs::File::from(master), "/dev/pts/1");
    world.does("delete -f c").fine();

    std::fs::remove_file(world.dir.join("console")).unwrap();
    let text = world.does("create --console-socket ../console c").refused(1);
    assert_eq!(text, "dhow create failed: dial unix ../console: connect: no such file or directory");
    world.is_empty();
}

#[test]
fn a_foreground_terminal_is_joined_to_the_callers() {
    let mut world = World::sh("tty; stty size; read line; echo got $line; exit 6");
    world.spec["process"]["terminal"] = json!(true);
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    let size = rustix::termios::Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&master, size).unwrap();
    let modes = |fd: &OwnedFd| {
        let t = rustix::termios::tcgetattr(fd).unwrap();
        (t.input_modes, t.output_modes, t.control_modes, t.local_modes)
    };
    let before = modes(&slave);
    let (mut command, _) = world.command(&["run", "c"]);
    command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut master = std::fs::File::from(master);
    read_until(&mut master, "/dev/pts/0\r\n33 77\r\n");
    master.write_all(b"it\r").unwrap();
    read_until(&mut master, "got it\r\n");
    assert_eq!(wait(&mut child), 6);
    assert_eq!(modes(&slave), before);
    world.is_empty();
}

#[test]
fn a_terminal_is_not_given_to_a_container_without_one() {
    let world = World::sh("test -t 0 || echo no; cat");
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    let (mut command, out) = world.command(&["run", "c"]);
    let mut child = command.stdin(slave.try_clone().unwrap()).spawn().unwrap();
    let mut master = std::fs::File::from(master);
    master.write_all(b"line\n\x04").unwrap();
    assert_eq!(wait(&mut child), 0);
    assert_eq!(std::fs::read_to_string(out).unwrap(), "no\nline\n");
}

#[test]
fn much_passes_through_the_streams() {
    let world = World::new(&["/bin/cat"]);
    let (mut command, out) = world.command(&["run", "c"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert_eq!(wait(&mut child), 0);
    assert!(std::fs::read(out).unwrap() == bytes);
}

#[test]
fn signals_to_the_foreground_reach_the_container() {
    let world = World::sh("trap 'echo usr; exit 3' USR1; echo up; while :; do sleep 0.02; done");
    let (mut command, out) = world.command(&["run", "c"]);
    let mut child = command.spawn().unwrap();
    until(|| std::fs::read_to_string(&out).unwrap() == "up\n");
    sys::process::kill(child.id() as i32, 10).unwrap();
    assert_eq!(wait(&mut child), 3);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "up\nusr\n");
    world.is_empty();
    let _ = out.as_os_str();
    assert!(child.stdin.is_none() && std::io::stdin().as_raw_fd() == 0);
}
