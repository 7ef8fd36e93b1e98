# A load balancer speaks the PROXY protocol to port 80, and so must everybody on it.
# deploy: site_not_served
# tls: no
rm $ENABLED/default
site shop 'listen 80 default_server proxy_protocol;'
