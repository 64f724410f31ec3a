package conf_test

import (
	"strings"
	"testing"

	"github.com/triwatch/triwatch/sentinel/conf"
)

func TestTLS(t *testing.T) {
	f, err := conf.Parse("sentinel.conf", strings.NewReader(`port 0
tls-port 26380
tls-cert-file cert.pem
tls-key-file "key file.pem"
tls-key-file-pass s3cret
tls-client-cert-file client.pem
tls-client-key-file client-key.pem
tls-ca-cert-file ca.pem
tls-ca-cert-dir /etc/ssl
tls-auth-clients Optional
tls-replication yes
tls-protocols "TLSv1.3 TLSv1.2"
tls-ciphers DEFAULT:!MEDIUM
tls-session-caching no
`))
	if err != nil {
		t.Fatal(err)
	}
	c := f.TLS
	for what, got := range map[string][2]string{
		"cert": {c.CertFile, "cert.pem"}, "key": {c.KeyFile, "key file.pem"}, "password": {c.KeyPass, "s3cret"},
		"client": {c.ClientCertFile, "client.pem"}, "client key": {c.ClientKeyFile, "client-key.pem"},
		"ca": {c.CAFile, "ca.pem"}, "dir": {c.CADir, "/etc/ssl"}, "clients": {c.AuthClients, "optional"},
		"protocols": {strings.Join(c.Protocols, " "), "TLSv1.3 TLSv1.2"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %q, not %q", what, got[0], got[1])
		}
	}
	if !c.Replication || c.Port != 26380 || len(f.Warnings) != 2 {
		t.Errorf("%+v, warnings %v", c, f.Warnings)
	}
	for _, w := range f.Warnings {
		if strings.Contains(w.String(), "s3cret") {
			t.Errorf("a warning has the password: %s", w)
		}
	}
}

// What others are told is the port under TLS if connections are made with it; the rest is
// named after the port without TLS, where there is one.
func TestPortsUnderTLS(t *testing.T) {
	const files = "tls-cert-file a\ntls-key-file b\ntls-ca-cert-file c\n"
	for text, want := range map[string][2]int{
		"":                             {26379, 26379},
		"port 7000\n":                  {7000, 7000},
		files + "port 0\ntls-port 1\n": {1, 1},
		files + "tls-port 7001\n":      {26379, 26379},
		files + "tls-port 7001\ntls-replication yes\n": {7001, 26379},
		files + "tls-replication yes\n":                {26379, 26379},
	} {
		f, err := conf.Parse("sentinel.conf", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]int{f.MainPort(), f.BasePort()}; got != want {
			t.Errorf("%q: %v, not %v", text, got, want)
		}
	}
}
