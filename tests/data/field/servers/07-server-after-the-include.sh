# The implicit default stands in nginx.conf itself, after the include line.
# deploy: would_be_default
# tells: would_be_default
# others: shop
rm $ENABLED/default
sed -i "s|include /etc/nginx/sites-enabled.*|&\nserver { listen 80; server_name shop.$H.lab.test; return 200 shop; }|" $CONF
