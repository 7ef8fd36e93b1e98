# nginx, as far as Lamplighter looks after it: the package, its folders and our own files, named lamplighter*.conf. A file
# of somebody else is never changed, and a configuration that is already invalid is left exactly as it was found.

NGINX_CONF=/etc/nginx/conf.d/lamplighter.conf
NGINX='' NGINX_ARGS='' NGINX_MAIN='' NO_NGINX=''

# has_nginx: finds the nginx that nginx.service runs, which need not be the one in PATH, and the configuration it is told to
# read. From here on `nginx` means that one.
has_nginx() {
  [ -z "$NGINX" ] || return 0
  NO_NGINX=''
  start=$(systemctl show -p ExecStart --value nginx.service 2>/dev/null | head -n 1)
  NGINX=$(printf '%s\n' "$start" | sed -n 's/^{ path=\([^ ]*\) ;.*/\1/p')
  case ${NGINX##*/} in
    '')
      start=''
      for dir in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin; do
        if [ -x "$dir/nginx" ]; then NGINX=$dir/nginx; break; fi
      done ;;
    nginx* | openresty* | angie*) ;;
    *) NO_NGINX=$NGINX NGINX='' ;; # one in a container, or somebody's script
  esac
  [ -x "$NGINX" ] || { NGINX=''; return 1; }
  start=${start#*argv\[\]=} start=${start%% ; ignore_errors=*} word=''
  set -f
  for next in $start; do
    case $word in -c | -p) NGINX_ARGS="$NGINX_ARGS $word $next"; [ "$word" = -p ] || NGINX_MAIN=$next ;; esac
    word=$next
  done
  set +f
  [ -n "$NGINX_MAIN" ] || NGINX_MAIN=$("$NGINX" -V 2>&1 | tr ' ' '\n' | sed -n 's/^--conf-path=//p')
}
# shellcheck disable=SC2086  # words
nginx() { has_nginx || return 127; "$NGINX" $NGINX_ARGS "$@"; }

nginx_user() {
  user=$(sed -n 's/^[[:space:]]*user[[:space:]]\{1,\}\([^;[:space:]]*\).*/\1/p' "${NGINX_MAIN:-/etc/nginx/nginx.conf}" 2>/dev/null | head -n 1)
  echo "${user:-www-data}"
}

check_port_80() {
  who=$(listener 80)
  case $who in '' | nginx\ *) ;; *) fail port_taken "Port 80 of this server is in use by $who." ;; esac
}

check_nginx_package() {
  if has_nginx; then return 0; fi
  [ -z "$NO_NGINX" ] || fail nginx_not_read "nginx.service of this server runs $NO_NGINX, which is no nginx that Lamplighter can look after."
  installed nginx
}
install_nginx() { on_undo packages_back; apt_install nginx; }

NGINX_DIRS='/etc/nginx/conf.d /etc/nginx/lamplighter /etc/nginx/sites-available /etc/nginx/sites-enabled /var/www/lamplighter'
check_nginx_dirs() { for dir in $NGINX_DIRS; do [ -d "$dir" ] || { because "$dir is no folder"; return 1; }; done; }
make_nginx_dirs() {
  for dir in /etc/nginx $NGINX_DIRS; do [ -d "$dir" ] || on_undo rmdir "$dir"; done
  # shellcheck disable=SC2086  # a list of folders
  run mkdir -p $NGINX_DIRS
}

# The file that every site of ours relies on. nginx's own packages do not read sites-enabled: then we do, as a probe has
# found (SITES_READ); whoever has not probed leaves it as it is.
OUR_INCLUDE='include /etc/nginx/sites-enabled/*.conf;' SITES_READ=''
nginx_conf() {
  # shellcheck disable=SC2016  # variables of nginx
  printf '%s\n' '# Written by Lamplighter. Changes made here are overwritten.' 'map $http_upgrade $lamplighter_connection {' \
    '    default upgrade;' "    ''      close;" '}'
  case $SITES_READ in
    yes) ;;
    no) echo "$OUR_INCLUDE" ;;
    *) ! grep -qsxF "$OUR_INCLUDE" "$NGINX_CONF" || echo "$OUR_INCLUDE" ;;
  esac
}
# The names of targets are resolved when they are asked for, by this server's own name servers. nginx reads no resolv.conf.
RESOLVER_CONF=/etc/nginx/lamplighter/resolver.conf
resolver_conf() {
  servers=$(sed -n 's/^nameserver[[:space:]]\{1,\}\([0-9A-Fa-f:.]*\)[[:space:]]*$/\1/p' /etc/resolv.conf 2>/dev/null | sed 's/.*:.*/[&]/' | paste -sd ' ')
  # Without an address of its own it would try IPv6 in vain.
  v6=' ipv6=off'; ! ip -6 -o addr show scope global 2>/dev/null | grep -q . || v6=''
  printf '%s\n' "# Written by Lamplighter from this server's /etc/resolv.conf. Changes made here are overwritten." \
    "resolver ${servers:-127.0.0.1}$v6;" 'resolver_timeout 5s;'
}
# Names that this nginx cannot follow by itself (several in one upstream below 1.27.3, and those that only this server's own
# files know) are looked up by us: a file for each, named HOST:PORT or HOST:PORT:WEIGHT, with the addresses of now.
TARGETS_DIR=/etc/nginx/lamplighter/targets
addresses_of() {
  timeout 8 getent ahosts "$1" 2>/dev/null 9>&- | awk -v v6="$(ip -6 -o addr show scope global 2>/dev/null | head -n 1)" '
    $2 == "STREAM" { if ($1 ~ /:/) six = six $1 "\n"; else four = four $1 "\n" }
    END { printf "%s%s", four, (v6 != "" || four == "" ? six : "") }' | sort -u
}
# target_text SPEC: nothing when the name does not resolve.
target_text() {
  port=${1#*:} weight=''
  case $port in *:*) weight=" weight=${port#*:}" port=${port%%:*} ;; esac
  found=$(addresses_of "${1%%:*}")
  [ -n "$found" ] || return 1
  echo "# Written by Lamplighter: the addresses of ${1%%:*}, looked up anew now and then. Changes made here are overwritten."
  for address in $found; do
    case $address in *:*) address="[$address]" ;; esac
    echo "server $address:$port$weight;"
  done
}
# target_is SPEC: its file is as it should be now.
target_is() { file_is "$TARGETS_DIR/$1.conf" 644 root:root "$(target_text "$1")"; }
put_target() {
  text=$(target_text "$1") || return 1
  [ -d "$TARGETS_DIR" ] || { on_undo rmdir "$TARGETS_DIR"; mkdir -p "$TARGETS_DIR"; }
  put_file "$TARGETS_DIR/$1.conf" 644 root:root "$text"
}
# After a change of sites: what none of them reads any more.
sweep_targets() {
  for file in "$TARGETS_DIR"/*.conf; do
    if [ -e "$file" ] && ! grep -rqsF "include $file;" "$AVAILABLE"; then rm -f "$file"; fi
  done
  rmdir "$TARGETS_DIR" 2>/dev/null || :
}
check_nginx_conf() { file_is "$NGINX_CONF" 644 root:root "$(nginx_conf)" && file_is "$RESOLVER_CONF" 644 root:root "$(resolver_conf)"; }
put_nginx_conf() {
  on_undo reload_nginx
  put_file "$NGINX_CONF" 644 root:root "$(nginx_conf)"
  put_file "$RESOLVER_CONF" 644 root:root "$(resolver_conf)"
}

# When nothing was written, the earlier check still holds.
check_nginx_after() {
  tmp
  [ -n "$TOUCHED" ] || [ ! -s "$TMP/dump" ] || return 0
  nginx_says -T || fail nginx_red "nginx does not accept the configuration with Lamplighter's file in it; the file was taken back."
}
check_nginx_read() {
  grep -qxF "# configuration file $1:" "$TMP/dump" ||
    fail nginx_not_read "nginx does not read $1: no include line in the http block of $NGINX_MAIN leads there."
}

check_nginx_enabled() { enabled nginx.service; }
enable_nginx() { run systemctl --quiet enable nginx.service; }

check_nginx_running() { fresh nginx.service /etc/nginx/conf.d/lamplighter*.conf "$RESOLVER_CONF" "$TARGETS_DIR"/*.conf; }
run_nginx() {
  WORKERS=$(workers)
  heed_log
  run systemctl reload-or-restart nginx.service || {
    why journalctl --no-pager -o cat -n 5 -u nginx.service
    fail nginx_not_running 'nginx does not start.'
  }
  let_go
  applied_nginx
}
applied_nginx() { applied nginx.service /etc/nginx/conf.d/lamplighter*.conf "$RESOLVER_CONF" "$TARGETS_DIR"/*.conf /etc/nginx/lamplighter/glances.key /etc/nginx/lamplighter/glances.crt; }
# Without waiting: while the server goes down, systemd would wait for our session and we for systemd.
reload_nginx() { nginx -t && systemctl --no-block reload nginx.service; }

# What nginx logs from here on is evidence of what we tell it.
heed_log() {
  LOGS=$(error_logs | while read -r file; do printf '%s %s\n' "$(stat -c %s "$file" 2>/dev/null || echo 0)" "$file"; done)
  EVIDENCE=log_said
}
# Where it logs its own faults and those of all sites: by the last dump, or as it was built.
error_logs() {
  {
    for_all error_log | while read -r _ _ file _; do echo "$file"; done
    "$NGINX" -V 2>&1 | tr ' ' '\n' | sed -n 's/^--error-log-path=//p'
  } | grep '^/' | awk '!seen[$0]++' | head -n 4
}
# for_all WORD...: lines of the last dump that begin with such a directive and stand in no server: "FILE DIRECTIVE".
for_all() {
  [ ! -s "${TMP:-/}/dump" ] || awk -v words=" $* " '
    /^# configuration file \/.*:$/ { file = substr($0, 22, length($0) - 22); inside = 0; next }
    /^[ \t]*server[ \t]*\{/ { inside = 1; depth = 0 }
    inside { depth += gsub(/\{/, "{") - gsub(/\}/, "}"); if (depth < 1) inside = 0; next }
    index(words, " " $1 " ") { sub(/^[ \t]+/, ""); sub(/;[^;]*$/, ""); print file, $0 }' "$TMP/dump"
}
new_in_log() { printf '%s\n' "$LOGS" | while read -r at file; do [ -z "$file" ] || tail -c "+$((at + 1))" "$file" 2>/dev/null; done; }
# Of that, what may be a reason: no request for another site than NAME (or HEED).
log_said() { new_in_log | grep -E '\[(emerg|alert|crit|error)\]' | awk -v host=", host: \"${HEED:-${NAME:--}}\"" 'index($0, host) || !/, host: "/' | tail -n 3 | cut -c 1-400; }

WORKERS=''
# For a moment old and new workers take requests side by side (ngx_master_process_cycle starts the new ones, waits and only
# then tells the old ones): nothing is proved before the old ones have let go.
workers() {
  said nginx.service MainPID; master=$VALUE
  [ "${master:-0}" != 0 ] || return 0
  grep -lsazx 'nginx: worker process' /proc/[0-9]*/cmdline | cut -d / -f 3 | while read -r pid; do
    # Those of containers are no children of this master.
    ! grep -qsx "PPid:[[:space:]]*$master" "/proc/$pid/status" || echo "$pid"
  done
}
let_go() { tries=0; until turned || [ "$tries" = 100 ]; do sleep 0.05; tries=$((tries + 1)); done; }
turned() {
  for pid in $WORKERS; do
    # The old title with a tail: "… is shutting down".
    ! grep -qsazx 'nginx: worker process' "/proc/$pid/cmdline" || return 1
  done
}

# nginx_since NUMBER: is nginx this version (1025001 is 1.25.1) or a newer one? Sets VERSION, as nginx writes it.
nginx_since() {
  VERSION=$(nginx -v 2>&1 | sed -n 's/^nginx version: [^/]*\/\([0-9.]*\).*/\1/p')
  major=${VERSION%%.*} minor=${VERSION#*.} patch=${VERSION##*.}; minor=${minor%%.*}
  [ $((major * 1000000 + minor * 1000 + patch)) -ge "$1" ]
}
# http2 is a parameter of "listen" below 1.25.1 and a directive from there on.
nginx_facts() {
  if nginx_since 1025001; then http2=directive; else http2=listen; fi
  fact nginx_version "$VERSION"
  fact nginx_http2 "$http2"
}
