# Is VALUE the password in the shadow file? Where sshd takes no passwords, this is the only proof.
hash=$(getent shadow "$ACCOUNT" | cut -d: -f2)
[ -n "$hash" ] || exit 3
printf '%s\n%s\n' "$hash" "$VALUE" | perl -e '
  chomp(my $hash = <STDIN>); chomp(my $value = <STDIN>);
  my $made = crypt($value, $hash);
  exit(defined $made && $made eq $hash ? 0 : 1)'
