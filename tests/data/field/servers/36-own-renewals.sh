# Another site renews its own certificate over its own folder.
# deploy: ok
# others: shop
certbot certonly --webroot -w /var/www/html -n --agree-tos --register-unsafely-without-email --server $ACME --cert-name shop -d shop.$H.lab.test >/dev/null 2>&1
site shop "listen 80; listen 443 ssl default_server; ssl_certificate /etc/letsencrypt/live/shop/fullchain.pem; ssl_certificate_key /etc/letsencrypt/live/shop/privkey.pem; location /.well-known/acme-challenge/ { root /var/www/html; }"
