package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/cmd/triwatch/tlsfiles"
	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/conf"
)

// The distance of the other ports from the Sentinel port.
const (
	// PeerPortOffset is added to the Sentinel port for the peers' port, as Redis
	// Cluster does for its bus.
	PeerPortOffset = 10000
	// HTTPPortOffset is added to the Sentinel port for HTTP.
	HTTPPortOffset = 20000
)

// Options is the configuration of one watcher on a host. File is required; the
// zero value of every other field derives from it.
type Options struct {
	// File is the parsed sentinel.conf.
	File *conf.File
	// RaftAddr is the peers' address to listen on; empty is the Sentinel port + 10000 on
	// the first bind address.
	RaftAddr string
	// Peers are the peers' addresses of the other watchers; empty takes them from the
	// known-sentinel lines. Without both the watcher is alone.
	Peers []string
	// HTTPAddr is the HTTP address; empty is the Sentinel port + 20000 on loopback.
	HTTPAddr string
	// DataDir holds Raft's store; empty is "triwatch-PORT" in the file's dir.
	DataDir string
	// PeerSecretFile holds a secret that all watchers share; empty means none.
	PeerSecretFile string
	// Token allows writes over HTTP from elsewhere than loopback; empty allows none.
	Token string
	// Observe decides and says so but writes nothing.
	Observe bool
	// Greet publishes on __sentinel__:hello as Sentinels do.
	Greet bool
	// Outside is whom to tell and to ask besides the scripts of File.
	Outside Outside
	// Kube makes this a watcher on Kubernetes: masters and peers come from there, and
	// File holds nothing but the ports. Nil is a watcher on a host.
	Kube *Kube
	// PeersUnknown skips what depends on the number of watchers, for a check of a file
	// whose other watchers are named elsewhere.
	PeersUnknown bool
	// MaxLevel keeps all watchers from using commands of a higher level, so that going back to
	// an older build stays possible; 0 uses what this build knows.
	MaxLevel int
	// Build is shown to people.
	Build httpapi.Version
}

// resolved is Options with every default filled in and checked.
type resolved struct {
	Options
	bind      []string // Sentinel listeners
	bindTLS   []string // those under TLS
	advertise string   // peers' address that others dial
	secret    []byte
	announce  sentinel.Addr
}

// resolve fills in and checks everything that can be checked without opening
// anything.
func (o Options) resolve() (resolved, error) {
	r := resolved{Options: o}
	if o.File == nil {
		return r, errors.New("no configuration file")
	}
	f := o.File
	host := ""
	for _, b := range f.Binds {
		b = strings.TrimPrefix(b, "-")
		switch b {
		case "*":
			b = "0.0.0.0"
		case "::*":
			b = "::"
		}
		r.listen(b)
		if host == "" {
			host = b
		}
	}
	if len(f.Binds) == 0 {
		r.listen("")
	}
	main, base := f.MainPort(), f.BasePort()
	if max(main, base)+HTTPPortOffset > 65535 && (r.HTTPAddr == "" || r.RaftAddr == "") {
		return r, fmt.Errorf("%s: port %d leaves no room for the peers' port (+%d) and the HTTP port (+%d): set --raft-addr and --http-addr", f.Name, max(main, base), PeerPortOffset, HTTPPortOffset)
	}
	if r.RaftAddr == "" {
		r.RaftAddr = net.JoinHostPort(host, strconv.Itoa(main+PeerPortOffset))
	}
	if r.HTTPAddr == "" {
		r.HTTPAddr = net.JoinHostPort("127.0.0.1", strconv.Itoa(base+HTTPPortOffset))
	}
	if err := r.addresses(host); err != nil {
		return r, err
	}
	if r.DataDir == "" {
		r.DataDir = filepath.Join(cmpOr(f.Dir, "."), "triwatch-"+strconv.Itoa(base))
	}
	if o.PeerSecretFile != "" {
		b, err := os.ReadFile(o.PeerSecretFile)
		if err != nil {
			return r, fmt.Errorf("read peer secret: %w", err)
		}
		if r.secret = []byte(strings.TrimSpace(string(b))); len(r.secret) < 16 {
			return r, fmt.Errorf("peer secret in %s has %d characters, at least 16 are needed", o.PeerSecretFile, len(r.secret))
		}
	}
	return r, errors.Join(r.checkQuorums(), f.CheckScripts(), o.Outside.check(f))
}

// listen adds the Sentinel ports on one host.
func (r *resolved) listen(host string) {
	if p := r.File.Port; p != 0 {
		r.bind = append(r.bind, net.JoinHostPort(host, strconv.Itoa(p)))
	}
	if p := r.File.TLS.Port; p != 0 {
		r.bindTLS = append(r.bindTLS, net.JoinHostPort(host, strconv.Itoa(p)))
	}
}

// secure reads the files of TLS; nil without TLS.
func (r *resolved) secure(log *zap.Logger) (*tlsfiles.Source, error) {
	if t := r.File.TLS; t.Port == 0 && !t.Replication {
		return nil, nil
	}
	s, err := tlsfiles.New(r.File.TLS, r.File.Dir, log)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.File.Name, err)
	}
	return s, nil
}

// ToRedis is how connections to the Redis of a file's masters are made, nil without TLS.
func ToRedis(f *conf.File) (*tls.Config, error) {
	r := resolved{Options: Options{File: f}}
	s, err := r.secure(zap.NewNop())
	return s.Redis(), err
}

// Validate checks options as New does, without opening anything, and returns how
// many watchers they name, this one included.
func Validate(o Options) (watchers int, err error) {
	r, err := o.resolve()
	return r.watchers(), err
}

// addresses works out what others are told, and who the others are.
func (r *resolved) addresses(host string) error {
	f := r.File
	raftHost, raftPort, err := net.SplitHostPort(r.RaftAddr)
	if err != nil {
		return fmt.Errorf("--raft-addr %q is not host:port", r.RaftAddr)
	}
	own := f.AnnounceIP
	for _, h := range []string{raftHost, host} {
		if ip := net.ParseIP(h); own == "" && h != "" && (ip == nil || !ip.IsUnspecified()) {
			own = h
		}
	}
	if own == "" {
		own = outward()
	}
	r.advertise = net.JoinHostPort(own, raftPort)
	r.announce = sentinel.Addr{Host: own, Port: f.MainPort()}
	if f.AnnouncePort != 0 {
		r.announce.Port = f.AnnouncePort
	}
	if len(r.Peers) == 0 {
		for _, m := range f.Masters {
			for _, k := range m.KnownSentinels {
				p := net.JoinHostPort(k.Host, strconv.Itoa(k.Port+PeerPortOffset))
				if !slices.Contains(r.Peers, p) {
					r.Peers = append(r.Peers, p)
				}
			}
		}
	}
	for i, p := range r.Peers {
		if _, _, err := net.SplitHostPort(p); err != nil {
			r.Peers[i] = net.JoinHostPort(strings.Trim(p, "[]"), strconv.Itoa(conf.DefaultPort+PeerPortOffset))
		}
	}
	return nil
}

// watchers is how many watchers the configuration names, this one included.
func (r *resolved) watchers() int {
	n := 1
	for _, p := range r.Peers {
		if p != r.advertise && p != r.RaftAddr {
			n++
		}
	}
	return n
}

func (r *resolved) checkQuorums() error {
	n := r.watchers()
	for _, m := range r.File.Masters {
		if m.Quorum > n && !r.PeersUnknown {
			return fmt.Errorf("%s:%d: quorum %d of master %q is larger than the number of watchers, %d: it could never be reached", r.File.Name, m.Line, m.Quorum, m.Name, n)
		}
		if err := configOf(m, r.Observe).Validate(); err != nil {
			return fmt.Errorf("%s:%d: master %q: %w", r.File.Name, m.Line, m.Name, err)
		}
	}
	return nil
}

// configOf turns a file's master into the core's settings.
func configOf(m conf.Master, observe bool) sentinel.Config {
	c := sentinel.DefaultConfig()
	c.Quorum, c.DownAfter, c.FailoverTimeout, c.ParallelSyncs, c.Observe = m.Quorum, m.DownAfter, m.FailoverTimeout, m.ParallelSyncs, observe
	c.HoldUnfenced, c.RebootDownAfter = m.HoldUnfenced, m.MasterRebootDownAfter
	return c
}

// wanted turns the file's masters into commands for the registry.
func (r *resolved) wanted() []sentinel.Command {
	var out []sentinel.Command
	for _, m := range r.File.Masters {
		cfg := configOf(m, r.Observe)
		addr := sentinel.Addr{Host: m.Host, Port: m.Port}
		c := sentinel.Command{Type: sentinel.CmdMonitor, Master: m.Name, Config: &cfg,
			At: sentinel.Assignment{Epoch: sentinel.Epoch(m.ConfigEpoch), Instance: sentinel.InstanceID(addr.String()), Addr: addr}}
		for _, k := range m.KnownReplicas {
			a := sentinel.Addr{Host: k.Host, Port: k.Port}
			c.Members = append(c.Members, sentinel.Member{ID: sentinel.InstanceID(a.String()), Addr: a})
		}
		out = append(out, c)
	}
	return out
}

// fences names the file's masters that are to have the fence.
func (r *resolved) fences() []string {
	var out []string
	for _, m := range r.File.Masters {
		if m.Fence {
			out = append(out, m.Name)
		}
	}
	return out
}

// outward is the address that this host uses towards others. No packet is sent.
func outward() string {
	c, err := net.DialTimeout("udp", "192.0.2.1:9", time.Second)
	if err != nil {
		return "127.0.0.1"
	}
	defer c.Close() //nolint:errcheck // nothing was sent
	host, _, err := net.SplitHostPort(c.LocalAddr().String())
	if err != nil {
		return "127.0.0.1"
	}
	return host
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
