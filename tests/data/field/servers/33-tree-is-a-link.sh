# /etc/nginx is a link into a repository, and its folders are closed.
# deploy: ok
# others: shop
cp -a /etc/nginx /srv/nginx; rm -r /etc/nginx; ln -s /srv/nginx /etc/nginx; chmod 700 /srv/nginx
site shop 'listen 80;'
