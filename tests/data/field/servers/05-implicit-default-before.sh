# The same, but it is read before ours.
# deploy: ok
# others: shop
rm $ENABLED/default; pair
site a-shop "listen 80; listen 443 ssl; $TLS"
