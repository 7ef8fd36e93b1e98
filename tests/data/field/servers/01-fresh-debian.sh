# Debian's nginx as its package leaves it.
# deploy: ok
true
