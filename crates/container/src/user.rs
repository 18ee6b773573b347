//! `USER` and `--group-add` against the container's own /etc/passwd and /etc/group. Pure, and strict: a text that is not
//! exactly a number in range or a name of the file is an error, never root.

use crate::error::{Result, invalid};

/// The highest ID that Docker's engines take.
const MAX_ID: u32 = (1 << 31) - 1;
/// The longest passwd or group file that is read.
pub(crate) const MAX_FILE: usize = 1 << 20;
/// The most groups a process may have (NGROUPS_MAX).
const MAX_GROUPS: usize = 65536;

/// As whom a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub uid: u32,
    pub gid: u32,
    /// The primary group is among them, as setgroups(2) replaces the whole list.
    pub groups: Vec<u32>,
    pub home: String,
}

/// The two files; empty when the image has none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    pub passwd: Vec<u8>,
    pub group: Vec<u8>,
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &str> {
    bytes.split(|b| *b == b'\n').filter_map(|l| std::str::from_utf8(l).ok()).map(str::trim_ascii)
}

fn passwd(bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    lines(bytes).filter_map(|line| {
        let mut f = line.split(':');
        let (name, _, uid, gid) = (f.next()?, f.next()?, f.next()?, f.next()?);
        let home = f.nth(1).unwrap_or_default();
        Some(Entry { name, uid: number(uid)?, gid: number(gid)?, home })
    })
}

fn groups(bytes: &[u8]) -> impl Iterator<Item = Group<'_>> {
    lines(bytes).filter_map(|line| {
        let mut f = line.split(':');
        let (name, _, gid) = (f.next()?, f.next()?, f.next()?);
        Some(Group { name, gid: number(gid)?, members: f.next().unwrap_or_default() })
    })
}

/// Digits alone, in range. No sign, no space, no other base.
fn number(text: &str) -> Option<u32> {
    match !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse().ok().filter(|n| *n <= MAX_ID),
        false => None,
    }
}

fn is_numeric(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The number that `text` is, or `None` for a name.
fn id(text: &str) -> Result<Option<u32>> {
    match is_numeric(text) {
        false => Ok(None),
        true => number(text).map(Some).ok_or_else(|| invalid!("uids and gids must be in range 0-{MAX_ID}")),
    }
}

/// Resolves `user[:group]`; empty is root.
///
/// # Errors
/// When a name is not in its file or a number is out of range.
pub(crate) fn resolve(spec: &str, group_add: &[String], files: &Files) -> Result<Account> {
    let (user, group) = match spec.split_once(':') {
        Some((_, rest)) if rest.contains(':') => return Err(invalid!("invalid user {spec:?}: more than one colon")),
        Some((user, group)) => (user, group),
        None => (spec, ""),
    };
    let wanted = if user.is_empty() { Some(0) } else { id(user)? };
    let entry = passwd(&files.passwd).find(|e| match wanted {
        Some(uid) => e.uid == uid,
        None => e.name == user,
    });
    let (uid, mut gid, home, name) = match (&entry, wanted) {
        (Some(e), _) => (e.uid, e.gid, e.home, Some(e.name)),
        (None, Some(uid)) => (uid, 0, "/", None),
        (None, None) => return Err(invalid!("unable to find user {user}: no matching entries in passwd file")),
    };
    let mut all = Vec::new();
    if group.is_empty() {
        all.push(gid);
        if let Some(name) = name {
            let member = |g: &Group| g.members.split(',').any(|m| m == name);
            all.extend(groups(&files.group).filter(member).map(|g| g.gid));
        }
    } else {
        gid = find_group(group, files)?
            .ok_or_else(|| invalid!("unable to find group {group}: no matching entries in group file"))?;
        all.push(gid);
    }
    for added in group_add {
        all.push(find_group(added, files)?.ok_or_else(|| invalid!("Unable to find group {added}"))?);
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|g| seen.insert(*g));
    if all.len() > MAX_GROUPS {
        return Err(invalid!("user {spec:?} has more than {MAX_GROUPS} groups"));
    }
    let home = if home.starts_with('/') && !home.chars().any(char::is_control) { home } else { "/" };
    Ok(Account { uid, gid, groups: all, home: home.to_owned() })
}

fn find_group(text: &str, files: &Files) -> Result<Option<u32>> {
    Ok(match id(text)? {
        Some(gid) => Some(gid),
        None => groups(&files.group).find(|g| g.name == text).map(|g| g.gid),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        Files {
            passwd: b"root:x:0:0:root:/root:/bin/sh\n# note\nbad line\ndaemon:x:1:1:d:/usr/sbin:/x\nann:x:1000:1001:Ann:/home/ann:/bin/sh\n\
                7:x:0:0::/evil:/bin/sh\nbig:x:4294967296:0::/:\nhome:x:9:9::rel/ative:\n"
                .to_vec(),
            group: b"root:x:0:\nbin:x:2:root,daemon\nann:x:1001:\nwheel:x:10:ann,root\nvideo:x:44:ann\n".to_vec(),
        }
    }

    fn get(spec: &str) -> std::result::Result<(u32, u32, Vec<u32>, String), String> {
        resolve(spec, &[], &files()).map(|a| (a.uid, a.gid, a.groups, a.home)).map_err(|e| e.to_string())
    }

    #[test]
    fn names_numbers_and_groups() {
        let ok = |uid, gid, groups: &[u32], home: &str| Ok((uid, gid, groups.to_vec(), home.to_owned()));
        assert_eq!(get(""), ok(0, 0, &[0, 2, 10], "/root"));
        assert_eq!(get("0"), ok(0, 0, &[0, 2, 10], "/root"));
        assert_eq!(get("ann"), ok(1000, 1001, &[1001, 10, 44], "/home/ann"));
        assert_eq!(get("1000"), ok(1000, 1001, &[1001, 10, 44], "/home/ann"));
        assert_eq!(get("ann:video"), ok(1000, 44, &[44], "/home/ann"));
        assert_eq!(get("ann:77"), ok(1000, 77, &[77], "/home/ann"));
        assert_eq!(get("5000"), ok(5000, 0, &[0], "/"));
        assert_eq!(get(":bin"), ok(0, 2, &[2], "/root"));
        assert_eq!(get("home"), ok(9, 9, &[9], "/"));
        // A user of the file whose name is a number is not that number.
        assert_eq!(get("7"), ok(7, 0, &[0], "/"));
        assert_eq!(get("2147483647"), ok(2147483647, 0, &[0], "/"));
    }

    #[test]
    fn nothing_else_becomes_root() {
        let range = "uids and gids must be in range 0-2147483647";
        for bad in ["2147483648", "4294967296", "18446744073709551616", "0:2147483648", "99999999999999999999999999"] {
            assert_eq!(get(bad).unwrap_err(), range, "{bad}");
        }
        for bad in ["-1", "+0", "0x0", " 0", "0 ", "٠", "nobody", "big", "root\n"] {
            assert_eq!(get(bad).unwrap_err(), format!("unable to find user {bad}: no matching entries in passwd file"));
        }
        assert_eq!(get("root:none").unwrap_err(), "unable to find group none: no matching entries in group file");
        assert_eq!(get("a:b:c").unwrap_err(), "invalid user \"a:b:c\": more than one colon");
    }

    #[test]
    fn added_groups() {
        let add = |g: &str| resolve("ann", &[g.to_owned()], &files()).map(|a| a.groups).map_err(|e| e.to_string());
        assert_eq!(add("bin").unwrap(), [1001, 10, 44, 2]);
        assert_eq!(add("1001").unwrap(), [1001, 10, 44]);
        assert_eq!(add("none").unwrap_err(), "Unable to find group none");
    }

    fn text_of(list: Vec<String>) -> Vec<u8> {
        list.join("\n").into_bytes()
    }

    /// Lines of passwd or group: sound ones, and such as must not count.
    fn lines_of() -> impl Strategy<Value = Vec<u8>> {
        let number = prop_oneof![4 => "[0-9]{1,3}", 1 => Just("0".to_owned()), 1 => "(-1|\\+0|0x0| 0|0 |4294967296|2147483648||00)"];
        let name = prop_oneof![4 => "(root|ann|bob|wheel)", 1 => "[0-9]{1,2}", 1 => "[a-z:, #\u{e4}]{0,4}"];
        let members = "((ann|bob|root|7)?,?){0,3}";
        let line = (name, number.clone(), number, members)
            .prop_map(|(name, a, b, rest)| format!("{name}:x:{a}:{b}:{rest}:/home"));
        prop::collection::vec(prop_oneof![6 => line, 1 => "[a-z0-9:]{0,10}"], 0..8).prop_map(text_of)
    }

    /// Decimal digits, in range.
    fn naive(text: &str) -> Option<u32> {
        let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        digits.then(|| text.parse::<u128>().unwrap_or(u128::MAX)).filter(|n| *n < 1 << 31).map(|n| n as u32)
    }

    /// Whether `file` has a line of this name with this number in its third field.
    fn has(file: &[u8], name: &str, id: u32) -> bool {
        String::from_utf8_lossy(file).lines().any(|line| {
            let fields: Vec<&str> = line.trim().split(':').collect();
            fields.len() > 2 && fields[0] == name && naive(fields[2]) == Some(id)
        })
    }

    fn sound(spec: &str, add: &[String], files: &Files) -> std::result::Result<(), TestCaseError> {
        let Ok(account) = resolve(spec, add, files) else { return Ok(()) };
        let (user, group) = spec.split_once(':').unwrap_or((spec, ""));
        match user {
            "" => prop_assert_eq!(account.uid, 0),
            user if user.chars().all(|c| c.is_ascii_digit()) => prop_assert_eq!(Some(account.uid), naive(user)),
            user => prop_assert!(has(&files.passwd, user, account.uid), "{} is {}", user, account.uid),
        }
        let of = |group: &str| account.groups.iter().any(|g| Some(*g) == naive(group) || has(&files.group, group, *g));
        if !group.is_empty() {
            prop_assert!(
                naive(group) == Some(account.gid) || naive(group).is_none() && has(&files.group, group, account.gid)
            );
        }
        prop_assert!(add.iter().all(|group| of(group)), "{:?} of {:?}", account, add);
        let unique: std::collections::BTreeSet<_> = account.groups.iter().collect();
        prop_assert_eq!(unique.len(), account.groups.len());
        prop_assert!(account.groups.contains(&account.gid) && account.groups.iter().all(|g| *g <= MAX_ID));
        prop_assert!(account.home.starts_with('/') && !account.home.contains(['\n', '\0', ':']));
        Ok(())
    }

    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_any_spec(spec in ".{0,12}", passwd: Vec<u8>, group: Vec<u8>) {
            sound(&spec, &[], &Files { passwd, group })?;
        }

        #[test]
        fn who_is_meant_is_in_the_file_or_is_the_number(
            spec in "(root|ann|bob|wheel|[0-9]{1,3}|-1|\\+0|0x0|00||2147483648|18446744073709551616)(:(root|wheel|[0-9]{0,3}|-1|4294967296))?",
            add in prop::collection::vec("(root|wheel|[0-9]{1,3}|-1||00)", 0..3),
            passwd in lines_of(), group in lines_of(),
        ) {
            sound(&spec, &add, &Files { passwd, group })?;
        }
    }

    #[test]
    fn the_longest_files_are_read_at_once() {
        let file = |line: &str| line.repeat(MAX_FILE / line.len()).into_bytes();
        let begun = std::time::Instant::now();
        let files = Files { passwd: file("u:x:5:5::/:\n"), group: file("g:x:7:u,u,u\n") };
        assert_eq!(resolve("u", &[], &files).unwrap().groups, [5, 7]);
        let one = Files { passwd: file("x"), group: format!("g:x:7:{}", "u,".repeat(MAX_FILE / 2)).into_bytes() };
        assert!(resolve("u", &[], &one).is_err());
        let many: String = (0..70_000).map(|n| format!("g:x:{n}:u\n")).collect();
        let many = Files { passwd: b"u:x:5:5::/:\n".to_vec(), group: many.into_bytes() };
        assert!(resolve("u", &[], &many).unwrap_err().to_string().contains("more than 65536 groups"));
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
