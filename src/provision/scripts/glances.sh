# install-glances: Glances' web server as our own unit. Values: PORT, BIND; SOURCE (auto: the distribution's package, where it
# has one, else wheels; package; wheels), BUNDLE (the SHA-256 of a tar of wheels, whose parts lie in PARTS; empty: pip asks
# the index that this server is set up for); with an nginx front also FRONT_PORT, FRONT_USER, FRONT_PASSWORD, FRONT_LOGIN
# (both as HTTP sends them) and ALLOW (blocks of addresses, separated by spaces; empty: everyone who knows the password).

UNIT=lamplighter-glances.service
UNIT_FILE=/etc/systemd/system/$UNIT
ACCOUNT=lamplighter-glances
FRONT_CONF=/etc/nginx/conf.d/lamplighter-glances.conf
FRONT_DIR=/etc/nginx/lamplighter
HEED=127.0.0.1 # the host name we request from nginx

check_address() {
  case $BIND in 0.0.0.0 | :: | 127.0.0.1) return 0 ;; esac
  ip -o addr show | grep -qF " $BIND/" || fail address_missing "This server has no address $BIND, so Glances cannot listen there."
}

# works: all of it is as it should be and answers, so most checks need not go further. Of two programs that want one port the
# second starts again and again: where ours never did, it is ours that answers.
works() {
  if [ -z "$PROVEN" ]; then
    PROVEN=no
    if glances_known && unit_is_written && unit_is_loaded && said "$UNIT" NRestarts && [ "$VALUE" = 0 ] && works_outside; then PROVEN=yes; fi
  fi
  [ "$PROVEN" = yes ]
}
works_outside() {
  if [ -n "${FRONT_PORT:-}" ]; then front_is_written && front_is_loaded && front_answers
  else answers ask_glances status mem; fi
}

# The port must be free, or ours.
check_glances_port() {
  works && return 0
  who=$(listener "$PORT")
  said "$UNIT" MainPID
  case $who in '' | *" (process $VALUE)") return 0 ;; esac
  fail port_taken "Port $PORT of this server is in use by $who."
}

# --- the program ---------------------------------------------------------------------------------------------------

glances_known() { [ -n "${GLANCES_VERSION:-}" ] || glances_find; }
check_glances_package() { glances_suits; }
install_glances() {
  on_undo packages_back
  version=''
  if [ "$SOURCE" != wheels ]; then
    version=$(candidate glances) || { wait_dpkg_lock; apt_update; version=$(candidate glances || :); }
    [ -n "$version" ] || [ "$SOURCE" = auto ] || fail glances_no_package 'The package sources of this server have no package glances.'
  fi
  if [ -n "$version" ]; then
    if ! installed glances; then GLANCES_NEW=1; fi
    # shellcheck disable=SC2046
    apt_install glances $(web_packages "$version")
  else
    install_wheels
  fi
  GLANCES_VERSION=''
}

# --- from wheels: a Python environment of its own, and nothing else of the server's Python is touched -----------------

WHEELS_MIN_KIB=204800
ASIDE=$VENV.lamplighter-old
venv_is_ours() { [ -f "$VENV/lamplighter" ]; }
venv_aside() {
  [ -e "$VENV" ] || return 0
  venv_is_ours || fail venv_foreign "$VENV is there, and Lamplighter has not made it."
  rm -rf "$ASIDE"
  on_undo venv_back
  mv -T "$VENV" "$ASIDE"
}
venv_back() { [ ! -e "$ASIDE" ] || { rm -rf "$VENV"; mv -T "$ASIDE" "$VENV"; }; }
install_wheels() {
  installed python3-venv || apt_install python3-venv
  free=$(df -Pk /opt | sed -n '2s/ *[0-9]*%.*//;2s/.* //p')
  [ "${free:-0}" -ge "$WHEELS_MIN_KIB" ] || fail disk_full "Only ${free:-0} KiB are free at /opt; Glances from wheels needs $WHEELS_MIN_KIB."
  venv_aside
  on_undo rm -rf "$VENV"
  { mkdir -m 755 "$VENV" && echo 'Made by Lamplighter, which also removes it as a whole.' >"$VENV/lamplighter"; } || fail write_failed "$VENV cannot be written."
  run python3 -m venv "$VENV" || fail wheels_unfit "Python cannot make an environment in $VENV."
  set --
  if [ -n "$BUNDLE" ]; then
    unpack_bundle
    set -- --no-index --find-links "$VENV/wheels"
  fi
  # Wheels only: the code of a package that is to be built would run as root.
  set -- "$VENV/bin/python3" -m pip install --disable-pip-version-check --no-input --no-cache-dir --progress-bar off --timeout 20 --retries 2 \
    --only-binary=:all: "$@" 'glances[web]>=3.3,<5'
  tmp
  running "$@"
  { { RC=0; "$@" </dev/null 2>&1 || RC=$?; echo "$RC" >"$TMP/rc"; } | tee "$TMP/pip"; } 9>&-
  RC=$(cat "$TMP/rc")
  ran || pip_failed
  rm -rf "$VENV/wheels"
  echo "${BUNDLE:+bundle }${BUNDLE:-index}" >"$VENV/from"
}
unpack_bundle() {
  tmp
  cat "$PARTS"/[0-9]* >"$TMP/bundle" 2>/dev/null || :
  sum=$(sha256sum <"$TMP/bundle")
  [ "${sum%% *}" = "$BUNDLE" ] || fail bundle_missing "The bundle of wheels did not arrive on this server: it has the SHA-256 ${sum%% *} there."
  { mkdir "$VENV/wheels" && tar -xf "$TMP/bundle" -C "$VENV/wheels" --no-same-owner --no-same-permissions; } || fail write_failed "$VENV/wheels cannot be written."
  rm -f "$TMP/bundle"
}
pip_failed() {
  { sed -n "s/.*connection broken by '\(.*\)': .*/\1/p" "$TMP/pip" | tail -n 1; grep -E '^ *ERROR' "$TMP/pip" | tail -n 3; } >&2 || :
  python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || :)
  if [ -n "$BUNDLE" ]; then fail wheels_unfit "The bundle has not all that Glances needs with Python $python on $(uname -m)."
  elif grep -qiE 'connection broken|NewConnectionError|Max retries|timed out|resolution|SSLError|ProxyError' "$TMP/pip"; then
    fail index_unreachable 'pip does not reach the index that this server is set up for.'
  fi
  fail wheels_unfit "The index has no Glances that fits Python $python on $(uname -m)."
}

# Debian's unit runs another server (`glances -s`) and starts with the package. It is switched off, not masked: a mask would
# still be there when the package is gone, and the switch is the administrator's to turn back.
# A glances.service in /etc is the administrator's own work and is left alone.
check_glances_stock_off() {
  said glances.service FragmentPath
  case $VALUE in /lib/systemd/* | /usr/lib/systemd/*) ;; *) return 0 ;; esac
  if enabled glances.service || active glances.service; then because 'systemd calls glances.service enabled or active'; fi
}
stock_off() {
  if [ -z "${GLANCES_NEW:-}" ]; then on_undo systemctl enable --now glances.service; fi
  run systemctl --quiet disable --now glances.service
}

# --- the unit ------------------------------------------------------------------------------------------------------

# Not DynamicUser: its private /tmp and /var/tmp show up as disks in Glances.
check_glances_account() { getent passwd "$ACCOUNT" >/dev/null; }
make_account() {
  on_undo userdel "$ACCOUNT"
  run useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$ACCOUNT"
}

# Debian's Glances 4 comes without the page that it serves, and ends at once unless it is told to serve none.
no_page() { case $GLANCES_VERSION in [0-3].*) ;; *) [ -d "$GLANCES_LIB/outputs/static/public" ] || echo ' --disable-webui' ;; esac; }
# Behind the front Glances talks to this machine alone; that also stops its questions about the public address.
unit_text() {
  network=''
  [ -z "${FRONT_PORT:-}" ] || network="IPAddressDeny=any${NL}IPAddressAllow=localhost"
  # Quoted, for a here-document would take a process.
  printf '%s\n' "# Written by Lamplighter. Changes made here are overwritten; use a drop-in (systemctl edit $UNIT).
[Unit]
Description=Glances web server for Lamplighter
Documentation=man:glances(1)
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart=$GLANCES -w -p $PORT -B $BIND --disable-check-update$(no_page)
Restart=always
RestartSec=5s
User=$ACCOUNT
Group=$ACCOUNT
RuntimeDirectory=lamplighter-glances
RuntimeDirectoryMode=0700
Environment=HOME=/run/lamplighter-glances TMPDIR=/run/lamplighter-glances
UMask=0077
# It reads /proc and /sys and writes nothing. ProtectHome=read-only and no PrivateTmp: it must see every disk, and none twice.
ProtectSystem=strict
ProtectHome=read-only
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
$network

[Install]
WantedBy=multi-user.target"
}
unit_is_written() { file_is "$UNIT_FILE" 644 root:root "$(unit_text)"; }
check_glances_unit() { works || unit_is_written; }
put_unit() {
  on_undo unit_undone
  put_file "$UNIT_FILE" 644 root:root "$(unit_text)"
  run systemctl daemon-reload
}
unit_undone() {
  systemctl daemon-reload
  if [ -e "$UNIT_FILE" ]; then systemctl restart "$UNIT"
  else systemctl stop "$UNIT"; rm -f "/etc/systemd/system/multi-user.target.wants/$UNIT"; fi
}

# ask PATH HEADER...: one question, without the time that Python takes to start; the last of a connection says so.
ask() { printf 'GET /api/%s HTTP/1.1\r\nHost: 127.0.0.1\r\n' "$1"; shift; printf '%s\r\n' "$@" ''; }
# bash is on every Debian; a program that just speaks TCP is not.
ask_glances() {
  case $BIND in 0.0.0.0) address=127.0.0.1 ;; ::) address=::1 ;; *) address=$BIND ;; esac
  # shellcheck disable=SC2016  # bash's own variables
  ask "$1" 'Connection: close' | timeout 5 bash -pc 'exec 3<>"/dev/tcp/$1/$2" && cat >&3 && exec cat <&3' ask "$address" "$PORT"
}
# answers QUESTION WHAT...: sets API and REPLY. "status" is there from 3.3 on and costs Glances nothing, while "mem" makes it
# look at the whole machine, as the poller does.
answers() {
  question=$1; shift
  glances_known || :
  case $GLANCES_VERSION in [0-3].*) apis='3 4' ;; *) apis='4 3' ;; esac
  for API in $apis; do
    for what; do
      REPLY=$("$question" "$API/$what" 2>/dev/null) || :
      case $what,$REPLY in
        status,"HTTP/1."[01]" 200 "* | mem,"HTTP/1."[01]" 200 "*'"total":'[1-9]* | mem,"HTTP/1."[01]" 200 "*'"total": '[1-9]*) return 0 ;;
      esac
    done
  done
  return 1
}

unit_is_loaded() { enabled "$UNIT" && fresh "$UNIT" "$UNIT_FILE"; }
check_glances_running() { works || { unit_is_loaded && answers ask_glances mem; }; }
run_glances() {
  run systemctl --quiet enable "$UNIT"
  run systemctl restart "$UNIT" || fail glances_not_answering 'The Glances service does not start.'
  applied "$UNIT" "$UNIT_FILE"
  tries=0
  until answers ask_glances mem; do
    tries=$((tries + 1))
    if [ "$tries" -ge 60 ] || ! active_now "$UNIT"; then
      why ask_glances "$API/mem"
      journalctl --no-pager -o cat -n 5 -u "$UNIT" >&2 || :
      fail glances_not_answering "Glances was started, but does not answer at port $PORT."
    fi
    sleep 0.5
  done
}

# --- the front: nginx with TLS and a password ----------------------------------------------------------------------

check_front_port() {
  works || grep -qs "listen $FRONT_PORT ssl;" "$FRONT_CONF" && return 0
  who=$(listener "$FRONT_PORT")
  [ -z "$who" ] || fail port_taken "Port $FRONT_PORT of this server is in use by $who."
}

# Self-signed and pinned by its fingerprint: names in it mean nothing. Renewed a month before its end.
check_front_cert() {
  [ -s "$FRONT_DIR/glances.key" ] && mode_of "$FRONT_DIR/glances.key" || return 1
  case $VALUE in 600:root:*) ;; *) return 1 ;; esac
  # The second time in a certificate is its end, with two digits for the years to 2049 (RFC 5280, 4.1). asn1parse starts in
  # an eighth of the time of x509.
  times=$(openssl asn1parse -in "$FRONT_DIR/glances.crt" 2>/dev/null) || return 1
  times=${times#*'TIME '*:}; end=${times#*'TIME '*:}; end=${end%%Z*}
  case $end in [0-4]???????????) end=20$end ;; esac
  [ ${#end} = 14 ] && [ "$end" -gt "$(date -u -d '30 days' +%Y%m%d%H%M%S)" ]
}
make_front_cert() {
  installed openssl || apt_install openssl
  on_undo reload_nginx
  mkdir -p "$FRONT_DIR"
  tmp
  run openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=lamplighter-glances \
    -keyout "$TMP/key" -out "$TMP/crt" || fail step_failed 'openssl cannot make a certificate.'
  put_file "$FRONT_DIR/glances.key" 600 root:root "$(cat "$TMP/key")"
  put_file "$FRONT_DIR/glances.crt" 644 root:root "$(cat "$TMP/crt")"
}

# nginx's workers read the password file at each request, as the user that nginx.conf names.
nginx_group() { id -gn "$(nginx_user)" 2>/dev/null || echo www-data; }
hashed() { printf '%s\n' "$FRONT_PASSWORD" | openssl passwd -6 -stdin "$@"; }
check_front_password() {
  mode_of "$FRONT_DIR/glances.htpasswd" || return 1
  mode=$VALUE
  # nginx lets this user in, so it can read the file and the password is right.
  case $mode in 640:root:*) works && return 0 ;; esac
  [ "$mode" = "640:root:$(nginx_group)" ] || return 1
  IFS=: read -r user hash <"$FRONT_DIR/glances.htpasswd" || return 1
  salt=${hash#?6?}; salt=${salt%%[!A-Za-z0-9./]*}
  [ "$user" = "$FRONT_USER" ] && [ -n "$salt" ] && [ "$hash" = "$(hashed -salt "$salt")" ]
}
put_front_password() { put_file "$FRONT_DIR/glances.htpasswd" 640 "root:$(nginx_group)" "$FRONT_USER:$(hashed)"; }

front_text() {
  listen6='' access=''
  [ ! -e /proc/net/if_inet6 ] || listen6="$NL    listen [::]:$FRONT_PORT ssl;"
  if [ -n "$ALLOW" ]; then
    for block in 127.0.0.0/8 ::1 $ALLOW; do access="$access$NL    allow $block;"; done
    access="$access$NL    deny all;"
  fi
  printf '%s\n' "# Written by Lamplighter. Changes made here are overwritten.
server {
    listen $FRONT_PORT ssl;$listen6
    server_name _;
    server_tokens off;
    ssl_certificate     $FRONT_DIR/glances.crt;
    ssl_certificate_key $FRONT_DIR/glances.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    access_log off;$access
    auth_basic Glances;
    auth_basic_user_file $FRONT_DIR/glances.htpasswd;
    location / {
        limit_except GET { deny all; }
        proxy_pass http://127.0.0.1:$PORT;
        proxy_set_header Host 127.0.0.1:$PORT;
        proxy_set_header Authorization \"\";
        proxy_hide_header Access-Control-Allow-Origin;
        proxy_read_timeout 30s;
    }
}"
}
front_is_written() { file_is "$FRONT_CONF" 644 root:root "$(front_text)"; }
check_front_conf() { works || front_is_written; }
put_front_conf() { on_undo reload_nginx; put_file "$FRONT_CONF" 644 root:root "$(front_text)"; }
check_front_test() { check_nginx_after; check_nginx_read "$FRONT_CONF"; }
front_is_loaded() { enabled nginx.service && fresh nginx.service "$FRONT_CONF" "$FRONT_DIR/glances.key" "$FRONT_DIR/glances.crt"; }
check_front_running() { works || front_is_loaded; }
run_front() { run systemctl --quiet enable nginx.service; run_nginx; WALLS=check; }
# A firewall that is on and has no rule for the entrance is intended: reported, with the rule that it takes.
WALLS=''
tell_wall() {
  [ -n "$WALLS" ] && command -v ufw >/dev/null || return 0
  case $(LC_ALL=C ufw status verbose 2>/dev/null) in *'Status: active'*'Default: '[dr]e[nj]*' (incoming)'*) ;; *) return 0 ;; esac
  LC_ALL=C ufw show added 2>/dev/null | grep -qE "(^|[^0-9])$FRONT_PORT([^0-9]|\$)" || fact front_walled "$FRONT_PORT $(connection | sed 's/[ %].*//')"
}
# Two requests over one connection: without the password access must be refused.
ask_front() {
  { ask "$1" "Authorization: Basic $FRONT_LOGIN"; ask "$1" 'Connection: close'; } |
    timeout 5 openssl s_client -quiet -no-CAfile -no-CApath -connect "127.0.0.1:$FRONT_PORT"
}
front_answers() {
  answers ask_front status mem || return 1
  case $REPLY in *"HTTP/1.1 401 "*) ;; *) return 1 ;; esac
}
check_front_answers() {
  tries=0
  until works || front_answers; do
    tries=$((tries + 1))
    if [ "$tries" -ge 10 ]; then
      case $REPLY in "HTTP/1.1 200 "*) fail glances_not_answering "nginx lets everybody in at port $FRONT_PORT, without a password." ;; esac
      first=$(printf '%s\n' "$REPLY" | head -n 1 | tr -d '\r' | cut -c 1-100)
      fail glances_not_answering "nginx does not pass Glances on at port $FRONT_PORT: it answers “${first:-nothing}”.$(for_all auth_request allow deny | sed 's/^\([^ ]*\) \(.*\)/ \1 holds for it, too: “\2”./' | head -n 2)"
    fi
    sleep 0.5 # a reload returns before the new workers listen
  done
}

# An earlier choice of the front is taken back when another profile is chosen.
check_front_gone() { [ ! -e "$FRONT_CONF" ] && [ ! -e "$FRONT_DIR/glances.htpasswd" ]; }
remove_front() {
  on_undo reload_nginx
  for file in "$FRONT_CONF" "$FRONT_DIR/glances.htpasswd" "$FRONT_DIR/glances.key" "$FRONT_DIR/glances.crt"; do keep "$file"; rm -f "$file"; done
  WORKERS=$(workers)
  if run nginx -t && run systemctl reload nginx.service; then let_go; else
    echo 'nginx was not reloaded: its configuration has a fault of its own' >&2
  fi
}

main() {
  UNITS="$UNIT glances.service nginx.service" PACKAGES='glances python3-bottle python3-uvicorn python3-jinja2 python3-venv'
  PATHS="$UNIT_FILE $FRONT_CONF $FRONT_DIR/glances.key $FRONT_DIR/glances.htpasswd"
  begin
  # A job that was killed has left a half one, and the whole one beside it.
  [ -f "$VENV/from" ] || { [ -e "$VENV" ] && ! venv_is_ours; } || venv_back
  PARTS=/var/cache/lamplighter-wheels/$BUNDLE
  [ -z "$BUNDLE" ] || on_undo rm -rf /var/cache/lamplighter-wheels
  ALLOW=$(guests) || fail controller_unknown 'The server does not tell from which address this connection comes; write the address instead of “controller”.'
  check system check_system
  if [ -n "${FRONT_PORT:-}" ]; then
    step_nginx_before
    check port_80 check_port_80
    check front_port check_front_port
  fi
  check address check_address
  check glances_port check_glances_port
  # Packages first: what is written after them can be taken back in a moment.
  if [ -n "${FRONT_PORT:-}" ]; then step nginx_package check_nginx_package install_nginx; fi
  step glances_package check_glances_package install_glances
  step glances_stock_off check_glances_stock_off stock_off
  step glances_account check_glances_account make_account
  step glances_unit check_glances_unit put_unit
  step glances_running check_glances_running run_glances
  if [ -n "${FRONT_PORT:-}" ]; then
    step front_cert check_front_cert make_front_cert
    step front_password check_front_password put_front_password
    step front_conf check_front_conf put_front_conf
    check front_test check_front_test
    step front_running check_front_running run_front
    check front_answers check_front_answers
    tell_wall
    print=$(sed '0,/^-----BEGIN/d;/^-----END/,$d' "$FRONT_DIR/glances.crt" | base64 -d | sha256sum)
    fact tls_sha256 "${print%% *}"
  else
    step front_gone check_front_gone remove_front
  fi
  fact glances_version "$GLANCES_VERSION"
  fact glances_api "$API"
  fact glances_path "$GLANCES"
  fact glances_from "$(glances_from)"
  # What this job has replaced.
  rm -rf "$ASIDE" /var/cache/lamplighter-wheels
  case $GLANCES in "$VENV"/*) ;; *) ! venv_is_ours || rm -rf "$VENV" ;; esac
}
