# site-renew: certbot renews its certificate LINEAGE for NAME when it is due, or now (FORCE). nginx serves it afterwards.

CHAIN_FILE=$LINEAGES/live/$LINEAGE/fullchain.pem

check_site_lineage() {
  { command -v certbot >/dev/null && lineage_is_whole "$LINEAGE"; } ||
    fail no_lineage "certbot keeps no certificate $LINEAGE for $NAME on this server."
}
# Without a terminal certbot would sleep up to eight minutes first.
site_renew() {
  STEP=site_renewed; mark step site_renewed running
  before=$(leaf <"$CHAIN_FILE") || before=''
  tell_when_due
  set -- certbot renew -n --cert-name "$LINEAGE" --no-random-sleep-on-renew
  [ -z "$FORCE" ] || set -- "$@" --force-renewal
  before_reload=$(workers)
  certbot_run "$@" || certbot_failed
  if [ "$(leaf <"$CHAIN_FILE")" = "$before" ]; then mark step site_renewed ok; else mark step site_renewed changed; WORKERS=$before_reload; fi
  STEP=''
}
# Old processes of nginx would show the old certificate for a moment yet.
shown() { { turned || because 'old processes of nginx do not let go'; } && served_tls "$NAME" / '' "$CHAIN_FILE"; }
check_site_proved() {
  find_address "$ENABLED/$NAME.conf"
  # The deploy hook has told nginx, unless this certificate was made without one.
  tries=0
  until shown; do
    tries=$((tries + 1))
    [ "$tries" != 20 ] || run systemctl reload nginx.service || :
    [ "$tries" -lt 60 ] || fail site_not_served "nginx does not serve the certificate that certbot keeps for $NAME: $WHY."
    sleep 0.1
  done
  tls_facts "$CHAIN_FILE"
}

main() {
  begin; tmp
  check system check_system
  check site_lineage check_site_lineage
  step_nginx_before
  site_renew
  check site_proved check_site_proved
}
