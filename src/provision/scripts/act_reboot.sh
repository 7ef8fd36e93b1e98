# reboot: asks the machine to start again, two seconds after this job has ended.

ASKED=''

check_free() {
  [ -d /run/systemd/system ] || fail no_systemd 'This server was not started by systemd.'
  wait_dpkg_lock
  # A kernel whose installation was broken off may not start.
  [ -z "$(dpkg --audit 2>/dev/null)" ] || fail dpkg_unfinished "Packages are installed only in part$(unfinished): a machine that starts again now may not come up."
}
check_asked() { [ -n "$ASKED" ]; }
ask() {
  run systemd-run --quiet --collect --on-active=2 --timer-property=AccuracySec=100ms systemctl reboot ||
    fail reboot_refused 'systemd did not take the order to restart this machine.'
  ASKED=yes
}

main() {
  begin
  check reboot_free check_free
  step reboot_asked check_asked ask
}
