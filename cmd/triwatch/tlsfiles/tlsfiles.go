// Package tlsfiles makes TLS configurations out of the tls-* lines of a sentinel.conf.
//
// What they mean is what they mean in Redis: a certificate is good if it is signed by one of
// the trusted ones; names in it are not compared with addresses, which come and go. Files
// that change are read again within a second, for connections that are made from then on;
// while they cannot be read, what was read last goes on to count.
//
// # The caller's duties
//
// New reads all files once, so that what is wrong is said at the start. A Source lives as
// long as the program; its methods and what they return are safe for concurrent use.
//
// # Glossary
//
// Port: where clients of the Sentinel protocol come in. Peers: the other watchers, where
// both sides show a certificate.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/triwatch/triwatch/sentinel/conf"
)

// lookEvery is how often files are looked at again.
const lookEvery = time.Second

// Source is a set of files.
type Source struct {
	conf conf.TLS
	dir  string
	log  *zap.Logger
	min  uint16
	max  uint16

	mu      sync.Mutex
	looked  time.Time
	stamps  map[string]stamp
	failing string
	now     *material
}

// material is what the files held when they were read.
type material struct {
	server, client *tls.Certificate // client is server's where there is no other
	roots          *x509.CertPool   // nil: nobody's certificate is looked at
	port           *tls.Config
}

// stamp tells whether a file is another than before.
type stamp struct {
	changed time.Time
	size    int64
}

// New reads all files of t, whose relative paths are below dir. The error names the line's
// directive and the file.
func New(t conf.TLS, dir string, log *zap.Logger) (*Source, error) {
	s := &Source{conf: t, dir: dir, log: log, min: tls.VersionTLS12}
	if len(t.Protocols) > 0 {
		if !slices.Contains(t.Protocols, "TLSv1.2") {
			s.min = tls.VersionTLS13
		}
		if !slices.Contains(t.Protocols, "TLSv1.3") {
			s.max = tls.VersionTLS12
		}
	}
	s.stamps = s.look()
	m, err := s.read()
	if err != nil {
		return nil, err
	}
	s.now, s.looked = m, time.Now()
	return s, nil
}

// Port is the configuration of the Sentinel port.
func (s *Source) Port() *tls.Config {
	return &tls.Config{MinVersion: s.min, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return s.current().port, nil
	}}
}

// Redis is the configuration for connections to Redis, nil if they are made without TLS.
// A nil Source has none.
func (s *Source) Redis() *tls.Config {
	if s == nil || !s.conf.Replication {
		return nil
	}
	return s.dialing(x509.ExtKeyUsageServerAuth)
}

// Peers is the configuration of both ends of connections between watchers, nil as that of
// Redis is.
func (s *Source) Peers() *tls.Config {
	if s == nil || !s.conf.Replication {
		return nil
	}
	c := s.dialing(x509.ExtKeyUsageAny)
	c.ClientAuth = tls.RequireAnyClientCert // VerifyConnection looks at it
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.current().server, nil }
	return c
}

func (s *Source) dialing(usage x509.ExtKeyUsage) *tls.Config {
	return &tls.Config{
		MinVersion: s.min, MaxVersion: s.max,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.current().client, nil },
		InsecureSkipVerify:   true, //nolint:gosec // names are not compared, as Redis does not; the rest is done by VerifyConnection
		VerifyConnection:     func(c tls.ConnectionState) error { return s.verify(c.PeerCertificates, usage) },
	}
}

// verify checks the other side's certificate without its names.
func (s *Source) verify(chain []*x509.Certificate, usage x509.ExtKeyUsage) error {
	roots := s.current().roots
	if roots == nil || len(chain) == 0 {
		return errors.New("there is no trusted certificate, or none was shown")
	}
	o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{usage}}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(o)
	return err
}

// current is what counts now.
func (s *Source) current() *material {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) < lookEvery {
		return s.now
	}
	s.looked = time.Now()
	stamps := s.look()
	if sameStamps(stamps, s.stamps) {
		return s.now
	}
	m, err := s.read()
	if err != nil {
		if s.failing != err.Error() {
			s.failing = err.Error()
			s.log.Warn("TLS files have changed and cannot be used; what was read before goes on to count", zap.Error(err))
		}
		return s.now
	}
	s.now, s.stamps, s.failing = m, stamps, ""
	s.log.Info("TLS files have changed and count for connections from now on")
	return m
}

func sameStamps(a, b map[string]stamp) bool {
	if len(a) != len(b) {
		return false
	}
	for name, x := range a {
		if y, ok := b[name]; !ok || !x.changed.Equal(y.changed) || x.size != y.size {
			return false
		}
	}
	return true
}

// look stamps all files.
func (s *Source) look() map[string]stamp {
	out := map[string]stamp{}
	for _, name := range []string{s.conf.CertFile, s.conf.KeyFile, s.conf.ClientCertFile, s.conf.ClientKeyFile, s.conf.CAFile} {
		if name != "" {
			out[name] = stampOf(s.path(name))
		}
	}
	for _, name := range s.directory() {
		out[name] = stampOf(name)
	}
	return out
}

func stampOf(path string) stamp {
	i, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{i.ModTime(), i.Size()}
}

func (s *Source) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.dir, name)
}

// directory lists the files of tls-ca-cert-dir.
func (s *Source) directory() []string {
	if s.conf.CADir == "" {
		return nil
	}
	entries, err := os.ReadDir(s.path(s.conf.CADir))
	if err != nil {
		return nil // read says so
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() {
			out = append(out, filepath.Join(s.path(s.conf.CADir), e.Name()))
		}
	}
	return out
}

func (s *Source) read() (*material, error) {
	m := &material{}
	var err error
	if m.server, err = s.pair("tls-cert-file", s.conf.CertFile, s.conf.KeyFile, s.conf.KeyPass); err != nil {
		return nil, err
	}
	m.client = m.server
	if s.conf.ClientCertFile != "" {
		if m.client, err = s.pair("tls-client-cert-file", s.conf.ClientCertFile, s.conf.ClientKeyFile, s.conf.ClientKeyPass); err != nil {
			return nil, err
		}
	}
	if m.roots, err = s.trusted(); err != nil {
		return nil, err
	}
	m.port = &tls.Config{MinVersion: s.min, MaxVersion: s.max, Certificates: []tls.Certificate{*m.server}, ClientCAs: m.roots}
	switch s.conf.AuthClients {
	case "no":
	case "optional":
		m.port.ClientAuth = tls.VerifyClientCertIfGiven
	default:
		m.port.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return m, nil
}

func (s *Source) pair(directive, certFile, keyFile, password string) (*tls.Certificate, error) {
	certs, err := os.ReadFile(s.path(certFile))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", directive, err)
	}
	key, err := os.ReadFile(s.path(keyFile))
	if err != nil {
		return nil, fmt.Errorf("%s: key: %w", directive, err)
	}
	if key, err = plainKey(key, password); err != nil {
		return nil, fmt.Errorf("%s: key %s: %w", directive, keyFile, err)
	}
	pair, err := tls.X509KeyPair(certs, key)
	if err != nil {
		return nil, fmt.Errorf("%s %s with key %s: %w", directive, certFile, keyFile, err)
	}
	return &pair, nil
}

func (s *Source) trusted() (*x509.CertPool, error) {
	names := s.directory()
	if s.conf.CADir != "" && len(names) == 0 {
		return nil, fmt.Errorf("tls-ca-cert-dir %s: no file can be read there", s.conf.CADir)
	}
	if s.conf.CAFile != "" {
		names = append(names, s.path(s.conf.CAFile))
	}
	if len(names) == 0 {
		return nil, nil
	}
	pool, any := x509.NewCertPool(), false
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("trusted certificates: %w", err)
		}
		any = pool.AppendCertsFromPEM(text) || any
	}
	if !any {
		return nil, fmt.Errorf("trusted certificates: there is none in %v", names)
	}
	return pool, nil
}
