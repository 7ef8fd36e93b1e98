# deploy-proxy: a running nginx with the folders and the file that the sites of Lamplighter need.

check_nginx_test() { check_nginx_after; check_nginx_read "$NGINX_CONF"; }

main() {
  begin
  check system check_system
  step_nginx_before
  check port_80 check_port_80
  step nginx_package check_nginx_package install_nginx
  step nginx_dirs check_nginx_dirs make_nginx_dirs
  check nginx_reads check_nginx_reads
  step nginx_conf check_nginx_conf put_nginx_conf
  check nginx_test check_nginx_test
  step nginx_enabled check_nginx_enabled enable_nginx
  step nginx_running check_nginx_running run_nginx
  nginx_facts
}
