# A neighbour on 443 does not speak HTTP/2, and takes TLS 1.2 alone.
# deploy: ok
# others: shop
pair
site shop "listen 80; listen 443 ssl default_server; $TLS ssl_protocols TLSv1.2;"
