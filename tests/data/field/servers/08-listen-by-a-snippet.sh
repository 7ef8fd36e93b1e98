# What the implicit default listens on stands in a snippet.
# deploy: would_be_default
# tells: would_be_default
# others: shop
rm $ENABLED/default
echo 'listen 80;' >/etc/nginx/snippets/listen.conf
site shop 'include snippets/listen.conf;'
