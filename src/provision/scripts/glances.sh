# install-glances: Glances' web server as our own unit. Values: PORT, BIND; with an nginx front also FRONT_PORT, FRONT_USER,
# FRONT_PASSWORD and ALLOW (blocks of addresses, separated by spaces; empty: everyone who knows the password).

UNIT=lamplighter-glances.service
UNIT_FILE=/etc/systemd/system/$UNIT
ACCOUNT=lamplighter-glances
FRONT_CONF=/etc/nginx/conf.d/lamplighter-glances.conf
FRONT_DIR=/etc/nginx/lamplighter

look_address() {
  case $BIND in 0.0.0.0 | ::) return 0 ;; esac
  ip -o addr show | grep -qF " $BIND/" || fail address_missing "This server has no address $BIND, so Glances cannot listen there."
}

# The port must be free, or ours.
look_glances_port() {
  who=$(listener "$PORT")
  case $who in '' | *" (process $(systemctl show -p MainPID --value "$UNIT"))") return 0 ;; esac
  fail port_taken "Port $PORT of this server is in use by $who."
}

# --- the program ---------------------------------------------------------------------------------------------------

# The web server's own library is only a recommended package: bottle for Glances 3, uvicorn and jinja2 for 4.
web_packages() { case $1 in [0-3].*) echo python3-bottle ;; *) echo python3-uvicorn python3-jinja2 ;; esac; }

# shellcheck disable=SC2046  # a list of packages
look_glances_package() {
  glances_find || return 1
  [ "$GLANCES" != /usr/bin/glances ] || installed $(web_packages "$GLANCES_VERSION")
}
install_glances() {
  if ! installed glances; then GLANCES_NEW=1; fi
  version=$(candidate glances) || { wait_dpkg_lock; apt update || fail apt_failed 'The package lists cannot be read anew.'; version=$(candidate glances || :); }
  # shellcheck disable=SC2046
  apt_install glances $(web_packages "${version:-3.}")
}

# Debian's unit runs another server (`glances -s`) and starts with the package. It is switched off, not masked: a mask would
# still be there when the package is gone, and the switch is the administrator's to turn back.
# A glances.service in /etc is the administrator's own work and is left alone.
look_glances_stock_off() {
  state=$(systemctl show -p FragmentPath -p UnitFileState -p ActiveState glances.service)
  case $state in *FragmentPath=/lib/systemd/* | *FragmentPath=/usr/lib/systemd/*) ;; *) return 0 ;; esac
  case $NL$state$NL in *"${NL}UnitFileState=enabled$NL"* | *"${NL}ActiveState=active$NL"*) return 1 ;; esac
}
stock_off() {
  if [ -z "${GLANCES_NEW:-}" ]; then on_undo systemctl enable --now glances.service; fi
  run systemctl --quiet disable --now glances.service
}

# --- the unit ------------------------------------------------------------------------------------------------------

# Not DynamicUser: its private /tmp and /var/tmp show up as disks in Glances.
look_glances_account() { getent passwd "$ACCOUNT" >/dev/null; }
make_account() {
  on_undo userdel "$ACCOUNT"
  run useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$ACCOUNT"
}

# Behind the front Glances talks to this machine alone; that also stops its questions about the public address.
unit_network() { if [ -n "${FRONT_PORT:-}" ]; then printf '%s\n' IPAddressDeny=any IPAddressAllow=localhost; fi; }
unit_text() {
  cat <<TEXT
# Written by Lamplighter. Changes made here are overwritten; use a drop-in (systemctl edit $UNIT).
[Unit]
Description=Glances web server for Lamplighter
Documentation=man:glances(1)
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart=$GLANCES -w -p $PORT -B $BIND --disable-check-update
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
$(unit_network)

[Install]
WantedBy=multi-user.target
TEXT
}
look_glances_unit() { file_is "$UNIT_FILE" 644 root:root "$(unit_text)"; }
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

# Asks what the poller will ask. argv: address; stdin: user:password, or an empty line. Prints "API VERSION".
ANSWERS='
import base64, json, ssl, sys, urllib.error, urllib.request as web
base, login = sys.argv[1], sys.stdin.readline().rstrip("\n")
door = web.build_opener(web.ProxyHandler({}), web.HTTPSHandler(context=ssl._create_unverified_context()))
def get(path, login):
    ask = web.Request(base + path)
    if login:
        ask.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    try:
        with door.open(ask, timeout=5) as answer:
            return answer.status, answer.read(1 << 20)
    except urllib.error.HTTPError as refused:
        return refused.code, b""
    except OSError as broken:
        sys.exit("%s: %s" % (base, broken))
seen = []
for api in "4", "3":
    status, body = get("/api/%s/mem" % api, login)
    seen.append("/api/%s/mem: %d" % (api, status))
    if status == 200 and json.loads(body)["total"] > 0:
        if login and get("/api/%s/mem" % api, "")[0] != 401:
            sys.exit(base + " answers without a password")
        print(api)
        sys.exit(0)
sys.exit(base + " " + ", ".join(seen))
'
python() { if [ -x "${GLANCES%/glances}/python3" ]; then "${GLANCES%/glances}/python3" "$@"; else python3 "$@"; fi; }
base_url() {
  case $BIND in 0.0.0.0) echo "http://127.0.0.1:$PORT" ;; ::) echo "http://[::1]:$PORT" ;; *:*) echo "http://[$BIND]:$PORT" ;; *) echo "http://$BIND:$PORT" ;; esac
}
answers() { API=$(echo | python -I -c "$ANSWERS" "$(base_url)" 2>"$TMP/answer"); }

look_glances_running() { enabled "$UNIT" && fresh "$UNIT" "$UNIT_FILE" && answers; }
run_glances() {
  run systemctl --quiet enable "$UNIT"
  run systemctl restart "$UNIT" || fail glances_not_answering 'The Glances service does not start.'
  applied
  tries=0
  until answers; do
    tries=$((tries + 1))
    if [ "$tries" -ge 60 ] || ! active "$UNIT"; then
      why cat "$TMP/answer"
      journalctl --no-pager -o cat -n 5 -u "$UNIT" >&2 || :
      fail glances_not_answering "Glances was started, but does not answer at $(base_url)."
    fi
    sleep 0.5
  done
}

# --- the front: nginx with TLS and a password ----------------------------------------------------------------------

look_front_port() {
  grep -qs "listen $FRONT_PORT ssl;" "$FRONT_CONF" && return 0
  who=$(listener "$FRONT_PORT")
  [ -z "$who" ] || fail port_taken "Port $FRONT_PORT of this server is in use by $who."
}

# Self-signed and pinned by its fingerprint: names in it mean nothing. Renewed a month before its end.
look_front_cert() {
  [ -s "$FRONT_DIR/glances.key" ] && [ "$(stat -c %a:%U "$FRONT_DIR/glances.key")" = 600:root ] &&
    openssl x509 -in "$FRONT_DIR/glances.crt" -noout -checkend 2592000 >/dev/null 2>&1
}
make_front_cert() {
  installed openssl || apt_install openssl
  on_undo reload_nginx
  mkdir -p "$FRONT_DIR"
  run openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=lamplighter-glances \
    -keyout "$TMP/key" -out "$TMP/crt" || fail step_failed 'openssl cannot make a certificate.'
  put_file "$FRONT_DIR/glances.key" 600 root:root "$(cat "$TMP/key")"
  put_file "$FRONT_DIR/glances.crt" 644 root:root "$(cat "$TMP/crt")"
}

# nginx's workers read the password file at each request, as the user that nginx.conf names.
nginx_group() { id -gn "$(sed -n 's/^[[:space:]]*user[[:space:]]\{1,\}\([^;[:space:]]*\).*/\1/p' /etc/nginx/nginx.conf | head -n 1)" 2>/dev/null || echo www-data; }
hashed() { printf '%s\n' "$FRONT_PASSWORD" | openssl passwd -6 -stdin "$@"; }
look_front_password() {
  [ "$(stat -c %a:%U:%G "$FRONT_DIR/glances.htpasswd" 2>/dev/null)" = "640:root:$(nginx_group)" ] || return 1
  IFS=: read -r user hash <"$FRONT_DIR/glances.htpasswd" || return 1
  salt=${hash#?6?}; salt=${salt%%[!A-Za-z0-9./]*}
  [ "$user" = "$FRONT_USER" ] && [ -n "$salt" ] && [ "$hash" = "$(hashed -salt "$salt")" ]
}
put_front_password() { put_file "$FRONT_DIR/glances.htpasswd" 640 "root:$(nginx_group)" "$FRONT_USER:$(hashed)"; }

front_text() {
  cat <<TEXT
# Written by Lamplighter. Changes made here are overwritten.
server {
    listen $FRONT_PORT ssl;
TEXT
  [ ! -e /proc/net/if_inet6 ] || echo "    listen [::]:$FRONT_PORT ssl;"
  cat <<TEXT
    server_name _;
    server_tokens off;
    ssl_certificate     $FRONT_DIR/glances.crt;
    ssl_certificate_key $FRONT_DIR/glances.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    access_log off;
TEXT
  if [ -n "$ALLOW" ]; then
    for block in 127.0.0.0/8 ::1 $ALLOW; do echo "    allow $block;"; done
    echo '    deny all;'
  fi
  cat <<TEXT
    auth_basic Glances;
    auth_basic_user_file $FRONT_DIR/glances.htpasswd;
    location / {
        limit_except GET { deny all; }
        proxy_pass http://127.0.0.1:$PORT;
        proxy_set_header Host 127.0.0.1:$PORT;
        proxy_set_header Authorization "";
        proxy_hide_header Access-Control-Allow-Origin;
        proxy_read_timeout 30s;
    }
}
TEXT
}
look_front_conf() { file_is "$FRONT_CONF" 644 root:root "$(front_text)"; }
put_front_conf() { on_undo reload_nginx; put_file "$FRONT_CONF" 644 root:root "$(front_text)"; }
look_front_test() { look_nginx_after; look_nginx_read "$FRONT_CONF"; }
look_front_running() {
  enabled nginx.service && fresh nginx.service "$FRONT_CONF" "$FRONT_DIR/glances.key" "$FRONT_DIR/glances.crt"
}
run_front() { run systemctl --quiet enable nginx.service; run_nginx; }
look_front_answers() {
  tries=0
  until printf '%s:%s\n' "$FRONT_USER" "$FRONT_PASSWORD" | python -I -c "$ANSWERS" "https://127.0.0.1:$FRONT_PORT" >/dev/null 2>"$TMP/answer"; do
    tries=$((tries + 1))
    [ "$tries" -lt 10 ] || { why cat "$TMP/answer"; fail glances_not_answering "nginx does not pass Glances on at port $FRONT_PORT."; }
    sleep 0.5 # a reload returns before the new workers listen
  done
}

# An earlier choice of the front is taken back when another profile is chosen.
look_front_gone() { [ ! -e "$FRONT_CONF" ] && [ ! -e "$FRONT_DIR/glances.htpasswd" ]; }
remove_front() {
  on_undo reload_nginx
  for file in "$FRONT_CONF" "$FRONT_DIR/glances.htpasswd" "$FRONT_DIR/glances.key" "$FRONT_DIR/glances.crt"; do keep "$file"; rm -f "$file"; done
  run nginx -t && run systemctl reload nginx.service || echo 'nginx was not reloaded: its configuration has a fault of its own' >&2
}

main() {
  begin
  look system look_system
  if [ -n "${FRONT_PORT:-}" ]; then
    step_nginx_before
    look port_80 look_port_80
    look front_port look_front_port
  fi
  look address look_address
  look glances_port look_glances_port
  # Packages first: what is written after them can be taken back in a moment.
  if [ -n "${FRONT_PORT:-}" ]; then step nginx_package look_nginx_package install_nginx; fi
  step glances_package look_glances_package install_glances
  step glances_stock_off look_glances_stock_off stock_off
  step glances_account look_glances_account make_account
  step glances_unit look_glances_unit put_unit
  step glances_running look_glances_running run_glances
  if [ -n "${FRONT_PORT:-}" ]; then
    step front_cert look_front_cert make_front_cert
    step front_password look_front_password put_front_password
    step front_conf look_front_conf put_front_conf
    look front_test look_front_test
    step front_running look_front_running run_front
    look front_answers look_front_answers
    fact tls_sha256 "$(openssl x509 -in "$FRONT_DIR/glances.crt" -noout -fingerprint -sha256 | sed 's/.*=//;s/://g' | tr A-F a-f)"
  else
    step front_gone look_front_gone remove_front
  fi
  fact glances_version "$GLANCES_VERSION"
  fact glances_api "$API"
  fact glances_path "$GLANCES"
}
