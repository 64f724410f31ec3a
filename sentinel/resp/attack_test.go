package resp

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// heap returns the bytes in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

func TestAnnouncedSizesAreRefusedAtOnce(t *testing.T) {
	for _, password := range []string{"", "sesame"} {
		s, addr := startServer(t, oneMaster(1), Options{Password: password})
		for _, in := range []string{"*9223372036854775807\r\n", "*1\r\n$1073741824\r\n", "*2147483647\r\n", strings.Repeat("x", 70_000)} {
			c := dial(t, addr)
			_, _ = c.nc.Write([]byte(in)) // may fail at its end: the server has had enough
			contains(t, c.next(), "-ERR Protocol error: ", "%.30s", in)
			c.closed()
		}
		equal(t, uint64(4), s.Stats().Protocol)
	}
}

func TestBeforeAuthTheLimitsAreTighter(t *testing.T) {
	_, addr := startServer(t, oneMaster(1), Options{Password: "sesame"})
	c := dial(t, addr)
	c.send("*11\r\n")
	equal(t, "-ERR Protocol error: unauthenticated multibulk length", c.next())
	c.closed()
	c = dial(t, addr)
	c.send("*2\r\n$4\r\nAUTH\r\n$16385\r\n")
	equal(t, "-ERR Protocol error: unauthenticated bulk length", c.next())
	c.closed()
	c = dial(t, addr)
	equal(t, "+OK", c.do("AUTH sesame"))
	c.send(multibulk("PING", strings.Repeat("x", 20_000)))
	equal(t, `$"`+strings.Repeat("x", 20_000)+`"`, c.next())
}

func TestTrickledCommandsHoldOnlyWhatHasCome(t *testing.T) {
	s, addr := startServer(t, oneMaster(1), Options{})
	before := heap()
	var clients []*client
	for range 50 {
		c := dial(t, addr)
		c.send("*2000\r\n$500000\r\n")
		clients = append(clients, c)
	}
	for range 20 { // byte by byte
		for _, c := range clients {
			c.send("x")
		}
	}
	eventually(t, "50 connections", func() any { return s.Stats() }, func() bool { return s.Stats().Connected == 50 })
	less(t, heap()-before, int64(4<<20))
	equal(t, int64(0), s.in.used.Load())
	equal(t, "+PONG", dial(t, addr).do("PING"), "others are served")
}

func TestInputOfAllClientsTogetherIsBounded(t *testing.T) {
	warned := make(chan string, 100)
	s, addr := startServer(t, oneMaster(1), Options{InputBudget: 1 << 20, Warn: func(m string, _ ...any) { warned <- m }})
	part := "*2\r\n$4\r\nPING\r\n$300000\r\n" + strings.Repeat("x", 200_000)
	for range 10 {
		_, _ = dial(t, addr).nc.Write([]byte(part))
	}
	eventually(t, "cutting off", func() any { return s.Stats() }, func() bool { return s.Stats().Protocol >= 6 })
	less(t, s.in.used.Load(), int64(1<<20+1))
	equal(t, "+PONG", dial(t, addr).do("PING"), "small commands are served")
	contains(t, <-warned, "input memory used up")
}

func TestSlowSubscriberIsCutOffAndNobodyWaits(t *testing.T) {
	warned := make(chan string, 10)
	s, addr := startServer(t, oneMaster(1), Options{SubscriberBuffer: 256 << 10, Warn: func(m string, _ ...any) { warned <- m }})
	slow, good := dial(t, addr), dial(t, addr)
	slow.do("SUBSCRIBE a")
	good.do("SUBSCRIBE a")
	received := make(chan int, 1)
	go func() {
		n := 0
		for good.next() != `*[$"message" $"a" $"end"]` {
			n++
		}
		received <- n
	}()
	payload := strings.Repeat("x", 8<<10)
	var longest time.Duration
	sent := 0
	for end := time.Now().Add(wait); s.Stats().SlowClosed == 0 && time.Now().Before(end); sent++ {
		began := time.Now()
		s.Publish("a", payload)
		longest = max(longest, time.Since(began))
		for _, c := range s.connections() { // never outrun the one that reads
			for c.nc.RemoteAddr().String() == good.nc.LocalAddr().String() && c.out.pending() > 128<<10 {
				runtime.Gosched()
			}
		}
	}
	equal(t, uint64(1), s.Stats().SlowClosed)
	less(t, longest, 500*time.Millisecond, "Publish waited")
	equal(t, 1, s.Publish("a", "end"))
	equal(t, sent, <-received)
	slow.closed()
	contains(t, <-warned, "does not read")
	equal(t, 1, s.Subscribers())
	eventually(t, "giving the memory back", func() any { return s.out.used.Load() }, func() bool { return s.out.used.Load() == 0 })
}

func TestOutputOfAllSubscribersTogetherIsBounded(t *testing.T) {
	s, addr := startServer(t, oneMaster(1), Options{OutputBudget: 256 << 10})
	for range 10 {
		dial(t, addr).do("SUBSCRIBE a")
	}
	payload := strings.Repeat("x", 8<<10)
	eventually(t, "cutting off", func() any { return s.Stats() }, func() bool {
		s.Publish("a", payload)
		less(t, s.out.used.Load(), int64(256<<10+1))
		return s.Stats().SlowClosed >= 5
	})
}

func TestClientThatSendsAndNeverReadsStopsItselfOnly(t *testing.T) {
	for _, first := range []string{"PING\r\n", "SUBSCRIBE a\r\n"} {
		_, addr := startServer(t, oneMaster(1), Options{WriteTimeout: 300 * time.Millisecond})
		before := heap()
		c := dial(t, addr)
		c.send(first)
		ping := []byte(strings.Repeat(multibulk("PING", strings.Repeat("x", 1000)), 100))
		for range 1000 { // 100 MB, or until the server has had enough
			if _, err := c.nc.Write(ping); err != nil {
				break
			}
		}
		less(t, heap()-before, int64(8<<20))
		equal(t, "+PONG", dial(t, addr).do("PING"))
		_, _ = io.Copy(io.Discard, c.nc)
	}
}

func TestMillionChannelsAreCapped(t *testing.T) {
	s, addr := startServer(t, oneMaster(1), Options{})
	before := heap()
	c := dial(t, addr)
	refused, confirmed := 0, 0
	for i := range 1000 {
		words := []string{"SUBSCRIBE"}
		for j := range 1000 {
			words = append(words, fmt.Sprintf("channel-%d", i*1000+j))
		}
		noError(t, c.nc.SetDeadline(time.Now().Add(wait)))
		c.send(multibulk(words...))
		for range 1000 {
			switch got := c.next(); {
			case got == "-ERR too many channels and patterns on this connection":
				refused++
			case strings.Contains(got, `$"subscribe"`):
				confirmed++
			default:
				t.Fatalf("unexpected %s", got)
			}
		}
	}
	equal(t, 1024, confirmed)
	equal(t, 1_000_000-1024, refused)
	equal(t, 1024, s.Stats().Channels)
	less(t, heap()-before, int64(4<<20))
	equal(t, `*[$"pong" $""]`, c.do("PING"))

	c.send("*1000001\r\n$9\r\nSUBSCRIBE\r\n")
	contains(t, c.next(), "invalid multibulk length")
	c.closed()
	eventually(t, "forgetting the channels", func() any { return s.Stats() }, func() bool { return s.Stats().Channels == 0 })
}

func TestLongChannelNamesAreRefused(t *testing.T) {
	_, addr := startServer(t, oneMaster(1), Options{})
	c := dial(t, addr)
	equal(t, "-ERR channel name too long", c.do("PSUBSCRIBE "+strings.Repeat("a*", 200)))
	equal(t, "+PONG", c.do("PING"))
}

func TestThousandIdleConnectionsAreCheap(t *testing.T) {
	s, addr := startServer(t, oneMaster(1), Options{})
	before := heap()
	const n = 1000
	for range n {
		nc, err := net.Dial("tcp", addr)
		noError(t, err)
		t.Cleanup(func() { _ = nc.Close() })
	}
	eventually(t, "1000 connections", func() any { return s.Stats() }, func() bool { return s.Stats().Connected == n })
	each := (heap() - before) / n // both ends are in this process
	t.Logf("%d bytes a connection", each)
	less(t, each, int64(24<<10))
	began := time.Now()
	equal(t, "+PONG", dial(t, addr).do("PING"))
	less(t, time.Since(began), time.Second)
}

func TestBrowserIsHungUpOn(t *testing.T) {
	_, addr := startServer(t, oneMaster(1), Options{})
	c := dial(t, addr)
	c.send("POST / HTTP/1.1\r\nHost: x\r\n\r\nSENTINEL FAILOVER orders\r\n")
	equal(t, "closed", c.next())
}
