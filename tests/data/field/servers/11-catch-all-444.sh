# Somebody has a catch-all that says nothing, on both ports.
# deploy: ok
# others: shop
rm $ENABLED/default; pair
printf 'server { listen 80 default_server; listen 443 ssl default_server; server_name _; %s return 444; }' "$TLS" >$ENABLED/000-catch-all
site shop 'listen 80;'
