# The sites are included by a file of conf.d, not by nginx.conf.
# deploy: ok
# others: shop
# first: ours, for no file of conf.d can be read before it
site shop 'listen 80 default_server;'
rm $ENABLED/default
sed -i '/sites-enabled/d' $CONF; echo 'include /etc/nginx/sites-enabled/*;' >/etc/nginx/conf.d/00-sites.conf
