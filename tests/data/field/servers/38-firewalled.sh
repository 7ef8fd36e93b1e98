# ufw lets in ssh and the two ports alone.
# deploy: ok
# others: shop
ufw allow 22/tcp >/dev/null; ufw allow 80/tcp >/dev/null; ufw allow 443/tcp >/dev/null; ufw --force enable >/dev/null
site shop 'listen 80;'
