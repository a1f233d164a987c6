//! Version 1 with the real controllers of this machine, version 2 with a tree as the kernel writes it, and neither.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use watchpost_core::guard::Limits;

use super::*;
use crate::guard::levels::MemoryLevel;
use crate::guard::measured::Family;
use crate::guard::mounts::Mounts;

const MIB: u64 = 1 << 20;
/// What is missing where the first tests fail.
const NEEDED: &str = "the guard is tested on real controllers: run as root where cgroup v1 has `cpu`, `cpuacct` and \
                      `memory` (mount -t cgroup -o memory cgroup /sys/fs/cgroup/memory, likewise the others; kernel \
                      parameter systemd.unified_cgroup_hierarchy=0)";

/// A child that is gone at the end, with the group that it was in.
struct Held {
    child: Child,
    group: Option<v1::Group>,
}

impl Held {
    fn start(script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: command.process_group(0).spawn().unwrap(), group: None }
    }

    /// Starts a script that waits until it is in a group of this name.
    fn in_group(name: &str, script: &str) -> Self {
        let mut held = Self::start(&format!("until grep -q {name} /proc/self/cgroup; do :; done; {script}"));
        let kernel = Kernel::default();
        let group = v1::Group::take(&kernel, &Mounts::find(&kernel), held.child.id(), name);
        held.group = Some(group.unwrap_or_else(|error| panic!("{error}; {NEEDED}")));
        held
    }

    fn group(&self) -> &v1::Group {
        self.group.as_ref().unwrap()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(group) = &self.group {
            group.remove();
        }
    }
}

fn name(test: &str) -> String {
    format!("watchpost-test-{test}-{}", std::process::id())
}

#[test]
fn v1_a_group_has_no_more_processor_time_than_its_limit() {
    let held = Held::in_group(&name("cpu"), "while :; do :; done");
    held.group().limit_processor(100).unwrap();
    let clock = Clock::system();
    let (begun, before) = (clock.instant(), held.group().processor_nanos().unwrap());
    // One limited process uses this much in a second at least, or the machine is busy, and then it takes longer.
    while held.group().processor_nanos().unwrap() < before + 100_000_000 {
        std::thread::yield_now();
    }
    let used = held.group().processor_nanos().unwrap() - before;
    let passed = u64::try_from(clock.instant().saturating_duration_since(begun).as_nanos()).unwrap();
    // 10 % of what passed, and the stretch in which the limit came.
    assert!(used <= passed / 10 + 100_000_000, "{used} ns of {passed}");
    assert!(passed >= 400_000_000, "{used} ns within {passed} is no limit");
}

#[test]
fn v1_whoever_outgrows_its_group_is_ended_and_nobody_else() {
    let mut held = Held::in_group(&name("oom"), "read go; head -c 300M /dev/zero | tail -c 250M");
    held.group().limit_memory(64 * MIB).unwrap();
    drop(held.child.stdin.take());
    // The shell's word for a child that was ended by signal 9.
    assert_eq!(held.child.wait().unwrap().code(), Some(137));
    assert!(held.group().memory_used().unwrap() < 64 * MIB);
}

#[test]
fn v1_limits_around_the_sensor_are_seen_and_an_adopted_one_stays_in_its_group() {
    let (around, inner) = (name("around"), name("inner"));
    let mut held = Held::in_group(&around, "exec sleep 1000");
    held.group().limit_memory(256 * MIB).unwrap();
    held.group().limit_processor(500).unwrap();
    let kernel = Kernel::default();
    let mounts = Mounts::find(&kernel);
    let group = v1::Group::take(&kernel, &mounts, held.child.id(), &inner).unwrap();
    assert_eq!(group.memory_levels().iter().filter(|level| level.total == 256 * MIB).count(), 1);
    assert_eq!(group.processor_levels().first().map(|level| level.total), Some(500));
    let again = v1::Group::take(&kernel, &mounts, held.child.id(), &inner).unwrap();
    assert_eq!(again.folder(), group.folder());
    held.child.kill().unwrap();
    held.child.wait().unwrap();
    group.remove();
    assert!(!group.folder().exists(), "nothing is left of it");
}

/// A `/proc` and a tree of version 2, as the kernel has them for a service that systemd has started.
struct Tree {
    folder: tempfile::TempDir,
}

const SERVICE: &str = "system.slice/watchpost-updater.service";

impl Tree {
    fn new() -> Self {
        let tree = Self { folder: tempfile::tempdir().unwrap() };
        let point = tree.folder.path().join("cgroup");
        let mountinfo = format!(
            "24 30 0:22 / /proc rw,nosuid shared:14 - proc proc rw\n\
             35 24 0:30 / {} rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
            point.display()
        );
        tree.put("proc/self/mountinfo", &mountinfo);
        for (pid, parent, name) in
            [(50, 1, "watchpost-updat"), (100, 50, "watchpost) S 1"), (101, 100, "Suricata-Main")]
        {
            tree.put(&format!("proc/{pid}/stat"), &format!("{pid} ({name}) S {parent} {pid} {pid} 0 -1 4194560 1\n"));
            tree.put(&format!("proc/{pid}/cgroup"), &format!("0::/{SERVICE}\n"));
        }
        tree.group(SERVICE, "max", "max 100000");
        tree.group("system.slice", "419430400", "150000 100000");
        tree.put(&format!("cgroup/{SERVICE}/cgroup.procs"), "50\n");
        tree
    }

    fn group(&self, group: &str, memory: &str, cpu: &str) {
        for (file, text) in [
            ("cgroup.controllers", "cpuset cpu io memory hugetlb pids\n"),
            ("cgroup.subtree_control", "\n"),
            ("memory.max", memory),
            ("memory.current", "104857600\n"),
            ("memory.stat", "anon 41943040\nfile 62914560\ninactive_file 20971520\nactive_file 31457280\n"),
            ("cpu.max", cpu),
            ("cpu.stat", "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n"),
        ] {
            self.put(&format!("cgroup/{group}/{file}"), text);
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn kernel(&self) -> Kernel {
        Kernel::at(&self.path("proc"))
    }
}

#[test]
fn v2_the_sensor_and_its_engine_go_into_a_group_and_the_updater_beside_it() {
    let tree = Tree::new();
    let kernel = tree.kernel();
    let group = v2::Group::take(&kernel, &Mounts::find(&kernel), 100, "watchpost-sensor-0a").unwrap();
    let own = format!("cgroup/{SERVICE}/watchpost-sensor-0a");
    assert_eq!(group.folder(), tree.path(&own));
    // The kernel takes one number at a time; a plain file keeps the last.
    assert_eq!(tree.read(&format!("{own}/cgroup.procs")), "101");
    assert_eq!(tree.read(&format!("cgroup/{SERVICE}/watchpost-updater/cgroup.procs")), "50");
    assert_eq!(tree.read(&format!("cgroup/{SERVICE}/cgroup.subtree_control")), "+cpu +memory");
    group.limit_processor(260).unwrap();
    group.limit_memory(300 * MIB).unwrap();
    assert_eq!(tree.read(&format!("{own}/cpu.max")), "26000 100000");
    assert_eq!(tree.read(&format!("{own}/memory.max")), (300 * MIB).to_string());
    group.limit_processor(0).unwrap();
    assert_eq!(tree.read(&format!("{own}/cpu.max")), "1000 100000", "the kernel takes no less");
}

#[test]
fn v2_limits_around_the_sensor_are_seen_without_what_the_kernel_can_drop() {
    let tree = Tree::new();
    let kernel = tree.kernel();
    let group = v2::Group::take(&kernel, &Mounts::find(&kernel), 100, "watchpost-sensor-0a").unwrap();
    // 100 MiB in use, 50 of them of files; the service itself has no limit.
    assert_eq!(group.memory_levels(), [MemoryLevel { total: 400 * MIB, used: 50 * MIB }]);
    let levels = group.processor_levels();
    assert_eq!(levels.len(), 1);
    assert_eq!((levels[0].total, levels[0].nanos), (1_500, 2_500_000_000));
}

#[test]
fn v2_an_adopted_sensor_stays_where_it_is_and_a_missing_controller_is_named() {
    let tree = Tree::new();
    tree.put("proc/100/cgroup", &format!("0::/{SERVICE}/watchpost-sensor-0a\n"));
    tree.put(&format!("cgroup/{SERVICE}/cgroup.subtree_control"), "cpu memory\n");
    let kernel = tree.kernel();
    let mounts = Mounts::find(&kernel);
    let group = v2::Group::take(&kernel, &mounts, 100, "watchpost-sensor-0a").unwrap();
    assert_eq!(group.folder(), tree.path(&format!("cgroup/{SERVICE}/watchpost-sensor-0a")));
    assert!(!tree.path(&format!("cgroup/{SERVICE}/watchpost-updater")).exists(), "nobody is moved a second time");
    tree.put(&format!("cgroup/{SERVICE}/cgroup.controllers"), "hugetlb\n");
    let error = v2::Group::take(&kernel, &mounts, 100, "watchpost-sensor-0a").unwrap_err();
    assert!(error.to_string().contains("“cpu”"), "{error}");
}

#[test]
fn a_group_is_found_where_only_a_part_of_the_hierarchy_is_mounted() {
    let tree = Tree::new();
    let point = tree.path("memory");
    tree.put("proc/self/mountinfo", &format!("9 8 0:1 /docker/1 {} rw - cgroup cgroup rw,memory\n", point.display()));
    tree.put("proc/7/cgroup", "5:memory:/docker/1/inner\n4:cpu,cpuacct:/docker/1\n");
    tree.put("proc/8/cgroup", "5:memory:/docker/1/../../elsewhere\n");
    let kernel = tree.kernel();
    let mounts = Mounts::find(&kernel);
    let place = mounts.v1(&kernel, 7, mounts::Controller::Memory).unwrap();
    assert_eq!(place.folder, point.join("inner"));
    assert_eq!(place.groups().collect::<Vec<_>>(), [point.join("inner").as_path()]);
    assert_eq!(mounts.v1(&kernel, 7, mounts::Controller::Cpu), None, "it is not mounted");
    assert_eq!(mounts.v1(&kernel, 8, mounts::Controller::Memory), None, "what leads elsewhere is refused");
}

fn state(pid: u32) -> String {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap();
    kernel::fields(&stat).unwrap()[0].to_owned()
}

fn until(pid: u32, wanted: bool) {
    while (state(pid) == "T") != wanted {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn where_no_group_may_be_made_the_family_is_measured_and_paused_and_never_left_paused() {
    let held = Held::start("while :; do :; done");
    let pid = held.child.id();
    let tree = Tree::new();
    tree.put("proc/self/mountinfo", "");
    let hold = Hold::take(&tree.kernel(), pid, "watchpost-sensor-0a");
    assert_eq!(hold.means(), Means::Measured);
    assert!(hold.why().is_some_and(|why| why.contains("cgroup v2 is not mounted") && why.contains("“cpu”")));
    hold.let_go();
    let mut family = Family::take(&Kernel::default(), pid);
    let used = Used { memory: 0, processor: 1_000 };
    family.set(Limits { processor: Some(200), memory: None }, used);
    family.turn().await;
    until(pid, true);
    family.turn().await;
    until(pid, false);
    family.turn().await;
    until(pid, true);
    assert!(family.memory_used().unwrap() > 0 && family.processor_nanos().is_some());
    family.let_go();
    until(pid, false);
}

#[test]
fn the_state_is_written_down_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guard.json");
    let state = GuardState { means: Some(Means::CgroupV1), memory_limit_bytes: Some(5), ..GuardState::default() };
    state.write(&path).unwrap();
    assert_eq!(GuardState::read(&path), Some(state));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
