package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/triwatch/triwatch/sentinel/conf"
)

func parse(t *testing.T, text string) *conf.File {
	t.Helper()
	f, err := conf.Parse("sentinel.conf", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPortsAndPeersFollowFromTheFile(t *testing.T) {
	r, err := Options{File: parse(t, `port 26380
bind 10.0.0.11 127.0.0.1
dir /var/lib/x
sentinel monitor orders 10.0.0.21 6379 2
sentinel known-sentinel orders 10.0.0.12 26380 `+strings.Repeat("a", 40)+`
sentinel known-sentinel orders 10.0.0.13 26381 `+strings.Repeat("b", 40)+`
`)}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, got, want string }{
		{"sentinel", strings.Join(r.bind, " "), "10.0.0.11:26380 127.0.0.1:26380"},
		{"peers port", r.RaftAddr, "10.0.0.11:36380"},
		{"advertised", r.advertise, "10.0.0.11:36380"},
		{"http", r.HTTPAddr, "127.0.0.1:46380"},
		{"others", strings.Join(r.Peers, " "), "10.0.0.12:36380 10.0.0.13:36381"},
		{"data", r.DataDir, "/var/lib/x/triwatch-26380"},
		{"announced", r.announce.String(), "10.0.0.11:26380"},
	} {
		if c.got != c.want {
			t.Errorf("%s is %s, want %s", c.what, c.got, c.want)
		}
	}
	if n := r.watchers(); n != 3 {
		t.Errorf("%d watchers, want 3", n)
	}
}

func TestAnnouncedAddressIsWhatOthersAreTold(t *testing.T) {
	r, err := Options{File: parse(t, "port 26379\nsentinel announce-ip 192.0.2.7\nsentinel announce-port 7000\n"), Peers: []string{"192.0.2.7:36379", "192.0.2.8"}}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	if r.announce.String() != "192.0.2.7:7000" || r.advertise != "192.0.2.7:36379" {
		t.Errorf("announced %s, advertised %s", r.announce, r.advertise)
	}
	if r.watchers() != 2 || r.Peers[1] != "192.0.2.8:36379" {
		t.Errorf("%d watchers, peers %v: the own address counts once, a bare host gets the default port", r.watchers(), r.Peers)
	}
}

func TestSettingsThatCannotWorkAreNamed(t *testing.T) {
	short := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(short, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, file string
		opt        Options
		want       []string
	}{
		{"quorum larger than the number of watchers", "sentinel monitor orders 10.0.0.1 6379 3\n", Options{Peers: []string{"10.0.0.12:36379"}},
			[]string{"sentinel.conf:1", "quorum 3", `"orders"`, "number of watchers, 2"}},
		{"down-after too short", "sentinel monitor orders 10.0.0.1 6379 1\nsentinel down-after-milliseconds orders 5\n", Options{},
			[]string{"sentinel.conf:1", `"orders"`, "down-after is 5ms"}},
		{"no room for the other ports", "port 60000\n", Options{}, []string{"sentinel.conf", "60000", "--raft-addr", "--http-addr"}},
		{"raft address", "port 26379\n", Options{RaftAddr: "nonsense"}, []string{"--raft-addr", "nonsense"}},
		{"secret too short", "port 26379\n", Options{PeerSecretFile: short}, []string{short, "5 characters", "16"}},
		{"secret missing", "port 26379\n", Options{PeerSecretFile: "/nowhere/secret"}, []string{"peer secret", "/nowhere/secret"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.opt.File = parse(t, c.file)
			_, err := c.opt.resolve()
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not name %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error has several lines: %q", err)
			}
		})
	}
}
