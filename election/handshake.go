package election

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	idLength         = 40
	nonceSize        = 32
	handshakeTimeout = 2 * time.Second
)

// newID returns a fresh random ID. 160 random bits never repeat in practice.
func newID() ID {
	var b [idLength / 2]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return ID(hex.EncodeToString(b[:]))
}

func newNonce() []byte {
	b := make([]byte, nonceSize)
	rand.Read(b)
	return b
}

// RefusedError is a connection that was closed in the handshake, by either side.
type RefusedError struct {
	// Addr is the address that was dialled.
	Addr   string
	code   refusal
	reason string
	// answer is who answered, as far as it said so.
	answer reply
}

// Error returns the reason in words.
func (e *RefusedError) Error() string {
	s := fmt.Sprintf("peer at %s refused: %s", e.Addr, e.code)
	if e.reason != "" {
		s += ": " + e.reason
	}
	return s
}

func refusedWith(err error, code refusal) bool {
	var r *RefusedError
	return errors.As(err, &r) && r.code == code
}

// errTLS is a TLS handshake that failed on our side.
var errTLS = errors.New("tls handshake")

// roles keep a proof of one side from being sent back as the other side's.
const (
	roleListener = "triwatch listener"
	roleDialer   = "triwatch dialer"
)

// prove returns the proof of knowing the secret for this very connection: the
// dialer's nonce, its identity and its target are in the hello. Without a
// secret it is empty.
func prove(secret []byte, role string, helloBody, listenerNonce []byte) []byte {
	if len(secret) == 0 {
		return nil
	}
	sum := sha256.Sum256(helloBody)
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(role))
	m.Write([]byte{0})
	m.Write(sum[:])
	m.Write(listenerNonce)
	return m.Sum(nil)
}

// checkProof returns "" or what is wrong, in words.
func checkProof(secret []byte, role string, helloBody, listenerNonce, mac []byte) string {
	switch {
	case len(secret) == 0 && len(mac) == 0:
		return ""
	case len(secret) == 0:
		return "the other side has a peer secret, this one has none"
	case len(mac) == 0:
		return "the other side has no peer secret, this one has one"
	case !hmac.Equal(mac, prove(secret, role, helloBody, listenerNonce)):
		return "the peer secrets are not the same"
	default:
		return ""
	}
}

// shakeAsDialer runs the dialer's half. The caller has set a deadline.
func shakeAsDialer(conn io.ReadWriter, addr string, h hello, secret []byte) (reply, error) {
	wire, body, err := encodeHello(h)
	if err != nil {
		return reply{}, err
	}
	if _, err := conn.Write(wire); err != nil {
		return reply{}, fmt.Errorf("send hello to %s: %w", addr, err)
	}
	var challenge reply
	if err := readJSON(conn, &challenge); err != nil {
		return reply{}, fmt.Errorf("read challenge of %s: %w", addr, err)
	}
	if challenge.Code != refusedNot {
		return reply{}, &RefusedError{Addr: addr, code: challenge.Code, reason: challenge.Reason}
	}
	if wrong := checkProof(secret, roleListener, body, challenge.Nonce, challenge.MAC); wrong != "" {
		// Told to the other side so that both logs name the reason; that it
		// can't be sent changes nothing.
		_ = writeJSON(conn, proof{Code: refusedSecret})
		return reply{}, &RefusedError{Addr: addr, code: refusedSecret, reason: wrong}
	}
	if err := writeJSON(conn, proof{MAC: prove(secret, roleDialer, body, challenge.Nonce)}); err != nil {
		return reply{}, fmt.Errorf("send proof to %s: %w", addr, err)
	}
	var verdict reply
	if err := readJSON(conn, &verdict); err != nil {
		return reply{}, fmt.Errorf("read verdict of %s: %w", addr, err)
	}
	if verdict.Code != refusedNot {
		return reply{}, &RefusedError{Addr: addr, code: verdict.Code, reason: verdict.Reason, answer: verdict}
	}
	return verdict, nil
}

// shakeAsListener runs the listener's half up to the verdict, which decide
// gives once the dialer has proved itself. The returned reply is the verdict
// that was sent; its Code says whether the connection may be used.
func shakeAsListener(conn io.ReadWriter, secret []byte, decide func(hello) reply) (hello, reply, error) {
	h, body, err := readHello(conn)
	if err != nil {
		v := reply{Code: refusedMalformed, Reason: err.Error()}
		var version errVersion
		if errors.As(err, &version) {
			v.Code = refusedVersion
		}
		if !errors.Is(err, errBadMagic) && !errors.Is(err, io.EOF) {
			_ = writeJSON(conn, v) // the dialer may be gone; the error below is what counts
		}
		return h, v, err
	}
	nonce := newNonce()
	if err := writeJSON(conn, reply{Nonce: nonce, MAC: prove(secret, roleListener, body, nonce)}); err != nil {
		return h, reply{}, fmt.Errorf("send challenge: %w", err)
	}
	var p proof
	if err := readJSON(conn, &p); err != nil {
		return h, reply{}, fmt.Errorf("read proof: %w", err)
	}
	if p.Code != refusedNot {
		return h, reply{Code: p.Code, Reason: "the dialer found that the peer secrets differ"}, nil
	}
	var v reply
	if wrong := checkProof(secret, roleDialer, body, nonce, p.MAC); wrong != "" {
		v = reply{Code: refusedSecret, Reason: wrong}
	} else {
		v = decide(h)
	}
	if err := writeJSON(conn, v); err != nil {
		return h, v, fmt.Errorf("send verdict: %w", err)
	}
	return h, v, nil
}

// dialer opens connections to other watchers.
type dialer struct {
	secret []byte
	tls    *tls.Config
	// identity fills in who we are at the time of dialling.
	identity func() hello
	// learned is told who answered, also when it refused us.
	learned func(addr string, answer reply, err error)
	conns   *connSet
}

// dial opens a connection and shakes hands. The context and handshakeTimeout
// bound both; the returned connection has no deadline.
func (d *dialer) dial(ctx context.Context, addr string, p purpose, target ID) (net.Conn, reply, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	var nd net.Dialer
	raw, err := nd.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, reply{}, err
	}
	conn, ok := d.conns.add(raw)
	if !ok {
		return nil, reply{}, net.ErrClosed
	}
	// The context's end must also wake a handshake that waits for bytes.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	answer, err := d.shake(ctx, conn, addr, p, target)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	d.learned(addr, answer, err)
	if err != nil {
		conn.Close()
		return nil, reply{}, err
	}
	return conn, answer, conn.SetDeadline(time.Time{})
}

func (d *dialer) shake(ctx context.Context, conn *trackedConn, addr string, p purpose, target ID) (reply, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return reply{}, err
		}
	}
	if d.tls != nil {
		c := d.tls.Clone()
		if c.ServerName == "" && !c.InsecureSkipVerify {
			c.ServerName, _, _ = net.SplitHostPort(addr)
		}
		t := tls.Client(conn.Conn, c)
		if err := t.HandshakeContext(ctx); err != nil {
			return reply{}, fmt.Errorf("%w with %s: %w", errTLS, addr, err)
		}
		conn.Conn = t
	}
	h := d.identity()
	h.Purpose, h.Target, h.Nonce = p, target, newNonce()
	return shakeAsDialer(conn, addr, h, d.secret)
}
