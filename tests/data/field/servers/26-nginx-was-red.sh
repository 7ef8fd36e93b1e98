# nginx runs, but a file of somebody is faulty.
# deploy: nginx_red
# tells: nginx_red
# others: shop
site shop 'listen 80;'
echo 'server { lisen 81; }' >$ENABLED/theirs
