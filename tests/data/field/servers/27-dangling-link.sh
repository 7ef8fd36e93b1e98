# A link of sites-enabled leads to nothing.
# deploy: nginx_red
# tells: nginx_red
ln -s ../sites-available/gone $ENABLED/gone
