# A neighbour serves all names below the host.
# deploy: ok
# others: shop old7 any
site shop "listen 80; server_name *.$H.lab.test ~^old[0-9]+\\.$H\\.lab\\.test$;"
