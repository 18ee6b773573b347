//! `/etc/hosts` of a container, in Docker's layout.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

/// The file of a container with a network namespace of its own: what every system has, the hosts that the user added
/// (name, address), and the container's own names. `ip` is absent without a network.
pub fn hosts(hostname: &str, domainname: &str, ip: Option<Ipv4Addr>, extra: &[(String, IpAddr)]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    append(&mut text, extra);
    if let Some(ip) = ip {
        let full = if domainname.is_empty() { hostname.to_owned() } else { format!("{hostname}.{domainname}") };
        // A user writes the full name as the host name or in two parts: the short name works either way.
        let short = full.split_once('.').map(|(short, _)| format!(" {short}")).unwrap_or_default();
        let _ = writeln!(text, "{ip}\t{full}{short}");
    }
    text
}

/// The file of a container on the host's network: the host's own, and the hosts that the user added.
pub fn hosts_of_host(host_text: &str, extra: &[(String, IpAddr)]) -> String {
    let mut text = host_text.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    append(&mut text, extra);
    text
}

fn append(text: &mut String, extra: &[(String, IpAddr)]) {
    for (name, address) in extra {
        let _ = writeln!(text, "{address}\t{name}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
                        ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

    #[test]
    fn own_names_stand_last() {
        let ip = Some(Ipv4Addr::new(172, 17, 0, 2));
        let extra = [("db".to_owned(), "10.0.0.1".parse().unwrap()), ("six".to_owned(), "fd00::1".parse().unwrap())];
        assert_eq!(
            hosts("4f66ad9a0b2e", "", ip, &extra),
            format!("{HEAD}10.0.0.1\tdb\nfd00::1\tsix\n172.17.0.2\t4f66ad9a0b2e\n")
        );
        assert_eq!(hosts("web", "example.org", ip, &[]), format!("{HEAD}172.17.0.2\tweb.example.org web\n"));
        assert_eq!(hosts("web.example.org", "", ip, &[]), format!("{HEAD}172.17.0.2\tweb.example.org web\n"));
        assert_eq!(hosts("web", "", None, &[]), HEAD);
    }

    #[test]
    fn the_hosts_file_of_the_host_is_kept() {
        let extra = [("db".to_owned(), "10.0.0.1".parse().unwrap())];
        assert_eq!(hosts_of_host("127.0.0.1 me", &extra), "127.0.0.1 me\n10.0.0.1\tdb\n");
        assert_eq!(hosts_of_host("", &[]), "");
    }
}
