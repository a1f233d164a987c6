#!/bin/sh
# A host's whole life with the documented switches alone: no terminal, no input, and every exit code once.
# Takes from its environment: UPDATER, WATCHPOST and its WATCHPOST_URL and WATCHPOST_TOKEN, ROOT, SERVER, IMAGE_ROOT, UNKNOWN_KEY, KEY
# (files), LOG, CLOCK (words), FIRST, SECOND, BROKEN (packages).
set -u
work=$(mktemp -d)
service=
end() {
    [ -z "$service" ] || kill "$service" 2>/dev/null
    rm -rf "$work"
}
trap end EXIT

# expect CODE COMMAND…: ends with this code; prints nothing when it is done, and one line when it is not.
expect() {
    wanted=$1
    shift
    "$@" >"$work/out" 2>"$work/err"
    code=$?
    lines=$(wc -l <"$work/err")
    echo "$code (wanted $wanted): $* $(head -n 1 "$work/err")"
    [ "$code" -eq "$wanted" ] || exit 90
    [ ! -s "$work/out" ] || { echo "it printed: $(cat "$work/out")"; exit 91; }
    case $code in
    0) [ "$lines" -eq 0 ] || { cat "$work/err"; exit 92; } ;;
    2) ;;
    *) [ "$lines" -eq 1 ] || { cat "$work/err"; exit 93; } ;;
    esac
}
setup() {
    "$UPDATER" /QUIET "$@" InstallationPath="\"$ROOT\"" delayedupdate=FALSE NetFrameworkCommandLineArguments="\"/q\"" \
        --server "$SERVER" --image-root "$IMAGE_ROOT" --name DC01 --type domainControllerIntegrated --audit-log "$LOG"
}

# There is nobody to ask.
if [ -t 0 ] || (: </dev/tty) 2>/dev/null; then exit 94; fi

expect 2 "$UPDATER" /quiet InstallationPath="$ROOT"
expect 2 "$UPDATER" update /quiet InstallationPath="$ROOT"
expect 4 "$UPDATER" setup /quiet "$FIRST" InstallationPath="$ROOT"
expect 4 "$UPDATER" /quiet /uninstall InstallationPath="$ROOT"
expect 3 setup AccessKeyFile="$UNKNOWN_KEY"
expect 0 setup ACCESSKEYFILE="$KEY"
expect 0 setup AccessKey="\"$(cat "$KEY")\""
# Nothing runs that could take an order.
expect 1 "$UPDATER" setup /Quiet "$FIRST" INSTALLATIONPATH="$ROOT"

# shellcheck disable=SC2086 # several words
"$UPDATER" run --root "$ROOT" $CLOCK </dev/null >"$ROOT.out" 2>&1 &
service=$!
# Waits for the first installation; then it is done already.
expect 0 "$UPDATER" setup /quiet "$FIRST" InstallationPath="$ROOT"
expect 0 "$UPDATER" update "$FIRST" --root "$ROOT" --quiet

(cat "$SECOND" && echo) >"$work/altered.cab"
expect 3 "$UPDATER" setup /quiet "$work/altered.cab" InstallationPath="$ROOT"
expect 4 "$UPDATER" setup /quiet "$work/none.cab" InstallationPath="$ROOT"
# Its rollout is held.
expect 3 "$UPDATER" setup /quiet "$SECOND" InstallationPath="$ROOT"
"$WATCHPOST" rollouts start 2.255.1.0 >/dev/null || exit 95
expect 0 "$UPDATER" setup /QUIET "$SECOND" InstallationPath="$ROOT"
case $(readlink "$ROOT/current") in
versions/2.255.1.0-*) ;;
*) exit 96 ;;
esac

# It is tried, and gone back from; then it is known to be bad.
"$WATCHPOST" rollouts start 2.256.1.0 >/dev/null || exit 95
"$UPDATER" setup /quiet "$BROKEN" InstallationPath="$ROOT" 2>/dev/null
case $? in
1 | 3) ;; # whether the order or the rollout was first
*) exit 97 ;;
esac
expect 3 "$UPDATER" setup /quiet "$BROKEN" InstallationPath="$ROOT"
until readlink "$ROOT/current" | grep -q '^versions/2\.255\.1\.0-'; do sleep 0.1; done

expect 3 "$UPDATER" /quiet /uninstall InstallationPath="$ROOT"
kill "$service"
wait "$service"
service=
expect 0 "$UPDATER" /Quiet /Uninstall InstallationPath="$ROOT"
[ ! -e "$ROOT" ] || exit 98
expect 4 "$UPDATER" /quiet /uninstall InstallationPath="$ROOT"
echo whole
