# Why a unit of systemd stopped: its last lines, and whether somebody asked for it. Variables: UNIT, HOW (system, user).
# Changes nothing; as root it sees more.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
export PATH LC_ALL
case $HOW in
  user) log='journalctl -q --no-pager --user' of=USER_UNIT by=--user-unit ;;
  *) log='journalctl -q --no-pager' of=UNIT by=-u ;;
esac
printf 'lines %s\n' "$($log -o short-iso -n 50 "$by" "$UNIT" 2>/dev/null | tail -c 24000 | base64 -w0)"
# The manager notes the end of each job. A unit that was stopped by one has that as its newest; one that ended by itself has
# its start. (Its own times are gone once it is unloaded.)
when() { $log -o short-unix -n 1 "$of=$UNIT" JOB_RESULT=done "JOB_TYPE=$1" 2>/dev/null | sed -n 's/^\([0-9]*\)\.\([0-9]*\) .*/\1\2/p'; }
stop=$(when stop) start=$(when start) again=$(when restart)
if [ -z "$stop" ] || [ "$stop" -lt "${start:-0}" ] || [ "$stop" -lt "${again:-0}" ]; then exit 0; fi
printf 'asked\n'
end=${stop%??????} name=${UNIT%.service}
printf 'by %s\n' "$(journalctl -q --no-pager -o cat _COMM=sudo --since "@$((end - 60))" --until "@$((end + 2))" 2>/dev/null |
  grep -F systemctl | grep -F -- "$name" | tail -n 1 | head -c 600 | base64 -w0)"
