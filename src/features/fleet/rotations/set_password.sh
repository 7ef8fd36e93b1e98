# One account a call: of several, those before a bad one would be changed.
out=$(printf '%s:%s\n' "$ACCOUNT" "$VALUE" | chpasswd 2>&1)
rc=$?
printf '%s\n' "$out" | head -n 5
exit "$rc"
