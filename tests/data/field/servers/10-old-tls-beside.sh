# A neighbour on 443 still takes TLS 1.0 and 1.1.
# deploy: ok
# others: shop
pair
site shop "listen 80; listen 443 ssl http2 default_server; $TLS ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; ssl_ciphers ALL:@SECLEVEL=0;"
