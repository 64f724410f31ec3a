package redisio_test

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/redisio"
	"github.com/triwatch/triwatch/test/redisproc"
)

// BenchmarkWatching100Masters probes 300 instances (100 masters on each of three
// servers) at their pace for a few seconds and reports what that costs this
// process: CPU per second and per probe, and memory.
func BenchmarkWatching100Masters(b *testing.B) {
	for _, ping := range []time.Duration{500 * time.Millisecond, 250 * time.Millisecond, 100 * time.Millisecond} {
		b.Run(fmt.Sprintf("ping=%v", ping), func(b *testing.B) { watchMany(b, ping, time.Second) })
	}
}

func watchMany(b *testing.B, ping, info time.Duration) {
	servers := make([]*redisproc.Server, 3)
	for i := range servers {
		servers[i] = benchRedis(b)
	}
	before := heap()
	var probes atomic.Int64
	pool := redisio.New(redisio.Options{Emit: func(sentinel.InputEvent) { probes.Add(1) }})
	defer pool.Close()
	for m := range 100 {
		w := sentinel.Watch{Master: fmt.Sprint("m", m)}
		for i, s := range servers {
			w.Targets = append(w.Targets, sentinel.Target{
				Instance: sentinel.InstanceID(fmt.Sprint(i)), Addr: addrOf(s), Ping: ping, Info: info, Timeout: time.Second,
			})
		}
		pool.Watch(w)
	}
	for probes.Load() < 600 {
		time.Sleep(10 * time.Millisecond) // a benchmark runs in real time
	}
	n, cpu, start := probes.Load(), cpuTime(), time.Now()
	for b.Loop() {
		time.Sleep(3 * time.Second) // likewise
	}
	n, cpu = probes.Load()-n, cpuTime()-cpu
	took := time.Since(start)
	b.ReportMetric(float64(cpu.Microseconds())/float64(n), "cpu-µs/probe")
	b.ReportMetric(float64(cpu.Milliseconds())/took.Seconds(), "cpu-ms/s")
	b.ReportMetric(float64(n)/took.Seconds(), "probes/s")
	b.ReportMetric(float64(heap()-before)/(1<<20), "heap+stack-MiB")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkFloor is what a bare write and read of PING over net.Conn costs at the
// same pace, for comparison.
func BenchmarkFloor(b *testing.B) {
	s := benchRedis(b)
	stop := make(chan struct{})
	done := make(chan struct{}, 300)
	var pings atomic.Int64
	for range 300 {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			defer func() { c.Close(); done <- struct{}{} }() //nolint:errcheck // a benchmark
			buf := make([]byte, 64)
			tick := time.NewTicker(250 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				if _, err := c.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
					return
				}
				if _, err := c.Read(buf); err != nil {
					return
				}
				pings.Add(1)
			}
		}()
	}
	cpu := cpuTime()
	for b.Loop() {
		time.Sleep(3 * time.Second) // likewise
	}
	cpu = cpuTime() - cpu
	b.ReportMetric(float64(cpu.Microseconds())/float64(pings.Load()), "cpu-µs/probe")
	b.ReportMetric(0, "ns/op")
	close(stop)
	for range 300 {
		<-done
	}
}

// BenchmarkCloseToProbe reports the time from SIGKILL to the emitted Probe that
// says lost and refused.
func BenchmarkCloseToProbe(b *testing.B) {
	s := benchRedis(b)
	type lost struct {
		at    time.Time
		probe sentinel.Probe
	}
	got := make(chan lost, 100)
	alive := make(chan struct{}, 1)
	pool := redisio.New(redisio.Options{Emit: func(e sentinel.InputEvent) {
		p := e.(sentinel.Probe)
		if p.Reply == sentinel.ReplyOK {
			select {
			case alive <- struct{}{}:
			default:
			}
		} else if p.Lost {
			got <- lost{time.Now(), p}
		}
	}})
	defer pool.Close()
	pool.Watch(sentinel.Watch{Master: "m", Targets: []sentinel.Target{{
		Instance: "0", Addr: addrOf(s), Ping: 20 * time.Millisecond, Info: time.Second, Timeout: time.Second,
	}}})
	var took []time.Duration
	for b.Loop() {
		<-alive
		for reply, err := s.Do(b.Context(), "PUBSUB", "NUMSUB", redisio.WatchChannel); err != nil || reply.Strings()[1] != "1"; {
			time.Sleep(time.Millisecond) // a benchmark runs in real time
			reply, err = s.Do(b.Context(), "PUBSUB", "NUMSUB", redisio.WatchChannel)
		}
		// A crash every few milliseconds would use up the redials at once.
		time.Sleep(200 * time.Millisecond) // a benchmark runs in real time
		start := time.Now()
		if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		l := <-got
		if l.probe.Reply != sentinel.ReplyRefused {
			b.Fatalf("unexpected %+v", l.probe)
		}
		took = append(took, l.at.Sub(start))
		select {
		case <-alive:
		default:
		}
		if err := s.Restart(b.Context(), redisproc.RestartOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-µs")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkEOFToProbe reports the time from the moment at which the connections
// of a server end, without a process to be torn down, to the emitted Probe.
func BenchmarkEOFToProbe(b *testing.B) {
	s := benchRedis(b)
	var took []time.Duration
	for b.Loop() {
		f := newFront(b, s.Addr())
		probes := make(chan sentinel.Probe, 1000)
		pool := redisio.New(redisio.Options{Emit: func(e sentinel.InputEvent) { probes <- e.(sentinel.Probe) }})
		pool.Watch(sentinel.Watch{Master: "m", Targets: []sentinel.Target{{
			Instance: "0", Addr: f.addr(), Ping: time.Minute, Info: time.Minute, Timeout: time.Second,
		}}})
		<-probes
		for reply, err := s.Do(b.Context(), "PUBSUB", "NUMSUB", redisio.WatchChannel); err != nil || reply.Strings()[1] != "1"; {
			time.Sleep(time.Millisecond) // a benchmark runs in real time
			reply, err = s.Do(b.Context(), "PUBSUB", "NUMSUB", redisio.WatchChannel)
		}
		start := time.Now()
		f.die()
		p := <-probes
		took = append(took, time.Since(start))
		if !p.Lost || p.Reply != sentinel.ReplyRefused {
			b.Fatalf("unexpected %+v", p)
		}
		pool.Close()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-µs")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
	b.ReportMetric(0, "ns/op")
}

func benchRedis(b *testing.B) *redisproc.Server {
	b.Helper()
	s, err := redisproc.Start(b.Context(), redisproc.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Stop)
	return s
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
