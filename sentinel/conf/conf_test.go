package conf

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func parse(t *testing.T, text string) *File {
	t.Helper()
	f, err := Parse("sentinel.conf", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// golden compares got with the file; UPDATE_GOLDEN=1 writes it instead, and the diff has to be explained.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(got) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}

// afterFailover is what a watcher writes when orders and crlf have moved.
func afterFailover(f *File) State {
	s := f.State()
	s.MyID, s.CurrentEpoch = "0123456789abcdef0123456789abcdef01234567", 1<<32+7
	for i := range s.Masters {
		m := &s.Masters[i]
		if m.Name == "carts" {
			continue
		}
		m.KnownReplicas = []HostPort{{"10.0.0.23", 6379}, m.Addr}
		m.Addr = HostPort{"10.0.0.22", 6379}
		m.ConfigEpoch, m.LeaderEpoch = 1<<32+7, 1<<32+7
		m.KnownSentinels = append(m.KnownSentinels, KnownSentinel{"10.0.0.13", 26379, "ffffffffffffffffffffffffffffffffffffffff"})
	}
	return s
}

func TestGoldenFilesParseAndRewrite(t *testing.T) {
	names, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(names) < 3 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			f, err := ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := json.MarshalIndent(f, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".parsed", append(parsed, '\n'))
			s := afterFailover(f)
			out := f.Rewrite(s)
			golden(t, name+".rewritten", out)
			again := parse(t, string(out))
			if twice := again.Rewrite(s); string(twice) != string(out) {
				t.Errorf("a second rewrite changes the file again:\n%s", twice)
			}
			back := again.State()
			sortByState(&back, s)
			if !reflect.DeepEqual(back, s) {
				t.Errorf("the rewritten file says\n%+v, want\n%+v", back, s)
			}
		})
	}
}

// sortByState orders replicas as want does: lines that stay keep their place, so the file's order may differ.
func sortByState(got *State, want State) {
	for i := range got.Masters {
		var sorted []HostPort
		for _, a := range want.Masters[i].KnownReplicas {
			for _, b := range got.Masters[i].KnownReplicas {
				if a == b {
					sorted = append(sorted, b)
				}
			}
		}
		if len(sorted) == len(got.Masters[i].KnownReplicas) {
			got.Masters[i].KnownReplicas = sorted
		}
	}
}

func TestFileWrittenBySentinelStaysByteForByteWhenNothingChanged(t *testing.T) {
	const name = "testdata/redis-7.0.15.conf"
	f, err := ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, name, f.Rewrite(f.State()))
}

func TestEmptyFileHasSentinelsDefaults(t *testing.T) {
	f := parse(t, "")
	if f.Port != 26379 || len(f.Masters) != 0 || !f.DenyScriptsReconfig {
		t.Errorf("%+v", f)
	}
	f = parse(t, "sentinel monitor m 10.0.0.1 6379 2\n")
	want := Master{
		Name: "m", Host: "10.0.0.1", Port: 6379, Quorum: 2, DownAfter: 30 * time.Second,
		FailoverTimeout: 3 * time.Minute, ParallelSyncs: 1, Line: 1,
	}
	if m, ok := f.Master("m"); !ok || !reflect.DeepEqual(m, want) {
		t.Errorf("%+v", m)
	}
	if m, ok := f.Master("other"); ok {
		t.Errorf("%+v", m)
	}
}

func TestQuotingIsRedis(t *testing.T) {
	for text, want := range map[string]string{
		`plain`: "plain", `"with blank"`: "with blank", `'single \' quote'`: "single ' quote", `'no \x41'`: `no \x41`,
		`"\x41\x0a\n\t\r\b\a\\\"\q"`: "A\n\n\t\r\b\a\\\"q", `"\x4g"`: "x4g", `""`: "", `mid"dle of"`: "middle of", `"é"`: "é", `a#b`: "a#b",
	} {
		if f := parse(t, "requirepass "+text); f.RequirePass != want {
			t.Errorf("%s is read as %q, want %q", text, f.RequirePass, want)
		}
	}
}

func TestQuotedArgumentsAreReadBack(t *testing.T) {
	var all strings.Builder
	for i := range 256 {
		all.WriteByte(byte(i))
	}
	for _, s := range []string{"", "plain", " ", `"`, `'`, `\`, `\x41`, "é", all.String()} {
		args, err := splitArgs(quoteArg(s))
		if err != nil || len(args) != 1 || args[0] != s {
			t.Errorf("%q is quoted as %s and read as %q, %v", s, quoteArg(s), args, err)
		}
	}
}

func TestLastOfSeveralLinesCounts(t *testing.T) {
	f := parse(t, "port 1\nport 2\nbind 10.0.0.1\nbind 10.0.0.2 10.0.0.3\nsentinel current-epoch 1\nsentinel current-epoch 2\nprotected-mode yes\nprotected-mode no\n")
	if f.Port != 2 || !reflect.DeepEqual(f.Binds, []string{"10.0.0.2", "10.0.0.3"}) || f.CurrentEpoch != 2 {
		t.Errorf("%+v", f)
	}
	if n := strings.Count(string(f.Rewrite(f.State())), "current-epoch"); n != 1 {
		t.Errorf("%d current-epoch lines after the rewrite, want 1", n)
	}
}

func TestLinesMayStandBeforeTheirMonitorLine(t *testing.T) {
	// Seen with redis-sentinel 7.0.15, which reads monitor lines first.
	f := parse(t, "sentinel down-after-milliseconds m 10\nsentinel monitor m host 1 1\nsentinel resolve-hostnames yes\n")
	if f.Masters[0].DownAfter != 10*time.Millisecond {
		t.Errorf("%+v", f.Masters[0])
	}
}

func TestMastersOutsideTheStateKeepTheirLines(t *testing.T) {
	const text = "sentinel monitor a 10.0.0.1 6379 2\nsentinel known-replica a 10.0.0.2 6379\nsentinel monitor b 10.0.0.3 6379 2\n"
	out := string(parse(t, text).Rewrite(State{CurrentEpoch: 3, Masters: []MasterState{{Name: "b"}, {Name: "gone", Addr: HostPort{"10.0.0.9", 1}}}}))
	want := text + "\n" + tailMark + "\nsentinel config-epoch b 0\nsentinel leader-epoch b 0\nsentinel current-epoch 3\n"
	if out != want {
		t.Errorf("got:\n%s", out)
	}
}

func TestWarningsNameTheLineWithoutSecrets(t *testing.T) {
	f := parse(t, "daemonize yes\nmasterauth s3cret\nuser app on >s3cret ~* +@all\nsentinel sentinel-pass s3cret\n"+
		"sentinel monitor m 10.0.0.1 6379 1\nsentinel rename-command m CONFIG s3cret\nsentinel notification-script m /bin/true\n")
	var got []string
	for _, w := range f.Warnings {
		got = append(got, w.String())
	}
	want := []string{
		`sentinel.conf:1: "daemonize yes": not used, triwatch stays in the foreground and leaves that to its service manager`,
		`sentinel.conf:2: "masterauth ...": not used, it is about a Redis with data`,
		`sentinel.conf:4: "sentinel sentinel-pass ...": not used yet`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestAllWrongLinesAreReportedInOrder(t *testing.T) {
	_, err := Parse("x", strings.NewReader("sentinel config-epoch nobody 1\nport x\nnonsense\n\"\n"))
	var lines []int
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		var le *Error
		if !errors.As(e, &le) {
			t.Fatal(e)
		}
		lines = append(lines, le.Line)
	}
	if !reflect.DeepEqual(lines, []int{1, 2, 3, 4}) {
		t.Errorf("%v in %v", lines, err)
	}
	_, err = Parse("x", strings.NewReader(strings.Repeat("nonsense\n", 1000)))
	if n := strings.Count(err.Error(), "\n"); n != 20 || !strings.Contains(err.Error(), "980 more wrong lines") {
		t.Errorf("%d lines: %v", n, err)
	}
}

func TestHugeFileIsRefused(t *testing.T) {
	_, err := Parse("x", strings.NewReader(strings.Repeat("#\n", MaxSize/2+1)))
	if err == nil || err.Error() != "read x: the file is larger than 8 MiB, which no sentinel.conf is" {
		t.Error(err)
	}
}
