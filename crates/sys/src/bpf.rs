//! bpf(2), for the one program the engine loads: the device policy of a cgroup (v2).

use crate::{Result, result};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;

/// `BPF_F_ALLOW_MULTI`: every program of the cgroup and its ancestors must agree.
pub const ALLOW_MULTI: u32 = 2;
/// `BPF_F_REPLACE`, with [`ALLOW_MULTI`]: put the new program in the place of `replace`.
pub const REPLACE: u32 = 4;

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The head of `union bpf_attr` for `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// Loads a `BPF_PROG_TYPE_CGROUP_DEVICE` program; each element is one `struct bpf_insn` as it lies in memory.
pub fn load_cgroup_device(program: &[u64]) -> Result<OwnedFd> {
    let load = Load {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        license: c"Apache".as_ptr() as u64,
        prog_name: *b"dhow_devices\0\0\0\0",
        ..Load::default()
    };
    // SAFETY: `load` is a prefix of the union, whose size is passed; its pointers are to `insn_cnt` instructions of 8 bytes
    // and to a NUL-terminated string, both alive during the call. The kernel verifies the program.
    let fd = result(unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) })?;
    // SAFETY: the call returned a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn attach_or_detach(command: libc::c_int, attach: &Attach) -> Result<()> {
    // SAFETY: `attach` is a prefix of the union, whose size is passed; it holds numbers only.
    result(unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attach), size_of::<Attach>()) })?;
    Ok(())
}

/// Attaches a device program to a cgroup.
pub fn attach_cgroup_device(
    cgroup: BorrowedFd,
    program: BorrowedFd,
    flags: u32,
    replace: Option<BorrowedFd>,
) -> Result<()> {
    attach_or_detach(
        PROG_ATTACH,
        &Attach {
            target_fd: cgroup.as_raw_fd() as u32,
            attach_bpf_fd: program.as_raw_fd() as u32,
            attach_type: CGROUP_DEVICE,
            attach_flags: flags,
            replace_bpf_fd: replace.map_or(0, |fd| fd.as_raw_fd() as u32),
        },
    )
}

/// Takes a device program off a cgroup.
pub fn detach_cgroup_device(cgroup: BorrowedFd, program: BorrowedFd) -> Result<()> {
    attach_or_detach(
        PROG_DETACH,
        &Attach {
            target_fd: cgroup.as_raw_fd() as u32,
            attach_bpf_fd: program.as_raw_fd() as u32,
            attach_type: CGROUP_DEVICE,
            attach_flags: 0,
            replace_bpf_fd: 0,
        },
    )
}
