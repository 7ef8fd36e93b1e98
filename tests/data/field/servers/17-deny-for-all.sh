# Addresses are denied for every site, at the level of http.
# deploy: ok|acme_wrong_address
# others: shop
printf 'deny 10.77.0.2;\n' >/etc/nginx/conf.d/deny.conf
site shop 'listen 80;'
