# updates: what waits, by apt's own simulation, and with APPLY (security, all) brings it up to date. A service is never
# restarted by it beyond what packages do themselves: what needrestart says is told.

text() { { base64 -w 4000; } | { read -r piece || piece=''; mark text "$1" "$piece"; while read -r piece; do mark text "$1" "$piece"; done; }; }

# Lines like: openssl [3.0.11-1] (3.0.13-1 Debian-Security:12/stable-security [amd64])
plan() { apt-get -s -q --with-new-pkgs upgrade 2>/dev/null | sed -n 's/^Inst //p'; }
# Names in the plan that are installed and have a security update. A source calls itself so by its label or suite.
security() { printf '%s\n' "$PLAN" | sed -n '/^[^ ]* \[/{/\(-Security:\|-security\b\)/s/ .*//p;}'; }

check_lists() { wait_dpkg_lock; apt_update; [ -z "$UPDATE_FAILED" ] || fact lists old; }
check_plan() {
  PLAN=$(plan)
  printf '%s\n' "$PLAN" | text plan
  apt-mark showhold 2>/dev/null | text held
}

wanted() { case $APPLY in security) security ;; all) printf '%s\n' "$PLAN" | sed 's/ .*//' ;; esac; }
check_applied() { PLAN=$(plan); [ -z "$(wanted)" ]; }
apply() {
  BEFORE=$(wanted | wc -l)
  free=$(free_below /var/cache/apt/archives)
  [ "${free:-$SPACE_MIN_KIB}" -ge "$SPACE_MIN_KIB" ] || fail disk_full "Only $free KiB are free on this server's disk; installing packages needs $SPACE_MIN_KIB."
  if [ -n "$(dpkg --audit 2>/dev/null)" ] || [ -n "$(ls /var/lib/dpkg/updates 2>/dev/null)" ]; then
    sheltered dpkg --force-confdef --force-confold --configure -a || fail apt_failed "An earlier, broken-off installation cannot be finished$(unfinished)."
  fi
  rc=0
  # shellcheck disable=SC2046  # names of packages
  if [ "$APPLY" = security ]; then apt install --only-upgrade $(security) || rc=$?; else apt --with-new-pkgs upgrade || rc=$?; fi
  [ "$rc" = 0 ] || fail apt_failed "The updates cannot be installed$(unfinished)."
  fact applied "$BEFORE"
}

check_after() {
  PLAN=$(plan)
  printf '%s\n' "$PLAN" | text left
  [ ! -e /run/reboot-required ] && [ ! -e /var/run/reboot-required ] || fact reboot yes
  sort -u /run/reboot-required.pkgs 2>/dev/null | text reboot
  if command -v needrestart >/dev/null; then
    env -u NEEDRESTART_SUSPEND needrestart -b -r l </dev/null 2>/dev/null | text needrestart
  else fact needrestart none; fi
}

main() {
  begin
  check_system
  check updates_lists check_lists
  check updates_plan check_plan
  if [ -n "$APPLY" ]; then step updates_applied check_applied apply; else skip updates_applied; fi
  check updates_after check_after
}
