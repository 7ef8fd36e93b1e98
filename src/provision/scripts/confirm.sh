# confirm: we got in again, over a new connection, so the firewall stays. Stops the timer that firewall.sh started.

STATE=/run/lamplighter-ufw
REVERT=lamplighter-ufw-revert

check_firewall_confirmed() {
  if [ -e "$STATE/reverted" ]; then fail ufw_lockout_reverted 'The firewall was put back as it was, because nobody confirmed it in time.'; fi
  ! active "$REVERT.timer" && ! active "$REVERT.service" && { ! ufw status | grep -q '^Status: active' || grep -q '^ENABLED=yes' /etc/ufw/ufw.conf; }
}
stop_revert() {
  run systemctl stop "$REVERT.timer"
  if [ ! -e "$STATE/reverted" ]; then run sed -i 's/^ENABLED=no/ENABLED=yes/' /etc/ufw/ufw.conf; fi
}

main() {
  begin
  step firewall_confirmed check_firewall_confirmed stop_revert
  rm -rf "$STATE"
}
