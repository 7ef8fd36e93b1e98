# The layout of nginx's own package: conf.d/default.conf, and no sites-enabled.
# deploy: ok
# others: localhost
sed -i '/sites-enabled/d' $CONF; rm -r $ENABLED /etc/nginx/sites-available
printf 'server { listen 80; server_name localhost; location / { root /var/www/html; index index.nginx-debian.html; } }' >/etc/nginx/conf.d/default.conf
