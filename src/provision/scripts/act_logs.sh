# logs: the end of a unit's journal or of a file, as base64. Root reads: what is opened is looked at, not only what it is
# called, for a name may lead elsewhere a moment later.
set -eu
tail_of() { tail -n "$LINES" | tail -c "$BYTES" | base64 -w 4000; }
if [ -n "$UNIT" ]; then
  command -v journalctl >/dev/null || exit 47
  if [ "$(systemctl show -p LoadState --value -- "$UNIT" 2>/dev/null)" = not-found ] &&
    [ -z "$(journalctl -q --no-pager -n 1 -u "$UNIT" 2>/dev/null)" ]; then exit 44; fi
  journalctl -q --no-pager -o short-iso -n "$LINES" ${SINCE:+--since "$SINCE"} -u "$UNIT" | tail_of
  exit
fi
[ -e "$FILE" ] || exit 44
[ -f "$FILE" ] || exit 46
exec 3<"$FILE"
real=$(readlink "/proc/$$/fd/3") inside=''
for root in $ALLOWED; do
  root=$(realpath -m -- "$root")
  case $real in "${root%/}"/*) inside=yes ;; esac
done
[ -n "$inside" ] || exit 45
[ -f "/proc/$$/fd/3" ] || exit 46
case $real in *.gz) gzip -dc <&3 | tail_of ;; *) tail_of <&3 ;; esac
