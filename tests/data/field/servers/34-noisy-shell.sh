# The shell talks at login, sshd has a banner, and /tmp takes no programs.
# deploy: ok
# others: shop
printf 'echo welcome; echo 127 >&2\n' >>/root/.bashrc; printf 'Connection refused. Permission denied.\n' >/etc/issue.net
echo 'Banner /etc/issue.net' >>/etc/ssh/sshd_config; systemctl reload ssh; mount -t tmpfs -o noexec,nosuid tmpfs /tmp
site shop 'listen 80;'
