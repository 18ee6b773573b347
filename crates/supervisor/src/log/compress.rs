//! The work of compressing one rotated file: gzip, as Docker does it.

use flate2::write::GzEncoder;
use rustix::fs::{Timespec, Timestamps};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

const BLOCK: usize = 128 << 10;

/// A file to be compressed. Nothing of it is known to anybody before the writer is told of its end.
#[derive(Debug)]
pub struct Compression {
    from: File,
    to: File,
}

impl Compression {
    pub(super) fn new(from: File, to: File) -> Compression {
        Compression { from, to }
    }

    /// Does it. Takes as long as it takes: to be done beside the writer's own work.
    ///
    /// # Errors
    /// What reading or writing fails with.
    pub fn run(self) -> io::Result<()> {
        compress(self.from.as_fd(), self.to.as_fd())
    }

    /// Does it in a process that has been forked for nothing else, and that ends without looking back: every descriptor
    /// but the two is closed.
    ///
    /// # Errors
    /// As [`Compression::run`].
    pub fn alone(self) -> io::Result<()> {
        rustix::stdio::dup2_stdin(&self.from)?;
        rustix::stdio::dup2_stdout(&self.to)?;
        // Its own two are among those closed next.
        std::mem::forget(self);
        sys::own::close_from(3)?;
        compress(rustix::stdio::stdin(), rustix::stdio::stdout())
    }
}

fn compress(from: BorrowedFd, to: BorrowedFd) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    let mut gzip = GzEncoder::new(Out(to), flate2::Compression::new(1));
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    loop {
        match rustix::io::pread(from, &mut block, at) {
            Ok(0) => break,
            Ok(length) => {
                gzip.write_all(&block[..length])?;
                at += length as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    gzip.finish()?;
    // When its last record was written tells readers whether they need to look into it.
    let written = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    rustix::fs::futimens(to, &Timestamps { last_access: written, last_modification: written })?;
    Ok(())
}

struct Out<'f>(BorrowedFd<'f>);

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::write(self.0, bytes))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
