//! The default bridge, published ports, and that everything is given back.

use tests::{Engine, need_root, said, wait_for};

#[test]
fn containers_reach_each_other_and_the_host_reaches_published_ports() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow([
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "8080:80",
        "-p",
        "127.0.0.1:8081:80",
        "busybox",
        "sh",
        "-c",
        "mkdir /www; echo served >/www/index.html; httpd -f -p 80 -h /www",
    ])
    .ok();
    let ip = e.inspect("web")["NetworkSettings"]["IPAddress"].as_str().unwrap().to_owned();
    assert!(ip.starts_with("172."), "{ip}");
    let get = |url: &str| said(e.net.command("curl").args(["-sS", "--max-time", "5", url]));
    wait_for("the server", || (get(&format!("http://{ip}/")).out == "served\n").then_some(()));
    for url in ["http://127.0.0.1:8080/", "http://localhost:8080/", "http://127.0.0.1:8081/"] {
        assert_eq!(get(url).ok(), "served", "{url}");
    }
    assert_eq!(e.dhow(["run", "--rm", "busybox", "wget", "-qO-", &format!("http://{ip}/")]).ok(), "served");
    assert_eq!(e.dhow(["port", "web", "80"]).ok().lines().next(), Some("0.0.0.0:8080"));
    e.dhow(["run", "--rm", "-p", "8080:80", "busybox", "true"]).fails(125, "8080");
    e.dhow(["rm", "-f", "web"]).ok();
    assert_ne!(get("http://127.0.0.1:8080/").code, 0);
    e.dhow(["run", "--rm", "-p", "8080:80", "busybox", "true"]).ok();
}

#[test]
fn an_ephemeral_port_is_chosen_and_told() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow(["run", "-d", "--name", "pp", "-p", "80/udp", "busybox", "sleep", "1d"]).ok();
    let port = e.dhow(["port", "pp"]).ok();
    assert!(port.starts_with("80/udp -> 0.0.0.0:"), "{port}");
    e.dhow(["run", "--rm", "-p", "70000:80", "busybox"]).fails(125, "70000");
}

#[test]
fn nothing_of_other_peoples_rules_is_touched() {
    need_root!();
    let e = Engine::with_busybox();
    let rules = "table ip others { chain c { type filter hook forward priority 0; policy accept; tcp dport 1 counter drop; }; }";
    said(e.net.command("nft").arg(rules)).ok();
    let before = said(e.net.command("nft").args(["list", "table", "ip", "others"])).ok();
    e.dhow(["run", "--rm", "-p", "9000:90", "busybox", "true"]).ok();
    assert_eq!(said(e.net.command("nft").args(["list", "table", "ip", "others"])).ok(), before);
    let ours = said(e.net.command("nft").args(["list", "ruleset"])).ok();
    assert!(!ours.contains("9000"), "a published port is left: {ours}");
}
