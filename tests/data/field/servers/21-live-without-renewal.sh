# live/ was copied from another server, without its renewal files.
# deploy: ok
# tells: lineage_leftovers
pair; mkdir -p /etc/letsencrypt/live/lamplighter-$D; cp /etc/ssl/own.pem /etc/letsencrypt/live/lamplighter-$D/fullchain.pem; cp /etc/ssl/own.key /etc/letsencrypt/live/lamplighter-$D/privkey.pem
