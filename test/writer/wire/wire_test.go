package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// answering returns a Conn to a server that sends raw and hangs up, whatever it is asked.
func answering(t testing.TB, raw string) *Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var server sync.WaitGroup
	server.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, raw) //nolint:errcheck // the client may have had enough
	})
	c, err := Dial(context.Background(), l.Addr().String(), Options{Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		l.Close()
		server.Wait()
	})
	return c
}

func TestEveryKindOfReplyIsRead(t *testing.T) {
	c := answering(t, "+OK\r\n-READONLY no\r\n:-12\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n*2\r\n*0\r\n$0\r\n\r\n")
	for _, want := range []Reply{{Status, "OK", nil}, {Error, "READONLY no", nil}, {Integer, "-12", nil}, {Bulk, "a\r\n", nil}, {Null, "", nil}, {Null, "", nil}} {
		got, err := c.Receive()
		if err != nil || got.Kind != want.Kind || got.Str != want.Str {
			t.Fatalf("%s %q %v, want %s %q", got.Kind, got.Str, err, want.Kind, want.Str)
		}
		if (got.Err() != nil) != (want.Kind == Error) {
			t.Errorf("%s: error %v", got.Kind, got.Err())
		}
	}
	got, err := c.Receive()
	if err != nil || got.Kind != Array || len(got.Items) != 2 || got.Items[0].Kind != Array || got.Items[1].Kind != Bulk {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := c.Receive(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestWhatIsNoReplyIsRefused(t *testing.T) {
	for _, raw := range []string{
		"\r\n", "OK\r\n", "+OK\n", "$x\r\n", "$-2\r\n", "$16777217\r\n", "*-2\r\n", "*1048577\r\n", "$1\r\nabc\r\n",
		strings.Repeat("*1\r\n", maxDepth+2), "+" + strings.Repeat("x", 5000) + "\r\n", "HTTP/1.1 400 Bad Request\r\n",
	} {
		if r, err := answering(t, raw).Receive(); !errors.Is(err, ErrProtocol) {
			t.Errorf("%.20q is read as %+v, %v", raw, r, err)
		}
	}
}

func TestCommandsAreSentInOnePiece(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	c := &Conn{conn: near, timeout: 5 * time.Second}
	defer c.Close()
	c.Append("SET", "k", "")
	c.Append("PING")
	var read sync.WaitGroup
	var got string
	read.Go(func() {
		buf := make([]byte, 200)
		n, err := far.Read(buf)
		if err != nil {
			t.Error(err)
		}
		got = string(buf[:n])
	})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	read.Wait()
	if got != "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n" {
		t.Errorf("%q", got)
	}
}
