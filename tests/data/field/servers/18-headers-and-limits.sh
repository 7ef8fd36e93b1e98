# Headers, pages of errors, limits and a map of upgrades at the level of http.
# deploy: ok
# others: shop
printf 'add_header X-Theirs yes;\nproxy_set_header Host theirs;\nerror_page 404 /404.html;\nlimit_req_zone $binary_remote_addr zone=z:1m rate=50r/s;\nmap $http_upgrade $connection_upgrade { default upgrade; "" close; }\nssl_session_cache shared:SSL:10m;\nclient_max_body_size 1k;\n' >/etc/nginx/conf.d/theirs.conf
site shop 'listen 80;'
