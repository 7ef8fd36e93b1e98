# nginx was compiled, with a tree of its own and a unit of the admin.
# deploy: nginx_not_read
# tells: nginx_not_read
# others: shop
# tls: no
systemctl -q stop nginx; mkdir -p /usr/local/nginx/sbin /usr/local/nginx/conf /usr/local/nginx/logs; cp /usr/sbin/nginx /usr/local/nginx/sbin/
printf 'pid /run/nginx.pid;\nevents {}\nhttp { access_log off; server { listen 80 default_server; return 200 compiled; } }\n' >/usr/local/nginx/conf/nginx.conf
printf '[Unit]\nAfter=network.target\n[Service]\nType=forking\nPIDFile=/run/nginx.pid\nExecStart=/usr/local/nginx/sbin/nginx -c /usr/local/nginx/conf/nginx.conf\nExecReload=/usr/local/nginx/sbin/nginx -c /usr/local/nginx/conf/nginx.conf -s reload\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/nginx.service
systemctl daemon-reload; systemctl -q start nginx
