# bundle-ask: which bundle would fit this server, and what of WANTED (programs that a recipe may install) it lacks. Changes
# nothing and needs no root. The programs are told by the same checks that the recipes make.

there() {
  case $1 in
    nginx) has_nginx ;;
    glances:*)
      SOURCE=${1#*:} GLANCES_VERSION=''
      # Wheels need no package but one; they come another way.
      glances_suits || { [ "$SOURCE" = wheels ] && installed python3-venv; } ;;
    openssl | certbot) command -v "$1" >/dev/null ;;
    *) installed "$1" ;;
  esac
}
check_lacks() {
  # shellcheck source=/dev/null
  fact suite "$(. /etc/os-release; printf '%s' "${VERSION_CODENAME:-}")"
  fact dpkg_arch "$(dpkg --print-architecture)"
  BUNDLE='' lacks=''
  for program in $WANTED; do there "$program" || lacks="$lacks $program"; done
  fact lacks "${lacks# }"
}

main() {
  set -u
  check system check_system
  check software check_lacks
  mark end
}
