#!/usr/bin/env bash
# Records content/samples/samba-audit.jsonl from a real Samba AD domain controller.
#
# Everything happens in mount, network and process namespaces of its own, on a scratch folder: nothing of it outlives
# the script and the host's own Samba settings are neither read nor touched. Needs root and, on Debian:
#   apt-get install --no-install-recommends samba samba-ad-provision samba-dsdb-modules samba-vfs-modules winbind \
#     krb5-user ldap-utils smbclient
# Usage: scripts/record-samba.sh [FILE]
set -euo pipefail

out=$(realpath -m "${1:-$(dirname "$0")/../content/samples/samba-audit.jsonl}")
if [[ ${WATCHPOST_RECORDING:-} != inside ]]; then
    exec env WATCHPOST_RECORDING=inside unshare --mount --net --uts --pid --fork --kill-child --mount-proc "$0" "$out"
fi

# --- a private machine -------------------------------------------------------------------------------------------
dc=10.88.0.10
client=10.88.0.1
administrator_password='Passw0rd!Lab1'
mount --make-rprivate /
hostname client1
mount -t tmpfs tmpfs /run
mkdir -p /run/samba
mount -t tmpfs tmpfs /etc/samba
mount -t tmpfs tmpfs /mnt
printf 'search lab.test\nnameserver %s\n' "$dc" >/mnt/resolv.conf
mount --bind /mnt/resolv.conf /etc/resolv.conf
printf '127.0.0.1 localhost\n%s dc1.lab.test dc1\n' "$dc" >/mnt/hosts
mount --bind /mnt/hosts /etc/hosts
ip link set lo up
ip netns add client
ip link add eth0 type veth peer name eth0 netns client
ip addr add "$dc/24" dev eth0
ip link set eth0 up
ip -n client addr add "$client/24" dev eth0
ip -n client link set lo up
ip -n client link set eth0 up

# --- the domain controller ---------------------------------------------------------------------------------------
home=/mnt/dc1
audit=$home/log/audit.json
mkdir -p "$home"
samba-tool domain provision --realm=LAB.TEST --domain=LAB --server-role=dc --dns-backend=SAMBA_INTERNAL \
    --adminpass="$administrator_password" --host-name=DC1 --host-ip="$dc" --targetdir="$home" \
    --option='interfaces=lo eth0' --option='bind interfaces only=yes' >/mnt/provision.log 2>&1 ||
    { cat /mnt/provision.log >&2; exit 1; }
# A user may change a password on the day it was set, or there would be no such event to record.
samba-tool domain passwordsettings set --min-pwd-age=0 --configfile="$home/etc/smb.conf" >/dev/null
mkdir -p "$home/log" "$home/run" "$home/cache"
classes="1 auth_json_audit:3@$audit"
for class in dsdb_json_audit dsdb_password_json_audit dsdb_group_json_audit; do classes+=" $class:5@$audit"; done
sed "s#^\[global\]#[global]\n\tpid directory = $home/run\n\tncalrpc dir = $home/run/ncalrpc\n\tlog file = $home/log/log.%m\n\tmax log size = 0\n\tlog level = $classes#" \
    "$home/etc/smb.conf" >"$home/etc/run.conf"
trap 'echo "recording failed at line $LINENO: $BASH_COMMAND" >&2; tail -n 20 "$home"/log/log.* >&2' ERR
setsid samba -F --no-process-group -M standard -s "$home/etc/run.conf" >"$home/log/console.txt" 2>&1 </dev/null &

export KRB5_CONFIG=$home/private/krb5.conf KRB5CCNAME=FILE:/mnt/tickets LDAPTLS_REQCERT=never
in_client() { timeout --kill-after=1 10 ip netns exec client "$@"; }
by_administrator() { in_client samba-tool "$@" -H ldap://dc1.lab.test --use-kerberos=required -s /dev/null; }
as_administrator() { in_client "$1" -ZZ -x -H ldap://dc1.lab.test -D Administrator@lab.test -w "$administrator_password" "${@:2}"; }
kerberos_logon() { in_client kinit "$1@LAB.TEST" <<<"$2" >/dev/null 2>&1; }
smb_logon() { in_client smbclient //dc1.lab.test/sysvol -W LAB -U "$1%$2" -s /dev/null -c ls >/dev/null 2>&1; }
# What is meant to fail must fail, or the sample would not hold what its name says.
must_fail() { if "$@"; then echo "unexpectedly succeeded: $*" >&2; exit 1; fi; }
# Each deed is told apart in the sample by the order of its events.
deed() { sleep 0.3; echo "deed: $*" >&2; }

eventually() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done; echo "never succeeded: $*" >&2; return 1; }
eventually as_administrator ldapsearch -b '' -s base dn
eventually kerberos_logon Administrator "$administrator_password"
eventually smb_logon Administrator "$administrator_password"
sleep 5
: >"$audit"

# --- what is recorded --------------------------------------------------------------------------------------------
deed 'logon over Kerberos';                    kerberos_logon Administrator "$administrator_password"
deed 'wrong password over Kerberos';           must_fail kerberos_logon Administrator wrong
deed 'unknown account over Kerberos';          must_fail kerberos_logon nosuchaccount wrong
deed 'a user is created';                      by_administrator user create clerk1 'First!pass99'
deed 'a second user is created';               by_administrator user create clerk2 'First!pass99'
deed 'logon over SMB';                         smb_logon clerk1 'First!pass99'
deed 'wrong password over SMB';                must_fail smb_logon clerk1 wrong
deed 'unknown account over SMB';               must_fail smb_logon nosuchaccount wrong
deed 'wrong password over LDAP';               must_fail in_client ldapsearch -ZZ -x -H ldap://dc1.lab.test -D clerk1@lab.test -w wrong -b '' -s base
deed 'an administrator resets a password';     by_administrator user setpassword clerk1 --newpassword='Second!pass99'
deed 'a user changes the own password';        in_client samba-tool user password -U 'clerk2%First!pass99' --newpassword='Third!pass99' --ipaddress="$dc" -s /dev/null
deed 'a user becomes a domain administrator';  by_administrator group addmembers 'Domain Admins' clerk1
deed 'and is one no more';                     by_administrator group removemembers 'Domain Admins' clerk1
deed 'a group is created';                     by_administrator group add Clerks
deed 'a user joins an ordinary group';         by_administrator group addmembers Clerks clerk2
deed 'a user joins Account Operators';         by_administrator group addmembers 'Account Operators' clerk2
deed 'a description is changed';               as_administrator ldapmodify >/dev/null <<'L'
dn: CN=clerk2,CN=Users,DC=lab,DC=test
changetype: modify
replace: description
description: reads the mail
L
deed 'a workstation account is created';       by_administrator computer create WS1
deed 'a domain controller account is created'; as_administrator ldapadd >/dev/null <<'L'
dn: CN=DC9,OU=Domain Controllers,DC=lab,DC=test
objectClass: computer
sAMAccountName: DC9$
userAccountControl: 532480
dNSHostName: dc9.lab.test
L
deed 'and deleted';                            as_administrator ldapdelete 'CN=DC9,OU=Domain Controllers,DC=lab,DC=test'
deed 'a workstation is made a domain controller'; as_administrator ldapmodify >/dev/null <<'L'
dn: CN=WS1,CN=Computers,DC=lab,DC=test
changetype: modify
replace: userAccountControl
userAccountControl: 532480
L
deed 'a user is disabled';                     by_administrator user disable clerk2
deed 'a disabled user logs on';                must_fail smb_logon clerk2 'First!pass99'
deed 'a user is deleted';                      by_administrator user delete clerk2
sleep 2

# --- the sample --------------------------------------------------------------------------------------------------
mkdir -p "$(dirname "$out")"
cp "$audit" "$out"
echo "recorded $(wc -l <"$out") events in $out" >&2
