package resp

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// BenchmarkMasterAddress asks for the master over loopback, one request at a
// time on each of 50 connections.
func BenchmarkMasterAddress(b *testing.B) {
	_, addr := startServer(b, oneMaster(6379), Options{})
	const conns = 50
	request := []byte(multibulk("SENTINEL", "get-master-addr-by-name", "orders"))
	want := []byte("*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n")
	var wg sync.WaitGroup
	b.ResetTimer()
	for i := range conns {
		nc, err := net.Dial("tcp", addr)
		noError(b, err)
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer nc.Close()
			got := make([]byte, len(want))
			for n := i; n < b.N; n += conns {
				if _, err := nc.Write(request); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, want) {
					b.Errorf("got %q, %v", got, err)
					return
				}
			}
		}()
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkSwitch measures from Publish to the last subscriber having read it.
func BenchmarkSwitch(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n, " subscribers"), func(b *testing.B) {
			s, addr := startServer(b, oneMaster(6379), Options{})
			payload := "orders 127.0.0.1 6379 127.0.0.1 6380"
			message := len("*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$36\r\n\r\n") + len(payload)
			var conns []net.Conn
			for range n {
				c := dial(b, addr)
				c.do("SUBSCRIBE +switch-master")
				conns = append(conns, c.nc)
			}
			got := make([]byte, message)
			b.ResetTimer()
			for range b.N {
				s.Publish("+switch-master", payload)
				for _, nc := range conns {
					_, err := io.ReadFull(nc, got)
					noError(b, err)
				}
			}
		})
	}
}

// BenchmarkReader parses the request that clients send most.
func BenchmarkReader(b *testing.B) {
	b.ReportAllocs()
	request := []byte(multibulk("SENTINEL", "get-master-addr-by-name", "orders"))
	r := NewReader(&endless{data: request}, DefaultLimits())
	b.SetBytes(int64(len(request)))
	for range b.N {
		if args, err := r.ReadCommand(); err != nil || len(args) != 3 {
			b.Fatal(args, err)
		}
	}
}

// endless repeats its data for ever.
type endless struct {
	data []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.data[e.at:])
	e.at = (e.at + n) % len(e.data)
	return n, nil
}
