# Basic auth for every site, at the level of http.
# deploy: ok
# others: shop
echo 'me:{PLAIN}secret' >/etc/nginx/users; printf 'auth_basic closed;\nauth_basic_user_file /etc/nginx/users;\n' >/etc/nginx/conf.d/auth.conf
site shop 'listen 80;'
