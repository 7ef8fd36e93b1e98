# remove-glances: what install-glances has made on this server goes. Packages of the distribution stay, for others may use them
# by now; so does what an administrator has added to the unit.

check_unit_gone() { [ ! -e "$UNIT_FILE" ] && ! active "$UNIT"; }
remove_unit() {
  run systemctl --quiet disable --now "$UNIT" || :
  on_undo unit_back
  keep "$UNIT_FILE"
  rm -f "$UNIT_FILE" "$APPLIED/$UNIT"
  run systemctl daemon-reload
  run systemctl reset-failed "$UNIT" 2>/dev/null || :
}
unit_back() { systemctl daemon-reload; systemctl enable --now "$UNIT"; }

check_account_gone() { ! getent passwd "$ACCOUNT" >/dev/null; }
remove_account() { run userdel "$ACCOUNT"; }

check_venv_gone() { ! venv_is_ours; }
remove_venv() { run rm -rf "$VENV" "$ASIDE" /var/cache/lamplighter-wheels; }

main() {
  UNITS="$UNIT nginx.service"
  begin
  check system check_system
  step glances_gone check_unit_gone remove_unit
  step front_gone check_front_gone remove_front
  step glances_account_gone check_account_gone remove_account
  step glances_venv_gone check_venv_gone remove_venv
}
