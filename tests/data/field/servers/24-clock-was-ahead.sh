# All files of nginx are dated two years ahead.
# deploy: ok
# others: shop
site shop 'listen 80;'
find /etc/nginx -exec touch -h -d '2 years' {} +
