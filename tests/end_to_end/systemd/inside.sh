#!/bin/bash
# What an operator does, word by word as in docs/operators, on a system that systemd runs; and what is seen then.
# Each line of /run/told/told is `WORD=VALUE`, for the test to judge.
set -x
exec 2>&1
trap 'tail -n 20 /var/lib/watchpost/updater/updater.log; journalctl --no-pager --lines 40; systemctl poweroff --force --force' EXIT
tell() { echo "$1=$2" >> /run/told/told; }
# Waits for at most two check-ins, which are a minute apart here as anywhere.
until_holds() { for _ in $(seq 600); do "$@" && return; sleep 0.2; done; tell never "$*"; exit 1; }
of_sensor() { watchpost sensors list --output json | grep -F "\"$1\"" | head -1; }
runs() { of_sensor version | grep -qF "$1" && of_sensor deploymentStatus | grep -q upToDate && of_sensor isWatching | grep -q true; }
shows() { systemctl show --property "$2" --value "$1"; }

ip link set lo up
cd /root || exit 1
PATH=/run/programs:$PATH
useradd --system --shell /usr/sbin/nologin watchpost
useradd --system --shell /usr/sbin/nologin watchpost-sensor
install -m 755 /run/programs/watchpost /run/programs/watchpost-launcher /run/programs/watchpost-updater /usr/bin/
install -m 644 /run/checkout/deploy/systemd/*.service /etc/systemd/system/

# The author: a release, and one that brings an updater.
watchpost release keys --keys keys --repository author
for version in 2.254.1.0 2.255.1.0; do
    mkdir -p $version/bin
    cp /run/programs/watchpost-sensor $version/bin/
    cp -r /run/checkout/content/rules $version/rules
    [ $version = 2.254.1.0 ] || { cp /run/programs/watchpost-updater $version/bin/; echo >> $version/bin/watchpost-updater; }
    watchpost release build --from $version --version $version --out $version.cab
    watchpost release sign --keys keys --repository author $version.cab
done

# The control plane.
cp author/metadata/1.root.json /tmp/
install -d -o watchpost -g watchpost -m 700 /var/lib/watchpost-server
runuser -u watchpost -- watchpost init --data-dir /var/lib/watchpost-server --image-root /tmp/1.root.json --output json > made
systemctl daemon-reload
systemctl enable --now watchpost.service
secret() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" made; }
export WATCHPOST_URL=http://127.0.0.1:8080 WATCHPOST_TOKEN
WATCHPOST_TOKEN=$(secret apiToken)
until_holds watchpost sensors list > /dev/null
watchpost release publish --repository author 2.254.1.0.cab

# The host.
touch /var/log/audit.json
chmod 644 /var/log/audit.json
secret accessKey > key
watchpost-updater setup --root /var/lib/watchpost --server 127.0.0.1:8443 --access-key-file key \
    --image-root /tmp/1.root.json --name DC01 --type domainControllerIntegrated --domain corp.example \
    --audit-log /var/log/audit.json --sensor-user watchpost-sensor --sensor-unit watchpost-sensor.service
systemctl enable --now watchpost-updater.service
seen() { of_sensor lastSeenDateTime | grep -q T; }
until_holds seen
# A start checks in at once; the next check-in would be a minute later.
systemctl restart watchpost-updater
until_holds runs 2.254.1.0
watchpost release publish --repository author 2.255.1.0.cab
until_holds runs 2.255.1.0
of_updater() { watchpost-updater status --root /var/lib/watchpost --output table | grep "^$1 "; }
settled() { of_updater updater | grep -q 'running, that of 2.255.1.0$'; }
until_holds settled

tell guard "$(of_updater guard | sed 's/^guard *//; s/:.*//')"
tell unpacking "$(of_updater unpacking | sed 's/^unpacking *//')"
for unit in watchpost watchpost-updater watchpost-sensor; do tell $unit "$(shows $unit ActiveState)"; done
sensor=$(shows watchpost-sensor MainPID)
tell user "$(stat -c %U /proc/"$sensor")"
tell rights "$(sed -n 's/^CapEff:\t*//p' /proc/"$sensor"/status)"
tell updater "$(basename "$(readlink /proc/"$(pgrep -f 'watchpost-updater.* run --root')"/exe)" | cut -d- -f1-3)"

# As the sensor's user, in the sensor's view of the file system.
for file in /var/log/audit.json /var/lib/watchpost/current/bin/watchpost-sensor /var/lib/watchpost/updater/x \
    /var/lib/watchpost/etc/updater.json /etc/x /usr/bin/watchpost-updater /var/lib/watchpost/state/x; do
    nsenter --target "$sensor" --mount -- setpriv --reuid watchpost-sensor --regid watchpost-sensor --clear-groups \
        sh -c "true >> $file" && tell writes "$file"
done

# kill -9 of the whole service: systemd starts it again, and the sensor does not notice.
systemctl kill --signal KILL watchpost-updater
started_again() { [ "$(shows watchpost-updater NRestarts)" = 1 ] && settled; }
until_holds started_again
[ "$(shows watchpost-sensor MainPID)" = "$sensor" ] && tell survives sensor
# Stopped, it stops its sensor.
systemctl stop watchpost-updater
is_stopped() { [ "$(shows watchpost-sensor ActiveState)" = inactive ]; }
until_holds is_stopped
tell end reached
