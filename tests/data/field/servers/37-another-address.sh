# A neighbour listens on the server's address, not on all of them.
# deploy: site_not_served
# others: shop
pair
site shop "listen $A:8080; listen $A:443 ssl; $TLS"
