# A certificate by our name is for two other names.
# deploy: ok
# tells: lineage_foreign
# others: shop
pair
certbot certonly --webroot -w /var/www/html -n --agree-tos --register-unsafely-without-email --server $ACME --cert-name $D -d shop.$H.lab.test -d mail.$H.lab.test >/dev/null 2>&1
site shop "listen 80; listen 443 ssl default_server; ssl_certificate /etc/letsencrypt/live/$D/fullchain.pem; ssl_certificate_key /etc/letsencrypt/live/$D/privkey.pem;"
