package conf

import (
	"reflect"
	"strings"
	"testing"

	"github.com/triwatch/triwatch/test/redisproc"
)

// sentinel starts a real redis-sentinel with the file's text on a free port.
func sentinel(t *testing.T, text string) *redisproc.Server {
	t.Helper()
	s, err := redisproc.Start(t.Context(), redisproc.Options{SentinelConf: text, Password: `hello "you" \x`})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// fields asks for one SENTINEL subcommand and returns its first (or only) map.
func fields(t *testing.T, s *redisproc.Server, args ...string) []map[string]string {
	t.Helper()
	reply, err := s.Do(t.Context(), append([]string{"SENTINEL"}, args...)...)
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]string
	for _, item := range reply.Items {
		words, m := item.Strings(), map[string]string{}
		for i := 0; i+1 < len(words); i += 2 {
			m[words[i]] = words[i+1]
		}
		all = append(all, m)
	}
	return all
}

func TestRealSentinelStartsWithTheRewrittenFile(t *testing.T) {
	if _, err := redisproc.LookupBinary("redis-server"); err != nil {
		t.Skip(err)
	}
	f, err := ReadFile("testdata/redis-7.0.15.conf")
	if err != nil {
		t.Fatal(err)
	}
	want := afterFailover(f)
	// A dead address on loopback for all: this is about the file, not about the instances.
	text := string(f.Rewrite(want))
	text = strings.ReplaceAll(text, "\nport 17101\n", "\n")
	text = strings.ReplaceAll(text, "10.0.0.", "127.0.0.")
	text = strings.ReplaceAll(text, `"/tmp`, `"`+t.TempDir())
	s := sentinel(t, text)

	id, err := s.Do(t.Context(), "SENTINEL", "MYID")
	if err != nil || id.Str != want.MyID {
		t.Error(id, err)
	}
	master := fields(t, s, "MASTERS")
	for _, m := range master {
		if m["name"] != "orders" {
			continue
		}
		got := []string{m["ip"], m["port"], m["config-epoch"], m["quorum"], m["down-after-milliseconds"], m["parallel-syncs"], m["num-slaves"], m["num-other-sentinels"]}
		if !reflect.DeepEqual(got, []string{"127.0.0.22", "6379", "4294967303", "2", "5000", "2", "2", "2"}) {
			t.Errorf("redis-sentinel took from the file: %v", got)
		}
	}
	if len(master) != 2 {
		t.Errorf("%d masters, want 2", len(master))
	}
	var replicas []string
	for _, r := range fields(t, s, "REPLICAS", "orders") {
		replicas = append(replicas, r["name"])
	}
	if all := strings.Join(replicas, " "); len(replicas) != 2 || !strings.Contains(all, "127.0.0.23:6379") || !strings.Contains(all, "127.0.0.1:17001") {
		t.Errorf("replicas: %v", replicas)
	}

	// What it has written meanwhile is read back with the same meaning.
	after, err := ReadFile(s.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	m, _ := after.Master("orders")
	if after.MyID != want.MyID || after.CurrentEpoch != want.CurrentEpoch || m.Host != "127.0.0.22" || m.ConfigEpoch != want.CurrentEpoch ||
		m.AuthPass != "s3cret" || len(m.KnownReplicas) != 2 || len(m.KnownSentinels) != 2 || after.RequirePass != f.RequirePass {
		t.Errorf("%+v", m)
	}
}

func TestFileThatRealSentinelHasRewrittenIsNotTouchedWithoutNews(t *testing.T) {
	if _, err := redisproc.LookupBinary("redis-server"); err != nil {
		t.Skip(err)
	}
	s := sentinel(t, "requirepass 'hello \"you\" \\x'\n"+
		"# a comment\nsentinel monitor m 127.0.0.1 1 2\nsentinel resolve-hostnames yes\nsentinel monitor n localhost 1 2\n"+
		"sentinel known-replica n 127.0.0.1 2\nuser app on >x ~* +@all\n")
	f, err := ReadFile(s.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	if before, after := read(t, s.ConfigFile()), string(f.Rewrite(f.State())); f.MyID == "" || before != after {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
