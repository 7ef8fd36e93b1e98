# cli.ini makes every run of certbot a dry one.
# deploy: acme_settings
# tells: acme_settings
# others: shop
mkdir -p /etc/letsencrypt; echo 'dry-run = true' >>/etc/letsencrypt/cli.ini
site shop 'listen 80;'
