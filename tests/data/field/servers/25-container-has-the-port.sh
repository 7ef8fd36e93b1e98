# The nginx of a container has port 80, Debian's is stopped.
# deploy: port_taken
# tells: port_taken
# others: shop
# tls: no
systemctl -q disable --now nginx; cp -L "$(command -v python3)" /opt/nginx; mkdir -p /srv/www; echo container >/srv/www/index.html
systemd-run -q --unit container /opt/nginx -m http.server 80 -d /srv/www; while ! ss -Hltn sport = :80 | grep -q .; do sleep 0.1; done
