#!/bin/sh
# Boots systemd in namespaces of its own, over a copy of this system that is gone afterwards. As root, from
# `unshare --mount --pid --fork --uts --ipc --net --cgroup`: boot.sh FOLDER PROGRAMS CHECKOUT
# FOLDER: for the copy, and where `told` will lie. PROGRAMS: ours. What runs once it is up: inside.sh of this folder.
set -eu
folder=$1 programs=$2 checkout=$3
mount --make-rprivate /
mkdir "$folder/copy"
mount -t tmpfs tmpfs "$folder/copy"
mkdir "$folder/copy/upper" "$folder/copy/work" "$folder/copy/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/copy/upper,workdir=$folder/copy/work" "$folder/copy/root"
cd "$folder/copy/root"

mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs dev
mkdir dev/pts dev/shm
for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
ln -s /proc/self/fd dev/fd
mount -t devpts devpts dev/pts
ln -s pts/ptmx dev/ptmx
touch dev/console
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs run
mkdir run/told run/programs run/checkout
mount --bind "$folder" run/told
mount --bind "$programs" run/programs
mount --bind "$checkout" run/checkout

# The controllers of version 1, which is what the machines of these tests have.
mount -t tmpfs tmpfs sys/fs/cgroup
for controller in cpu cpuacct memory pids devices freezer blkio cpuset; do
    mkdir sys/fs/cgroup/$controller
    mount -t cgroup -o $controller cgroup sys/fs/cgroup/$controller
done
mkdir sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd

cat > etc/systemd/system/inside.service <<'UNIT'
[Unit]
Description=The test, inside
[Service]
Type=oneshot
ExecStart=/bin/bash /run/checkout/tests/end_to_end/systemd/inside.sh
StandardOutput=file:/run/told/log
StandardError=inherit
UNIT
mkdir -p old
pivot_root . old
umount -l old
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=inside.service --log-target=null --show-status=0
