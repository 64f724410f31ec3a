package conf

import (
	"slices"
	"strings"
)

// TLS is what the tls-* lines say, named as they are. All paths are as written, relative to
// Dir. See redis.conf of Redis 7 for what each means.
type TLS struct {
	// Port serves the Sentinel protocol under TLS; 0 does not.
	Port int
	// CertFile and KeyFile are PEM, for the port and, without Client*, for connections that
	// are made. The passwords are secrets.
	CertFile, KeyFile, KeyPass                   string
	ClientCertFile, ClientKeyFile, ClientKeyPass string
	// CAFile and CADir hold the certificates that others' must be signed by.
	CAFile, CADir string
	// AuthClients says whether clients must have a certificate: "yes", "no" or "optional".
	AuthClients string
	// Replication makes connections to Redis and between watchers use TLS.
	Replication bool
	// Protocols are "TLSv1.2" and "TLSv1.3"; empty allows both.
	Protocols []string
}

// MainPort is the port of the Sentinel protocol that others are told: the one under TLS if
// connections are made with it, as Sentinel does.
func (f *File) MainPort() int {
	if f.Port == 0 || f.TLS.Replication && f.TLS.Port != 0 {
		return f.TLS.Port
	}
	return f.Port
}

// BasePort is the port that the other ports and the data directory are named after.
func (f *File) BasePort() int {
	if f.Port == 0 {
		return f.TLS.Port
	}
	return f.Port
}

func addTLS(t map[string]directive) {
	for name, field := range map[string]func(*TLS) *string{
		"cert-file":            func(c *TLS) *string { return &c.CertFile },
		"key-file":             func(c *TLS) *string { return &c.KeyFile },
		"key-file-pass":        func(c *TLS) *string { return &c.KeyPass },
		"client-cert-file":     func(c *TLS) *string { return &c.ClientCertFile },
		"client-key-file":      func(c *TLS) *string { return &c.ClientKeyFile },
		"client-key-file-pass": func(c *TLS) *string { return &c.ClientKeyPass },
		"ca-cert-file":         func(c *TLS) *string { return &c.CAFile },
		"ca-cert-dir":          func(c *TLS) *string { return &c.CADir },
	} {
		t["tls-"+name] = directive{"tls-" + name + " VALUE", 1, 1, func(p *parser, l line) { *field(&p.file.TLS) = l.args[0] }, nil}
	}
	t["tls-port"] = directive{"tls-port NUMBER", 1, 1, func(p *parser, l line) { p.portOrNone(l, &p.file.TLS.Port) }, nil}
	t["tls-auth-clients"] = directive{"tls-auth-clients yes|no|optional", 1, 1, func(p *parser, l line) {
		if p.file.TLS.AuthClients = strings.ToLower(l.args[0]); !slices.Contains([]string{"yes", "no", "optional"}, p.file.TLS.AuthClients) {
			p.fail(l, "the value must be yes, no or optional")
		}
	}, nil}
	t["tls-replication"] = directive{"tls-replication yes|no", 1, 1, func(p *parser, l line) {
		if p.yesNo(l, &p.file.TLS.Replication); p.file.TLS.Replication {
			p.tlsNeeded = &l
		}
	}, nil}
	t["tls-protocols"] = directive{`tls-protocols "TLSv1.2 TLSv1.3"`, 1, 1, func(p *parser, l line) {
		p.file.TLS.Protocols = strings.Fields(l.args[0])
		for _, name := range p.file.TLS.Protocols {
			if name != "TLSv1.2" && name != "TLSv1.3" {
				p.fail(l, "%q is none of TLSv1.2 and TLSv1.3; older ones are not offered", name)
				return
			}
		}
	}, nil}
	for _, name := range []string{"cluster", "prefer-server-ciphers", "session-caching", "session-cache-size", "session-cache-timeout", "dh-params-file"} {
		t["tls-"+name] = directive{"tls-" + name + " VALUE", 1, 1, func(p *parser, l line) { p.warn(l, "not used: Go's TLS has no such setting, or needs none") }, nil}
	}
	for _, name := range []string{"ciphers", "ciphersuites"} {
		t["tls-"+name] = directive{"tls-" + name + " VALUE", 1, 1, func(p *parser, l line) {
			p.warn(l, "not used: only ciphers that Go holds for safe are offered, and of TLS 1.3 all")
		}, nil}
	}
}

// portOrNone reads a port that may be 0, for none.
func (p *parser) portOrNone(l line, into *int) {
	if l.args[0] == "0" {
		*into, p.noPort = 0, l
		return
	}
	p.port(l, l.args[0], into)
	if strings.HasPrefix(l.key, "tls-") {
		p.tlsNeeded = &l
	}
}

// checkTLS looks at what only the whole file tells.
func (p *parser) checkTLS() {
	c := &p.file.TLS
	if p.file.Port == 0 && c.Port == 0 {
		p.fail(p.noPort, "without a port and a tls-port no client could connect")
		return
	}
	l := p.tlsNeeded
	if l == nil {
		return
	}
	if c.Port == p.file.Port {
		p.fail(*l, "port and tls-port must not be the same; port 0 serves TLS only")
	}
	switch {
	case c.CertFile == "" || c.KeyFile == "":
		p.fail(*l, "TLS needs tls-cert-file and tls-key-file")
	case c.CAFile == "" && c.CADir == "" && (c.AuthClients != "no" || c.Replication):
		p.fail(*l, "TLS needs tls-ca-cert-file or tls-ca-cert-dir, to know whom to trust; only tls-auth-clients no without tls-replication does without")
	case (c.ClientCertFile == "") != (c.ClientKeyFile == ""):
		p.fail(*l, "of tls-client-cert-file and tls-client-key-file one is missing")
	}
}
