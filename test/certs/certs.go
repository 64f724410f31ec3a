// Package certs makes certificates for tests: an authority of its own, and one certificate
// for servers and clients on loopback, as PEM files.
//
// # The caller's duties
//
// The directory must exist; its files are the caller's to take away. They are good for a day.
//
// # Glossary
//
// CA: the authority, which signs the rest.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Files are the paths of what was made.
type Files struct {
	CA, Cert, Key string
	// Client trusts CA and shows the certificate.
	Client *tls.Config

	dir string
	ca  *x509.Certificate
	key *ecdsa.PrivateKey
}

// Make makes an authority and a certificate in a directory.
func Make(dir string) (*Files, error) {
	f := &Files{dir: dir, CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	var err error
	if f.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	t := template("test authority")
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, f.key.Public(), f.key)
	if err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	if f.ca, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	if err := write(f.CA, "CERTIFICATE", der); err != nil {
		return nil, err
	}
	return f, f.Renew()
}

// Renew makes another certificate in the same files, signed by the same authority.
func (f *Files) Renew() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	t := template("127.0.0.1")
	t.IPAddresses, t.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"}
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, f.ca, key.Public(), f.key)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	if err := write(f.Key, "PRIVATE KEY", private); err != nil {
		return err
	}
	if err := write(f.Cert, "CERTIFICATE", der); err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(f.ca)
	f.Client = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair}, ServerName: "localhost"}
	return nil
}

func template(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)}
}

func write(path, kind string, der []byte) error {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		return fmt.Errorf("write a certificate: %w", err)
	}
	return nil
}

// Lines are the lines of a redis.conf or sentinel.conf that use the files.
func (f *Files) Lines() [][2]string {
	return [][2]string{{"tls-cert-file", f.Cert}, {"tls-key-file", f.Key}, {"tls-ca-cert-file", f.CA}, {"tls-replication", "yes"}}
}
