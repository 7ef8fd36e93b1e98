# site-follow: nginx asks the name servers that this server asks now, and the targets it cannot follow itself have their addresses
# of now. Of a name that does not resolve the last ones stay.

check_followed() {
  MOVED=''
  if [ -f "$RESOLVER_CONF" ] && ! file_is "$RESOLVER_CONF" 644 root:root "$(resolver_conf)"; then MOVED=$RESOLVER_CONF; fi
  for file in "$TARGETS_DIR"/*.conf; do
    [ -f "$file" ] || continue
    target=${file##*/} target=${target%.conf}
    if text=$(target_text "$target") && ! file_is "$file" 644 root:root "$text"; then MOVED="$MOVED $file"; fi
  done
  [ -z "$MOVED" ]
}
follow() {
  on_undo reload_nginx
  for file in $MOVED; do
    grep -v '^#' "$file" | sed 's/^/before: /'
    case $file in
      "$RESOLVER_CONF") put_file "$RESOLVER_CONF" 644 root:root "$(resolver_conf)" ;;
      *) target=${file##*/}; put_target "${target%.conf}" || : ;;
    esac
    grep -v '^#' "$file" | sed 's/^/now: /'
  done
}

main() {
  begin; tmp
  check system check_system
  has_nginx || fail proxy_not_ready 'nginx is not installed on this server.'
  step_nginx_before
  step followed check_followed follow
  check nginx_test check_nginx_after
  # One that a person has stopped reads it when he starts it.
  if active nginx.service; then step nginx_running check_nginx_running run_nginx; else skip nginx_running; fi
}
