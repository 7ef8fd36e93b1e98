# Sites are files named *.vhost, and nothing else is read.
# deploy: would_be_default
# tells: would_be_default
# others: shop
rm $ENABLED/default
sed -i 's|sites-enabled/\*;|sites-enabled/*.vhost;|' $CONF
site shop.vhost 'listen 80;'
