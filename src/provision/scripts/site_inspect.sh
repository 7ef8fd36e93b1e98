# site-inspect: what nginx and the sites in SITES ("NAME OLD CERTIFICATE PROOF BODY GOES LEAVES", with commas between) are like. CERTIFICATE
# is a chain's path, or the ACME server that it is to be had from. Changes nothing.

text() { { base64 -w 4000; } | { read -r piece || piece=''; mark text "$1" "$piece"; while read -r piece; do mark text "$1" "$piece"; done; }; }

check_site_nginx() {
  for port in 80 443; do who=$(listener "$port"); [ -z "$who" ] || fact "port_$port" "$who"; done
  has_nginx || return 0
  nginx_kind
  said nginx.service ActiveState; fact nginx_state "$VALUE"
  if command -v certbot >/dev/null; then
    fact certbot "$(dpkg-query -W -f '${Version}' certbot 2>/dev/null | sed 's/[-+].*//' | grep . || echo installed)"
  fi
  if nginx -T >"$TMP/dump" 2>"$TMP/said" </dev/null; then check_nginx_ready; return 0; fi
  check_nginx_ready
  text nginx_red <"$TMP/said"
  MINE=$(printf '%s\n' "$SITES" | tr , '\n' | cut -d ' ' -f 1,2 | tr '\n' ' ')
  if sound; then printf '%s' "$OFF" | text nginx_off; fact nginx_mendable yes; fi
}

check_nginx_ready() {
  if check_nginx_dirs && check_nginx_conf; then fact nginx_ready yes; return 0; fi
  [ ! -s "$TMP/dump" ] || probe || fact nginx_unread "$CODE $WHY"
}

check_site_files() {
  n=0
  set -f; IFS=,; for site in $SITES; do
    IFS=" $NL"
    # shellcheck disable=SC2086  # words without globs
    check_one $site >"$TMP/site"
    if [ -s "$TMP/dump" ] && lone_http2 "$ENABLED/${site%% *}.conf"; then fact http2_shared no; fi
    text "site_$n" <"$TMP/site"
    # Much longer than any site: not told, as the reader of texts would drop it anyway.
    if [ -f "$AVAILABLE/${site%% *}.conf" ] && [ "$(stat -Lc %s "$AVAILABLE/${site%% *}.conf")" -le 65536 ]; then text "live_$n" <"$AVAILABLE/${site%% *}.conf"; fi
    n=$((n + 1))
  done
  unset IFS; set +f
}
check_one() {
  echo "sha256 $(file_sum "$AVAILABLE/$1.conf")"
  echo "enabled $(link_state "$1")"
  if [ "$2" != - ]; then
    echo "old_sha256 $(file_sum "$AVAILABLE/$2.conf")"
    echo "old_enabled $(link_state "$2")"
  fi
  [ ! -s "$TMP/dump" ] || check_defaults "$1" "$2" "$3" "$7"
  [ ! -s "$TMP/dump" ] || others "$1" "$TMP/dump" "$ENABLED/$1.conf" "$ENABLED/$2.conf" | sed 's/^/other /'
  case $3 in
    -) ;;
    https:*) check_lineage "$1" "$3" ;;
    *) [ ! -f "$3" ] || check_certificate "$3" ;;
  esac
  [ "$6" = - ] || check_goes "$6"
  if [ "$4" != - ]; then
    find_address "$AVAILABLE/$1.conf"
    if proves "$1" "$4" "$5"; then echo 'proved yes'; fi
  fi
}
# Who will answer for what nobody named.
check_defaults() { # NAME OLD CERTIFICATE LEAVES
  old=$2; [ "$old" != - ] || old=''
  if [ "$4" = yes ]; then will_be "$1" '' "$old"
  else
    {
      echo '# lamplighter domain=0'
      for port in 80 443; do
        ssl=''; if [ "$port" = 443 ]; then [ "$3" != - ] || break; ssl=' ssl'; fi
        echo "server { server_name $1; listen $port$ssl;"
        ! has_ipv6 || echo "listen [::]:$port$ssl;"
        echo '}'
      done
    } >"$TMP/site.wished"
    will_be "$1" "$TMP/site.wished" "$old"
  fi
  shadows 80 443 | sed 's/^/shadows /'
  default_moves "$HAD" "$KEYS" put
  default_moves "$KEYS" "$HAD" drop
}
# default_moves BEFORE AFTER WORD: what is in the second alone: the port where both families of addresses are, else the place.
default_moves() {
  for port in 80 443; do
    moved=''
    for family in '*' '[::]'; do
      case " $1 " in *" $family:$port "*) continue ;; esac
      case " $2 " in *" $family:$port "*) moved="$moved $family:$port" ;; esac
    done
    case $moved in ' '*' '*) echo "default $3 $port" ;; ' '*) echo "default $3${moved}" ;; esac
  done
}
check_lineage() {
  cli_ini | sed 's/^/settings /'
  lineage_leftovers "$1" | sed 's/^/leftover /'
  lineage=$(lineage_of "$1")
  [ -n "$lineage" ] || return 0
  echo "lineage $lineage"
  lacks=$(lineage_lacks "$lineage" "$1" "$2"); [ -z "$lacks" ] || echo "lacks $lacks"
  [ "$lineage" = "$1" ] || [ ! -e "$LINEAGES/live/$1" ] || lineage_is_ours "$1" "$1" ||
    echo "stranger $LINEAGES/live/$1 $(names_of "$LINEAGES/live/$1/fullchain.pem" | paste -sd ' ')"
  [ ! -f "$LINEAGES/live/$lineage/fullchain.pem" ] || check_certificate "$LINEAGES/live/$lineage/fullchain.pem"
}
# What certbot keeps for a site that goes, and who else uses it.
check_goes() {
  for lineage in $(lineages_of "$1"); do echo "goes $lineage $(user_of "$lineage" "$1")"; done
}
check_certificate() {
  echo 'cert_is there'
  openssl x509 -in "$1" -noout -dates -fingerprint -sha256 -issuer -ext subjectAltName -nameopt RFC2253,-esc_msb,utf8 2>/dev/null | while read -r line; do
    case $line in
      notBefore=*) echo "cert_not_before $(date -d "${line#*=}" +%s)" ;;
      notAfter=*) echo "cert_not_after $(date -d "${line#*=}" +%s)" ;;
      *'Fingerprint='*) echo "cert_sha256 $(echo "${line#*=}" | tr -d : | tr A-F a-f)" ;;
      issuer=*) echo "cert_issuer ${line#*=}" ;;
      DNS:*) echo "$line" | tr ',' '\n' | sed -n 's/^ *DNS:\([A-Za-z0-9*._-]*\)$/cert_name \1/p' | head -n 100 ;;
    esac
  done
}

main() {
  set -u
  [ "$(id -u)" = 0 ] || fail not_root "This needs root, but it ran as $(id -un)."
  find /run -maxdepth 1 -name 'lamplighter-inspect.*' -mmin +60 -exec rm -rf {} + # of looks that were killed
  TMP=$(mktemp -d /run/lamplighter-inspect.XXXXXX); trap 'rm -rf "$TMP"' EXIT; trap 'exit 143' HUP INT PIPE TERM
  check site_nginx check_site_nginx
  check site_files check_site_files
  mark end
}
