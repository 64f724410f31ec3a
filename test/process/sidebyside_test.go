package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
)

// allowedDifferences are deliberate: docs/sentinel-compatibility.md has a table of
// them, each with the sessions that it is about and its reason.
func allowedDifferences(t *T) map[string]*regexp.Regexp {
	b, err := os.ReadFile("../../docs/sentinel-compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*regexp.Regexp{}
	for _, l := range strings.Split(string(b), "\n") {
		cells := strings.Split(l, " | ")
		if len(cells) != 4 || !strings.HasPrefix(l, "| `") {
			continue
		}
		for _, quoted := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[0], -1) {
			pattern := "(?i)(^|;)" + strings.ReplaceAll(regexp.QuoteMeta(quoted[1]), `\*`, `[^;]*`) + "(;|$)"
			out[quoted[1]] = regexp.MustCompile(pattern)
		}
	}
	rows := strings.Count(string(b), "\n| `")
	if rows == 0 || rows > 10 {
		t.Fatalf("docs/sentinel-compatibility.md has %d rows of differences, 1 to 10 are expected", rows)
	}
	return out
}

// said is a reply as it came: its type, its text or number, its elements.
type said struct {
	kind  byte
	text  string
	elems []said
}

func hear(r *bufio.Reader) (said, error) {
	head, err := r.ReadString('\n')
	if err != nil || len(head) < 3 {
		return said{}, errors.Join(err, io.ErrUnexpectedEOF)
	}
	v := said{kind: head[0], text: head[1 : len(head)-2]}
	if strings.ContainsRune("+-:_#,", rune(v.kind)) {
		return v, nil
	}
	n, err := strconv.Atoi(v.text)
	if err != nil || n < 0 {
		return v, err
	}
	switch v.kind {
	case '$', '=':
		b := make([]byte, n+2)
		_, err := io.ReadFull(r, b)
		v.text = string(b[:n])
		return v, err
	case '%':
		n *= 2
	}
	for range n {
		e, err := hear(r)
		if err != nil {
			return v, err
		}
		v.elems = append(v.elems, e)
	}
	return v, nil
}

func (v said) String() string {
	if v.elems == nil && !strings.ContainsRune("$=", rune(v.kind)) {
		return string(v.kind) + v.text
	}
	if v.elems == nil {
		return string(v.kind) + strconv.Quote(v.text)
	}
	parts := make([]string, len(v.elems))
	for i, e := range v.elems {
		parts[i] = e.String()
	}
	return string(v.kind) + "[" + strings.Join(parts, " ") + "]"
}

// twin is a real redis-sentinel and a watcher that watch the same.
type twin struct{ theirs, ours string }

const lastWord = "the-end-of-the-session"

// session sends the commands of a line and returns all replies, without what differs
// by time and address.
func (tw twin) session(t *T, addr string, resp3 bool, line string) string {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close() //nolint:errcheck // the session is over
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	raw := strings.ReplaceAll(line, ";", "\r\n") + "\r\n"
	if strings.HasPrefix(line, "CLIENT REPLY") {
		raw += "CLIENT REPLY ON\r\n"
	}
	raw += "PING " + lastWord + "\r\n"
	if resp3 {
		raw = "HELLO 3\r\n" + raw
	}
	r := bufio.NewReader(nc)
	if strings.HasPrefix(line, "CLIENT ") { // connections are counted: the earlier ones have to be gone
		for text := ""; !strings.Contains(text, "connected_clients:1\r"); {
			_, _ = nc.Write([]byte("INFO clients\r\n"))
			v, err := hear(r)
			if err != nil {
				t.Fatalf("%s: earlier connections stay: %q, %v", addr, text, err)
			}
			text = v.text
		}
	}
	_, _ = nc.Write([]byte(raw))
	var got []string
	for {
		v, err := hear(r)
		if err != nil {
			if !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
				t.Errorf("%s: %s: %v after %q", addr, line, err, got)
			}
			return strings.Join(append(got, "closed"), "\n  ")
		}
		text := v.String()
		if strings.Contains(text, lastWord) {
			return strings.Join(got, "\n  ")
		}
		got = append(got, alike(v, line))
	}
}

var (
	ids     = regexp.MustCompile(`[0-9a-f]{40}\b`)
	idField = regexp.MustCompile(`(\$"id" ):\d+`)
	varying = regexp.MustCompile(`(\$"(?:link-pending-commands|last-ping-sent|last-ok-ping-reply|last-ping-reply|info-refresh|role-reported-time|last-hello-message|slave-repl-offset|s-down-time|age-seconds)" )(?:\$"[^"]*"|,\S+)`)
	// The masters in INFO are in the order of a hash table, too.
	numbered = regexp.MustCompile(`master\d+:`)
	infos    = regexp.MustCompile(`:\d+ \$"# Server(?:[^"\\]|\\.)*"`)
)

// unordered are the lists that redis-sentinel gives in the order of a hash table,
// which is another one in every process.
var unordered = regexp.MustCompile(`(?i)^(command|command info|command docs.*|command list.*|acl cat .*|sentinel masters)$`)

// alike takes out what differs by time and address, and nothing else.
func alike(v said, line string) string {
	if unordered.MatchString(line) || len(v.elems) == 2 && v.elems[0].text == "sentinel" {
		sortAll(&v)
	}
	if strings.HasPrefix(strings.ToLower(line), "acl genpass") && v.kind == '$' {
		return fmt.Sprintf("$<%d digits>", len(v.text))
	}
	if strings.HasPrefix(v.text, "# Sentinel\r\n") || strings.HasPrefix(v.text, "txt:# Sentinel\r\n") {
		lines := strings.Split(numbered.ReplaceAllString(v.text, "master<n>:"), "\r\n")
		slices.Sort(lines)
		v.text = strings.Join(lines, "\r\n")
	}
	text := infos.ReplaceAllString(v.String(), `:<ms> $"<INFO>"`)
	text = ids.ReplaceAllString(text, "<id>")
	text = idField.ReplaceAllString(text, "$1:<n>")
	return varying.ReplaceAllString(text, "$1<n>")
}

// sortAll sorts all lists of lists and of names, and leaves the fields of a master in
// their order.
func sortAll(v *said) {
	fields := len(v.elems) > 0 && v.elems[0].text == "name"
	for i := range v.elems {
		sortAll(&v.elems[i])
	}
	if !fields && v.kind != '%' {
		slices.SortStableFunc(v.elems, func(a, b said) int { return strings.Compare(a.String(), b.String()) })
	}
}

func TestEveryCommandIsAnsweredAsByRedisSentinel(t *testing.T) {
	scenario(t, func(t *T) {
		table, err := os.ReadFile("testdata/sidebyside.txt")
		if err != nil {
			t.Fatal(err)
		}
		r := prepare(t, setup{watchers: 1, quorum: 1, replicas: 1, downAfter: 30 * time.Second})
		r.steady(1)
		lonely, err := redisproc.Start(t.Context(), redisproc.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(lonely.Stop)
		monitor := strings.ReplaceAll(r.monitor(1), "failover-timeout "+name+" 60000", "failover-timeout "+name+" 60000\nsentinel known-replica "+name+" "+strings.Replace(r.redis[1].Addr(), ":", " ", 1))
		theirs, err := redisproc.Start(t.Context(), redisproc.Options{SentinelConf: monitor})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(theirs.Stop)
		tw := twin{theirs.Addr(), r.trio.Watchers[0].Addr()}
		for _, addr := range []string{tw.theirs, tw.ours} {
			if got := tw.session(t, addr, false, "SENTINEL monitor lonely 127.0.0.1 "+strconv.Itoa(lonely.Port())+" 1"); got != "+OK" {
				t.Fatalf("%s: %s", addr, got)
			}
			r.wait(addr+" knows all", func() error {
				got := tw.session(t, addr, false, "SENTINEL masters;SENTINEL replicas "+name)
				if strings.Count(got, "<id>") != 3 || strings.Contains(got, "disconnected") || !strings.Contains(got, `"master-link-status" $"ok"`) {
					return errors.New(got)
				}
				return nil
			})
			r.wait(addr+" has all INFOs", func() error {
				if got := tw.session(t, addr, false, "SENTINEL info-cache "+name+" lonely"); strings.Count(got, "<INFO>") != 3 {
					return errors.New(got)
				}
				return nil
			})
		}
		compareAll(t, tw, string(table), r.redis[0].Port())
	})
}

// compareAll compares the replies to all lines of the table, in both protocols.
func compareAll(t *T, tw twin, table string, master int) {
	allowed := allowedDifferences(t)
	used, sessions, differ := map[string]bool{}, 0, 0
	for _, l := range strings.Split(strings.TrimSpace(table), "\n") {
		if strings.HasPrefix(l, "# ") {
			continue
		}
		l = strings.ReplaceAll(l, "$MASTER", strconv.Itoa(master))
		for _, resp3 := range []bool{false, true} {
			sessions++
			want, got := tw.session(t, tw.theirs, resp3, l), tw.session(t, tw.ours, resp3, l)
			if want == got {
				continue
			}
			differ++
			known := false
			for pattern, re := range allowed {
				if re.MatchString(l) {
					known, used[pattern] = true, true
				}
			}
			if !known {
				t.Errorf("%s (RESP3: %v)\nredis-sentinel:\n  %s\ntriwatch:\n  %s", l, resp3, want, got)
			}
		}
	}
	for pattern := range allowed {
		if !used[pattern] {
			t.Errorf("docs/sentinel-compatibility.md allows %q to differ, and nothing of that kind does", pattern)
		}
	}
	t.Logf("%d sessions, %d of them differ as the table allows", sessions, differ)
}
