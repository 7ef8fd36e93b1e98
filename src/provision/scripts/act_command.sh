# command: a unit of ours that keeps a program running. UNIT: its name; TEXT_64: its file, which begins with MARK; ENV_64: the
# file of its secrets, or nothing; both are base64. PROGRAM, OWNER, FOLDER: what must be there. ACT: start, restart; remove
# takes it away. A unit that is not ours is never touched.

FILE=/etc/systemd/system/$UNIT
SECRETS=/etc/lamplighter-services/$UNIT.env
DONE='' TEXT=$(printf %s "${TEXT_64:-}" | base64 -d) ENV=$(printf %s "${ENV_64:-}" | base64 -d)
unit() { systemctl show -p "$1" --value -- "$UNIT" 2>/dev/null || :; }
ours() { [ -f "$FILE" ] && [ ! -L "$FILE" ] && [ "$(head -n 1 "$FILE")" = "$MARK" ]; }

check_free() {
  if [ -e "$FILE" ] || [ -L "$FILE" ]; then
    ours || fail unit_not_ours "$FILE is there already and was not written by Lamplighter for this service."
  else
    at=$(unit FragmentPath)
    [ -z "$at" ] || fail unit_not_ours "There is a unit $UNIT on this server already, in $at."
  fi
}
check_needs() {
  [ -z "$OWNER" ] || id -u -- "$OWNER" >/dev/null 2>&1 || fail owner_unknown "There is no user $OWNER on this server."
  [ -z "$FOLDER" ] || [ -d "$FOLDER" ] || fail folder_missing "There is no folder $FOLDER on this server."
  [ -x "$PROGRAM" ] && [ -f "$PROGRAM" ] || fail program_missing "There is no program $PROGRAM on this server that could be started."
}

has_secrets() {
  if [ -z "$ENV" ]; then [ ! -e "$SECRETS" ] || because "$SECRETS is there, and no secrets are stored"; return; fi
  file_is "$SECRETS" 600 root:root "$ENV"
}
put_secrets() {
  if [ -z "$ENV" ]; then keep "$SECRETS"; rm -f "$SECRETS"; TOUCHED=yes; return 0; fi
  (umask 077; mkdir -p "${SECRETS%/*}") && chmod 700 "${SECRETS%/*}" || fail write_failed "${SECRETS%/*} cannot be written."
  put_file "$SECRETS" 600 root:root "$ENV"
}
has_unit() { file_is "$FILE" 644 root:root "$TEXT" && [ "$(unit NeedDaemonReload)" = no ]; }
put_unit() {
  # Undone last: systemd reads what is there then, and runs what ran before.
  on_undo back "$(unit ActiveState)"
  put_file "$FILE" 644 root:root "$TEXT"
  run systemctl daemon-reload || fail unit_refused "systemd does not read its units anew."
  [ "$(unit LoadState)" = loaded ] || { EVIDENCE=verified; fail unit_refused "systemd refuses the unit $UNIT."; }
}
verified() { systemd-analyze verify "$FILE" 2>&1 || :; }
back() {
  systemctl daemon-reload
  case $1 in active | activating) systemctl reset-failed -- "$UNIT"; systemctl restart -- "$UNIT" ;; *) systemctl stop -- "$UNIT" ;; esac
}
ROLL() { ROLLBACK='back What was there before is back.'; }

is_enabled() { case $(unit UnitFileState) in enabled) ;; *) because "systemd calls it $(unit UnitFileState)" ;; esac; }
enable() { on_undo systemctl disable -q -- "$UNIT"; run systemctl -q enable -- "$UNIT" || fail unit_refused "systemd does not enable $UNIT."; }

is_up() {
  n=0
  while [ "$(unit ActiveState)" = activating ] && [ "$n" -lt 60 ]; do sleep 1; n=$((n + 1)); done
  state=$(unit ActiveState) pid=$(unit MainPID)
  [ "$state" = active ] || { EVIDENCE=last_words; because "systemd calls $UNIT $state ($(unit Result))"; return 1; }
  [ -z "$DONE" ] || sleep 3
  [ "$(unit ActiveState) $(unit MainPID)" = "active $pid" ] || { EVIDENCE=last_words; because "$UNIT ended again at once ($(unit Result))"; return 1; }
  fact after "active, process $pid"
}
last_words() { journalctl -q --no-pager -o cat -n 10 -u "$UNIT" 2>/dev/null || :; }
check_started() { [ -n "$DONE" ] || { [ "$ACT" = start ] && [ -z "$TOUCHED" ] && [ "$(unit ActiveState)" = active ]; } || return 1; is_up; }
start() {
  DONE=yes; systemctl reset-failed -- "$UNIT" 2>/dev/null || :
  run systemctl restart -- "$UNIT" || { EVIDENCE=last_words; fail service_failed "$UNIT did not start."; }
}

check_ours() { [ ! -e "$FILE" ] || ours || fail unit_not_ours "$FILE was not written by Lamplighter for this service: it stays."; }
is_gone() { [ ! -e "$FILE" ] && [ ! -e "$SECRETS" ] && [ "$(unit ActiveState)" != active ]; }
take_away() {
  [ ! -e "$FILE" ] || { run systemctl -q disable --now -- "$UNIT" || fail service_failed "$UNIT did not stop."; }
  rm -f "$FILE" "$SECRETS"
  rmdir "${SECRETS%/*}" 2>/dev/null || :
  run systemctl daemon-reload || :
  systemctl reset-failed -- "$UNIT" 2>/dev/null || :
}

main() {
  begin
  [ -d /run/systemd/system ] || fail no_systemd 'This server was not started by systemd.'
  if [ "$ACT" = remove ]; then
    check unit_ours check_ours
    step unit_gone is_gone take_away
    return 0
  fi
  check unit_free check_free
  check unit_needs check_needs
  ROLL
  step unit_secrets has_secrets put_secrets
  step unit_written has_unit put_unit
  step unit_enabled is_enabled enable
  step service_started check_started start
}
