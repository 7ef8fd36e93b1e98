# Why a unit of systemd stopped: its last lines, and whether somebody asked for it. Variables: UNIT, HOW (system, user).
# Changes nothing; as root it sees more.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
export PATH LC_ALL
case $HOW in
  user) ctl='systemctl --user' log='journalctl -q --no-pager --user' of=USER_UNIT by=--user-unit ;;
  *) ctl=systemctl log='journalctl -q --no-pager' of=UNIT by=-u ;;
esac
printf 'lines %s\n' "$($log -o short-iso -n 50 "$by" "$UNIT" 2>/dev/null | tail -c 24000 | base64 -w0)"
# The manager notes the end of each job that stops a unit; a unit that ends by itself has none.
end=$($ctl show -p InactiveEnterTimestamp --value -- "$UNIT" 2>/dev/null)
end=$(date -d "$end" +%s 2>/dev/null) || end=
[ -n "$end" ] || exit 0
stop=$($log -o short-unix -n 1 "$of=$UNIT" JOB_TYPE=stop 2>/dev/null | tail -n 1)
stop=${stop%%.*}
case $stop in '' | *[!0-9]*) exit 0 ;; esac
[ $((stop - end)) -ge -5 ] && [ $((stop - end)) -le 5 ] || exit 0
printf 'asked\n'
name=${UNIT%.service}
printf 'by %s\n' "$(journalctl -q --no-pager -o cat _COMM=sudo --since "@$((end - 60))" --until "@$((end + 2))" 2>/dev/null |
  grep -F systemctl | grep -F -- "$name" | tail -n 1 | head -c 600 | base64 -w0)"
