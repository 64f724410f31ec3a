package redisio_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// dialect is how one version of a server answers, as its sources have it: where
// versions differ, and no more. Only 7.0 can be run here.
type dialect struct {
	name, version, valkey string
	dryRun, subcommands   bool
	// noPerm is the sentence for a command that the user may not send.
	noPerm string
	// unknown is the error for a command that does not exist.
	unknown string
	// tips is the number of further fields in COMMAND INFO.
	tips int
}

func dialects() []dialect {
	return []dialect{
		{name: "redis 6.2", version: "6.2.14", noPerm: "this user has no permissions to run the '%s' command or its subcommand",
			unknown: "ERR unknown command `%s`, with args beginning with: "},
		{name: "redis 7.0", version: "7.0.15", dryRun: true, subcommands: true, tips: 3, noPerm: "this user has no permissions to run the '%s' command",
			unknown: "ERR unknown command '%s', with args beginning with: "},
		{name: "redis 7.2", version: "7.2.5", dryRun: true, subcommands: true, tips: 3, noPerm: "User triwatch has no permissions to run the '%s' command",
			unknown: "ERR unknown command '%s', with args beginning with: "},
		{name: "redis 7.4", version: "7.4.1", dryRun: true, subcommands: true, tips: 3, noPerm: "User triwatch has no permissions to run the '%s' command",
			unknown: "ERR unknown command '%s', with args beginning with: "},
		{name: "redis 8.0", version: "8.0.1", dryRun: true, subcommands: true, tips: 3, noPerm: "User triwatch has no permissions to run the '%s' command",
			unknown: "ERR unknown command '%s', with args beginning with: "},
		{name: "valkey 8.0", version: "7.2.4", valkey: "8.0.1", dryRun: true, subcommands: true, tips: 3,
			noPerm: "User triwatch has no permissions to run the '%s' command", unknown: "ERR unknown command '%s', with args beginning with: "},
	}
}

// player plays one server.
type player struct {
	t  *testing.T
	d  dialect
	ln net.Listener
	wg sync.WaitGroup

	mu       sync.Mutex
	conns    []net.Conn
	gone     []string // renamed away
	denied   []string // "client|kill", "replicaof", "acl", "command", "config|get"
	rules    string   // what ACL GETUSER shows for that
	readOnly string
	ping     string // the answer to PING, "" for PONG
	mute     string // the command that is never answered
	master   sentinel.Addr
	replica  bool
	period   string
	heard    []string // first words of what was asked
}

func play(t *testing.T, d dialect) *player {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &player{t: t, d: d, ln: ln, rules: "+@all", readOnly: "yes", period: "10"}
	p.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, c)
			p.mu.Unlock()
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(p.stop)
	return p
}

func (p *player) stop() {
	p.ln.Close()
	p.mu.Lock()
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *player) addr() sentinel.Addr {
	return sentinel.Addr{Host: "127.0.0.1", Port: p.ln.Addr().(*net.TCPAddr).Port}
}

// set changes how it answers.
func (p *player) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// asked counts the commands that began so.
func (p *player) asked(prefix string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, h := range p.heard {
		if strings.HasPrefix(h, prefix) {
			n++
		}
	}
	return n
}

func (p *player) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.heard = append(p.heard, strings.ToUpper(strings.Join(args, " ")))
		answer := p.answer(args)
		p.mu.Unlock()
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

func readCommand(in *bufio.Reader) ([]string, error) {
	number := func(mark byte) (int, error) {
		line, err := in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		if line[0] != mark {
			return 0, fmt.Errorf("unexpected %q", line)
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	n, err := number('*')
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := number('$')
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, err
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

func failure(text string) string { return "-" + text + "\r\n" }
func status(text string) string  { return "+" + text + "\r\n" }
func bulk(text string) string    { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }
func array(items ...string) string {
	return fmt.Sprintf("*%d\r\n%s", len(items), strings.Join(items, ""))
}

// path names a command as ACL rules do.
func path(args []string) string {
	name := strings.ToLower(args[0])
	if len(args) > 1 && (name == "client" || name == "config" || name == "acl") {
		return name + "|" + strings.ToLower(args[1])
	}
	return name
}

func (p *player) may(path string) bool {
	name, _, _ := strings.Cut(path, "|")
	return !slices.Contains(p.denied, name) && !slices.Contains(p.denied, path)
}

// answer is what the server says; p.mu is held.
func (p *player) answer(args []string) string {
	name := strings.ToLower(args[0])
	at := path(args)
	switch {
	case p.mute != "" && strings.HasPrefix(at, p.mute):
		return ""
	case name == "hello", slices.Contains(p.gone, name):
		return failure(fmt.Sprintf(p.d.unknown, args[0]))
	case name != "auth" && !p.may(at):
		return failure("NOPERM " + fmt.Sprintf(p.d.noPerm, at))
	}
	switch name {
	case "ping":
		if p.ping != "" {
			return failure(p.ping)
		}
		return status("PONG")
	case "info":
		return bulk(p.info())
	case "acl":
		return p.acl(args)
	case "command":
		return p.commandInfo(args[2:])
	case "config":
		return p.config(args)
	case "client":
		return p.client(args)
	case "replicaof", "slaveof":
		return p.replicaOf(args)
	case "subscribe":
		return array(bulk("subscribe"), bulk(args[1]), ":1\r\n")
	}
	return status("OK") // AUTH and the like
}

func (p *player) info() string {
	text := "# Server\r\nredis_version:" + p.d.version + "\r\n"
	if p.d.valkey != "" {
		text += "server_name:valkey\r\nvalkey_version:" + p.d.valkey + "\r\n"
	}
	text += "run_id:" + strings.Repeat("a", 40) + "\r\n\r\n# Persistence\r\nloading:0\r\n\r\n# Replication\r\n"
	if p.replica {
		readOnly := 1
		if p.readOnly == "no" {
			readOnly = 0
		}
		text += fmt.Sprintf("role:slave\r\nmaster_host:%s\r\nmaster_port:%d\r\nmaster_link_status:down\r\nslave_repl_offset:100\r\nslave_read_only:%d\r\nslave_priority:100\r\nreplica_announced:1\r\n",
			p.master.Host, p.master.Port, readOnly)
	} else {
		text += "role:master\r\nconnected_slaves:0\r\n"
	}
	return text + "master_replid:" + strings.Repeat("b", 40) + "\r\nmaster_repl_offset:100\r\n\r\n# Keyspace\r\ndb0:keys=7,expires=0,avg_ttl=0\r\n"
}

func (p *player) acl(args []string) string {
	switch strings.ToLower(args[1]) {
	case "dryrun":
		at := path(args[3:])
		switch {
		case !p.d.dryRun:
			return failure("ERR Unknown subcommand or wrong number of arguments for 'DRYRUN'. Try ACL HELP.")
		case slices.Contains(p.gone, strings.ToLower(args[3])):
			return failure("ERR Command '" + args[3] + "' not found")
		case !p.may(at):
			return bulk(fmt.Sprintf(p.d.noPerm, at))
		}
		return status("OK")
	case "getuser":
		flags := array(bulk("on"))
		if p.rules == "+@all" {
			flags = array(bulk("on"), bulk("allkeys"), bulk("allcommands"))
		}
		return array(bulk("flags"), flags, bulk("passwords"), array(), bulk("commands"), bulk(p.rules), bulk("keys"), array(), bulk("channels"), array(bulk("*")))
	}
	return failure("ERR Unknown subcommand")
}

// commandInfo has what both ages share: name, arity, flags, keys, categories; null for
// a command that does not exist.
func (p *player) commandInfo(names []string) string {
	var out []string
	for _, n := range names {
		name, sub, is := strings.Cut(n, "|")
		if slices.Contains(p.gone, name) || is && !p.d.subcommands {
			out = append(out, "*-1\r\n")
			continue
		}
		categories := map[string][]string{"replicaof": {"@admin", "@slow", "@dangerous"}, "slaveof": {"@admin", "@slow", "@dangerous"},
			"client": {"@admin", "@slow", "@dangerous", "@connection"}, "config": {"@admin", "@slow", "@dangerous"}, "subscribe": {"@pubsub", "@slow"}}[name]
		var list []string
		for _, c := range categories {
			list = append(list, status(c))
		}
		full := name
		if sub != "" {
			full += "|" + sub
		}
		fields := []string{bulk(full), ":-2\r\n", array(status("admin"), status("noscript")), ":0\r\n", ":0\r\n", ":0\r\n", array(list...)}
		for range p.d.tips {
			fields = append(fields, array())
		}
		out = append(out, array(fields...))
	}
	return array(out...)
}

func (p *player) config(args []string) string {
	switch strings.ToLower(args[1]) {
	case "get":
		switch name := args[2]; name {
		case "replica-read-only":
			return array(bulk(name), bulk(p.readOnly))
		case "repl-ping-replica-period":
			return array(bulk(name), bulk(p.period))
		case "save":
			return array(bulk(name), bulk("3600 1"))
		case "appendonly":
			return array(bulk(name), bulk("no"))
		}
		return array()
	case "set":
		p.period = args[3]
	}
	return status("OK")
}

func (p *player) client(args []string) string {
	switch strings.ToLower(args[1]) {
	case "kill":
		return ":2\r\n"
	case "pause":
		if len(args) != 4 || args[3] != "WRITE" {
			return failure("ERR syntax error")
		}
	}
	return status("OK")
}

func (p *player) replicaOf(args []string) string {
	if strings.EqualFold(args[1], "no") {
		p.replica, p.master = false, sentinel.Addr{}
		return status("OK")
	}
	port, err := strconv.Atoi(args[2])
	if err != nil {
		return failure("ERR Invalid master port")
	}
	to := sentinel.Addr{Host: args[1], Port: port}
	if p.replica && p.master == to {
		return status("OK Already connected to specified master")
	}
	p.replica, p.master = true, to
	return status("OK")
}

// playerTarget watches it quickly.
func playerTarget(p *player) sentinel.Target {
	return sentinel.Target{Instance: "redis-0", Addr: p.addr(), Ping: 50 * time.Millisecond, Info: 200 * time.Millisecond, Timeout: time.Second}
}
