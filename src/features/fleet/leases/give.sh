# Makes the account ACCOUNT with the password VALUE, in the GROUPS (with commas). NOTE says whose it is.
command -v useradd >/dev/null && command -v chpasswd >/dev/null || { echo "useradd or chpasswd is missing (package passwd)" >&2; exit 20; }
if getent passwd "$ACCOUNT" >/dev/null; then echo "there is an account $ACCOUNT already" >&2; exit 21; fi
for g in $(printf %s "$GROUPS_WANTED" | tr ',' ' '); do
  getent group "$g" >/dev/null || { echo "there is no group $g" >&2; exit 22; }
done
useradd -m -s /bin/bash -c "$NOTE" ${GROUPS_WANTED:+-G "$GROUPS_WANTED"} -- "$ACCOUNT" || exit 23
out=$(printf '%s:%s\n' "$ACCOUNT" "$VALUE" | chpasswd 2>&1) || { printf '%s\n' "$out" | head -n 3 >&2; exit 24; }
