# site: NAME answers with TEXT, proved by a request through nginx, or everything is as before. Values: see provision/site.rs.

FILE=$AVAILABLE/$NAME.conf LINK=$ENABLED/$NAME.conf
case $CERT in
  acme) CHAIN_FILE=$LINEAGES/live/$LINEAGE/fullchain.pem ;;
  files) CHAIN_FILE=$CERTS/$NAME/fullchain.pem ;;
  *) CHAIN_FILE='' ;;
esac

unpack() {
  (umask 077; mkdir "$TMP/new")
  printf '%s' "$TEXT" | base64 -d >"$TMP/new/text"
  [ -z "$FIRST" ] || printf '%s' "$FIRST" | base64 -d >"$TMP/new/first"
  if [ "$CERT" = files ]; then
    (umask 077; mkdir "$TMP/new/pair"; printf '%s' "$CHAIN" | base64 -d >"$TMP/new/pair/fullchain.pem"; printf '%s' "$KEY" | base64 -d >"$TMP/new/pair/privkey.pem")
    print=$(cat "$TMP/new/pair/fullchain.pem" "$TMP/new/pair/privkey.pem" | sha256sum)
    PAIR=$PAIRS/$NAME.$(echo "$print" | cut -c 1-16)
  fi
}

# --- is it there already? -------------------------------------------------------------------------------------------

files_right() { cmp -s "$FILE" "$TMP/new/text" && [ "$(link_state "$NAME")" = yes ] && [ -e "$LINK" ] && old_gone; }
old_gone() { [ -z "$OLD_NAME" ] || { [ ! -e "$AVAILABLE/$OLD_NAME.conf" ] && [ ! -e "$ENABLED/$OLD_NAME.conf" ] && [ ! -L "$ENABLED/$OLD_NAME.conf" ]; }; }
# Whether it is good, who is shown it sees.
certificate_put() {
  case $CERT in
    acme) lineage_is_whole "$LINEAGE" && [ "$(lineage_of "$NAME")" = "$LINEAGE" ] && grep -qxF "server = $DIRECTORY" "$LINEAGES/renewal/$LINEAGE.conf" ;;
    files) pair_right && [ "$(readlink "$CERTS/$NAME" || :)" = "$PAIR" ] ;;
  esac
}
# Whether it is due is certbot's affair.
lineage_right() {
  lacks=$(lineage_lacks "$LINEAGE" "$NAME" "$DIRECTORY")
  [ -z "$lacks" ] || lacks_words "$lacks" "$LINEAGE"
}
pair_right() {
  cmp -s "$PAIR/fullchain.pem" "$TMP/new/pair/fullchain.pem" && cmp -s "$PAIR/privkey.pem" "$TMP/new/pair/privkey.pem" &&
    [ "$(stat -c %a:%U "$PAIR" "$PAIR/privkey.pem" | paste -sd ' ')" = '700:root 600:root' ] || because "$PAIR is not as it was written"
}
served() {
  turned || because 'old processes of nginx do not let go' || return 1
  proves "$NAME" "$PROOF" "$PROOF_BODY" || return 1
  [ "$CERT" = none ] || served_tls "$NAME" "$PROOF" "$PROOF_BODY" "$CHAIN_FILE"
}

# --- before ---------------------------------------------------------------------------------------------------------

check_site_ready() {
  has_nginx || fail proxy_not_ready 'nginx is not installed on this server.'
  { check_nginx_dirs && check_nginx_conf; } || fail proxy_not_ready "nginx of this server has not been prepared for sites."
  active nginx.service || {
    who=$(listener 80)
    case $who in '' | nginx\ *) ;; *) fail port_taken "Port 80 of this server is in use by $who." ;; esac
    failed nginx.service || fail nginx_not_running 'nginx does not run: somebody has stopped it.'
  }
}
# shellcheck disable=SC2086  # words
check_site_expected() {
  if cmp -s "$FILE" "$TMP/new/text"; then ours "$NAME"; else expected "$NAME" "$EXPECT"; fi
  if [ -n "$OLD_NAME" ] && ! old_gone; then expected "$OLD_NAME" "$OLD_EXPECT"; fi
  # nginx itself sees a conflict only where both listen on the very same address.
  ! grep -qiF "$NAME" "$TMP/dump" || no_others
  [ "$CERT" != acme ] || check_lineage
  ports=80
  if [ "$CERT" != none ]; then
    ports='80 443'
    if lone_http2 "$LINK"; then
      fact http2_shared no
      ! grep -q '^ *listen .* http2;' "$TMP/new/text" || fail http2_shared 'Other sites of this server do not speak HTTP/2, and would with this one: nginx has it for all of a port.'
    fi
  fi
  will_be "$NAME" "$TMP/new/text" "$OLD_NAME"
  shadows $ports >"$TMP/shadows"
  if [ -z "$SHADOW" ] && [ -s "$TMP/shadows" ]; then
    read -r port file <"$TMP/shadows"
    fail would_be_default "Names that nobody serves, and the bare address, are answered by $file on port $port, because it is the first that nginx reads; this site would come before it."
  fi
  wish_default
  see_around
}
# The text names the lineage, so it was chosen before: by the inspection, or by what was there the last time.
check_lineage() {
  now=$(lineage_of "$NAME")
  [ -n "$now" ] || fail lineage_leftovers "certbot would not recognise what lies where it would keep the certificate for $NAME: $(lineage_leftovers "$NAME" | paste -sd ' ')."
  [ "$now" = "$LINEAGE" ] || fail lineage_changed "The certificate for $NAME is another one now: certbot keeps it as $now, and not as $LINEAGE."
}
check_site_ports() {
  for port in 80 443; do
    [ "$port" = 80 ] || [ "$CERT" != none ] || return 0
    who=$(listener "$port")
    case $who in '' | nginx\ *) ;; *) fail port_taken "Port $port of this server is in use by $who." ;; esac
  done
}
check_site_tools() {
  command -v openssl >/dev/null || because 'there is no program openssl' || return 1
  [ "$CERT" != acme ] || command -v certbot >/dev/null || because 'there is no program certbot'
}
get_site_tools() {
  command -v openssl >/dev/null || apt_install openssl
  if [ "$CERT" = acme ] && ! command -v certbot >/dev/null; then apt_install certbot; fi
}
check_site_targets() {
  for target in $TARGETS; do
    timeout 20 getent ahosts "$target" >/dev/null 9>&- || fail target_unresolved "The target $target cannot be resolved on this server."
  done
  named_right
}
named_right() { for target in $NAMED; do target_is "$target" || return 1; done; }
put_site_targets() {
  for target in $NAMED; do target_is "$target" || put_target "$target" || fail target_unresolved "The target ${target%%:*} cannot be resolved on this server."; done
  FOLLOWED=yes
}

# --- the way of a text ----------------------------------------------------------------------------------------------

# stage FILE [final]
stage() {
  [ "$CERT" != files ] || private "$CERTS" # there must be something to put the copy over
  stage_begin
  cp "$1" "$STAGE/available/$NAME.conf"
  ln -sfn "$FILE" "$STAGE/enabled/$NAME.conf"
  if [ -n "${2:-}" ]; then
    [ -z "$OLD_NAME" ] || rm -f "$STAGE/available/$OLD_NAME.conf" "$STAGE/enabled/$OLD_NAME.conf"
    if [ "$CERT" = files ]; then ln -sfn "$PAIR" "$STAGE/certs/$NAME"; fi
    stage_default
  fi
  stage_judge 'nginx does not take the new site.'
  is_read "$LINK" || fail nginx_not_read "nginx ($NGINX) does not read $LINK: no include line in the http block of $NGINX_MAIN leads there."
}
arm_site() {
  [ -z "$ROLLBACK_ARMED" ] || return 0
  # The old name first: while rolling back, too, no moment is without a site.
  set -- "$FILE" "$LINK"
  [ -z "$OLD_NAME" ] || set -- "$AVAILABLE/$OLD_NAME.conf" "$ENABLED/$OLD_NAME.conf" "$@"
  [ "$CERT" != files ] || set -- "$@" "$CERTS/$NAME"
  [ -z "$DEFAULT" ] || set -- "$@" "$DEFAULT_CONF"
  arm "$@"
}
not_served() {
  [ -n "$WHY" ] || unproved
  fail site_not_served "nginx runs with the new site, but a request for $NAME to $ADDRESS does not get it: $WHY."
}

# --- a first certificate --------------------------------------------------------------------------------------------

# A file of ours in the folder for challenges is served under NAME: what the ACME server will ask for.
check_site_first() { lineage_right || challenge_served; }
challenge_served() {
  file=.well-known/acme-challenge/lamplighter-$$
  on_undo rm -f "$WEBROOT/$file"
  { mkdir -p "$WEBROOT/${file%/*}" && printf '%s' "$PROOF_BODY" >"$WEBROOT/$file"; } || no_room "$WEBROOT/$file"
  RC=0; proves "$NAME" "/$file" "$PROOF_BODY" || { RC=1; unproved "$WEBROOT/$file"; }
  rm -f "$WEBROOT/$file"
  return "$RC"
}
put_first() {
  stage "$TMP/new/first"
  arm_site
  put_in_place "$FILE" "$TMP/new/first"
  link_in_place "$LINK" "$FILE"
  go
  wait_until first_served || not_served
  challenge_served || fail site_not_served "nginx runs with the new site, but a file below $WEBROOT, as the ACME server will ask for one, does not come: $WHY."
}

first_served() { { turned || because 'old processes of nginx do not let go'; } && proves "$NAME" "$FIRST_PROOF" "$FIRST_BODY"; }

check_site_certificate() { case $CERT in acme) lineage_right ;; files) pair_right ;; esac; }
get_certificate() { case $CERT in acme) issue ;; files) put_pair ;; esac; }
put_pair() {
  on_undo rm -rf "$PAIR"
  private "$PAIRS"
  { (umask 077; rm -rf "$PAIR"; cp -r "$TMP/new/pair" "$PAIR") && sync "$PAIR/fullchain.pem" "$PAIR/privkey.pem"; } || no_room "$PAIR"
}
issue() {
  stop=$(cli_ini | sed -n '/^stop /{s///p;q;}')
  [ -z "$stop" ] || fail acme_settings "This server's certbot has a setting that no command line takes back: “$stop”."
  set -- certbot certonly -n --agree-tos --server "$DIRECTORY" --cert-name "$LINEAGE" -d "$NAME" --keep-until-expiring
  if [ -n "$EMAIL" ]; then set -- "$@" -m "$EMAIL" --no-eff-email; else set -- "$@" --register-unsafely-without-email; fi
  # One that is of another server, or that somebody has written over, certbot takes for one that is not due.
  if lineage_is_whole "$LINEAGE"; then set -- "$@" --force-renewal; fi
  certbot_run "$@" || certbot_failed
  tell_when_due
}

# --- all of it ------------------------------------------------------------------------------------------------------

test_site() { TESTED=''; stage "$TMP/new/text" final; TESTED=yes; }
check_site_tested() { [ -n "${TESTED:-}" ]; }
check_site_live() { [ -n "${LIVE:-}" ]; }
put_site() {
  [ "$CERT" != files ] || link_in_place "$CERTS/$NAME" "$PAIR"
  put_in_place "$FILE" "$TMP/new/text"
  link_in_place "$LINK" "$FILE"
  [ -z "$OLD_NAME" ] || rm -f "$ENABLED/$OLD_NAME.conf" "$AVAILABLE/$OLD_NAME.conf"
  put_default
  go
  LIVE=yes
}
check_site_proved() {
  [ -n "${SERVED:-}" ] || wait_until served || not_served
  fact proved "$ADDRESS"
  [ -n "${LIVE:-}" ] || return 0
  [ "$CERT" = none ] || tls_facts "$CHAIN_FILE"
  # Whatever the targets say, an honest 502 too: told, not judged.
  if [ "$CERT" = none ]; then answer=$(ask "$NAME" / 15) || :; else answer=$(ask_tls "$NAME" / 15) || :; fi
  status=$(printf '%s\n' "$answer" | status_of)
  fact answer "$status"
  case $status in
    401 | 403) for_all auth_basic auth_request allow deny | while read -r file words; do echo "$file holds for this site, too: $words"; done ;;
  esac
}
# What only the replaced site needed.
sweep() {
  sweep_targets
  if [ "$CERT" = files ]; then sweep_pairs "$NAME" "$PAIR"
  elif ! grep -qF "$CERTS/$NAME/" "$TMP/new/text"; then sweep_pairs "$NAME" ''; fi
  if [ -n "$OLD_NAME" ]; then sweep_pairs "$OLD_NAME" ''; sweep_lineages "$OLD_NAME"; fi
}

main() {
  begin; tmp
  unpack
  check system check_system
  step site_healed check_site_healed heal
  ! has_nginx || nginx_kind
  find_address "$TMP/new/text"
  # What answers rightly is ready and green; nothing is tested where nothing changes.
  if files_right && named_right && { [ "$CERT" = none ] || certificate_put; } && served; then
    # Those that are not in this job's plan are not heard.
    for id in site_ready nginx_before nginx_mended site_expected site_ports site_tools site_targets site_first site_certificate site_tested site_armed site_live; do skip "$id"; done
    SERVED=yes
    check site_proved check_site_proved
    skip site_neighbours
    skip site_kept
    return 0
  fi
  check site_ready check_site_ready
  check_before "$NAME" ${OLD_NAME:+"$OLD_NAME"}
  step_nginx_before
  check site_expected check_site_expected
  check site_ports check_site_ports
  [ "$CERT" = none ] || step site_tools check_site_tools get_site_tools
  step site_targets check_site_targets put_site_targets
  [ "$CERT" != acme ] || step site_first check_site_first put_first
  [ "$CERT" = none ] || step site_certificate check_site_certificate get_certificate
  step site_tested check_site_tested test_site
  step site_armed check_site_armed arm_site
  step site_live check_site_live put_site
  check site_proved check_site_proved
  check site_neighbours check_site_neighbours
  step site_kept check_site_kept keep_site
  ROLLBACK='new The new site is in place and answers.'
  sweep
  default_loaded
}
