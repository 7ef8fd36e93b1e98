# Which Glances is on this server. Nothing is started to find out: a program of somebody else must not run as root.

# glances_find: sets GLANCES and GLANCES_VERSION. A Glances 4 or newer from PyPI (venv in /opt/glances, or installed into
# /usr/local) goes before Debian's.
glances_find() {
  for dir in /opt/glances/lib/python3*/site-packages /usr/local/lib/python3*/dist-packages /usr/local/lib/python3*/site-packages; do
    for info in "$dir"/[Gg]lances-[4-9]*.dist-info; do
      [ -d "$info" ] || continue
      GLANCES=${dir%%/lib/python3*}/bin/glances
      [ -x "$GLANCES" ] || continue
      info=${info##*/[Gg]lances-}; GLANCES_VERSION=${info%.dist-info}
      return 0
    done
  done
  GLANCES=/usr/bin/glances GLANCES_VERSION=''
  [ -x "$GLANCES" ] && package glances && GLANCES_VERSION=$VALUE
}
