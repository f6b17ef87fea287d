#!/bin/sh
# The monitor: each line that it prints wakes Claude, and so does its end. So where there is nothing to watch, in an
# instance of a team or until the program is installed, it goes on in silence, and ends with its parent.
until [ -z "${PHALANX_TEAM-}" ] && command -v phalanx >/dev/null 2>&1; do
    kill -0 "$PPID" 2>/dev/null || exit 0
    sleep 20
done
exec phalanx watch --for-lead
