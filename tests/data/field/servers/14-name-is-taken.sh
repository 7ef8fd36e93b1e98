# Another file answers for the very name.
# deploy: foreign_site
# tells: foreign_site
# others: shop app
site shop "listen 80; server_name $D;"
