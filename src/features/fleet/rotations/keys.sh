# Adds the key ADD to ACCOUNT's authorized_keys, with the options that the line of the key LIKE has, and takes the key DROP
# off it. Either may be empty. It works as that account: nothing of its folder is followed as root.
edit='
add=$1 like=$2 drop=$3
home=$(getent passwd "$(id -u)" | cut -d: -f6)
d=$home/.ssh f=$d/authorized_keys
if [ -L "$d" ] || [ -L "$f" ]; then echo "$f is a symbolic link: that is left to whoever made it" >&2; exit 21; fi
umask 077
mkdir -p "$d" || exit 22
exec 9>"$d/.lamplighter.lock" || exit 22
flock -w 20 9 || { echo "another program holds $d/.lamplighter.lock" >&2; exit 22; }
t=$(mktemp "$d/.authorized_keys.XXXXXX") || exit 22
u=$t.new
trap "rm -f \"$t\" \"$u\"" EXIT
if [ -e "$f" ]; then cp -p "$f" "$t" || exit 22; fi
changed=
if [ -n "$add" ] && ! grep -qF -- "$add" "$t"; then
  options=
  if [ -n "$like" ]; then
    line=$(grep -F -- "$like" "$t" | grep -v "^[[:space:]]*#" | head -n 1)
    options=${line%%"$like"*}
  fi
  if [ -s "$t" ] && [ -n "$(tail -c 1 "$t")" ]; then echo >>"$t" || exit 22; fi
  printf "%s\n" "$options$add" >>"$t" || exit 22
  changed=1
fi
if [ -n "$drop" ] && grep -qF -- "$drop" "$t"; then
  cp -p "$t" "$u" || exit 22
  grep -vF -- "$drop" "$t" >"$u"
  [ $? -le 1 ] || exit 22
  mv -f "$u" "$t" || exit 22
  changed=1
fi
[ -n "$changed" ] || exit 0
sync "$t" || exit 22
mv -f "$t" "$f" || exit 22
echo changed
'
if [ "$(id -un)" = "$ACCOUNT" ]; then
  sh -c "$edit" sh "$ADD" "$LIKE" "$DROP"
else
  getent passwd "$ACCOUNT" >/dev/null || { echo "there is no account $ACCOUNT" >&2; exit 23; }
  runuser -u "$ACCOUNT" -- sh -c "$edit" sh "$ADD" "$LIKE" "$DROP"
fi
