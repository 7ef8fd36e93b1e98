# file: puts the parts in STAGE together and in the place of FILE. The content is written beside it and renamed; the file
# before it is kept in KEEP and comes back when the job fails.

KEEP=/var/backups/lamplighter-files
KEPT='' FRESH=''

check_arrived() {
  on_undo rm -rf "$STAGE"
  for left in "${STAGE%/*}"/*; do [ "$left" = "$STAGE" ] || rm -rf "$left"; done # of jobs that were cut off
  sum=$(cat "$STAGE"/[0-9]* 2>/dev/null | sha256sum)
  [ "${sum%% *}" = "$SHA256" ] || fail file_incomplete "The file did not arrive whole on this server: it has the SHA-256 ${sum%% *} there."
}

# Where the folder really is, for a link may lead anywhere. Nobody but root may be able to change what is on the way there:
# else somebody could have root write into a place of theirs.
check_allowed() {
  dir=${FILE%/*}
  REAL=$(realpath -e -- "${dir:-/}" 2>/dev/null) || REAL=''
  [ -n "$REAL" ] && [ -d "$REAL" ] || fail folder_missing "There is no folder ${dir:-/} on this server."
  inside=''
  for root in $ALLOWED; do
    root=$(realpath -m -- "$root")
    case $REAL/ in "${root%/}"/*) inside=yes ;; esac
  done
  [ -n "$inside" ] || fail path_not_allowed "${dir:-/} leads to $REAL on this server, which is outside of the folders that files may be put into."
  at=$REAL
  while :; do
    mode=$(stat -c '%u %a' -- "$at")
    if [ "${mode%% *}" != 0 ] || [ $((0${mode#* } & 022)) != 0 ]; then
      fail folder_unsafe "Others than root may change $at on this server (owner and mode: $mode)."
    fi
    [ "$at" != / ] || break
    at=${at%/*}; at=${at:-/}
  done
  TARGET=${REAL%/}/${FILE##*/}
  if [ -L "$TARGET" ] || { [ -e "$TARGET" ] && [ ! -f "$TARGET" ]; }; then fail not_a_file "$TARGET is no regular file on this server."; fi
  id -u -- "${OWNER%%:*}" >/dev/null 2>&1 || fail owner_unknown "There is no user ${OWNER%%:*} on this server."
  case $OWNER in *:*) getent group "${OWNER#*:}" >/dev/null || fail owner_unknown "There is no group ${OWNER#*:} on this server." ;; esac
  fact path "$TARGET"
}

stands() { stat -c '%a %U:%G' -- "$1"; }
is_placed() {
  [ -f "$TARGET" ] || return 1
  case $OWNER in *:*) owner=$OWNER ;; *) owner=$OWNER:$(id -gn -- "$OWNER") ;; esac
  [ "$(stands "$TARGET")" = "$MODE $owner" ] || { because "$TARGET has the mode and owners $(stands "$TARGET"), and not $MODE $owner"; return 1; }
  sum=$(sha256sum <"$TARGET")
  [ "${sum%% *}" = "$SHA256" ] || because "$TARGET has the SHA-256 ${sum%% *}"
}

is_kept() { [ ! -e "$TARGET" ] || is_placed || [ -n "$KEPT" ]; }
keep_old() {
  KEPT=$KEEP$TARGET
  { (umask 077; mkdir -p "${KEPT%/*}") && rm -rf "$KEPT.new" && cp -a -- "$TARGET" "$KEPT.new" && sync -- "$KEPT.new" && mv -fT -- "$KEPT.new" "$KEPT"; } ||
    { rm -f "$KEPT.new"; fail write_failed "The file that is there cannot be kept in $KEEP, so it was not replaced."; }
  fact kept "$KEPT"
}

place() {
  free=$(free_below "$REAL")
  [ "${free:-$SIZE_KIB}" -ge "$SIZE_KIB" ] || fail disk_full "Only $free KiB are free at $REAL on this server; the file has $SIZE_KIB."
  FRESH=$(umask 077; mktemp -- "${REAL%/}/.lamplighter-XXXXXX") || fail write_failed "$REAL cannot be written."
  on_undo rm -f "$FRESH"
  # No part at all is an empty file.
  { { ! [ -e "$STAGE/00000" ] || cat "$STAGE"/[0-9]* >"$FRESH"; } && chown -- "$OWNER" "$FRESH" && chmod -- "$MODE" "$FRESH" && sync -- "$FRESH"; } ||
    fail write_failed "$REAL cannot be written."
  sum=$(sha256sum <"$FRESH")
  [ "${sum%% *}" = "$SHA256" ] || fail write_failed "What was written to $REAL reads differently there."
  if [ -e "$TARGET" ]; then on_undo put_old; ROLLBACK="back The file that was there before is back."
  else on_undo rm -f "$TARGET"; ROLLBACK="back Nothing was left there."; fi
  mv -fT -- "$FRESH" "$TARGET" || fail write_failed "$TARGET cannot be replaced."
  sync -- "$REAL"
}
put_old() { cp -a -- "$KEPT" "$FRESH" && mv -fT -- "$FRESH" "$TARGET"; }

main() {
  begin
  check file_arrived check_arrived
  check file_allowed check_allowed
  step file_kept is_kept keep_old
  step file_placed is_placed place
  rm -rf "$STAGE"
}
