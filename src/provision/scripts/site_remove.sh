# site-remove: nothing answers for NAME any more, or everything is as before. Values: NAME, EXPECT.

FILE=$AVAILABLE/$NAME.conf LINK=$ENABLED/$NAME.conf

is_gone() { [ ! -e "$FILE" ] && [ ! -L "$FILE" ] && [ ! -e "$LINK" ] && [ ! -L "$LINK" ]; }

check_site_expected() {
  expected "$NAME" "$EXPECT"
  will_be "$NAME"
  wish_default
}
test_without() {
  stage_begin
  rm -f "$STAGE/available/$NAME.conf" "$STAGE/enabled/$NAME.conf"
  stage_default
  stage_judge 'nginx does not take its configuration without the site.'
  TESTED=yes
}
check_site_tested() { [ -n "${TESTED:-}" ]; }
arm_site() {
  set -- "$FILE" "$LINK"
  [ -z "$DEFAULT" ] || set -- "$@" "$DEFAULT_CONF"
  arm "$@"
}
check_site_gone() { [ -n "${GONE:-}" ]; }
take_away() {
  rm -f "$LINK" "$FILE"
  put_default
  go
  wait_until silent || fail site_not_served "nginx was told to let go of $NAME, but it still answers for it."
  GONE=yes
}
# shellcheck disable=SC2086  # path and body
silent() { turned && { [ -z "$BEFORE" ] || ! proves $BEFORE; }; }

check_site_certificate_gone() { [ ! -e "$CERTS/$NAME" ] && [ ! -L "$CERTS/$NAME" ] && { [ -n "${SWEPT:-}" ] || [ -z "$(lineages_of "$NAME")" ]; }; }
drop_certificate() { sweep_pairs "$NAME" ''; sweep_lineages "$NAME"; SWEPT=yes; }

main() {
  begin; tmp
  check system check_system
  step site_healed check_site_healed heal
  if is_gone; then
    for id in nginx_before nginx_mended site_expected site_tested site_armed site_gone site_kept; do skip "$id"; done
  else
    find_address "$FILE"
    step_nginx_before
    check_before "$NAME"
    check site_expected check_site_expected
    step site_tested check_site_tested test_without
    step site_armed check_site_armed arm_site
    step site_gone check_site_gone take_away
    step site_kept check_site_kept keep_site
    sweep_targets
    default_loaded
  fi
  ROLLBACK='gone The site is not served any more.'
  step site_certificate_gone check_site_certificate_gone drop_certificate
}
