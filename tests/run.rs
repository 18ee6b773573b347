//! `run` of one container: output, exit codes, environment, user, directory, and that nothing is left.

use tests::{Engine, need_root};

#[test]
fn hello_runs_from_the_image_that_dhow_carries() {
    need_root!();
    let e = Engine::start(&[]);
    let out = e.dhow(["run", "--rm", "hello"]).ok();
    assert!(out.contains("dhow"), "{out}");
    assert_eq!(e.dhow(["ps", "-aq"]).ok(), "");
}

#[test]
fn output_and_exit_code_come_back() {
    need_root!();
    let e = Engine::with_busybox();
    let said = e.dhow(["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (7, "out\n", "err\n"));
    assert_eq!(e.dhow(["run", "--rm", "busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"]).code, 137);
    assert_eq!(e.dhow(["run", "--rm", "busybox", "true"]).code, 0);
    assert_eq!(e.dhow(["run", "--rm", "busybox", "false"]).code, 1);
    assert_eq!(e.dhow(["ps", "-aq"]).ok(), "");
}

#[test]
fn input_reaches_the_process() {
    need_root!();
    let e = Engine::with_busybox();
    use std::io::Write;
    let mut command = e.dhow_command(["run", "--rm", "-i", "busybox", "cat"]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let data: Vec<u8> = (0..300_000u32).flat_map(|n| n.to_le_bytes()).collect();
    let mut stdin = child.stdin.take().unwrap();
    let copy = data.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&copy).unwrap());
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(out.status.success());
    assert!(out.stdout == data, "{} bytes of {} came back", out.stdout.len(), data.len());
}

#[test]
fn environment_user_directory_and_name_are_as_asked() {
    need_root!();
    let e = Engine::with_busybox();
    let sh = |args: &[&str], script: &str| {
        let mut all = vec!["run", "--rm"];
        all.extend(args);
        all.extend(["busybox", "sh", "-c", script]);
        e.dhow(all).ok()
    };
    assert_eq!(sh(&["-e", "A=b c", "-e", "HOME=/x"], "echo $A $HOME"), "b c /x");
    assert_eq!(sh(&[], "echo $PATH $HOME"), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /root");
    assert_eq!(sh(&["-u", "alice"], "id -u; id -g; id -G; echo $HOME"), "1000\n1000\n1000 2000\n/home/alice");
    assert_eq!(sh(&["-u", "1234:2000"], "id -u; id -g"), "1234\n2000");
    assert_eq!(sh(&["--group-add", "crew", "--group-add", "77"], "id -G"), "0 77 2000");
    assert_eq!(sh(&["-w", "/made/here"], "pwd"), "/made/here");
    assert_eq!(sh(&["-h", "boat"], "hostname; cat /etc/hostname"), "boat\nboat");
    assert_eq!(sh(&["--add-host", "port:10.0.0.9"], "grep port /etc/hosts"), "10.0.0.9\tport");
    assert_eq!(sh(&["--dns", "9.9.9.9"], "grep ^nameserver /etc/resolv.conf"), "nameserver 9.9.9.9");
    assert_eq!(sh(&["--network", "none"], "hostname | wc -c"), "13");
}

#[test]
fn an_env_file_and_a_cidfile() {
    need_root!();
    let e = Engine::with_busybox();
    let (env, cid) = (e.dir.path().join("env"), e.dir.path().join("cid"));
    std::fs::write(&env, "# comment\nONE=1\nTWO=two words\n").unwrap();
    let out =
        e.dhow(["run", "--env-file", env.to_str().unwrap(), "--cidfile", cid.to_str().unwrap(), "busybox", "env"]).ok();
    assert!(out.contains("ONE=1\nTWO=two words"), "{out}");
    let id = std::fs::read_to_string(&cid).unwrap();
    assert_eq!(e.dhow(["ps", "-aq", "--no-trunc"]).ok(), id);
    e.dhow(["run", "--cidfile", cid.to_str().unwrap(), "busybox", "true"]).fails(125, "container ID file found");
}

#[test]
fn a_missing_command_is_127_and_one_that_cannot_run_126() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow(["run", "--rm", "busybox", "nosuch"]).fails(127, "exec: \"nosuch\": executable file not found in $PATH");
    e.dhow(["run", "--rm", "busybox", "/etc/passwd"]).fails(126, "permission denied");
    e.dhow(["run", "--rm", "busybox", "/nowhere/x"]).fails(127, "no such file or directory");
    assert_eq!(e.dhow(["ps", "-aq"]).ok(), "");
}

#[test]
fn a_terminal_is_one() {
    need_root!();
    let e = Engine::with_busybox();
    let mut command = std::process::Command::new("script");
    let line = format!("{} -H {} run --rm -t busybox sh -c 'tty; stty size'", tests::dhow_bin().display(), e.host());
    let said = tests::said(command.args(["-qec", &format!("stty rows 40 cols 100; {line}"), "/dev/null"]));
    assert_eq!(said.out.replace('\r', ""), "/dev/pts/0\n40 100\n", "{said:?}");
}

#[test]
fn a_tmpfs_a_bind_a_read_only_root() {
    need_root!();
    let e = Engine::with_busybox();
    let host = e.dir.path().join("shared");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("in"), "from the host").unwrap();
    let bind = format!("{}:/data", host.display());
    assert_eq!(
        e.dhow(["run", "--rm", "-v", &bind, "busybox", "sh", "-c", "cat /data/in; echo back >/data/out"]).ok(),
        "from the host"
    );
    assert_eq!(std::fs::read_to_string(host.join("out")).unwrap(), "back\n");
    let ro = format!("{bind}:ro");
    assert_eq!(e.dhow(["run", "--rm", "-v", &ro, "busybox", "touch", "/data/x"]).code, 1);
    let out = e.dhow([
        "run",
        "--rm",
        "--read-only",
        "--tmpfs",
        "/t:size=1m",
        "busybox",
        "sh",
        "-c",
        "touch /x; touch /t/x && echo t; df -k /t | awk 'END{print $2}'",
    ]);
    assert_eq!((out.code, out.out.as_str()), (0, "t\n1024\n"), "{out:?}");
    assert!(out.err.contains("Read-only file system"), "{out:?}");
    let mount = format!("type=bind,src={},dst=/m,readonly", host.display());
    assert_eq!(e.dhow(["run", "--rm", "--mount", &mount, "busybox", "cat", "/m/in"]).ok(), "from the host");
    assert_eq!(
        e.dhow(["run", "--rm", "--shm-size", "8m", "busybox", "sh", "-c", "df -k /dev/shm | awk 'END{print $2}'"]).ok(),
        "8192"
    );
}

#[test]
fn named_and_anonymous_volumes() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow(["run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo kept >/d/f"]).ok();
    assert_eq!(e.dhow(["run", "--rm", "-v", "data:/d", "busybox", "cat", "/d/f"]).ok(), "kept");
    e.dhow(["run", "--rm", "-v", "/anon", "busybox", "touch", "/anon/x"]).ok();
    assert_eq!(e.dhow(["volume", "ls", "-q"]).ok(), "data");
    // What the image has at the place goes into a new volume.
    assert_eq!(e.dhow(["run", "--rm", "-v", "copied:/etc", "busybox", "sh", "-c", "wc -l </etc/group"]).ok(), "4");
    e.dhow(["volume", "rm", "data", "copied"]).ok();
}

#[test]
fn init_reaps_and_forwards() {
    need_root!();
    let e = Engine::with_busybox();
    let out = e.dhow([
        "run",
        "--rm",
        "--init",
        "busybox",
        "sh",
        "-c",
        "(true &); usleep 200000; ps -o pid,comm | head -n 2; ps -o stat | grep -c Z",
    ]);
    assert!(out.out.contains("1 dhow-init") || out.out.contains("1 docker-init"), "{out:?}");
    assert!(out.out.ends_with("\n0\n"), "a zombie was left: {out:?}");
    assert_eq!(e.dhow(["run", "--rm", "--init", "busybox", "sh", "-c", "exit 9"]).code, 9);
}
