//! Capabilities of the calling thread, as bit masks: bit n is capability n of `linux/capability.h`.

use crate::{Errno, Result, result};

/// The three sets that capset(2) changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sets {
    /// What is in force.
    pub effective: u64,
    /// What may be put in force.
    pub permitted: u64,
    /// What an execve may hand on, together with the file's own.
    pub inheritable: u64,
}

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two [`Data`], 64 bits.
const VERSION_3: u32 = 0x2008_0522;

/// capget(2) of the calling thread.
pub fn capget() -> Result<Sets> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 makes the kernel write exactly two `Data`.
    result(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(Sets {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
        inheritable: join(data[0].inheritable, data[1].inheritable),
    })
}

/// capset(2) of the calling thread.
pub fn capset(sets: Sets) -> Result<()> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| Data {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 makes the kernel read exactly two `Data`.
    result(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) })?;
    Ok(())
}

fn prctl(option: libc::c_int, arg2: libc::c_ulong, arg3: libc::c_ulong) -> Result<i32> {
    // SAFETY: the callers below pass only options whose arguments are numbers; unused ones must be 0.
    Ok(result(unsafe { libc::prctl(option, arg2, arg3, 0 as libc::c_ulong, 0 as libc::c_ulong) }.into())? as i32)
}

/// Whether `capability` is in the bounding set; `EINVAL` when the kernel does not know it.
pub fn bounding_read(capability: u8) -> Result<bool> {
    Ok(prctl(libc::PR_CAPBSET_READ, capability.into(), 0)? == 1)
}

/// Takes `capability` out of the bounding set for good.
pub fn bounding_drop(capability: u8) -> Result<()> {
    prctl(libc::PR_CAPBSET_DROP, capability.into(), 0).map(|_| ())
}

/// Empties the ambient set.
pub fn ambient_clear() -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0).map(|_| ())
}

/// Adds a capability to the ambient set; it must be permitted and inheritable already.
pub fn ambient_raise(capability: u8) -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, capability.into()).map(|_| ())
}

/// Keep the permitted set over a change of user away from root; reset by execve.
pub fn keep(on: bool) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, on.into(), 0).map(|_| ())
}

/// prctl(PR_SET_NO_NEW_PRIVS): execve gives no privileges any more. There is no way back.
pub fn no_new_privs() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(|_| ())
}

/// prctl(PR_SET_DUMPABLE): whether others of the same user may ptrace this process and open its `/proc` files.
pub fn set_dumpable(on: bool) -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, on.into(), 0).map(|_| ())
}

/// prctl(PR_SET_PDEATHSIG): the signal that this process gets when the thread that made it ends.
pub fn set_pdeathsig(signal: i32) -> Result<()> {
    let signal = libc::c_ulong::try_from(signal).map_err(|_| Errno::INVAL)?;
    prctl(libc::PR_SET_PDEATHSIG, signal, 0).map(|_| ())
}

/// prctl(PR_SET_CHILD_SUBREAPER): orphans below this process become its children.
pub fn set_child_subreaper(on: bool) -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, on.into(), 0).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read_back() {
        let before = capget().unwrap();
        assert_eq!(before.permitted & before.effective, before.effective);
        capset(Sets { inheritable: 0, ..before }).unwrap();
        assert_eq!(capget().unwrap(), Sets { inheritable: 0, ..before });
        // A capability that no kernel has.
        assert_eq!(bounding_read(63), Err(Errno::INVAL));
        assert_eq!(ambient_clear(), Ok(()));
    }
}
