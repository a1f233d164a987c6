//! Takes from a process what it does not need: rights, files, the network, other processes, memory and time.
//!
//! Works with what the kernel knows, and says how much that was. Nothing is given back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetError, RulesetStatus, Scope, make_bitflags,
};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::report::{Confinement, Enforced};

/// Address space, in bytes.
const MEMORY_BYTES: u64 = 512 * 1024 * 1024;
/// Processor time, in seconds.
const PROCESSOR_SECONDS: u64 = 120;
/// The largest file, in bytes: as much as a whole package may unpack to.
const FILE_BYTES: u64 = 512 * 1024 * 1024;
/// Open files: a package has one open folder for each of its own.
const OPEN_FILES: u64 = 8192;
/// The last of standard input, output and error.
const LAST_STANDARD: RawFd = 2;

/// System calls that extraction needs, whatever they are given: reading what is open, writing below an open folder,
/// memory, time, and the end. No sockets, processes, programs, signals, mounts, links, devices or names of others.
const CALLS: [i64; 32] = [
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_mkdirat,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_fcntl,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What a call may be given: the call, which of its arguments, which bits are looked at, and how these must be. A call that
/// stands here twice may be made either way.
const BOUND_CALLS: [(i64, u8, u64, u64); 5] = [
    // Nothing that was written is ever run.
    (libc::SYS_mmap, 2, libc::PROT_EXEC as u64, 0),
    (libc::SYS_mprotect, 2, libc::PROT_EXEC as u64, 0),
    // No file changes who runs it.
    (libc::SYS_fchmod, 1, (libc::S_ISUID | libc::S_ISGID | libc::S_ISVTX) as u64, 0),
    // New files, and folders: a file that is there already is never opened, whatever Landlock can do here.
    (libc::SYS_openat, 2, NEW as u64, NEW as u64),
    (libc::SYS_openat, 2, libc::O_DIRECTORY as u64, libc::O_DIRECTORY as u64),
];
/// The flags that make a file, and fail where there is one.
const NEW: libc::c_int = libc::O_CREAT | libc::O_EXCL;

/// Confines the calling process to writing below the folder it is in, and to reading `package`.
pub(super) fn confine(package: &File) -> Confinement {
    // An updater that is gone has nobody to check what this process leaves.
    let dies_along = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    let is_alone = close_others(package.as_raw_fd()).is_ok();
    let is_limited = limit().is_ok();
    // Both of the following ask for it, too; one that failed must not leave it undone.
    let is_bound = rustix::thread::set_no_new_privs(true).is_ok();
    let landlock = keep_below_here().unwrap_or(Enforced::Not);
    let system_calls = if keep_to_calls().is_ok() { Enforced::Fully } else { Enforced::Not };
    let all = [dies_along, is_alone, is_limited, is_bound];
    let limits = match all.iter().filter(|done| **done).count() {
        0 => Enforced::Not,
        count if count == all.len() => Enforced::Fully,
        _ => Enforced::Partly,
    };
    Confinement { landlock, system_calls, limits }
}

/// Closes whatever this process has inherited but the standard three and the package.
fn close_others(package: RawFd) -> io::Result<()> {
    let names = std::fs::read_dir("/proc/self/fd")?;
    let open: Vec<RawFd> = names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > LAST_STANDARD && *fd != package) {
        // The folder that was just listed is among them, and closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

/// Sets the limits; one that is lower already stays.
fn limit() -> io::Result<()> {
    let limits = [
        (Resource::As, MEMORY_BYTES),
        (Resource::Cpu, PROCESSOR_SECONDS),
        (Resource::Fsize, FILE_BYTES),
        (Resource::Nofile, OPEN_FILES),
        (Resource::Core, 0),
    ];
    for (resource, limit) in limits {
        let limit = getrlimit(resource).maximum.map_or(limit, |maximum| maximum.min(limit));
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    Ok(())
}

/// Landlock: below this folder, folders are listed and made and files made and written. Nothing else on the disk, no
/// network, no other process.
fn keep_below_here() -> Result<Enforced, RulesetError> {
    let Ok(here) = PathFd::new(".") else { return Ok(Enforced::Not) };
    let below = make_bitflags!(AccessFs::{ReadDir | MakeDir | MakeReg | WriteFile});
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .add_rule(PathBeneath::new(here, below))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Enforced::Fully,
        RulesetStatus::PartiallyEnforced => Enforced::Partly,
        RulesetStatus::NotEnforced => Enforced::Not,
    })
}

/// seccomp: what is not named fails with "operation not permitted".
fn keep_to_calls() -> Result<(), seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    for (call, argument, bits, wanted) in BOUND_CALLS {
        let operator = SeccompCmpOp::MaskedEq(bits);
        let bound = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, wanted)?;
        rules.entry(call).or_default().push(SeccompRule::new(vec![bound])?);
    }
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter: BpfProgram = SeccompFilter::new(rules, denied, SeccompAction::Allow, arch)?.try_into()?;
    seccompiler::apply_filter(&filter)
}
