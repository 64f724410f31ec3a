package sentinel_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/triwatch/triwatch/sentinel"
)

const run40 = "1f0c5a9be2d8446f8f6b1c2d3e4f5a6b7c8d9e0f"

// The files named 7.0-* are replies of redis-server 7.0.15; the others are made by hand
// after the documented fields of those versions.
func TestInfoRepliesAreRead(t *testing.T) {
	local := func(port int) sentinel.Addr { return sentinel.Addr{Host: "127.0.0.1", Port: port} }
	rep := strings.Repeat
	for name, want := range map[string]sentinel.Info{
		"7.0-master": {Version: "7.0.15", RunID: "fa9a778faea3b1fa0d4342eeef5fe064b7fe6348", Role: sentinel.RoleMaster, Full: true,
			Offset: 50, ReplID: "3d996aa49356f91abc915514552248d5e2634d1a", SecondOffset: -1, Keys: 1001, LinkDownFor: -1, Priority: 100,
			ReadOnly: true, Announced: true, Replicas: []sentinel.Attached{{Addr: local(40525), Online: true, Offset: 0, Lag: 1}}},
		"7.0-replica-section": {Role: sentinel.RoleReplica, Offset: 50, ReplID: "3d996aa49356f91abc915514552248d5e2634d1a", SecondOffset: -1,
			Keys: -1, Master: local(33407), LinkUp: true, LinkDownFor: -1, Priority: 100, ReadOnly: true, Announced: true},
		"7.0-fenced": {Version: "7.0.15", RunID: "fa9a778faea3b1fa0d4342eeef5fe064b7fe6348", Role: sentinel.RoleReplica, Full: true,
			Offset: 50, ReplID: "3d996aa49356f91abc915514552248d5e2634d1a", SecondOffset: -1, Keys: 1001, Master: sentinel.FenceAddr,
			LinkDownFor: -1, Priority: 100, ReadOnly: true, Announced: true, Replicas: []sentinel.Attached{
				{Addr: local(40525), Online: true, Offset: 50, Lag: 1}, {Addr: local(58293)}}},
		"7.0-syncing": {Version: "7.0.15", RunID: "5095d9eedd25033128815fa515baa5d738380c4a", Role: sentinel.RoleReplica, Full: true,
			ReplID: "f75c35863802e14ec04c46961b06e143dc6fe1e6", SecondOffset: -1, Master: local(33407), Syncing: true, LinkDownFor: -1,
			Priority: 100, ReadOnly: true, Announced: true},
		"6.2-loading": {Version: "6.2.14", RunID: run40, Role: sentinel.RoleReplica, Full: true, Loading: true, LoadingPercent: 41, Offset: 7,
			ReplID: rep("a", 40), ReplID2: rep("b", 40), SecondOffset: 5, Master: sentinel.Addr{Host: "redis-0.redis.svc.cluster.local", Port: 6379},
			LinkDownFor: 12, ReadOnly: true},
		"8.0-syncing": {Version: "8.0.1", RunID: rep("2", 40), Role: sentinel.RoleReplica, Full: true, Offset: 1, ReplID: rep("c", 40), SecondOffset: -1,
			Keys: 12, Master: sentinel.Addr{Host: "10.0.0.7", Port: 6379}, Syncing: true, SyncPercent: 25, LinkDownFor: -1, Priority: 100,
			ReadOnly: true, Announced: true},
		"valkey-8.0-master": {Version: "7.2.4", RunID: rep("3", 40), Role: sentinel.RoleMaster, Full: true, Offset: 1000, ReplID: rep("d", 40),
			ReplID2: rep("e", 40), SecondOffset: 501, Keys: 8, LinkDownFor: -1, Priority: 100, ReadOnly: true, Announced: true, Replicas: []sentinel.Attached{
				{Addr: sentinel.Addr{Host: "10.0.0.8", Port: 6379}, Online: true, Offset: 990}, {Addr: sentinel.Addr{Host: "fd00::9", Port: 6380}}}},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile("testdata/info/" + name + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			got, err := sentinel.ParseInfo(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if got.Fenced() != (name == "7.0-fenced") {
				t.Errorf("fenced: %v", got.Fenced())
			}
		})
	}
}

func TestFollowerOfALocalRedisIsNotFenced(t *testing.T) {
	for _, port := range []int{6379, 1} {
		i := sentinel.Info{Role: sentinel.RoleReplica, Master: sentinel.Addr{Host: "127.0.0.1", Port: port}}
		if i.Fenced() {
			t.Errorf("port %d is taken for the fence", port)
		}
	}
	m := sentinel.Info{Role: sentinel.RoleMaster, Master: sentinel.FenceAddr}
	if m.Fenced() {
		t.Error("a master is taken for fenced")
	}
}

func TestUnknownKeysAreNotEmpty(t *testing.T) {
	i, err := sentinel.ParseInfo("# Replication\r\nrole:master\r\n")
	if err != nil || i.Keys != -1 || i.Empty() {
		t.Errorf("without the keyspace section: keys %d, empty %v, %v", i.Keys, i.Empty(), err)
	}
	i, err = sentinel.ParseInfo("role:master\r\n# Keyspace\r\n")
	if err != nil || i.Keys != 0 || !i.Empty() {
		t.Errorf("with an empty keyspace section: keys %d, empty %v, %v", i.Keys, i.Empty(), err)
	}
}

func TestTextWithoutARoleIsNoInfo(t *testing.T) {
	for _, text := range []string{"", "PONG", "-ERR unknown", "role:sentinel\r\n", "# Replication\r\n", "role\r\n"} {
		if _, err := sentinel.ParseInfo(text); !errors.Is(err, sentinel.ErrInfo) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParseInfo(f *testing.F) {
	files, _ := filepath.Glob("testdata/info/*.txt")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("role:master\ndb0:keys=-5\ndb1:keys=9223372036854775807\ndb2:keys=1\nslave0:\nmaster_repl_offset:-9\nloading_loaded_perc:NaN")
	f.Fuzz(func(t *testing.T, text string) {
		i, err := sentinel.ParseInfo(text)
		if err != nil {
			if !errors.Is(err, sentinel.ErrInfo) || i.Role != sentinel.RoleUnknown {
				t.Fatalf("%v with %+v", err, i)
			}
			return
		}
		if i.Role == sentinel.RoleUnknown {
			t.Fatal("no error and no role")
		}
		if i.Keys < -1 {
			t.Fatalf("%d keys", i.Keys)
		}
		if i.Offset < 0 {
			t.Fatalf("offset %d", i.Offset)
		}
		for _, p := range []float64{i.SyncPercent, i.LoadingPercent} {
			if math.IsNaN(p) || math.IsInf(p, 0) {
				t.Fatalf("percent %v", p)
			}
		}
		again, err := sentinel.ParseInfo(text)
		if err != nil || !reflect.DeepEqual(i, again) {
			t.Fatalf("read twice, read differently: %+v, %+v, %v", i, again, err)
		}
	})
}
