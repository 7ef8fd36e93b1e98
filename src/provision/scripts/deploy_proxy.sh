# deploy-proxy: a running nginx with the folders and the file that the sites of Lamplighter need.

look_nginx_test() { look_nginx_after; look_nginx_read "$NGINX_CONF"; }

main() {
  begin
  look system look_system
  step_nginx_before
  look port_80 look_port_80
  step nginx_package look_nginx_package install_nginx
  step nginx_dirs look_nginx_dirs make_nginx_dirs
  look nginx_reads look_nginx_reads
  step nginx_conf look_nginx_conf put_nginx_conf
  look nginx_test look_nginx_test
  step nginx_enabled look_nginx_enabled enable_nginx
  step nginx_running look_nginx_running run_nginx
  nginx_facts
}
