# certbot, watched: its words as they come, and what they mean when it fails.

# certbot_run COMMAND...: its words are heard as they come, and kept. Over our folder and with our reload alone, whatever
# somebody has set for all runs.
certbot_run() {
  set -- "$@" -a webroot -w "$WEBROOT" --preferred-challenges http --pre-hook '' --post-hook '' --deploy-hook 'systemctl reload nginx.service'
  running "$@"
  { { RC=0; "$@" </dev/null 2>&1 || RC=$?; echo "$RC" >"$TMP/rc"; } | tee "$TMP/certbot"; } 9>&-
  RC=$(cat "$TMP/rc")
  ran
}

# certbot's own timer renews the certificate of LINEAGE by the share of its life that is left, too. Untold, certbot 2 calls due what
# ends within 30 days: one of six days at every beat of the timer, until the ACME server refuses, and one of a year late.
# Only where the challenge goes over our folder: other lineages are somebody else's. certbot keeps the line.
tell_when_due() {
  conf=$LINEAGES/renewal/$LINEAGE.conf fresh=$LINEAGES/renewal/.$LINEAGE.conf.lamplighter-new
  grep -qF "$WEBROOT" "$conf" 2>/dev/null || return 0
  dates=$(openssl x509 -in "$CHAIN_FILE" -noout -dates 2>/dev/null) || return 0
  from=${dates#*notBefore=} until=${dates#*notAfter=}
  whole=$(($(date -d "${until%%"$NL"*}" +%s) - $(date -d "${from%%"$NL"*}" +%s)))
  line="renew_before_expiry = $((whole * TWELFTHS / 12)) seconds"
  ! grep -qxF "$line" "$conf" || return 0
  { (umask 077; { printf '%s\n' "$line"; sed '/^#* *renew_before_expiry *=/d' "$conf"; } >"$fresh") && chmod --reference="$conf" "$fresh" && mv -fT "$fresh" "$conf"; } ||
    { rm -f "$fresh"; echo "$conf cannot be written: certbot's own timer goes by 30 days."; }
}

# What went wrong, by certbot's own words.
certbot_failed() {
  detail=$(sed -n 's/^ *Detail: //p' "$TMP/certbot" | head -n 1 | cut -c 1-250)
  detail=${detail:+ It said: $detail}
  said() { grep -qiE "$1" "$TMP/certbot"; }
  # Its last words, the advertisements among them: which of them tell something is seen where they are read.
  [ -n "$detail" ] || tail -n 12 "$TMP/certbot" >&2
  verdict=$(sed -n 's/.*certificate verify failed: \([^(]*[^( ]\) *(_ssl.*/\1/p' "$TMP/certbot" | head -n 1)
  if said "AttributeError: can't set attribute|accountDoesNotExist|error:unauthorized.*account"; then
    fail acme_account "The ACME server does not know the account that this server has with it."
  elif said 'error:rateLimited|too many (certificates|failed|new orders|currently|registrations)|rate limit'; then
    fail acme_rate_limited "The ACME server has issued or refused too much for $NAME lately.$detail"
  elif said 'SSLError|CERTIFICATE_VERIFY_FAILED'; then
    fail acme_untrusted "This server does not trust the certificate of the ACME server${verdict:+: $verdict (its clock says $(date -u +%FT%TZ))}."
  elif said 'Type: +dns|NXDOMAIN|could not resolve|no valid A records|SERVFAIL looking up'; then
    fail acme_no_address "The ACME server finds no address for $NAME.$detail"
  elif said 'Type: +caa|error:caa'; then
    fail acme_forbidden "A CAA record of $NAME forbids this ACME server to issue.$detail"
  elif said 'Type: +(connection|unauthorized)'; then
    fail acme_wrong_address "The ACME server asked for $NAME and did not reach this server.$detail"
  elif said 'invalidContact|unsupportedContact|invalid email|contact email'; then
    fail acme_email 'The ACME server does not take the e-mail address.'
  elif said 'Max retries exceeded|Failed to establish a new connection|Connection refused|timed out|Temporary failure in name resolution'; then
    fail acme_unreachable 'The ACME server cannot be reached from this server.'
  elif said 'Another instance of Certbot is already running'; then
    fail acme_busy 'Another certbot is at work on this server.'
  fi
  fail acme_failed "certbot got no certificate for $NAME.$detail"
}
