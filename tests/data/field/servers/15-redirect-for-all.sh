# Port 80 sends everybody to a name on 443.
# deploy: ok
# others: shop
rm $ENABLED/default; pair
printf 'server { listen 80 default_server; return 301 https://shop.%s.lab.test$request_uri; }' $H >$ENABLED/000-redirect
site shop "listen 443 ssl default_server; $TLS"
