# /var/www is closed to all but its owner.
# deploy: ok|acme_wrong_address|site_not_served|step_failed
# others: shop
chmod 750 /var/www
site shop 'listen 80;'
