# Sites of nginx: what the jobs about them have in common. Nothing here changes a site.

AVAILABLE=/etc/nginx/sites-available ENABLED=/etc/nginx/sites-enabled
LINEAGES=/etc/letsencrypt WEBROOT=/var/www/lamplighter

# file_sum FILE: its SHA-256, "-" when there is none.
file_sum() { if [ -f "$1" ]; then sum=$(sha256sum <"$1"); printf '%s\n' "${sum%% *}"; else echo -; fi; }

# link_state NAME: whether nginx reads its file: yes, no, or what stands there instead.
link_state() {
  link=$ENABLED/$1.conf
  if [ -L "$link" ]; then
    # shellcheck disable=SC3013  # the sh of Debian and Ubuntu has it
    if [ "$link" -ef "$AVAILABLE/$1.conf" ]; then echo yes; return; fi
    aim=$(readlink "$link")
    # A link to our place with nothing there is a link of ours.
    case $aim in "$AVAILABLE/$1.conf" | "../sites-available/$1.conf") echo no ;; *) printf '%s\n' "$aim" ;; esac
  elif [ -e "$link" ]; then printf '%s\n' "$link"
  else echo no; fi
}

# "PATH BODY" of the proof in a file of ours.
proof_in() {
  [ -f "$1" ] || return 0
  sed -n 's|^ *location = \(/\.well-known/lamplighter/[0-9a-f]\{16\}\) {$|\1|p;s|^ *return 200 "\([0-9a-f]\{32\}\)\\n";$|\1|p' "$1" | head -n 2 | paste -sd ' '
}

# --- requests -------------------------------------------------------------------------------------------------------

# Where this connection came in: another machine reaches nginx there, if anywhere. $1: a text that must listen there.
find_address() {
  # shellcheck disable=SC2046  # words
  set -- "$1" $(connection | head -n 1)
  ADDRESS=${4:-127.0.0.1}; ADDRESS=${ADDRESS#::ffff:}; ADDRESS=${ADDRESS%%%*}
  case $ADDRESS in *:*) grep -qF '[::]:' "$1" || ADDRESS=127.0.0.1 ;; esac
}

# HTTP/1.0: neither chunks nor waiting for more.
REQUEST='GET %s HTTP/1.0\r\nHost: %s\r\nUser-Agent: Lamplighter\r\n\r\n'

# ask NAME PATH [SECONDS]: the first 64 KiB of port 80's answer. By bash: curl is not on every server.
# shellcheck disable=SC2016  # for bash
ask() {
  timeout "${3:-5}" bash -pc 'exec 3<>"/dev/tcp/$1/80" && printf "$2" "$3" "$4" >&3 && { IFS= read -r -d "" -n 65536 all <&3; printf "%s" "$all"; }' \
    bash "$ADDRESS" "$REQUEST" "$2" "$1" 2>/dev/null 9>&-
}

# ask_tls NAME PATH SECONDS [OPTION...]: what openssl says about port 443, and the answer.
ask_tls() {
  where=$ADDRESS; case $where in *:*) where="[$where]" ;; esac
  name=$1 path=$2 seconds=$3; shift 3
  # shellcheck disable=SC2059  # a format of ours
  printf "$REQUEST" "$path" "$name" | timeout "$seconds" openssl s_client -connect "$where:443" -servername "$name" -verify_hostname "$name" -ign_eof "$@" 2>/dev/null 9>&- | head -c 131072
}

# proves NAME PATH BODY: port 80 runs the text that has this proof. What came instead is in ANSWER.
proves() {
  ANSWER=$(ask "$1" "$2") || :
  WHY=''
  [ "${ANSWER##*"$NL"}" = "$3" ]
}
# unproved [FILE]: what came instead of a proof (or of that file), as WHY.
unproved() {
  status=$(printf '%s\n' "$ANSWER" | status_of)
  case $status in
    none) silence ;;
    401) because 'a password is asked for there (status 401)' ;;
    403) because "it is forbidden there (status 403)$(barred "${1:-}")" ;;
    404) because "there is no such file (status 404)$(barred "${1:-}")" ;;
    30?) because "the request is sent on to $(printf '%s\n' "$ANSWER" | tr -d '\r' | sed -n 's/^[Ll]ocation: *//p' | head -n 1 | cut -c 1-200) (status $status)" ;;
    *) because "another site answers there (status $status)" ;;
  esac || :
  nearer=''
  [ ! -s "$TMP/dump" ] || nearer=$(listens "$TMP/dump" | awk -F '\t' -v at="$ADDRESS:80" -v own="$ENABLED/${NAME:-}.conf" '$2 == at && $1 != own { print $1; exit }')
  [ -z "$nearer" ] || WHY="$WHY; $nearer listens on that very address"
}
silence() {
  waits=''
  [ ! -s "$TMP/dump" ] || waits=$(listens "$TMP/dump" | awk -F '\t' '$2 ~ /:80$/ && $3 ~ /,proxy_protocol,/ { print $1; exit }')
  if [ -n "$waits" ]; then because "nginx hangs up there, because it waits for the PROXY protocol of a load balancer: $waits has proxy_protocol in a listen line, and it holds for all of the port"
  elif [ -z "$(listener 80)" ]; then because 'nobody listens on port 80'
  else because 'nothing comes back from there'; fi
}
# barred FILE: the first folder above it that nginx's user may not enter, as the end of a sentence.
barred() {
  user=$(nginx_user) place='' rest=${1#/}
  while [ "$rest" != "${rest#*/}" ]; do
    place=$place/${rest%%/*} rest=${rest#*/}
    [ -d "$place" ] || return 0
    runuser -u "$user" -- test -x "$place" 2>/dev/null 9>&- ||
      { echo ": nginx runs as $user, who may not enter $place ($(stat -c '%A %U:%G' "$place"))"; return 0; }
  done
}

# status of an answer, "none" without one.
status_of() { sed -n 's|^HTTP/1\.[01] \([0-9][0-9][0-9]\)[^0-9].*|\1|p' | head -n 1 | grep . || echo none; }

# --- certificates ---------------------------------------------------------------------------------------------------

# The leaf on stdin: "SHA256 END" and its issuer on a second line.
leaf() {
  openssl x509 -noout -fingerprint -sha256 -enddate -issuer -nameopt RFC2253,-esc_msb,utf8 2>/dev/null |
    sed -n 's/^sha256 Fingerprint=\(.*\)/\1/Ip;s/^notAfter=//p;s/^issuer= *//p' | {
    read -r print && read -r end && read -r issuer || return 1
    printf '%s %s\n%s\n' "$(echo "$print" | tr -d : | tr A-F a-f)" "$(date -d "$end" +%s)" "$issuer"
  }
}

# served_tls NAME PATH BODY CHAIN: port 443 runs the text with this proof (which may be empty) and shows the leaf of CHAIN;
# the name is right, the day is right, the chain holds together. Otherwise WHY says what is wrong. The system's own list of
# authorities is not read here: that alone takes 40 ms.
# shellcheck disable=SC2034  # for whoever asks
served_tls() {
  [ -s "$4" ] || { WHY="there is no certificate at $4"; return 1; }
  seen=$(ask_tls "$1" "$2" 5 -CAfile "$4" -partial_chain) || :
  verdict=${seen#*Verify return code: } verdict=${verdict%%"$NL"*}
  case $seen in *'Verify return code: '*) ;; *) WHY='nothing speaks TLS there'; return 1 ;; esac
  # Mostly it is the same text already.
  pem=$(sed '/^-----END CERTIFICATE/q' "$4")
  case $seen in *"$pem"*) ;; *) [ "$(printf '%s\n' "$seen" | leaf)" = "$(leaf <"$4")" ] || { WHY='another certificate is shown there'; return 1; } ;; esac
  case $verdict in 0\ *) ;; *) WHY="the certificate does not hold: ${verdict#* }"; return 1 ;; esac
  if [ -n "$3" ] && ! printf '%s\n' "$seen" | tr -d '\r' | grep -qxF "$3"; then WHY='another site answers there'; return 1; fi
}
# tls_facts CHAIN: what is shown there now; and whether those authorities vouch for it, too.
tls_facts() {
  leaf=$(leaf <"$1") || return 0
  first=${leaf%%"$NL"*}
  fact tls_sha256 "${first% *}"
  fact tls_not_after "${first#* }"
  fact tls_issuer "${leaf#*"$NL"}"
  if openssl verify -untrusted "$1" "$1" >/dev/null 2>&1; then fact tls_chain system; else fact tls_chain own; fi
}

# --- lineages: what certbot keeps -----------------------------------------------------------------------------------
# A lineage is its maker's. Ours are named lamplighter-NAME. One of another name is ours when certbot gets it over our folder
# and for NAME alone: so an earlier Lamplighter has made them. Any other is somebody else's, even with NAME among its names:
# it is not issued anew, not used, not deleted.

names_of() { openssl x509 -in "$1" -noout -ext subjectAltName 2>/dev/null | tr ',' '\n' | sed -n 's/^ *DNS://p'; }
# lineage_names NAME: those a lineage for NAME alone may have.
lineage_names() { echo "lamplighter-$1 lamplighter2-$1 lamplighter3-$1 $1"; }
lineage_is_ours() { # LINEAGE NAME
  lineage_is_whole "$1" || return 1
  [ "$1" = "$2" ] || return 0
  case $HOW in *' ours '*) [ "$(names_of "$LINEAGES/live/$1/fullchain.pem")" = "$2" ] ;; *) return 1 ;; esac
}
# lineage_is_whole LINEAGE: all that certbot wants to see of one. What is not whole it passes over: it would order a
# certificate, find its place taken, and order the next one the next time. Sets HOW to how it is renewed.
lineage_is_whole() {
  whole='' HOW=' '
  [ -r "$LINEAGES/renewal/$1.conf" ] || return 1
  while read -r key _ value; do
    case $key in
      cert | privkey | chain | fullchain) if [ "$value" = "$LINEAGES/live/$1/$key.pem" ] && [ -L "$value" ] && [ -s "$value" ]; then whole=$whole+; fi ;;
      authenticator | autorenew) HOW="$HOW$key=$value " ;;
    esac
    case $value in "$WEBROOT" | "$WEBROOT",) HOW="${HOW}ours " ;; esac
  done <"$LINEAGES/renewal/$1.conf"
  [ "$whole" = ++++ ]
}
# renewal_fault LINEAGE: sets VALUE to why certbot will never renew it, or to "-". Starts no program.
renewal_fault() {
  VALUE=-
  lineage_is_whole "$1" || { VALUE=lost; return 0; }
  case $HOW in
    *' autorenew=False '*) VALUE=off ;;
    *' authenticator=standalone '*) VALUE=astray ;; # nginx has the port
    *' authenticator=webroot '*) case $HOW in *' ours '*) ;; *) VALUE=astray ;; esac ;;
  esac
}
# What lies where it would be.
lineage_places() {
  for place in "$LINEAGES/live/$1" "$LINEAGES/archive/$1" "$LINEAGES/renewal/$1.conf"; do
    if [ -e "$place" ] || [ -L "$place" ]; then echo "$place"; fi
  done
}
# lineage_of NAME: the one that its site uses or will use; nothing when every place is taken by something unknown.
lineage_of() {
  if [ -z "$(lineage_places "lamplighter-$1")" ] && lineage_is_ours "$1" "$1"; then echo "$1"; return; fi
  for lineage in "lamplighter-$1" "lamplighter2-$1" "lamplighter3-$1"; do
    if [ -z "$(lineage_places "$lineage")" ] || lineage_is_ours "$lineage" "$1"; then echo "$lineage"; return; fi
  done
}
# lineage_leftovers NAME: what lies in our places and is passed over.
lineage_leftovers() {
  for lineage in "lamplighter-$1" "lamplighter2-$1" "lamplighter3-$1"; do
    lineage_is_ours "$lineage" "$1" || lineage_places "$lineage"
  done
}
# lineage_lacks LINEAGE NAME DIRECTORY: why NAME needs another certificate than is there; nothing when it is good.
lineage_lacks() {
  if ! lineage_is_whole "$1"; then echo none
  elif ! grep -qsxF "server = $3" "$LINEAGES/renewal/$1.conf"; then echo server
  elif ! openssl x509 -in "$LINEAGES/live/$1/fullchain.pem" -noout -checkend 0 >/dev/null 2>&1; then echo ended
  elif ! openssl x509 -in "$LINEAGES/live/$1/fullchain.pem" -noout -checkhost "$2" 2>/dev/null | grep -q 'does match certificate'; then echo name
  fi
}
# lacks_words CODE LINEAGE: that in words.
lacks_words() {
  leaf=$LINEAGES/live/$2/fullchain.pem
  case $1 in
    none) because "certbot keeps no whole certificate $2" ;;
    server) because "$LINEAGES/renewal/$2.conf is of another ACME server" ;;
    ended) because "by this server's clock ($(date -u +%FT%TZ)) the certificate $leaf is over: $(openssl x509 -in "$leaf" -noout -enddate 2>/dev/null)" ;;
    name) because "the certificate $leaf does not have this name, but $(names_of "$leaf" | paste -sd ' ')" ;;
  esac
}
# lineages_of NAME: ours for it that are there.
lineages_of() {
  for lineage in $(lineage_names "$1"); do
    ! lineage_is_ours "$lineage" "$1" || echo "$lineage"
  done
}
# user_of LINEAGE NAME: who else uses it: a file that nginx reads, by the last dump, or one of another program.
user_of() {
  {
    awk -v live="letsencrypt/live/$1/" -v archive="letsencrypt/archive/$1/" -v own="$ENABLED/$2.conf" '
      /^# configuration file \/.*:$/ { file = substr($0, 22, length($0) - 22); next }
      /^[ \t]*#/ || file == own { next }
      index($0, live) || index($0, archive) { print file; exit }' "$TMP/dump"
    grep -rIlsF --exclude-dir=letsencrypt --exclude-dir=nginx -e "letsencrypt/live/$1/" -e "letsencrypt/archive/$1/" /etc || :
    find /etc -path "$LINEAGES" -prune -o -type l \( -lname "*letsencrypt/live/$1/*" -o -lname "*letsencrypt/archive/$1/*" \) -print 2>/dev/null
  } | head -n 1
}

# cli_ini: what somebody has set for every run of certbot on this server, after the words "stop" (our command line cannot take
# it back) or "warn" (it can, but not where certbot's own timer renews).
cli_ini() {
  for file in "$LINEAGES/cli.ini" "${XDG_CONFIG_HOME:-${HOME:-/root}/.config}/letsencrypt/cli.ini"; do
    [ -r "$file" ] || continue
    while read -r line || [ -n "$line" ]; do
      key=${line%%[ =:#]*} value=${line##*[ =:]}
      case $key,$value in
        *,false | *,False | *,no | a,webroot | authenticator,webroot) ;;
        dry-run,* | staging,* | test-cert,* | must-staple,* | no-autorenew,* | csr,* | installer,* | i,*) echo "stop $file: $line" ;;
        *-hook,* | preferred-challenges,* | a,* | authenticator,* | standalone,* | manual,* | nginx,* | apache,* | dns-*,* | w,* | webroot-path,* | webroot-map,* | server,*)
          echo "warn $file: $line" ;;
      esac
    done <"$file"
  done
}

# --- whole configurations -------------------------------------------------------------------------------------------

# blame FILE: the place that nginx names in its messages, "PATH:LINE"; nothing when it names none.
blame() { sed -n 's/.*\[emerg\].* in \(\/[^ ]*:[0-9]*\)$/\1/p' "$1" | head -n 1; }

# The line itself. $1: PATH:LINE, $2: where that file's text is to be read.
line_of() { sed -n "${1##*:}{s/^[[:space:]]*//;p;q;}" "$2" 2>/dev/null | cut -c 1-200; }

# listens DUMP: in a dump of nginx -T, each place where a server of http listens, in the order in which nginx reads them, which
# is not the dump's: "include" lines lead into the other files. "FILE KEY FLAGS NAMES OWN", with tabs between: KEY is like *:80
# or [::]:443, NAMES has commas around each, OWN says whether the file is a site of ours. Of a file that stands there twice the
# last text counts.
# shellcheck disable=SC2016  # for awk
listens() {
  awk -v OFS='\t' -v enabled="$ENABLED/" '
    function server_ends(   i) {
      if (!places) place[++places] = "*:80"
      for (i = 1; i <= places; i++) print at, place[i], "," flags[i], names, own[at]
      inside = 0
    }
    function ends(   i, where) {
      if (inside && depth == inside) {
        if (word[1] == "server_name") for (i = 2; i <= words; i++) names = names tolower(word[i]) ","
        if (word[1] == "listen") {
          where = word[2]
          if (where ~ /^[0-9]+$/) where = "*:" where; else if (where !~ /^unix:/ && where !~ /:[0-9]+$/) where = where ":80"
          sub(/^0\.0\.0\.0:/, "*:", where)
          place[++places] = where; flags[places] = ""
          for (i = 3; i <= words; i++) flags[places] = flags[places] word[i] ","
        }
      }
      words = 0
    }
    # The files of a pattern, in the order of their names, as glob(3) gives them.
    function include(pattern, level,   i, j, found, list, regex, name) {
      if (pattern !~ /^\//) pattern = prefix pattern
      if (pattern !~ /[*?\[]/) { if (pattern in lines) walk(pattern, level + 1); return }
      regex = pattern
      gsub(/[.+(){}^$|\\]/, "\\\\&", regex); gsub(/\*/, "[^/]*", regex); gsub(/\?/, "[^/]", regex); gsub(/\[!/, "[^", regex)
      for (i = 1; i <= files; i++) {
        if (file[i] !~ ("^" regex "$")) continue
        for (j = ++found; j > 1 && list[j - 1] > file[i]; j--) list[j] = list[j - 1]
        list[j] = file[i]
      }
      for (i = 1; i <= found; i++) { name = list[i]; walk(name, level + 1) }
    }
    function walk(name, level,   n, rest, token, pattern) {
      if (level > 30) return
      for (n = 1; n <= lines[name]; n++) {
        rest = text[name, n]
        while (match(rest, /^[ \t\r]*("([^"\\]|\\.)*"|\047([^\047\\]|\\.)*\047|[;{}]|#.*|([^ \t\r;{}"\047#$]|\$\{[^}]*\}|\$)([^ \t\r;{}$]|\$\{[^}]*\}|\$)*)/)) {
          token = substr(rest, 1, RLENGTH); rest = substr(rest, RLENGTH + 1); sub(/^[ \t\r]+/, "", token)
          if (token == ";") {
            if (word[1] == "include" && words == 2) { pattern = word[2]; words = 0; include(pattern, level) } else ends()
          } else if (token == "{") {
            depth++
            if (depth == 1) http = (word[1] == "http")
            else if (http && !inside && word[1] == "server" && words == 1) { inside = depth; places = 0; names = ","; at = name }
            words = 0
          } else if (token == "}") { if (inside == depth && inside) server_ends(); depth--; words = 0 }
          else if (token !~ /^#/) { gsub(/^["\047]|["\047]$/, "", token); word[++words] = token }
        }
      }
    }
    /^# configuration file \/.*:$/ {
      now = substr($0, 22, length($0) - 22)
      if (!(now in lines)) file[++files] = now
      lines[now] = 0; own[now] = "no"
      next
    }
    {
      text[now, ++lines[now]] = $0
      if (lines[now] == 1 && index(now, enabled) == 1 && /^# lamplighter domain=[0-9]/) own[now] = "yes"
    }
    END {
      prefix = file[1]; sub(/[^\/]*$/, "", prefix)
      if (files) walk(file[1], 1)
    }' "$1"
}
# defaults: of what `listens` says on stdin, who answers on each place for names that nobody serves and for the bare address, and
# whether that is ours: "KEY FILE OWN", with tabs between.
defaults() {
  awk -F '\t' -v OFS='\t' '
    !($2 in who) { key[++keys] = $2; who[$2] = $1; own[$2] = $5 }
    $3 ~ /,default(_server)?,/ { who[$2] = $1; own[$2] = $5 }
    END { for (i = 1; i <= keys; i++) print key[i], who[key[i]], own[key[i]] }'
}

# others NAME DUMP FILE...: files, besides FILE..., with a server of this name on port 80 or 443.
others() {
  name=$1 dump=$2; shift 2
  listens "$dump" | awk -F '\t' -v name="$name" -v own=" $* " '
    $2 ~ /:(80|443)$/ && (index($4, "," name ",") || index($4, ",." name ",")) && !index(own, " " $1 " ") && !told[$1]++ { print $1 }' | head -n 20
}

# lone_http2 LINK: others speak TLS where LINK would, and none of them HTTP/2, which below nginx 1.25.1 is the socket's.
lone_http2() {
  listens "$TMP/dump" | awk -F '\t' -v link="$1" '
    $2 ~ /^(\*|\[::\]):443$/ && $1 != link && $3 ~ /,ssl,/ { if ($3 ~ /,http2,/) http2 = 1; if ($5 != "yes" && $1 !~ /\/lamplighter-default\.conf$/) theirs = 1 }
    END { exit !(theirs && !http2) }'
}

# --- who answers for what nobody named ------------------------------------------------------------------------------
# Whoever is read first on a socket, unless somebody says default_server. Where sites of ours are alone on one, that is a file of
# ours without a back end; it does not say default_server, or nginx would refuse that of whoever comes later.

DEFAULT_CONF=/etc/nginx/conf.d/lamplighter-default.conf
DEFAULT_KEYS='*:80 [::]:80 *:443 [::]:443' # a set of words

# will_be NAME [TEXT [OLD_NAME]]: the dump as it will be, in $TMP/wished: with TEXT, a file, as the site of NAME (none: without the
# site), without that of OLD_NAME, and without our default.
will_be() {
  {
    cat "$TMP/dump"
    printf '# configuration file %s:\n' "$ENABLED/$1.conf"
    [ -z "${2:-}" ] || cat "$2"
    [ -z "${3:-}" ] || printf '# configuration file %s:\n' "$ENABLED/$3.conf"
    printf '# configuration file %s:\n' "$DEFAULT_CONF"
  } >"$TMP/wished"
  listens "$TMP/dump" >"$TMP/listens"
  listens "$TMP/wished" >"$TMP/listens.wished"
  default_wish
}
# default_wish: after `will_be`, sets HAD and KEYS: where our default listens, and where it shall. Where somebody else is, too, it
# is only left where it is, and only when a site of ours would stand in for it.
default_wish() {
  HAD=$(awk -F '\t' -v conf="$DEFAULT_CONF" '$1 == conf { print $2 }' "$TMP/listens" | paste -sd ' ')
  defaults <"$TMP/listens.wished" >"$TMP/defaults.wished"
  KEYS=$(awk -F '\t' -v had=" $HAD " -v keys="$DEFAULT_KEYS" '
    FILENAME == ARGV[1] { by[$1] = $3; next }
    { if ($5 == "yes") ours[$2] = 1; else theirs[$2] = 1 }
    END {
      count = split(keys, key, " ")
      for (i = 1; i <= count; i++) { k = key[i]; if (ours[k] && (!theirs[k] || (index(had, " " k " ") && by[k] == "yes"))) print k }
    }' "$TMP/defaults.wished" "$TMP/listens.wished" | paste -sd ' ')
  [ -n "$KEYS" ] || return 0
  # Where sites are read before conf.d it would be no default, so it is left out.
  { cat "$TMP/wished"; default_conf; } >"$TMP/wished.default"
  late=$(listens "$TMP/wished.default" | defaults | awk -F '\t' -v conf="$DEFAULT_CONF" -v keys=" $KEYS " 'index(keys, " " $1 " ") && $2 != conf { print $1 }')
  [ -z "$late" ] || KEYS=''
}
# default_conf: its text for KEYS, with the words for TLS of a site of ours, for nginx takes some of them from the default.
default_conf() {
  echo '# Written by Lamplighter: answers for names that no site of this server has, as long as all sites are its own. Changes made here are overwritten.'
  for port in 80 443; do
    places=''
    case " $KEYS " in *" *:$port "*) places="$port" ;; esac
    case " $KEYS " in *" [::]:$port "*) places="$places [::]:$port" ;; esac
    [ -n "$places" ] || continue
    echo 'server {'
    for place in $places; do if [ "$port" = 443 ]; then echo "    listen $place ssl;"; else echo "    listen $place;"; fi; done
    printf '%s\n' '    server_name _;' '    server_tokens off;'
    if [ "$port" = 443 ]; then default_tls; fi
    printf '%s\n' '    return 404;' '}'
  done
}
DEFAULT_PAIR=/etc/nginx/lamplighter/default # .crt and .key, where nginx cannot do without
default_tls() {
  like=$(awk -F '\t' '$2 ~ /:443$/ && $5 == "yes" { print $1; exit }' "$TMP/listens.wished")
  awk -v site="# configuration file $like:" '
    /^# configuration file \/.*:$/ { here = ($0 == site); if (here) told = ""; next }
    here && /^ *ssl_(protocols|ciphers|prefer_server_ciphers|ecdh_curve|session_timeout|session_cache|session_tickets) / { told = told $0 "\n" }
    END { printf "%s", told }' "$TMP/wished"
  if rejects_handshakes; then echo '    ssl_reject_handshake on;'
  else printf '    %s;\n' "ssl_certificate $DEFAULT_PAIR.crt" "ssl_certificate_key $DEFAULT_PAIR.key"; fi
}
rejects_handshakes() { nginx_since 1019004; }

# shadows PORT...: after `will_be`, files of others that answer now for what nobody named and would not any more, with the port.
shadows() {
  defaults <"$TMP/listens" >"$TMP/defaults"
  awk -F '\t' -v ports=" $* " -v conf="$DEFAULT_CONF" '
    FILENAME == ARGV[1] { now[$1] = $2; own[$1] = $3; next }
    {
      port = $1; sub(/.*:/, "", port)
      if ($1 in now && index(ports, " " port " ") && own[$1] != "yes" && now[$1] != conf && now[$1] != $2 && !told[port now[$1]]++) print port, now[$1]
    }' "$TMP/defaults" "$TMP/defaults.wished"
}

# Those of TARGETS that this server knows from its own files, or completes to whole names: its name servers, whom nginx asks,
# do not know them, or know another address.
own_names() {
  for target in $TARGETS; do
    if getent -s files hosts "$target" >/dev/null; then echo "$target"
    elif ! timeout 5 getent -s dns ahosts "$target." >/dev/null && timeout 5 getent ahosts "$target" >/dev/null; then echo "$target"; fi
  done 9>&- | paste -sd ' '
}

# Files in /proc have no size.
has_ipv6() { grep -qs . /proc/net/if_inet6; }
# What decides how a site is written for this nginx.
nginx_kind() {
  build=$(nginx -V 2>&1)
  fact nginx_version "$(printf '%s\n' "$build" | sed -n 's/^nginx version: [^/]*\/\([0-9.]*\).*/\1/p')"
  fact nginx_openssl "$(printf '%s\n' "$build" | sed -n 's/^built with OpenSSL \([0-9.]*\).*/\1/p;s/.*(running with OpenSSL \([0-9.]*\).*/\1/p' | tail -n 1)"
  ! has_ipv6 || fact ipv6 yes
  fact own_names "$(own_names)"
}
