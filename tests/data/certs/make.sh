#!/bin/sh
# Makes the certificates and keys beside it anew, with openssl 3. They belong to nobody: their keys are in the open.
# Valid for a hundred years, so that no test ends with them; certificates of chosen dates are made by the tests.
set -eu
cd "$(dirname "$0")"
rm -f ./*.pem
q() { "$@" 2>/dev/null; }

# A chain of three: root, intermediate, server.
q openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout root.key.pem -out root.pem -days 36500 \
  -subj "/O=Lantern Trust/CN=Lantern Root" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
q openssl req -newkey rsa:2048 -nodes -keyout ca.key.pem -out ca.csr -subj "/O=Lantern Trust/CN=R1"
printf 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n' > ext
q openssl x509 -req -in ca.csr -CA root.pem -CAkey root.key.pem -set_serial 0x1001 -days 36500 -extfile ext -out ca.pem

# issue NAME SUBJECT EXTENSIONS [openssl req arguments for the key]
issue() {
  name=$1 subject=$2; printf '%b' "$3" > ext; shift 3
  q openssl req -newkey "$@" -nodes -keyout "$name.key.pem" -out "$name.csr" -subj "$subject"
  q openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key.pem -set_serial 0x049a00e1 -days 36500 -extfile ext -out "$name.pem"
}
server='basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n'
issue ec "/CN=shop.example" "${server}subjectAltName=DNS:shop.example,DNS:*.Shop.Example,DNS:xn--e1afmkfd.example,IP:192.0.2.7,IP:2001:db8::7\n" ec -pkeyopt ec_paramgen_curve:P-256
issue rsa "/CN=rsa.example" "${server}subjectAltName=DNS:rsa.example\n" rsa:2048
issue weak "/CN=weak.example" "${server}subjectAltName=DNS:weak.example\n" rsa:1024
issue p521 "/CN=p521.example" "${server}subjectAltName=DNS:p521.example\n" ec -pkeyopt ec_paramgen_curve:P-521
issue ed25519 "/CN=ed.example" "${server}subjectAltName=DNS:ed.example\n" ed25519
issue nameless "/CN=nameless.example" "$server" ec -pkeyopt ec_paramgen_curve:P-256
issue mail "/CN=mail.example" "extendedKeyUsage=emailProtection\nsubjectAltName=DNS:mail.example\n" ec -pkeyopt ec_paramgen_curve:P-256
# Signed by a server that may not sign.
printf '%b' "${server}subjectAltName=DNS:below.example\n" > ext
q openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout below.key.pem -out below.csr -subj "/CN=below.example"
q openssl x509 -req -in below.csr -CA ec.pem -CAkey ec.key.pem -set_serial 7 -days 36500 -extfile ext -out below.pem
# Another authority of the same name.
q openssl req -x509 -newkey rsa:2048 -nodes -keyout twin.key.pem -out twin.pem -days 36500 -subj "/O=Lantern Trust/CN=R1" \
  -addext basicConstraints=critical,CA:TRUE
q openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout self.key.pem -out self.pem -days 36500 \
  -subj "/CN=self.example" -addext "subjectAltName=DNS:self.example"
# Names in old string types.
q openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout words.key.pem -out words.pem -days 36500 \
  -utf8 -subj "/O=Фонарь/CN=свет" -addext "subjectAltName=DNS:words.example"

# The same keys in the other forms that people have.
q openssl pkey -in rsa.key.pem -traditional -out rsa.pkcs1.key.pem
q openssl pkey -in ec.key.pem -traditional -out ec.sec1.key.pem
{ openssl ecparam -name prime256v1; cat ec.sec1.key.pem; } > ec.params.key.pem
q openssl pkey -in ec.key.pem -aes256 -passout pass:lantern -out locked.pkcs8.key.pem
q openssl rsa -in rsa.key.pem -aes256 -traditional -passout pass:lantern -out locked.pkcs1.key.pem
q openssl pkey -in ec.key.pem -pubout -out ec.public.pem
openssl req -in ec.csr -out request.pem
rm -f ./*.csr ext ca.key.pem root.key.pem twin.key.pem words.key.pem mail.csr
