package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/triwatch/triwatch/test/certs"
	"github.com/triwatch/triwatch/test/proc"
	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
)

const (
	appUser, appPassword, redisPassword = "app", "app-secret", "redis-secret"
	// oneCommand is how long a client may wait for one command.
	oneCommand = time.Second
	// clientLimit is longer than any of them waits before it asks for the master again.
	clientLimit = 3 * waitLimit
)

// player is a client that writes keys with its name and reads them from replicas.
type player struct {
	name  string
	write func(ctx context.Context, key, value string) error
	read  func(ctx context.Context, key string) error

	mu     sync.Mutex
	acked  []int
	reads  int
	errors []string // every one once, if it comes again and again
	last   string
}

func (p *player) key(n int) string { return p.name + ":" + strconv.Itoa(n) }

func (p *player) count() (acked, reads int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.acked), p.reads
}

// said takes up a line; see testdata/clients/common.mjs.
func (p *player) said(line string) {
	word, rest, _ := strings.Cut(line, " ")
	p.mu.Lock()
	defer p.mu.Unlock()
	switch word {
	case "ack":
		n, _ := strconv.Atoi(rest)
		p.acked = append(p.acked, n)
	case "read":
		p.reads++
	default: // moved as well
		if line == p.last {
			return
		}
		p.last = line
		p.errors = append(p.errors, time.Now().UTC().Format("15:04:05.000 ")+line)
	}
}

// play does what common.mjs does, until ctx ends.
func (p *player) play(ctx context.Context) {
	for n := 0; ctx.Err() == nil; {
		once, cancel := context.WithTimeout(ctx, oneCommand)
		err := p.write(once, p.key(n), strconv.Itoa(n))
		if err == nil {
			p.said("ack " + strconv.Itoa(n))
			if n++; n%20 == 0 {
				if err = p.read(once, p.key(n-20)); err == nil {
					p.said("read")
				}
			}
		}
		cancel()
		if err != nil && ctx.Err() == nil {
			p.said("error " + err.Error())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// ours starts a client in this process.
func (r *rig) ours(p *player) *player {
	ctx, cancel := context.WithCancel(r.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { p.play(ctx) })
	r.t.Cleanup(func() { cancel(); wg.Wait() })
	return p
}

// program starts a client that is a program of its own.
func (r *rig) program(called string, resp int, argv ...string) *player {
	r.t.Helper()
	type node struct {
		Host string `json:"host"`
		Port int    `json:"port"`
	}
	var at []node
	for _, w := range r.trio.Watchers {
		at = append(at, node{"127.0.0.1", w.Port})
	}
	p := &player{name: called}
	c := map[string]any{"sentinels": at, "name": name, "prefix": called, "resp": resp, "password": redisPassword,
		"sentinelUser": appUser, "sentinelPassword": appPassword}
	if f := r.access.TLS; f != nil {
		c["tls"] = map[string]string{"ca": f.CA, "cert": f.Cert, "key": f.Key}
	}
	js, err := json.Marshal(c)
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.Command(argv[0], append(argv[1:], string(js))...)
	in, err := cmd.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	out, told := io.Pipe()
	cmd.Stdout, cmd.Stderr = told, told
	child, err := proc.Spawn(cmd)
	if err != nil {
		r.t.Fatalf("start %s: %v", called, err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.said(lines.Text())
		}
	})
	r.t.Cleanup(func() {
		in.Close() //nolint:errcheck // that is what ends it
		child.Stop(5 * time.Second)
		told.Close() //nolint:errcheck // never fails
		wg.Wait()
	})
	return p
}

// goRedis starts a client of go-redis; a cluster client chooses replicas for reads itself.
func (r *rig) goRedis(cluster bool) *player {
	o := &redis.FailoverOptions{MasterName: name, SentinelAddrs: r.trio.Addrs(), SentinelUsername: appUser, SentinelPassword: appPassword,
		Password: redisPassword, ReadTimeout: oneCommand, RouteRandomly: cluster}
	if f := r.access.TLS; f != nil {
		o.TLSConfig = f.Client
	}
	if cluster {
		c := redis.NewFailoverClusterClient(o)
		r.t.Cleanup(func() { c.Close() }) //nolint:errcheck // nothing is pending
		return r.ours(&player{name: "go-redis FailoverClusterClient", write: func(ctx context.Context, k, v string) error { return c.Set(ctx, k, v, 0).Err() },
			read: func(ctx context.Context, k string) error { return c.Get(ctx, k).Err() }})
	}
	replicas := *o
	replicas.ReplicaOnly = true
	m, s := redis.NewFailoverClient(o), redis.NewFailoverClient(&replicas)
	r.t.Cleanup(func() { m.Close(); s.Close() }) //nolint:errcheck // nothing is pending
	return r.ours(&player{name: "go-redis FailoverClient", write: func(ctx context.Context, k, v string) error { return m.Set(ctx, k, v, 0).Err() },
		read: func(ctx context.Context, k string) error { return s.Get(ctx, k).Err() }})
}

// shell starts what a shell script does with redis-cli, asking one watcher after the
// other.
func (r *rig) shell() *player {
	asked := 0
	options := []string{"--no-auth-warning"}
	if f := r.access.TLS; f != nil {
		options = append(options, "--tls", "--cacert", f.CA, "--cert", f.Cert, "--key", f.Key)
	}
	cli := func(ctx context.Context, args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "redis-cli", slices.Concat(options, args)...).CombinedOutput()
		text := strings.TrimSpace(string(out))
		if err != nil {
			return "", fmt.Errorf("%w: %s", err, text)
		}
		return text, nil
	}
	sentinel := func(ctx context.Context, args ...string) ([]string, error) {
		asked++
		w := r.trio.Watchers[asked%len(r.trio.Watchers)]
		text, err := cli(ctx, append([]string{"-p", strconv.Itoa(w.Port), "--user", appUser, "--pass", appPassword, "SENTINEL"}, args...)...)
		return strings.Split(text, "\n"), err
	}
	redisAt := func(ctx context.Context, host, port string, args ...string) (string, error) {
		return cli(ctx, append([]string{"-h", host, "-p", port, "--pass", redisPassword}, args...)...)
	}
	return r.ours(&player{name: "redis-cli", write: func(ctx context.Context, k, v string) error {
		at, err := sentinel(ctx, "get-master-addr-by-name", name)
		if err != nil || len(at) != 2 {
			return fmt.Errorf("get-master-addr-by-name: %v %w", at, err)
		}
		if text, err := redisAt(ctx, at[0], at[1], "SET", k, v); err != nil || text != "OK" {
			return fmt.Errorf("SET: %s %w", text, err)
		}
		return nil
	}, read: func(ctx context.Context, k string) error {
		list, err := sentinel(ctx, "replicas", name)
		if err != nil {
			return err
		}
		host, port := upReplica(list)
		text, err := redisAt(ctx, host, port, "GET", k)
		if err == nil && text == "" {
			err = errors.New("nothing there yet")
		}
		return err
	}})
}

// upReplica is where the first replica is that is not down, in the flat list of names and
// values that redis-cli prints.
func upReplica(list []string) (host, port string) {
	var at map[string]string
	for i := 0; i+1 < len(list); i += 2 {
		if list[i] == "name" {
			at = map[string]string{}
		}
		at[list[i]] = list[i+1]
		if list[i] == "flags" && !strings.Contains(list[i+1], "down") {
			return at["ip"], at["port"]
		}
	}
	return "", ""
}

// clientsOfOthers starts every client that was not written here.
func (r *rig) clientsOfOthers() []*player {
	r.t.Helper()
	dir := filepath.Join("testdata", "clients")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "ioredis")); err != nil {
		r.t.Fatalf("the clients of others are not installed: run make clients, or make test, which does it: %v", err)
	}
	script := func(name string) string { return filepath.Join(dir, name) }
	return []*player{
		r.goRedis(false), r.goRedis(true), r.shell(),
		r.program("redis-py", 2, python(r.t), script("redispy.py")),
		r.program("ioredis", 2, "node", script("ioredis.mjs")),
		r.program("node-redis RESP2", 2, "node", script("node-redis.mjs")),
		r.program("node-redis RESP3", 3, "node", script("node-redis.mjs")),
	}
}

// python is an interpreter that has redis-py: Debian's package is for Debian's own.
func python(t *T) string {
	t.Helper()
	for _, p := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(p, "-c", "import redis.sentinel").Run() == nil {
			return p
		}
	}
	t.Fatal("no python3 has redis-py: run make clients, or make test, which does it")
	return ""
}

// goOn waits until every client has written and read some more.
func (r *rig) goOn(all []*player, what string) {
	r.t.Helper()
	for _, p := range all {
		acked, reads := p.count()
		began := time.Now()
		if err := trio.Wait(r.t.Context(), clientLimit, func() error {
			a, n := p.count()
			if a < acked+30 || n <= reads {
				p.mu.Lock()
				defer p.mu.Unlock()
				return fmt.Errorf("%d writes, %d reads from replicas since; its last words: %q", a-acked, n-reads, p.errors[max(0, len(p.errors)-40):])
			}
			return nil
		}); err != nil {
			r.t.Fatalf("%s: %s does not go on: %v", what, p.name, err)
		}
		r.t.Logf("%s: %s goes on (%.1f s)", what, p.name, time.Since(began).Seconds())
	}
}

// keys are those that were acknowledged so far.
func keys(all []*player) []string {
	var out []string
	for _, p := range all {
		p.mu.Lock()
		for _, n := range p.acked {
			out = append(out, p.key(n))
		}
		p.mu.Unlock()
	}
	return out
}

// holds returns an error unless a server has all keys.
func (r *rig) holds(s *redisproc.Server, keys []string) error {
	r.t.Helper()
	if got := r.do(s, append([]string{"EXISTS"}, keys...)...); got != strconv.Itoa(len(keys)) {
		return fmt.Errorf("of %d acknowledged keys %s has %s", len(keys), s.Addr(), got)
	}
	return nil
}

// Clients that no one here wrote find the master, and go on by themselves after a
// handover, after a failover, and after one from a master that is silent and closes no
// connection; with passwords on both ports, and reads from replicas.
func TestClientsOfOthers(t *testing.T) {
	scenario(t, func(t *T) { clientsOfOthers(t, nil) })
}

// The same where there is no connection without TLS: to Redis, to the watchers, between
// replicas and between watchers; and everybody has to show a certificate.
func TestClientsOfOthersUnderTLS(t *testing.T) {
	scenario(t, func(t *T) {
		files, err := certs.Make(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		clientsOfOthers(t, files)
	})
}

func clientsOfOthers(t *T, files *certs.Files) {
	r := start(t, setup{redis: redisproc.Options{Password: redisPassword, TLS: files},
		conf: "sentinel auth-pass " + name + " " + redisPassword + "\nuser " + appUser + " on >" + appPassword + " ~* &* +@all\n"})
	all := r.clientsOfOthers()
	r.goOn(all, "at the start")
	first := r.next(func(*redisproc.Server) { r.asked(r.follower(), "SENTINEL", "FAILOVER", name) })
	r.goOn(all, "after a handover")
	kept := keys(all)
	if err := r.holds(first, kept); err != nil {
		t.Fatal(err)
	}
	r.steady(2)
	r.settled("1")
	for _, s := range r.others(first) {
		r.wait("all is replicated", func() error { return r.holds(s, kept) })
	}
	if files != nil {
		if err := files.Renew(); err != nil { // connections from now on show another certificate
			t.Fatal(err)
		}
	}
	second := r.next((*redisproc.Server).Kill)
	r.goOn(all, "after a failover")
	if err := r.holds(second, kept); err != nil {
		t.Fatal(err)
	}
	r.back(first)
	r.steady(2)
	third := r.next(func(s *redisproc.Server) {
		if err := s.Freeze(); err != nil {
			t.Fatal(err)
		}
	})
	r.goOn(all, "after a failover from a master that is frozen")
	if err := second.Thaw(); err != nil {
		t.Fatal(err)
	}
	r.follows(second, third)
	r.goOn(all, "when it is back")
}

// asked asks a watcher until it says OK.
func (r *rig) asked(w *trio.Watcher, words ...string) {
	r.t.Helper()
	c := w.Client()
	defer c.Close() //nolint:errcheck // only read from
	args := make([]any, len(words))
	for i, s := range words {
		args[i] = s
	}
	r.wait(strings.Join(words, " ")+" is granted", func() error {
		cmd := redis.NewStatusCmd(r.t.Context(), args...)
		return c.Process(r.t.Context(), cmd)
	})
}

// next does something to the master and waits for the next one.
func (r *rig) next(do func(master *redisproc.Server)) *redisproc.Server {
	r.t.Helper()
	addr, err := r.leader().MasterAddr(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	master := r.at(addr)
	do(master)
	return r.moved(master)
}
