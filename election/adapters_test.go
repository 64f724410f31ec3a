package election

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// sharedRecord is one record that all watchers see, as a Kubernetes Secret is.
type sharedRecord struct {
	mu      sync.Mutex
	rec     ClusterRecord
	version int
	down    bool
}

func (*sharedRecord) Shared() bool { return true }

func (r *sharedRecord) Load(context.Context) (ClusterRecord, string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return ClusterRecord{}, "", fmt.Errorf("record is down")
	}
	if r.version == 0 {
		return ClusterRecord{}, "", nil
	}
	return r.rec, strconv.Itoa(r.version), nil
}

func (r *sharedRecord) Store(_ context.Context, rec ClusterRecord, expected string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	have := ""
	if r.version > 0 {
		have = strconv.Itoa(r.version)
	}
	if r.down || have != expected {
		return ErrRecordChanged
	}
	r.rec, r.version = rec, r.version+1
	return nil
}

func (r *sharedRecord) setDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

func TestTheLeaderKeepsASharedRecord(t *testing.T) {
	record := &sharedRecord{}
	c := newCluster(t, 3, func(cfg *Config) { cfg.Record = record })
	c.startAll()
	leader := c.awaitLeader()
	awaitRecord := func(want ...*watcher) {
		t.Helper()
		eventually(t, "the record names the voters", patience, func() (bool, string) {
			rec, _, err := record.Load(t.Context())
			if err != nil || rec.ClusterID != leader.ClusterID() || len(rec.Voters) != len(want) {
				return false, fmt.Sprintf("%+v %v", rec, err)
			}
			for _, w := range want {
				if !slices.Contains(rec.Voters, Voter{w.ID(), w.Addr()}) {
					return false, fmt.Sprintf("%+v", rec)
				}
			}
			return true, ""
		})
	}
	awaitRecord(c.ws...)
	gone := c.others(leader)[0]
	id := gone.ID()
	gone.stop()
	record.setDown(true)
	if err := leader.RemovePeer(t.Context(), id); err == nil {
		t.Error("a member was removed although the record could not be written")
	}
	record.setDown(false)
	eventually(t, "the member is removed", patience, func() (bool, string) {
		leader = c.awaitLeader()
		err := leader.RemovePeer(t.Context(), id)
		return err == nil || errors.Is(err, ErrUnknownPeer), fmt.Sprint(err)
	})
	awaitRecord(c.running()...)
}

func TestMembersStartWhileTheSharedRecordIsDown(t *testing.T) {
	record := &sharedRecord{}
	c := newCluster(t, 3, func(cfg *Config) { cfg.Record = record })
	c.startAll()
	mustCommit(t, c.awaitLeader(), "a")
	for _, w := range c.ws {
		w.stop()
	}
	record.setDown(true)
	c.startAll()
	mustCommit(t, c.awaitLeader(), "b")
}

func TestAFreshWatcherNeverFoundsWhatTheRecordNames(t *testing.T) {
	record := &sharedRecord{}
	if err := record.Store(t.Context(), ClusterRecord{ClusterID: "c", Voters: []Voter{{newID(), "h:1"}}}, ""); err != nil {
		t.Fatal(err)
	}
	c := newCluster(t, 1, func(cfg *Config) { cfg.Record = record })
	c.startAll()
	w := c.ws[0]
	eventually(t, "it waits for a member", patience, func() (bool, string) {
		s := w.State().Waiting
		return s == "waiting for a member of cluster c, which the cluster record names; no peer belongs to it", s
	})
	if w.ClusterID() != "" {
		t.Errorf("it made cluster %s", w.ClusterID())
	}
}

func TestPeersAreDiscovered(t *testing.T) {
	addrs := freeAddrs(t, 3)
	c := &cluster{t: t}
	for i, a := range addrs {
		c.ws = append(c.ws, newWatcher(t, fmt.Sprint("w", i), a, nil, func(cfg *Config) {
			cfg.Expect = 3
			cfg.Discover = func(context.Context) ([]string, error) { return addrs, nil }
		}))
	}
	c.startAll()
	mustCommit(t, c.awaitLeader(), "a")
	c.awaitVoters(c.ws...)
}

func TestPeersTalkOverTLS(t *testing.T) {
	conf := mutualTLS(t)
	c := newCluster(t, 3, func(cfg *Config) { cfg.TLS = conf })
	c.startAll()
	mustCommit(t, c.awaitLeader(), "a")
	c.awaitVoters(c.ws...)
	if err := stranger(t, c.ws[0], purposeQuery, "", nil, func(*hello) {}); err == nil {
		t.Error("a stranger without TLS was answered")
	}
}

// mutualTLS returns a configuration with one certificate for both sides.
func mutualTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		RootCAs:      pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}
}

func TestALeaderChangeIsSignalled(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	leader := c.awaitLeader()
	follower := c.others(leader)[0]
	old := leader.ID()
	leader.stop()
	deadline := time.After(patience)
	for {
		if id, _ := follower.Leader(); id != "" && id != old {
			return
		}
		select {
		case <-follower.LeaderChanges():
		case <-deadline:
			t.Fatalf("no signal came; %+v", follower.State())
		}
	}
}

func TestStopWithoutStartClosesTheStore(t *testing.T) {
	w := newWatcher(t, "w", freeAddrs(t, 1)[0], nil)
	for range 2 {
		n, err := New(w.cfg, &list{})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := n.Start(t.Context()); err == nil {
			t.Fatal("it started after Stop")
		}
	}
}

func TestRaftsLogLinesKeepTheirLevelOnceAndTheirFields(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	l := newRaftLogger(zap.New(core)).With("who", "me")
	l.Info("chatter")
	l.Warn("trouble", "peer", "a", "rounded", hclog.Fmt("%.1f", 1.25), "odd")
	l.Warn("trouble", "peer", "a")
	l.Warn("trouble", "peer", "b")
	l.Named("net").Error("worse")
	var got []string
	for _, e := range logs.All() {
		got = append(got, fmt.Sprint(e.Level, " ", e.Message, " ", e.ContextMap()["peer"]))
	}
	want := []string{"debug chatter <nil>", "warn trouble a", "debug trouble a", "warn trouble b", "error worse <nil>"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if m := logs.All()[1].ContextMap(); m["who"] != "me" || m["rounded"] != "1.2" || m["extra"] != "odd" {
		t.Errorf("fields: %v", m)
	}
}
