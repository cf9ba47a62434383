#!/usr/bin/env bash
# Linux (seen on 6.18), psutil 7.2.2: when a process began, in /proc/PID/stat, depends on who reads it.
#
# Behaviour: field 22, starttime, of one and the same running process, read through one and the same /proc, is another
# number for a reader in a time namespace with an offset for boottime (`unshare --time --boottime`, CRIU, containers
# that ask for one). Not the process looked at decides, nor the mount of /proc, but the namespace of the reader.
#
# Why it surprises: pid and start time are the usual name of a process that survives reuse of its pid. What the pid
# means belongs to the mount of /proc, so all who share that mount agree; proc(5) says "the time the process started
# after system boot", a fact of the process. time_namespaces(7) names only clocks, timers and /proc/uptime.
#
# What follows: (pid, starttime) in a file or a message does not match for a reader in another time namespace, and
# looks like a reused pid: a lock file's holder "is dead". psutil's Process() has it as its identity, so two programs
# have two hashes for one process, while create_time() is the same in both: it adds the boot time of /proc/stat, which
# is shifted by as much the other way. Compare that sum, or hand over a pidfd.
#
# An ordinary user needs user namespaces.
set -euo pipefail
work=$(mktemp -d)
sleep 600 &
process=$!
trap 'kill "$process"; rm -rf "$work"' EXIT
cd "$work"
uname -sr

python3 -m venv tools
tools/bin/python -m pip -qq --disable-pip-version-check install psutil==7.2.2
cat >look.py <<'PY'
import sys
import psutil

process = psutil.Process(int(sys.argv[1]))
with open(f"/proc/{process.pid}/stat") as file:
    starttime = file.read().rpartition(")")[2].split()[19]
print(starttime, hash(process), round(process.create_time()))
PY

elsewhere=(unshare --time --boottime 100000 --fork)
[[ $EUID -eq 0 ]] || elsewhere+=(--user --map-root-user)
read -r here_start here_hash here_created < <(tools/bin/python look.py "$process")
read -r there_start there_hash there_created < <("${elsewhere[@]}" tools/bin/python look.py "$process")

printf '%-34s %22s %22s\n' \
    "one process, read from" "here" "a time namespace" \
    "/proc/PID/stat, starttime (ticks)" "$here_start" "$there_start" \
    "psutil: hash(Process(pid))" "$here_hash" "$there_hash" \
    "psutil: Process(pid).create_time()" "$here_created" "$there_created"

ticks=$(getconf CLK_TCK)
[[ $((there_start - here_start)) -eq $((100000 * ticks)) ]]
[[ "$here_hash" != "$there_hash" && "$here_created" == "$there_created" ]]
