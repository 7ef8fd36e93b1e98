main() { :; }
