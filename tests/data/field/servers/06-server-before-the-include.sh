# The implicit default stands in nginx.conf itself, before the include line.
# deploy: ok
# others: shop
rm $ENABLED/default
sed -i "s|include /etc/nginx/conf.d.*|server { listen 80; server_name shop.$H.lab.test; return 200 shop; }\n&|" $CONF
