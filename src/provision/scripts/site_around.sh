# Everybody else on the ports of a site, asked before and after the change: who answers for a name that nobody has and for the
# bare address, and with which certificate, protocol and version each other site of port 443 is reached.

NOBODY=nobody.lamplighter.invalid AROUND_MAX=8

# told_by HOST: what port 80 says, as far as it tells who answers: the status, and where it sends. "?" when it takes too long.
told_by() {
  RC=0; answer=$(ask "$1" / 2) || RC=$?
  [ "$RC" != 124 ] || { echo '?'; return 0; }
  printf '%s\n' "$answer" | tr -d '\r' | awk '
    NR == 1 { status = $2 }
    $0 == "" { exit }
    tolower($1) == "location:" { where = $2; sub(/[?#].*/, "", where) }
    END { print (status ~ /^[0-9]+$/ ? "status " status : "nothing") (where == "" ? "" : " to " where) }'
}
# plain_of HOST: the same when it is the same twice; "this site" when the text that has the proof $2 $3 answers.
plain_of() {
  if [ -n "${3:-}" ] && proves "$1" "$2" "$3"; then echo 'this site'; return 0; fi
  one=$(told_by "$1")
  if [ "$one" = "$(told_by "$1")" ]; then echo "$one"; else echo '?'; fi
}
# tls_of [NAME]: the certificate, what is spoken, and which older versions are. "?" when one of them takes too long.
tls_of() {
  where=$ADDRESS; case $where in *:*) where="[$where]" ;; esac
  if [ -n "${1:-}" ]; then set -- -servername "$1"; else set -- -noservername; fi
  shake "$@" -alpn h2,http/1.1 || { echo '?'; return 0; }
  said=$(sed -n 's/^New, \(TLS[^,]*\),.*/\1/p' "$TMP/tls")
  [ -n "$said" ] || { echo refused; return 0; }
  leaf=$(sed -n '/^-----BEGIN CERTIFICATE/,/^-----END CERTIFICATE/p;/^-----END CERTIFICATE/q' "$TMP/tls" | sha256sum | cut -c 1-12)
  said="$said$(sed -n 's/^ALPN protocol: / with /p' "$TMP/tls")"
  for old in 1_2 1_1; do
    shake "$@" "-tls$old" -cipher 'ALL:@SECLEVEL=0' || { echo '?'; return 0; }
    ! grep -q '^New, TLS' "$TMP/tls" || said="$said, TLS $(echo "$old" | tr _ .)"
  done
  echo "certificate $leaf, $said"
}
# shake OPTION...: a handshake, in $TMP/tls. The system's own authorities are not read, which takes longer than all the rest.
shake() {
  RC=0; timeout 4 openssl s_client -connect "$where:443" -no-CAfile -no-CApath "$@" </dev/null >"$TMP/tls" 2>/dev/null 9>&- || RC=$?
  [ "$RC" != 124 ]
}

# see_around: after `will_be`: notes whom to ask ("PORT NAME" in $TMP/around, the bare address as "-"), and asks. Only where
# somebody else is on the socket, and nothing of ours has stood or will stand in for him.
see_around() {
  : >"$TMP/around"
  active nginx.service || return 0
  case $ADDRESS in *:*) place='[::]' ;; *) place='*' ;; esac
  ports=80; if [ "$CERT" != none ] && command -v openssl >/dev/null; then ports='80 443'; fi
  awk -F '\t' -v place="$place" -v ports=" $ports " -v conf="$DEFAULT_CONF" -v nobody="$NOBODY" -v most="$AROUND_MAX" '
    $1 == conf { had[$2] = 1; next }
    $5 == "yes" || index($2, place ":") != 1 { next }
    { port = substr($2, length(place) + 2); if (!index(ports, " " port " ")) next; theirs[port] = 1 }
    port == 443 && $3 ~ /,ssl,/ {
      count = split($4, name, ",")
      for (i = 1; i <= count; i++) if (name[i] ~ /^[a-z0-9.-]+\.[a-z0-9-]+$/ && name[i] !~ /^\./ && asked < most && !told[name[i]]++) { asked++; print 443, name[i] }
    }
    END { for (port in theirs) if (!had[place ":" port]) { print port, nobody; print port, "-" } }' "$TMP/listens" >"$TMP/around"
  # shellcheck disable=SC2086  # path and body
  around ${BEFORE#* } >"$TMP/around.before"
}
# around [PATH BODY]: a line of answer for each of those in $TMP/around.
around() {
  while read -r port name; do
    case $port:$name in
      80:-) plain_of "$ADDRESS" "$@" ;;
      80:*) plain_of "$name" "$@" ;;
      443:-) tls_of ;;
      *) tls_of "$name" ;;
    esac
  done <"$TMP/around"
}
# around_differs: the first of them who is answered otherwise now, as a sentence.
around_differs() {
  around "$PROOF" "$PROOF_BODY" >"$TMP/around.after"
  paste "$TMP/around" "$TMP/around.before" "$TMP/around.after" | awk -F '\t' -v nobody="$NOBODY" '
    $2 == $3 || $3 == "?" || ($2 == "?" && $3 != "this site") { next }
    {
      split($1, word, " ")
      what = word[2] == nobody ? "A name that nobody serves" : word[2] == "-" ? "The bare address" : word[2]
      print what " was answered on port " word[1] " with “" $2 "”, and now it is with “" $3 "”."
      exit
    }'
}
check_site_neighbours() {
  [ -s "$TMP/around" ] || return 0
  tries=0
  while differs=$(around_differs); [ -n "$differs" ]; do
    tries=$((tries + 1))
    if [ "$tries" = 4 ]; then
      # It stood in the plan, and a person has said yes.
      if [ -s "$TMP/shadows" ]; then echo "$differs"; return 0; fi
      fail neighbour_changed "$differs Nobody has asked for that."
    fi
    sleep 0.5
  done
}
