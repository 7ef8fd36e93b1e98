# A catch-all rejects handshakes for unknown names.
# deploy: ok
# others: shop
printf 'server { listen 443 ssl default_server; server_name _; ssl_reject_handshake on; }' >$ENABLED/000-catch-all
site shop 'listen 80;'
