# The sites are included twice.
# deploy: nginx_read_twice
# tells: nginx_read_twice
rm $ENABLED/default
echo 'include /etc/nginx/sites-enabled/*;' >/etc/nginx/conf.d/00-sites.conf
