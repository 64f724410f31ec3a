package tlsfiles_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/youmark/pkcs8"
	"go.uber.org/zap"

	"github.com/triwatch/triwatch/cmd/triwatch/tlsfiles"
	"github.com/triwatch/triwatch/sentinel/conf"
	"github.com/triwatch/triwatch/test/certs"
)

func authority(t *testing.T) *certs.Files {
	t.Helper()
	f, err := certs.Make(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func linesOf(f *certs.Files) conf.TLS {
	return conf.TLS{CertFile: f.Cert, KeyFile: f.Key, CAFile: f.CA, Replication: true}
}

func source(t *testing.T, c conf.TLS) *tlsfiles.Source {
	t.Helper()
	s, err := tlsfiles.New(c, "", zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shake connects a client and a server and returns what both saw.
func shake(t *testing.T, client, server *tls.Config) (serial string, err error) {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // nothing more comes
	done := make(chan error, 1)
	go func() {
		s, err := ln.Accept()
		if err == nil {
			_, err = io.WriteString(s, "x") // a client hears only then that its certificate is refused
			s.Close()                       //nolint:errcheck // the write counts
		}
		done <- err
	}()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close() //nolint:errcheck // only read from
	c := tls.Client(nc, client)
	_, err = io.ReadFull(c, make([]byte, 1))
	if err != nil {
		nc.Close() //nolint:errcheck // the server may wait for more
	}
	if e := <-done; e != nil {
		err = errors.Join(err, e)
	}
	if err != nil {
		return "", err
	}
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

// Who is signed by the trusted authority is let in, on each kind of connection, whatever
// names are in its certificate; who is not, is not.
func TestTrust(t *testing.T) {
	ours, others := authority(t), authority(t)
	us, them := source(t, linesOf(ours)), source(t, linesOf(others))
	nameless := ours.Client.Clone()
	nameless.Certificates, nameless.ServerName = nil, "localhost"
	for _, c := range []struct {
		name           string
		client, server *tls.Config
		good           bool
	}{
		{"a client with a certificate", ours.Client, us.Port(), true},
		{"a client without one", nameless, us.Port(), false},
		{"a client of others", others.Client, us.Port(), false},
		{"us to our Redis", us.Redis(), us.Port(), true},
		{"us to another's Redis", us.Redis(), them.Port(), false},
		{"two watchers", us.Peers(), us.Peers(), true},
		{"a watcher and another's", us.Peers(), them.Peers(), false},
		{"another's and a watcher", them.Peers(), us.Peers(), false},
		{"nobody and a watcher", nameless, us.Peers(), false},
	} {
		if _, err := shake(t, c.client, c.server); (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for how, good := range map[string]bool{"no": true, "optional": true, "yes": false} {
		lines := linesOf(ours)
		lines.AuthClients = how
		if _, err := shake(t, nameless, source(t, lines).Port()); (err == nil) != good {
			t.Errorf("tls-auth-clients %s, a client without a certificate: %v", how, err)
		}
	}
}

// Files that change count from then on; while they are wrong, the old ones do.
func TestRenewal(t *testing.T) {
	f := authority(t)
	s := source(t, linesOf(f))
	before, err := shake(t, f.Client, s.Port())
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(f.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Key, []byte("half of a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond) // it looks once a second
	if now, err := shake(t, f.Client, s.Port()); err != nil || now != before {
		t.Fatalf("with half of a key: %v, certificate %s, it was %s", err, now, before)
	}
	if err := errors.Join(os.WriteFile(f.Key, good, 0o600), f.Renew()); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		now, err := shake(t, f.Client, s.Port())
		if err != nil {
			t.Fatal(err)
		}
		if now != before {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the new certificate is not shown")
		}
	}
}

// Both kinds of encrypted keys that OpenSSL writes are read, with their password only.
func TestEncryptedKeys(t *testing.T) {
	f := authority(t)
	text, err := os.ReadFile(f.Key)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	der, err := pkcs8.MarshalPrivateKey(key, []byte("s3cret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	old, err := x509.EncryptPEMBlock(nopRand{}, "PRIVATE KEY", block.Bytes, []byte("s3cret"), x509.PEMCipherAES256) //nolint:staticcheck // what people's files hold
	if err != nil {
		t.Fatal(err)
	}
	for kind, b := range map[string]*pem.Block{"PKCS #8": {Type: "ENCRYPTED PRIVATE KEY", Bytes: der}, "old": old} {
		if err := os.WriteFile(f.Key, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
		for password, want := range map[string]string{"s3cret": "", "": "tls-key-file-pass", "wrong": "decrypt"} {
			lines := linesOf(f)
			lines.KeyPass = password
			_, err := tlsfiles.New(lines, "", zap.NewNop())
			if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret")) {
				t.Errorf("%s key, password %q: %v", kind, password, err)
			}
		}
	}
}

type nopRand struct{}

func (nopRand) Read(b []byte) (int, error) { return len(b), nil }

// What is wrong is said at the start, with the directive and the file.
func TestWrongFiles(t *testing.T) {
	f := authority(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*conf.TLS){
		"tls-cert-file: open nowhere":                 func(c *conf.TLS) { c.CertFile = "nowhere" },
		"no PEM block":                                func(c *conf.TLS) { c.KeyFile = empty },
		"there is none in":                            func(c *conf.TLS) { c.CAFile = empty },
		"tls-ca-cert-dir nowhere":                     func(c *conf.TLS) { c.CADir = "nowhere" },
		"tls-client-cert-file: open nowhere: no such": func(c *conf.TLS) { c.ClientCertFile, c.ClientKeyFile = "nowhere", f.Key },
	} {
		lines := linesOf(f)
		change(&lines)
		if _, err := tlsfiles.New(lines, "", zap.NewNop()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v is wanted to say %q", err, want)
		}
	}
	lines := linesOf(f)
	lines.CAFile, lines.CADir = "", filepath.Dir(f.CA)
	if _, err := shake(t, f.Client, source(t, lines).Port()); err != nil {
		t.Errorf("a directory of certificates: %v", err)
	}
}
