//! Scheduling, I/O priority and memory policy of the calling thread.

use crate::{Result, result};

/// `SCHED_BATCH`: a thread that, woken, interrupts nobody.
pub const BATCH: u32 = 3;

/// `struct sched_attr` (sched_setattr(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct SchedAttr {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

#[repr(C)]
struct RawSchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// sched_setattr(2) of the calling thread.
pub fn sched_setattr(attr: &SchedAttr) -> Result<()> {
    let raw = RawSchedAttr {
        size: size_of::<RawSchedAttr>() as u32,
        policy: attr.policy,
        flags: attr.flags,
        nice: attr.nice,
        priority: attr.priority,
        runtime: attr.runtime,
        deadline: attr.deadline,
        period: attr.period,
    };
    // SAFETY: `raw` has the layout of version 0 and says its own size; the kernel only reads it.
    result(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const raw, 0) })?;
    Ok(())
}

/// ioprio_set(2) of the calling thread: class 1 real time, 2 best effort, 3 idle.
pub fn ioprio_set(class: u16, level: u16) -> Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    let priority = libc::c_int::from(class) << 13 | libc::c_int::from(level);
    // SAFETY: numbers only.
    result(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, priority) })?;
    Ok(())
}

/// set_mempolicy(2): `mode` is `MPOL_*` with its flags; bit n of `nodes` (element n / 64) is node n.
pub fn set_mempolicy(mode: u32, nodes: &[u64]) -> Result<()> {
    let (mask, bits) = if nodes.is_empty() { (std::ptr::null(), 0) } else { (nodes.as_ptr(), nodes.len() * 64 + 1) };
    // SAFETY: the kernel reads `bits - 1` bits, rounded up to words of 64: exactly `nodes`. It is null when there are none.
    result(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) })?;
    Ok(())
}
