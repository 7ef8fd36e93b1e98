# cli.ini stops nginx before each run of certbot.
# deploy: ok
# tells: acme_settings_timer
# others: shop
mkdir -p /etc/letsencrypt; printf 'pre-hook = systemctl stop nginx\npost-hook = systemctl start nginx\n' >>/etc/letsencrypt/cli.ini
site shop 'listen 80;'
