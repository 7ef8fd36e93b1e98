# service: restarts SERVICE, a unit of systemd, and looks whether it stays up.

RESTARTED=''
unit() { systemctl show -p "$1" --value -- "$SERVICE" 2>/dev/null || :; }
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
check_restarted() {
  [ -n "$RESTARTED" ] || return 1
  n=0
  while [ "$(unit ActiveState)" = activating ] && [ "$n" -lt 60 ]; do sleep 1; n=$((n + 1)); done
  state=$(unit ActiveState) pid=$(unit MainPID)
  if [ "$state" = inactive ] && [ "$(unit Type)" = oneshot ] && [ "$(unit Result)" = success ]; then fact after 'ended well'; return 0; fi
  [ "$state" = active ] || { EVIDENCE=last_words; because "systemd calls $SERVICE $state ($(unit Result))"; return 1; }
  sleep 3
  [ "$(unit ActiveState) $(unit MainPID)" = "active $pid" ] || { EVIDENCE=last_words; because "$SERVICE ended again at once ($(unit Result))"; return 1; }
  fact after "$(stands)"
}
last_words() { journalctl -q --no-pager -o cat -n 10 -u "$SERVICE" 2>/dev/null || :; }

restart() {
  run systemctl restart -- "$SERVICE" || { EVIDENCE=last_words; fail service_failed "$SERVICE did not start again."; }
  RESTARTED=yes
}

main() {
  begin
  [ -d /run/systemd/system ] || fail no_systemd 'This server was not started by systemd.'
  check service_known check_service_known
  check service_config check_service_config
  step service_restarted check_restarted restart
}
