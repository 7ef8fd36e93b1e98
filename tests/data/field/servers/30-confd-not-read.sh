# nginx.conf has sites of its own and includes nothing.
# deploy: nginx_not_read
# tells: nginx_not_read
# others: shop
sed -i '/conf.d\/\*/d;/sites-enabled/d' $CONF; sed -i "s|^http {|http { server { listen 80; server_name shop.$H.lab.test; return 200 shop; }|" $CONF
