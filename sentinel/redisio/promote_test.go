package redisio_test

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/test/redisproc"
)

// before forwards connections, and calls do in front of the first REPLICAOF NO ONE.
func before(t *testing.T, to string, do func()) sentinel.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting, serving sync.WaitGroup
	var once sync.Once
	var ins []net.Conn // the accepting goroutine's, and the cleanup's after it
	serve := func(in net.Conn) {
		defer in.Close() //nolint:errcheck // forwarded until either side ends
		out, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer out.Close()                       //nolint:errcheck // likewise
		serving.Go(func() { io.Copy(in, out) }) //nolint:errcheck // ends with the connections
		for buf := make([]byte, 4096); ; {
			n, err := in.Read(buf)
			if err != nil {
				return
			}
			text := bytes.ToUpper(buf[:n])
			if bytes.Contains(text, []byte("REPLICAOF")) && bytes.Contains(text, []byte("ONE")) {
				once.Do(do)
			}
			if _, err := out.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	accepting.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			ins = append(ins, in)
			serving.Go(func() { serve(in) })
		}
	})
	t.Cleanup(func() {
		l.Close() //nolint:errcheck // it is the purpose
		accepting.Wait()
		for _, in := range ins {
			in.Close() //nolint:errcheck // likewise
		}
		serving.Wait()
	})
	return sentinel.Addr{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}
}

// The old master is back with less, and the candidate copies that between the INFO
// that speaks for it and its promotion.
func TestReplicaThatTakesUpAnotherDataSetInTheMomentOfItsPromotionIsFencedAgain(t *testing.T) {
	r := newRig(t)
	master := redis(t, redisproc.Options{})
	empty := redis(t, redisproc.Options{})
	ask(t, master, "SET", "key", "value")
	replica := redis(t, redisproc.Options{ReplicaOf: master.Addr()})
	if err := replica.WaitInfo(t.Context(), "master_link_status", "up"); err != nil {
		t.Fatal(err)
	}
	info, err := replica.Info(t.Context(), "replication")
	if err != nil {
		t.Fatal(err)
	}
	chosen := until(info["master_replid"], 0)
	at := before(t, replica.Addr(), func() {
		ask(t, replica, "REPLICAOF", "127.0.0.1", strconv.Itoa(empty.Port()))
		if err := replica.WaitInfo(t.Context(), "master_link_status", "up"); err != nil {
			t.Error(err)
		}
	})
	through := func(d *sentinel.Do) { d.Addr = at }
	i := r.expect(r.do(replica, sentinel.OpPromote, chosen, through), sentinel.OutcomeRefused, "took up another data set")
	if !i.Fenced() || !i.Empty() {
		t.Errorf("it is not fenced, or nothing was tested: %+v", i)
	}
	// Without anything in between the same promotion is refused before it is sent, and
	// a replica that is still what it was is promoted.
	r.expect(r.do(replica, sentinel.OpPromote, chosen), sentinel.OutcomeRefused, "since it was chosen")
	ask(t, replica, "REPLICAOF", "127.0.0.1", strconv.Itoa(master.Port()))
	if err := replica.WaitInfo(t.Context(), "master_link_status", "up"); err != nil {
		t.Fatal(err)
	}
	if i := r.expect(r.do(replica, sentinel.OpPromote, chosen, through), sentinel.OutcomeOK, ""); i.Keys != 1 {
		t.Errorf("promoted with %d keys", i.Keys)
	}
}
