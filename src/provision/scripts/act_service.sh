# service: starts, stops or restarts (ACT) SERVICE, a unit of systemd, and looks whether it stays so. OWNER: the user whose own
# systemd has it; empty: the system's.

DONE=''
CTL=systemctl JOURNAL='journalctl -q --no-pager -o cat -n 10 -u'
if [ -n "${OWNER:-}" ]; then CTL="systemctl --user -M $OWNER@" JOURNAL="runuser -u $OWNER -- journalctl -q --no-pager -o cat -n 10 --user-unit"; fi
unit() { $CTL show -p "$1" --value -- "$SERVICE" 2>/dev/null || :; }
stands() { echo "$(unit ActiveState), process $(unit MainPID)"; }

check_service_known() {
  case $(unit LoadState) in
    loaded) ;;
    masked) fail service_masked "$SERVICE is masked on this server: it may not be started." ;;
    *) fail service_unknown "systemd on this server knows no unit $SERVICE." ;;
  esac
  fact before "$(stands)"
}

# A service that would not come up again is not taken down.
check_service_config() {
  case $SERVICE in
    nginx.service) tested nginx -t ;;
    ssh.service | sshd.service) mkdir -p /run/sshd; tested sshd -t ;;
    apache2.service) tested apache2ctl configtest ;;
    haproxy.service) tested haproxy -c -q -f /etc/haproxy/haproxy.cfg ;;
    named.service | bind9.service) tested named-checkconf ;;
  esac
}
tested() {
  command -v "$1" >/dev/null || return 0
  run "$@" || fail service_config "$SERVICE was not restarted: $1 refuses its configuration."
}

# Up means: active, or ended well where that is how it works; and still the same process after three seconds.
is_up() {
  n=0
  while [ "$(unit ActiveState)" = activating ] && [ "$n" -lt 60 ]; do sleep 1; n=$((n + 1)); done
  state=$(unit ActiveState) pid=$(unit MainPID)
  if [ "$state" = inactive ] && [ "$(unit Type)" = oneshot ] && [ "$(unit Result)" = success ]; then fact after 'ended well'; return 0; fi
  [ "$state" = active ] || { EVIDENCE=last_words; because "systemd calls $SERVICE $state ($(unit Result))"; return 1; }
  [ -z "$DONE" ] || sleep 3
  [ "$(unit ActiveState) $(unit MainPID)" = "active $pid" ] || { EVIDENCE=last_words; because "$SERVICE ended again at once ($(unit Result))"; return 1; }
  fact after "$(stands)"
}
# shellcheck disable=SC2086  # a command of ours
last_words() { $JOURNAL "$SERVICE" 2>/dev/null || :; }

check_restarted() { [ -n "$DONE" ] || return 1; is_up; }
check_started() { [ -n "$DONE" ] || [ "$(unit ActiveState)" = active ] || return 1; is_up; }
check_stopped() {
  case $(unit ActiveState) in
    inactive | failed) fact after "$(stands)" ;;
    *) because "systemd calls $SERVICE $(unit ActiveState)" ;;
  esac
}

# A unit that has failed too often is not started by systemd until that is forgotten.
restart() {
  DONE=yes; $CTL reset-failed -- "$SERVICE" 2>/dev/null || :
  # shellcheck disable=SC2086  # a command of ours
  run $CTL restart -- "$SERVICE" || { EVIDENCE=last_words; fail service_failed "$SERVICE did not start again."; }
}
start() {
  DONE=yes; $CTL reset-failed -- "$SERVICE" 2>/dev/null || :
  # shellcheck disable=SC2086  # a command of ours
  run $CTL start -- "$SERVICE" || { EVIDENCE=last_words; fail service_failed "$SERVICE did not start."; }
}
# shellcheck disable=SC2086  # a command of ours
stop() { run $CTL stop -- "$SERVICE" || fail service_failed "$SERVICE did not stop."; }

main() {
  begin
  [ -d /run/systemd/system ] || fail no_systemd 'This server was not started by systemd.'
  check service_known check_service_known
  case $ACT in
    stop) step service_stopped check_stopped stop; return 0 ;;
  esac
  check service_config check_service_config
  case $ACT in
    start) step service_started check_started start ;;
    *) step service_restarted check_restarted restart ;;
  esac
}
