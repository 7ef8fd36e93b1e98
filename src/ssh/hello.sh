# Says who we are and what sudo gives us, then does nothing until told. `sh` has parsed all of this before it runs.
LC_ALL=C; export LC_ALL
read -r mark known
uid=$(id -u)
if [ "$uid" = 0 ]; then can=root
elif ! command -v sudo >/dev/null; then can=absent
elif [ -n "$known" ]; then can=$known
elif why=$(sudo -k -n true 2>&1 </dev/null); then can=free
else
  case $why in
    *'is required'*) can=password ;;
    *) can="refused $(printf %s "$why" | tr '\n' ' ')" ;;
  esac
fi
printf '\n%s hello %s %s\n' "$mark" "$uid" "$can"
# A sudo that lets nothing be started shows itself here: code 126, and the shell's own words.
next='eval "$(dd bs=4096 count=1 iflag=fullblock 2>/dev/null || echo "dd count=0; exit 126")"'
IFS= read -r go
case $go in
  user) eval "$next" ;;
  free)
    sudo -k -n -- /bin/sh -c "$next"
    printf '\n%s denied %s\n' "$mark" "$?" ;;
  password)
    IFS= read -r password
    # sudo's stdin holds the password and ends: after a wrong one there is nothing it could take for a second and third
    # try. What it starts reads on from ours, through a pipe: a socket cannot be opened by its place in /proc.
    cat | {
      read -r pid _ </proc/self/stat
      printf '%s\n' "$password" | sudo -k -S -p '' -- /bin/sh -c "exec </proc/$pid/fd/0; $next"
      printf '\n%s denied %s\n' "$mark" "$?"
    } ;;
esac
