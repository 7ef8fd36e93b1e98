# nginx, as far as Lamplighter looks after it: the package, its folders and our own files, named lamplighter*.conf. A file
# of somebody else is never changed, and a configuration that is already red is left exactly as it was found.

NGINX_CONF=/etc/nginx/conf.d/lamplighter.conf

look_port_80() {
  who=$(listener 80)
  case $who in '' | nginx\ *) ;; *) fail port_taken "Port 80 of this server is in use by $who." ;; esac
}

look_nginx_package() { { command -v nginx >/dev/null && [ -d /etc/nginx/conf.d ]; } || installed nginx; }
install_nginx() { on_undo packages_back; apt_install nginx; }

NGINX_DIRS='/etc/nginx/conf.d /etc/nginx/sites-available /etc/nginx/sites-enabled /var/www/lamplighter'
look_nginx_dirs() { for dir in $NGINX_DIRS; do [ -d "$dir" ] || return 1; done; }
# shellcheck disable=SC2086  # a list of folders
make_nginx_dirs() { run mkdir -p $NGINX_DIRS; }

# The file that every site of ours relies on. nginx's own packages do not read sites-enabled: then we do.
nginx_conf() {
  # shellcheck disable=SC2016  # variables of nginx
  printf '%s\n' '# Written by Lamplighter. Changes made here are overwritten.' 'map $http_upgrade $lamplighter_connection {' \
    '    default upgrade;' "    ''      close;" '}'
  grep -Eq '^[[:space:]]*include[[:space:]]+[^;#]*sites-enabled/' /etc/nginx/nginx.conf || echo 'include /etc/nginx/sites-enabled/*;'
}
look_nginx_conf() { file_is "$NGINX_CONF" 644 root:root "$(nginx_conf)"; }
put_nginx_conf() { on_undo reload_nginx; put_file "$NGINX_CONF" 644 root:root "$(nginx_conf)"; }

# When nothing was written, the look before still holds.
look_nginx_after() {
  tmp
  [ -n "$TOUCHED" ] || [ ! -s "$TMP/dump" ] || return 0
  nginx_says -T || fail nginx_red "nginx does not accept the configuration with Lamplighter's file in it; the file was taken back."
}
look_nginx_read() {
  grep -qxF "# configuration file $1:" "$TMP/dump" ||
    fail nginx_not_read "nginx does not read /etc/nginx/conf.d/*.conf: its nginx.conf has no such include line."
}

look_nginx_enabled() { enabled nginx.service; }
enable_nginx() { run systemctl --quiet enable nginx.service; }

look_nginx_running() { fresh nginx.service /etc/nginx/conf.d/lamplighter*.conf; }
run_nginx() {
  WORKERS=$(workers)
  run systemctl reload-or-restart nginx.service || {
    why journalctl --no-pager -o cat -n 5 -u nginx.service
    fail nginx_not_running 'nginx does not start.'
  }
  let_go
  applied nginx.service /etc/nginx/conf.d/lamplighter*.conf /etc/nginx/lamplighter/glances.key /etc/nginx/lamplighter/glances.crt
}
# Without waiting: while the server goes down, systemd would wait for our session and we for systemd.
reload_nginx() { nginx -t && systemctl --no-block reload nginx.service; }

WORKERS=''
# For a moment old and new workers take requests side by side (ngx_master_process_cycle starts the new ones, waits and only
# then tells the old ones): nothing is proved before the old ones have let go.
workers() {
  read -r master 2>/dev/null </run/nginx.pid || return 0
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

# http2 is a parameter of "listen" below 1.25.1 and a directive from there on.
nginx_facts() {
  version=$(nginx -v 2>&1 | sed -n 's/^nginx version: [^/]*\/\([0-9.]*\).*/\1/p')
  fact nginx_version "$version"
  major=${version%%.*} minor=${version#*.} patch=${version##*.}; minor=${minor%%.*}
  if [ $((major * 1000000 + minor * 1000 + patch)) -ge 1025001 ]; then fact nginx_http2 directive; else fact nginx_http2 listen; fi
}
