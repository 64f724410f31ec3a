package election

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// stranger dials a watcher as somebody who says of itself what say sets.
func stranger(t *testing.T, w *watcher, p purpose, target ID, secret []byte, say func(*hello)) error {
	t.Helper()
	set := newConnSet()
	t.Cleanup(set.closeAll)
	d := &dialer{
		secret: secret, conns: set, learned: func(string, reply, error) {},
		identity: func() hello {
			h := hello{From: newID(), Addr: "127.0.0.1:1", Cluster: w.ClusterID()}
			say(&h)
			return h
		},
	}
	conn, _, err := d.dial(t.Context(), w.Addr(), p, target)
	if err == nil {
		conn.Close()
	}
	return err
}

func TestTheHandshakeRefusesWithAReason(t *testing.T) {
	c := newCluster(t, 1)
	c.startAll()
	w := c.awaitLeader()
	for name, c := range map[string]struct {
		purpose purpose
		target  ID
		say     func(*hello)
		want    refusal
	}{
		"another target":           {purposeRaft, newID(), func(*hello) {}, refusedTarget},
		"another query target":     {purposeQuery, newID(), func(*hello) {}, refusedTarget},
		"another cluster":          {purposeRaft, w.ID(), func(h *hello) { h.Cluster = "other" }, refusedCluster},
		"not a member":             {purposeMessage, w.ID(), func(*hello) {}, refusedStranger},
		"no target":                {purposeRaft, "", func(*hello) {}, refusedMalformed},
		"no purpose":               {purposeUnknown, w.ID(), func(*hello) {}, refusedMalformed},
		"bad address":              {purposeQuery, "", func(h *hello) { h.Addr = "nowhere" }, refusedMalformed},
		"bad ID":                   {purposeQuery, "", func(h *hello) { h.From = "me" }, refusedMalformed},
		"a query of a stranger":    {purposeQuery, "", func(h *hello) { h.Cluster = "" }, refusedNot},
		"raft of the same cluster": {purposeRaft, w.ID(), func(*hello) {}, refusedNot},
	} {
		t.Run(name, func(t *testing.T) {
			err := stranger(t, w, c.purpose, c.target, nil, c.say)
			var refused *RefusedError
			switch {
			case c.want == refusedNot && err != nil:
				t.Fatalf("refused: %v", err)
			case c.want == refusedNot:
			case !errors.As(err, &refused) || refused.code != c.want:
				t.Fatalf("got %v, want %q", err, c.want)
			case !strings.Contains(err.Error(), w.Addr()) || refused.reason == "":
				t.Errorf("the error names no address or reason: %v", err)
			}
		})
	}
}

func TestAWrongSecretIsRefusedAndNamedOnBothSides(t *testing.T) {
	for name, secrets := range map[string][2]string{
		"different": {"one", "two"}, "only the first": {"one", ""}, "only the second": {"", "two"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 2)
			for i, w := range c.ws {
				w.cfg.Secret = []byte(secrets[i])
			}
			c.startAll()
			for _, w := range c.ws {
				eventually(t, "the waiting text and the log name the secret", patience, func() (bool, string) {
					waiting := w.State().Waiting
					logged := 0
					for _, l := range w.logs.All() {
						if l.ContextMap()["refusal"] == refusedSecret.String() {
							logged++
						}
					}
					return strings.Contains(waiting, "secret") && logged > 0, fmt.Sprint(waiting, " logged: ", logged)
				})
				if w.ClusterID() != "" {
					t.Error("a cluster was made")
				}
			}
		})
	}
}

func TestTheSameSecretIsAccepted(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) { cfg.Secret = []byte("the same") })
	c.startAll()
	mustCommit(t, c.awaitLeader(), "a")
	err := stranger(t, c.ws[0], purposeQuery, "", []byte("another"), func(*hello) {})
	if !refusedWith(err, refusedSecret) {
		t.Errorf("a stranger with another secret: %v", err)
	}
}

func TestAProofIsNotAcceptedTwiceOrFromTheOtherSide(t *testing.T) {
	secret, hello, nonce := []byte("s"), []byte("hello"), newNonce()
	mac := prove(secret, roleDialer, hello, nonce)
	if wrong := checkProof(secret, roleDialer, hello, nonce, mac); wrong != "" {
		t.Fatal(wrong)
	}
	for name, wrong := range map[string]string{
		"the other role":  checkProof(secret, roleListener, hello, nonce, mac),
		"another nonce":   checkProof(secret, roleDialer, hello, newNonce(), mac),
		"another hello":   checkProof(secret, roleDialer, []byte("olleh"), nonce, mac),
		"another secret":  checkProof([]byte("t"), roleDialer, hello, nonce, mac),
		"no proof":        checkProof(secret, roleDialer, hello, nonce, nil),
		"no secret here":  checkProof(nil, roleDialer, hello, nonce, mac),
		"truncated proof": checkProof(secret, roleDialer, hello, nonce, mac[:16]),
	} {
		if wrong == "" {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestStrangersThatSayNothingDoNotKeepMembersOut(t *testing.T) {
	c := newCluster(t, 1)
	c.startAll()
	w := c.awaitLeader()
	var idle []net.Conn
	defer func() {
		for _, conn := range idle {
			conn.Close()
		}
	}()
	for range 2 * maxHandshakes {
		conn, err := net.Dial("tcp", w.Addr())
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	// They are all closed at the latest when their handshake's time is up.
	for _, conn := range idle {
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		_, err := io.Copy(io.Discard, conn)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Fatal("an idle connection is kept")
		}
	}
	eventually(t, "a query is answered", patience, func() (bool, string) {
		err := stranger(t, w, purposeQuery, "", nil, func(*hello) {})
		return err == nil, fmt.Sprint(err)
	})
}

func TestAnotherProtocolVersionIsNamed(t *testing.T) {
	c := newCluster(t, 1)
	c.startAll()
	conn, err := net.Dial("tcp", c.ws[0].Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(append([]byte(protocolMagic), protocolVersion+1)); err != nil {
		t.Fatal(err)
	}
	var r reply
	if err := readJSON(conn, &r); err != nil || r.Code != refusedVersion {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestFrameLengthsAreLimited(t *testing.T) {
	for size, ok := range map[int]bool{0: true, 10: true, 11: false} {
		got, err := readFrame(bytes.NewReader(appendFrame(nil, make([]byte, size))), 10)
		if ok && (err != nil || len(got) != size) || !ok && !errors.Is(err, errFrameTooLong) {
			t.Errorf("%d bytes of at most 10: %d, %v", size, len(got), err)
		}
	}
	if _, err := readFrame(bytes.NewReader([]byte{0, 0, 0, 9, 1}), 10); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut short: %v", err)
	}
}

func FuzzReadHello(f *testing.F) {
	wire, _, err := encodeHello(hello{
		Purpose: purposeRaft, Cluster: "c", From: newID(), Addr: "h:1", Target: newID(), Nonce: newNonce(),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire)
	f.Add(wire[:len(wire)-1])
	f.Add(append([]byte(protocolMagic), 1, 0xff, 0xff, 0xff, 0xff))
	f.Add([]byte("*1\r\n$4\r\nPING\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		h, body, err := readHello(r)
		if err != nil {
			return
		}
		if err := h.check(); err != nil {
			t.Fatalf("an unchecked hello came through: %v", err)
		}
		if used := len(in) - r.Len(); used != len(protocolMagic)+1+4+len(body) {
			t.Fatalf("read %d bytes for a body of %d: what follows belongs to another reader", used, len(body))
		}
		again, _, err := encodeHello(h)
		if err != nil {
			t.Fatal(err)
		}
		h2, _, err := readHello(bytes.NewReader(again))
		if err != nil || fmt.Sprint(h2) != fmt.Sprint(h) {
			t.Fatalf("%+v became %+v: %v", h, h2, err)
		}
	})
}

func TestTheDialerGivesUpOnASilentListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	set := newConnSet()
	defer set.closeAll()
	d := &dialer{conns: set, learned: func(string, reply, error) {}, identity: func() hello {
		return hello{From: newID(), Addr: "127.0.0.1:1"}
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := d.dial(ctx, ln.Addr().String(), purposeQuery, ""); err == nil {
		t.Fatal("a handshake without an answer succeeded")
	}
	if left := len(set.open); left != 0 {
		t.Errorf("%d connections are left open", left)
	}
}
