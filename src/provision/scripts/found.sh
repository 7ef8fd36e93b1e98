# Which Glances is on this server. Nothing is started to find out: a program of somebody else must not run as root.

# Ours, where the release has none: a Python environment that begins with our mark and ends with where it came from.
VENV=/opt/lamplighter-glances
venv_works() { # complete, and made for the Python that is there: a new release brings another
  [ -f "$VENV/from" ] && python=$(readlink -f "$VENV/bin/python3") && [ -x "$python" ] && [ -d "$VENV/lib/${python##*/}" ]
}

# glances_find: sets GLANCES, GLANCES_VERSION and GLANCES_LIB, where its code lies. SOURCE: "package" looks for the
# distribution's alone, "wheels" for ours. Else ours, then a Glances 4 or newer from PyPI (venv in /opt/glances, or installed
# into /usr/local), then the distribution's.
# shellcheck disable=SC2034  # for whoever asks
glances_find() {
  set -- "$VENV"/lib/python3*/site-packages
  [ "${SOURCE:-auto}" = wheels ] || set -- "$@" /opt/glances/lib/python3*/site-packages /usr/local/lib/python3*/dist-packages /usr/local/lib/python3*/site-packages
  [ "${SOURCE:-auto}" != package ] || set --
  for dir; do
    for info in "$dir"/[Gg]lances-[3-9]*.dist-info; do
      [ -d "$info" ] || continue
      GLANCES=${dir%%/lib/python3*}/bin/glances
      [ -x "$GLANCES" ] || continue
      info=${info##*/[Gg]lances-} info=${info%.dist-info}
      case $GLANCES:$info in
        "$VENV"/*) venv_works || continue ;;
        *:3*) continue ;;
      esac
      GLANCES_VERSION=$info GLANCES_LIB=$dir/glances
      return 0
    done
  done
  GLANCES=/usr/bin/glances GLANCES_VERSION='' GLANCES_LIB=/usr/lib/python3/dist-packages/glances
  [ "${SOURCE:-auto}" != wheels ] && [ -x "$GLANCES" ] && package glances && GLANCES_VERSION=$VALUE
}

# The web server's own library is only a recommended package: bottle for Glances 3, uvicorn and jinja2 for 4.
web_packages() { case $1 in [0-3].*) echo python3-bottle ;; *) echo python3-uvicorn python3-jinja2 ;; esac; }
# glances_suits: what is there will do for SOURCE and BUNDLE.
# shellcheck disable=SC2046  # a list of packages
glances_suits() {
  [ -n "${GLANCES_VERSION:-}" ] || glances_find || return 1
  case $GLANCES in
    /usr/bin/glances) installed $(web_packages "$GLANCES_VERSION") ;;
    "$VENV"/*) [ -z "$BUNDLE" ] || [ "$(cat "$VENV/from")" = "bundle $BUNDLE" ] ;;
  esac
}
# Where what is there came from.
glances_from() {
  case $GLANCES in "$VENV"/*) cat "$VENV/from" ;; /usr/bin/glances) echo package ;; *) echo "${GLANCES%/bin/glances}" ;; esac
}
# Where an installation would take it from: "package VERSION" or "wheels". Nothing while no package is known at all: a new
# server reads its lists at the first installation.
glances_next() {
  next=$(candidate glances) || :
  if [ -n "$next" ]; then next=${next#*:}; echo "package ${next%%[-+]*}"; return 0; fi
  ! candidate python3 >/dev/null || echo wheels
}
