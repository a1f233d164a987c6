//! Hosts whose every call to the kernel that concerns files is written down by `strace`.

use std::path::Path;
use std::process::Command;

use super::Site;

/// The calls that may change a file, or by which a connection is opened.
const CALLS: &str = "open,openat,creat,close,lseek,write,writev,pwrite64,pwritev,pwritev2,sendfile,splice,copy_file_range,\
    truncate,ftruncate,fallocate,fsync,fdatasync,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,\
    rmdir,mkdir,mkdirat,chmod,fchmod,fchmodat,connect,clone,clone3,fork,vfork,io_uring_enter";
/// Bytes of a text that are written down at most; the longest is a piece of a package.
const LONGEST: &str = "1048576";

/// A command that runs `program` and has its calls written to `trace`. The program is the child, not `strace`.
pub(super) fn command(program: &Path, trace: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "--seccomp-bpf", "-y", "-xx", "-s", LONGEST, "-e", &format!("trace={CALLS}")]);
    command.args(["-e", "signal=none", "-o"]).arg(trace).arg(program);
    command
}

impl Site {
    /// The host is started under `strace` from here on; what it calls is written to the file `NAME.trace` of this site.
    pub fn trace_host(&mut self, name: &str) {
        self.trace = Some(self.dir.path().join(format!("{name}.trace")));
    }

    /// So much time passes at once.
    ///
    /// # Errors
    /// When the clock cannot be told.
    pub fn leap(&self, time: std::time::Duration) -> anyhow::Result<()> {
        Ok(self.stepper.step_to(self.now() + time)?)
    }
}
