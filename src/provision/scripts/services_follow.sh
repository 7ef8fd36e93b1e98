# Follows what units of systemd say, by the journal, as root. UNITS: names of the system's units, OWN: those of the user LOGIN's
# own systemd, NEW: which of them begin with their last lines. FROM: the cursor to go on after; empty: from now. Prints entries
# as JSON, and lines of its own before them: "@ MS" (the clock), "= HOW NAME ID" (what a unit is really called), "! gap".
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
export PATH LC_ALL
set -f
FIELDS=MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,COREDUMP_UNIT,OBJECT_SYSTEMD_UNIT,_SYSTEMD_USER_UNIT,USER_UNIT,_PID,SYSLOG_IDENTIFIER
BEFORE=100
log() { journalctl -q --no-pager --output-fields="$FIELDS" -o json "$@"; }
cursor() { journalctl -q --no-pager -n 1 -o cat --output-fields=_PID --show-cursor "$@" 2>/dev/null | sed -n 's/^-- cursor: //p'; }

command -v journalctl >/dev/null || { echo 'no journalctl' >&2; exit 47; }
printf '@ %s\n' "$(date +%s%3N)"
uid=$(id -u "$LOGIN" 2>/dev/null) || uid=-1

# A match is a word; those after a + are alternatives (journalctl(1)).
system() {
  id=$(systemctl show -p Id --value -- "$1" 2>/dev/null); id=${id:-$1}
  printf '= system %s %s\n' "$1" "$id"
  MATCH="_SYSTEMD_UNIT=$id + UNIT=$id _PID=1 + COREDUMP_UNIT=$id _UID=0 + OBJECT_SYSTEMD_UNIT=$id _UID=0"
}
own() {
  printf '= user %s %s\n' "$1" "$1"
  MATCH="_SYSTEMD_USER_UNIT=$1 _UID=$uid + USER_UNIT=$1 _UID=$uid"
}
START=${RESUME:-$FROM}
if [ -z "$START" ]; then START=$(cursor)
elif [ "$(cursor --cursor="$START")" != "$START" ]; then echo '! gap'; fi
ALL=
for how in system own; do
  if [ "$how" = own ]; then names=$OWN; else names=$UNITS; fi
  for name in $names; do
    "$how" "$name"
    ALL="$ALL${ALL:+ + }$MATCH"
    [ -z "$RESUME" ] || continue
    # shellcheck disable=SC2086  # words
    case " $NEW " in *" $name "*) log -n "$BEFORE" $MATCH ;; esac
  done
done
# shellcheck disable=SC2086  # words
exec journalctl -q --no-pager --output-fields="$FIELDS" -o json -f --no-tail ${START:+--after-cursor="$START"} $ALL
