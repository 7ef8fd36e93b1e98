# No site says default_server; the first one that is read stands in, and would come after ours.
# deploy: would_be_default
# tells: would_be_default
# others: shop
rm $ENABLED/default; pair
site shop "listen 80; listen 443 ssl; $TLS"
