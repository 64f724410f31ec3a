package resp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// twin is a real redis-sentinel and a server of ours that watch the same: the
// master "orders" with a replica and one more Sentinel, and "lonely", which has
// neither and a quorum that can't be reached.
type twin struct{ theirs, ours string }

func newTwin(t *testing.T, password string) twin {
	t.Helper()
	master, lonely := launchRedis(t, 0), launchRedis(t, 0)
	replica := launchRedis(t, master)
	config := fmt.Sprintf(`sentinel monitor lonely 127.0.0.1 %d 5
sentinel monitor orders 127.0.0.1 %d 2
sentinel known-replica orders 127.0.0.1 %d
sentinel known-sentinel orders 127.0.0.1 %d %s
`, lonely, master, replica, freePort(t), strings.Repeat("b", 40))
	opts := Options{Password: password}
	if password != "" {
		config += "requirepass " + password + "\n"
	}
	theirs := localhost(launch(t, "redis-sentinel", config))
	link := Link{Host: "127.0.0.1", Port: master, RunID: strings.Repeat("a", 40), DownAfter: 30 * time.Second}
	replicaLink, peerLink, lonelyLink := link, link, link
	replicaLink.Port, lonelyLink.Port = replica, lonely
	peerLink.RunID, peerLink.Flags = strings.Repeat("b", 40), FlagDisconnected
	running := false
	var mu sync.Mutex
	_, ours := startServer(t, &fake{
		masters: []Master{
			{Name: "lonely", Link: lonelyLink, Quorum: 5, FailoverTimeout: 3 * time.Minute, ParallelSyncs: 1},
			{Name: "orders", Link: link, Quorum: 2, NumReplicas: 1, NumOtherSentinels: 1, FailoverTimeout: 3 * time.Minute, ParallelSyncs: 1},
		},
		replicas:  map[string][]Instance{"orders": {{Link: replicaLink, MasterLinkUp: true, MasterHost: "127.0.0.1", MasterPort: master, Priority: 100}}},
		sentinels: map[string][]Peer{"orders": {{Link: peerLink}}},
		quorum: func(name string) (string, error) {
			if name == "lonely" {
				return "", &QuorumError{Usable: 1, NoQuorum: true}
			}
			return QuorumText(2), nil
		},
		failover: func(_ context.Context, name string) error {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case name == "lonely":
				return ErrNoGoodReplica
			case running:
				return ErrInProgress
			}
			running = true
			return nil
		},
	}, opts)
	if password == "" {
		eventually(t, "redis-sentinel knowing all", func() any { return dial(t, theirs).do("SENTINEL replicas orders") }, func() bool {
			c := dial(t, theirs)
			return strings.Contains(c.do("SENTINEL replicas orders"), `$"master-link-status" $"ok"`) &&
				strings.Contains(c.do("SENTINEL sentinels orders"), "disconnected") &&
				!strings.Contains(c.do("SENTINEL masters"), "disconnected")
		})
	}
	return twin{theirs, ours}
}

// session sends lines and returns all replies up to that of a PING that is sent
// last, or to the server's close. What does not end with a line must be an
// error by itself.
func session(t *testing.T, addr string, before, raw string) []string {
	t.Helper()
	c := dial(t, addr)
	const end = "the-end-of-the-session"
	raw = before + raw
	if strings.HasSuffix(raw, "\n") {
		raw += "PING " + end + "\r\n"
	}
	_, _ = c.nc.Write([]byte(raw)) // the server may have had enough before all is sent
	var got []string
	for {
		v, err := readReply(c.r)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: no end after %q: %q", addr, raw, got)
		}
		if err != nil {
			v = reply{kind: '!', text: "closed"}
		}
		if strings.Contains(v.String(), end) {
			return got
		}
		got = append(got, normal(v))
		if v.kind == '!' {
			return got
		}
	}
}

var (
	hexID   = regexp.MustCompile(`[0-9a-f]{40}`)
	id      = regexp.MustCompile(`(\$"id" ):\d+`)
	moving  = regexp.MustCompile(`(\$"(?:link-pending-commands|last-ping-sent|last-ok-ping-reply|last-ping-reply|info-refresh|role-reported-time|last-hello-message|slave-repl-offset|s-down-time)" )\$"-?\d+"`)
	oneport = regexp.MustCompile(`(\$"port" )\$"\d+"`)
)

// normal takes out what differs by time and address, and nothing else.
func normal(r reply) string {
	if n := len(r.elems); n == 2 && (r.elems[0].text == "sentinel" || len(r.elems[0].elems) > 30) {
		// ROLE and MASTERS list both masters in the order of a hash table.
		list := r.elems
		if r.elems[0].text == "sentinel" {
			list = r.elems[1].elems
		}
		slices.SortFunc(list, func(a, b reply) int { return strings.Compare(a.String(), b.String()) })
	}
	v := r.String()
	v = hexID.ReplaceAllString(v, "<id>")
	v = id.ReplaceAllString(v, "$1:<n>")
	if strings.Contains(v, `$"last-hello-message"`) { // the port of a Sentinel that is not there
		v = oneport.ReplaceAllString(v, `$1$"<port>"`)
	}
	return moving.ReplaceAllString(v, `$1$"<n>"`)
}

func compare(t *testing.T, tw twin, raw string) {
	t.Helper()
	for _, before := range []string{"", "HELLO 3\r\n"} {
		want, got := session(t, tw.theirs, before, raw), session(t, tw.ours, before, raw)
		if w, g := strings.Join(want, "\n  "), strings.Join(got, "\n  "); w != g {
			t.Errorf("%s%q\nredis-sentinel:\n  %s\nours:\n  %s", before, raw, w, g)
		}
	}
}

// commandsToCompare are whole sessions, a line each.
var commandsToCompare = strings.Split(strings.TrimSpace(`
PING
PING hello
PING a b
ping ''
HELLO
HELLO 2
HELLO 3
HELLO 1
HELLO 4
HELLO abc
HELLO 03
HELLO 3 AUTH
HELLO 3 AUTH default
HELLO 3 AUTH default anything
HELLO 3 AUTH nobody anything
HELLO 3 SETNAME
HELLO 3 SETNAME me;CLIENT GETNAME
HELLO 3 SETNAME "a b";CLIENT GETNAME
HELLO 3 SETNAME a b
HELLO 2 SETNAME me AUTH nobody x;CLIENT GETNAME
HELLO 2 AUTH nobody x SETNAME me;CLIENT GETNAME
HELLO 3 nonsense
hello 2 setname x auth default y;client getname
AUTH
AUTH x
AUTH default x
AUTH nobody x
AUTH a b c
ROLE
ROLE x
CLIENT
CLIENT NOSUCH
CLIENT ID x
CLIENT GETNAME
CLIENT GETNAME x
CLIENT SETNAME
CLIENT SETNAME me;CLIENT GETNAME
CLIENT SETNAME "a b"
CLIENT SETNAME "a\n"
CLIENT SETNAME me;CLIENT SETNAME '';CLIENT GETNAME
CLIENT INFO x
CLIENT LIST TYPE nonsense
CLIENT LIST TYPE master
CLIENT LIST a b c
COMMAND NOSUCH
COMMAND COUNT x
COMMAND DOCS nosuch
COMMAND INFO nosuch
INFO nosuch
INFO a b
SENTINEL
SENTINEL nosuch
SENTINEL nosuch a b
sentinel Masters
SENTINEL masters
SENTINEL masters x
SENTINEL master
SENTINEL master nosuch
SENTINEL master orders
SENTINEL master lonely
SENTINEL master orders x
SENTINEL MASTER Orders
SENTINEL replicas
SENTINEL replicas nosuch
SENTINEL replicas orders
SENTINEL replicas lonely
SENTINEL replicas orders x
SENTINEL slaves
SENTINEL slaves orders
SENTINEL slaves nosuch
SENTINEL sentinels
SENTINEL sentinels orders
SENTINEL sentinels lonely
SENTINEL sentinels nosuch
SENTINEL ckquorum
SENTINEL ckquorum nosuch
SENTINEL ckquorum orders
SENTINEL ckquorum lonely
SENTINEL myid
SENTINEL myid x
SENTINEL get-master-addr-by-name
SENTINEL get-master-addr-by-name orders
SENTINEL get-master-addr-by-name ORDERS
SENTINEL get-master-addr-by-name lonely
SENTINEL get-master-addr-by-name nosuch
SENTINEL get-master-addr-by-name a b
SENTINEL failover
SENTINEL failover nosuch
SENTINEL failover lonely
SENTINEL failover a b
SENTINEL help x
SENTINEL simulate-failure
SENTINEL simulate-failure help
SENTINEL SIMULATE-FAILURE HELP nosuch
SENTINEL simulate-failure nosuch
SENTINEL simulate-failure ''
SENTINEL simulate-failure "a\r\nb"
SENTINEL simulate-failure crash-after-election nosuch
SENTINEL simulate-failure crash-after-election help
SENTINEL simulate-failure nosuch help
SENTINEL simulate-failure Crash-After-Election CRASH-AFTER-PROMOTION
SENTINEL simulate-failure crash-after-promotion;SENTINEL simulate-failure help
GET a
nosuch
nosuch a b c
''
'' a
SET a b
SELECT 0
ECHO x
RESET
MULTI
EXEC
MONITOR
PUBSUB CHANNELS
SSUBSCRIBE a
CONFIG GET maxclients
DBSIZE
PUBLISH
PUBLISH a
PUBLISH a b
SUBSCRIBE
PSUBSCRIBE
SUBSCRIBE a;PING;PING x;PING a b
SUBSCRIBE a b c a
PSUBSCRIBE * +s*;SUBSCRIBE x
SUBSCRIBE a;SENTINEL masters x;SENTINEL nosuch;GET a;SENTINEL
SUBSCRIBE a;SENTINEL get-master-addr-by-name nosuch;ROLE;INFO nosuch
SUBSCRIBE a;HELLO 3;AUTH x
SUBSCRIBE a;HELLO 2;CLIENT GETNAME
SUBSCRIBE a;UNSUBSCRIBE a;ROLE
SUBSCRIBE a;UNSUBSCRIBE;CLIENT GETNAME
SUBSCRIBE a;PSUBSCRIBE b;UNSUBSCRIBE;PUNSUBSCRIBE;CLIENT GETNAME
SUBSCRIBE a;PUNSUBSCRIBE;PUNSUBSCRIBE a;UNSUBSCRIBE b
UNSUBSCRIBE
PUNSUBSCRIBE
UNSUBSCRIBE a b
PUNSUBSCRIBE a
PING "unbalanced
PING 'a'b
PING "a\x41\n\r\t\b\a\q\\"
POST / HTTP/1.1
host: example.org
`), "\n")

// rawToCompare can't be written as lines.
var rawToCompare = []string{
	"*9223372036854775807\r\n", "*9223372036854775808\r\n", "*a\r\n", "*01\r\n", "*\r\n", "*-0\r\n",
	"*0\r\n*-1\r\n*-7\r\n", "\r\n\n \t\r\n",
	"*1\r\n:1\r\n", "*1\r\n$-1\r\n", "*1\r\n$a\r\n", "*1\r\n$99999999999\r\n",
	"*" + strings.Repeat("1", 70_000), "*1\r\n$" + strings.Repeat("1", 70_000), strings.Repeat("a", 70_000),
	"*3\r\n$3\r\nfoo\r\n$1\r\n\r\r\n$2\r\n\n\x00\r\n",
	"*2\r\n$3\r\nfoo\r\n$3\r\na\x00b\r\n",
	multibulk("CLIENT", "SETNAME", "a\x00b"), multibulk("CLIENT", "SETNAME", "a\x7fb"), multibulk("PING", "a\r\nb\x00"),
	multibulk(strings.Repeat("g", 200), strings.Repeat("a", 100), strings.Repeat("b", 100), "c"),
	multibulk("get", strings.Repeat("a", 126), "b"), multibulk("get", strings.Repeat("a", 300)),
	multibulk("sentinel", strings.Repeat("g", 200)), multibulk("sentinel", "a\r\nb"),
	multibulk("HELLO", "3", "a\r\nb"), multibulk("SUBSCRIBE", "", "a\r\n"),
}

func TestSideBySideWithRedisSentinel(t *testing.T) {
	tw := newTwin(t, "")
	for _, l := range commandsToCompare {
		compare(t, tw, strings.ReplaceAll(l, ";", "\r\n")+"\r\n")
	}
	for _, raw := range rawToCompare {
		compare(t, tw, raw)
	}
	// The armed failures show in INFO.
	flags := regexp.MustCompile(`sentinel_simulate_failure_flags:\d+`)
	for _, words := range []string{"crash-after-election", "crash-after-promotion", "crash-after-promotion CRASH-after-election", "crash-after-election nosuch", "nosuch", "crash-after-election help", "help"} {
		var got []string
		for _, addr := range []string{tw.theirs, tw.ours} {
			c := dial(t, addr)
			c.do("SENTINEL simulate-failure " + words)
			got = append(got, flags.FindString(c.do("INFO sentinel")))
		}
		truth(t, got[0] != "", "redis-sentinel shows no armed failures")
		equal(t, got[0], got[1], words)
	}
	// A failover changes what is compared, so it comes last. The first ones are
	// not compared in both protocols, because there is only one first.
	for _, want := range []string{"+OK", "-INPROG Failover already in progress"} {
		for _, addr := range []string{tw.theirs, tw.ours} {
			equal(t, want, dial(t, addr).do("SENTINEL FAILOVER orders"))
		}
	}
}

func TestSideBySideBeforeAuth(t *testing.T) {
	tw := newTwin(t, "sesame")
	for _, l := range []string{
		"PING", "GET a", "SENTINEL", "SENTINEL masters", "SENTINEL nosuch", "SENTINEL masters x", "CLIENT", "ROLE",
		"SUBSCRIBE a", "INFO", "HELLO", "HELLO 3", "HELLO 4", "HELLO 3 nonsense", "HELLO 3 SETNAME x", "HELLO 2 AUTH default x",
		"HELLO 2 AUTH nobody sesame", "AUTH x", "AUTH default x", "AUTH nobody sesame", "AUTH a b c", "AUTH default",
		"AUTH sesame;CLIENT GETNAME", "AUTH default sesame;PING", "HELLO 3 AUTH default sesame SETNAME me;CLIENT GETNAME",
		"HELLO 3 SETNAME me AUTH default x;AUTH sesame;CLIENT GETNAME", "AUTH sesame;AUTH x;ROLE", "AUTH sesame;HELLO 2",
	} {
		compare(t, tw, strings.ReplaceAll(l, ";", "\r\n")+"\r\nAUTH sesame\r\n")
	}
	for _, raw := range []string{"*11\r\n", "*10\r\n$16385\r\n", "*2147483648\r\n", "*1\r\n$536870913\r\n"} {
		compare(t, tw, raw)
	}
}

// TestDeliberateDifferences keeps the list of what is not as in 7.0.15, with the
// reasons: a difference that goes away, or one that comes, fails here or above.
func TestDeliberateDifferences(t *testing.T) {
	tw := newTwin(t, "")
	for _, d := range []struct{ line, theirs, ours, why string }{
		{"QUIT", "-ERR unknown command 'QUIT', with args beginning with: ", "+OK", "clients of every Redis version may say it"},
		{"CLIENT SETINFO LIB-NAME x", "-ERR unknown subcommand 'SETINFO'. Try CLIENT HELP.", "+OK", "Redis 7.2 has it, libraries send it"},
		{"SENTINEL simulate-failure before-fence help", "-ERR Unknown failure simulation specified",
			`*[$"crash-after-election" $"crash-after-promotion"]`, "our points are accepted besides Sentinel's, and not listed"},
	} {
		equal(t, d.theirs, dial(t, tw.theirs).do(d.line), d.why)
		equal(t, d.ours, dial(t, tw.ours).do(d.line), d.why)
	}
	// Same shape, other contents.
	for _, l := range []string{"SENTINEL help", "CLIENT LIST", "CLIENT INFO", "CLIENT ID", "COMMAND COUNT", "COMMAND LIST", "COMMAND DOCS nosuch", "INFO", "INFO sentinel"} {
		for _, before := range []string{"", "HELLO 3\r\n"} {
			kinds := func(addr string) string {
				c := dial(t, addr)
				c.send(before + l + "\r\n")
				if before != "" {
					c.next()
				}
				v, err := readReply(c.r)
				noError(t, err)
				kind := string(v.kind)
				if len(v.elems) > 0 {
					kind += string(v.elems[0].kind)
				}
				return kind
			}
			want, got := kinds(tw.theirs), kinds(tw.ours)
			if l == "COMMAND LIST" {
				want = strings.ReplaceAll(want, "+", "$")
			}
			equal(t, want, got, "%s%s", before, l)
		}
	}
	// INFO has our lines of Sentinel's, spelled the same.
	fields := func(addr string) map[string]bool {
		set := map[string]bool{}
		info, err := strconv.Unquote(dial(t, addr).do("INFO")[1:])
		noError(t, err)
		for _, l := range strings.Split(info, "\r\n") {
			name, _, _ := strings.Cut(l, ":")
			set[name] = true
		}
		return set
	}
	theirs := fields(tw.theirs)
	extra := []string{"triwatch_version", "pubsub_clients", "client_output_buffer_limit_disconnections"}
	for name := range fields(tw.ours) {
		truth(t, theirs[name] || strings.Contains(strings.Join(extra, " "), name), "INFO line %q is not one of Sentinel's", name)
	}
}
