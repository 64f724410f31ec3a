package resp

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestGoRedisFailoverClientFollowsTheSwitch(t *testing.T) {
	for name, opts := range map[string]Options{"open": {}, "password": {Password: "sesame"}} {
		t.Run(name, func(t *testing.T) {
			first := launchRedis(t, 0)
			second := launchRedis(t, 0)
			b := oneMaster(first)
			s, addr := startServer(t, b, opts)
			c := redis.NewFailoverClient(&redis.FailoverOptions{
				MasterName: "orders", SentinelAddrs: []string{addr}, SentinelPassword: opts.Password,
			})
			defer c.Close()
			ctx, cancel := context.WithTimeout(context.Background(), wait)
			defer cancel()
			noError(t, c.Set(ctx, "where", "first", 0).Err())
			eventually(t, "go-redis subscribing", func() any { return s.Stats() }, func() bool { return s.Subscribers() == 1 })

			direct := redis.NewClient(&redis.Options{Addr: localhost(second)})
			defer direct.Close()
			b.move(second)
			less(t, 0, s.Publish("+switch-master", "orders 127.0.0.1 "+portOf(first)+" 127.0.0.1 "+portOf(second)))
			eventually(t, "go-redis writing to the second", func() any { return c.Get(ctx, "where").Val() }, func() bool {
				_ = c.Set(ctx, "where", "second", 0).Err()
				return direct.Get(ctx, "where").Val() == "second"
			})
		})
	}
}

func portOf(port int) string { return localhost(port)[len("127.0.0.1:"):] }

func TestGoRedisSentinelClientUnderstandsEverything(t *testing.T) {
	b := oneMaster(6379)
	b.replicas = map[string][]Instance{"orders": {{Link: Link{Host: "127.0.0.1", Port: 6380}, MasterLinkUp: true}}}
	b.sentinels = map[string][]Peer{"orders": {{Link: Link{Host: "127.0.0.1", Port: 26380, RunID: ourID}}}}
	s, addr := startServer(t, b, Options{Password: "sesame"})
	for _, proto := range []int{2, 3} {
		c := redis.NewSentinelClient(&redis.Options{Addr: addr, Password: "sesame", Protocol: proto, ClientName: "me"})
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		where, err := c.GetMasterAddrByName(ctx, "orders").Result()
		noError(t, err)
		equal(t, []string{"127.0.0.1", "6379"}, where)
		errorIs(t, c.GetMasterAddrByName(ctx, "nosuch").Err(), redis.Nil)
		m, err := c.Master(ctx, "orders").Result()
		noError(t, err)
		equal(t, "master", m["flags"])
		equal(t, "5000", m["down-after-milliseconds"])
		masters, err := c.Masters(ctx).Result()
		noError(t, err)
		equal(t, 1, len(masters))
		replicas, err := c.Replicas(ctx, "orders").Result()
		noError(t, err)
		equal(t, "127.0.0.1:6380", replicas[0]["name"])
		peers, err := c.Sentinels(ctx, "orders").Result()
		noError(t, err)
		equal(t, "26380", peers[0]["port"])
		text, err := c.CkQuorum(ctx, "orders").Result()
		noError(t, err)
		equal(t, "OK 3 usable Sentinels. Quorum and failover authorization can be reached", text)
		noError(t, c.Failover(ctx, "orders").Err())
		noError(t, c.Ping(ctx).Err())

		sub := c.PSubscribe(ctx, "+*")
		_, err = sub.Receive(ctx)
		noError(t, err)
		noError(t, sub.Ping(ctx))
		equal(t, 1, s.Publish("+sdown", "master orders 127.0.0.1 6379"))
		for got := false; !got; {
			msg, err := sub.Receive(ctx)
			noError(t, err)
			if m, ok := msg.(*redis.Message); ok {
				equal(t, "+sdown", m.Channel)
				equal(t, "master orders 127.0.0.1 6379", m.Payload)
				got = true
			}
		}
		noError(t, sub.Close())
		noError(t, c.Close())
		cancel()
		eventually(t, "unsubscribing", func() any { return s.Stats() }, func() bool { return s.Subscribers() == 0 })
	}
}

func TestRedisCliWorks(t *testing.T) {
	cli := program(t, "redis-cli")
	_, addr := startServer(t, oneMaster(6379), Options{Password: "sesame"})
	port := addr[len("127.0.0.1:"):]
	for _, x := range []struct {
		args []string
		want string
	}{
		{[]string{"PING"}, "PONG\n"},
		{[]string{"SENTINEL", "get-master-addr-by-name", "orders"}, "127.0.0.1\n6379\n"},
		{[]string{"-3", "SENTINEL", "get-master-addr-by-name", "orders"}, "127.0.0.1\n6379\n"},
		{[]string{"-3", "SENTINEL", "get-master-addr-by-name", "nosuch"}, "\n"},
		{[]string{"-3", "--json", "SENTINEL", "master", "orders"}, `{"name":"orders","ip":"127.0.0.1","port":"6379",`},
		{[]string{"SENTINEL", "ckquorum", "orders"}, "OK 3 usable Sentinels."},
		{[]string{"SENTINEL", "master", "nosuch"}, "ERR No such master with that name\n"},
		{[]string{"--no-raw", "SENTINEL", "myid"}, `"` + ourID + `"` + "\n"},
		{[]string{"-3", "--no-raw", "CLIENT", "LIST"}, "id="},
		{[]string{"INFO", "sentinel"}, "# Sentinel\r\nsentinel_masters:1\r\n"},
		{[]string{"COMMAND", "DOCS", "ping"}, "ping\nsummary\n"},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		cmd := exec.CommandContext(ctx, cli, append([]string{"-p", port, "-a", "sesame", "--no-auth-warning"}, x.args...)...)
		out, _ := cmd.CombinedOutput() // redis-cli's exit status tells of errors in replies too
		cancel()
		truth(t, strings.HasPrefix(string(out), x.want), "redis-cli %v said %q, want %q", x.args, out, x.want)
	}
}

func TestRedisCliInteractive(t *testing.T) {
	cli := program(t, "redis-cli")
	_, addr := startServer(t, oneMaster(6379), Options{})
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	cmd := exec.CommandContext(ctx, cli, "-p", addr[len("127.0.0.1:"):])
	cmd.Stdin = strings.NewReader("SENTINEL masters\nnosuch\nquit\n")
	began := time.Now()
	out, err := cmd.CombinedOutput()
	noError(t, err)
	contains(t, string(out), "down-after-milliseconds")
	contains(t, string(out), "ERR unknown command 'nosuch'")
	less(t, time.Since(began), wait)
}
