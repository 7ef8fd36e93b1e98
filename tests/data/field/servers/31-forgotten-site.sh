# sites-enabled is not read, and a forgotten file lies there.
# deploy: nginx_not_read
# tells: nginx_not_read
# others: shop
sed -i '/sites-enabled/d' $CONF; rm $ENABLED/default
echo 'server { listen 81; }' >$ENABLED/old.conf
printf 'server { listen 80; server_name shop.%s.lab.test; return 200 shop; }' $H >/etc/nginx/conf.d/default.conf
