package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Kind says what a Reply is.
type Kind byte

// The kinds of RESP2, and Unknown, which no received Reply has.
const (
	Unknown Kind = iota
	Status
	Error
	Integer
	Bulk
	Null
	Array
)

// String returns the kind's name.
func (k Kind) String() string {
	switch k {
	case Status:
		return "status"
	case Error:
		return "error"
	case Integer:
		return "integer"
	case Bulk:
		return "bulk"
	case Null:
		return "null"
	case Array:
		return "array"
	case Unknown:
		return "unknown"
	default:
		return "kind " + strconv.Itoa(int(k))
	}
}

// Reply is one RESP2 reply. Str holds the text of Status, Error and Bulk, and the digits of Integer; Items the elements of Array.
type Reply struct {
	Kind  Kind
	Str   string
	Items []Reply
}

// Err returns the error reply as a Go error, or nil for every other reply.
func (r Reply) Err() error {
	if r.Kind == Error {
		return ReplyError(r.Str)
	}
	return nil
}

// Strings returns the texts of an Array's elements.
func (r Reply) Strings() []string {
	out := make([]string, len(r.Items))
	for i, item := range r.Items {
		out[i] = item.Str
	}
	return out
}

// ReplyError is an error reply, for example "READONLY You can't write against a read only replica.".
type ReplyError string

func (e ReplyError) Error() string { return string(e) }

// Code is the first word of the reply, for example READONLY.
func (e ReplyError) Code() string {
	code, _, _ := strings.Cut(string(e), " ")
	return code
}

// ErrProtocol is returned when the other side does not speak RESP2 or sends more than any command asks for.
var ErrProtocol = errors.New("the reply is not RESP2")

// Options are the settings of one connection.
type Options struct {
	// User and Password are sent with AUTH; an empty Password sends nothing, an empty User means the default user.
	User, Password string
	// Timeout bounds the dial and every single read and write; 0 means no bound beside the context's while dialling.
	Timeout time.Duration
	// TLS is for a port under TLS; nil is for one without.
	TLS *tls.Config
}

// Conn is one connection.
type Conn struct {
	conn    net.Conn
	r       *bufio.Reader
	buf     []byte
	timeout time.Duration
}

// Dial connects to addr (host:port) and authenticates. An error reply to AUTH comes back as a ReplyError.
func Dial(ctx context.Context, addr string, o Options) (*Conn, error) {
	d := net.Dialer{Timeout: o.Timeout, KeepAlive: -1}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if o.TLS != nil {
		t := tls.Client(conn, o.TLS)
		if err := t.HandshakeContext(ctx); err != nil {
			conn.Close() //nolint:errcheck // the first error counts
			return nil, fmt.Errorf("TLS handshake with %s: %w", addr, err)
		}
		conn = t
	}
	c := &Conn{conn: conn, r: bufio.NewReaderSize(conn, 4096), timeout: o.Timeout}
	if o.Password == "" {
		return c, nil
	}
	args := []string{"AUTH", o.User, o.Password}
	if o.User == "" {
		args = []string{"AUTH", o.Password}
	}
	// The context must end the AUTH, too: without a Timeout a frozen server would hold it for ever.
	stop := context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // the read fails instead
	defer stop()
	reply, err := c.Do(args...)
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		conn.Close() //nolint:errcheck // the first error counts
		return nil, fmt.Errorf("authenticate at %s: %w", addr, err)
	}
	return c, nil
}

// Close closes the connection; a Receive under way in another goroutine returns with an error.
func (c *Conn) Close() error { return c.conn.Close() }

// Abort closes the connection with a reset, so that its port is free at once. It is for connections with nothing under way: a
// writer that dials again a thousand times a second would otherwise use up all local ports.
func (c *Conn) Abort() error {
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			return errors.Join(err, c.conn.Close())
		}
	}
	return c.conn.Close()
}

// SetTimeout changes the bound of every later read and write; 0 is none.
func (c *Conn) SetTimeout(d time.Duration) { c.timeout = d }

// Append adds one command to what Flush sends.
func (c *Conn) Append(args ...string) {
	c.buf = append(c.buf, '*')
	c.buf = strconv.AppendInt(c.buf, int64(len(args)), 10)
	for _, a := range args {
		c.buf = append(c.buf, "\r\n$"...)
		c.buf = strconv.AppendInt(c.buf, int64(len(a)), 10)
		c.buf = append(c.buf, "\r\n"...)
		c.buf = append(c.buf, a...)
	}
	c.buf = append(c.buf, "\r\n"...)
}

// Flush sends what was appended.
func (c *Conn) Flush() error {
	if err := c.conn.SetWriteDeadline(c.deadline()); err != nil {
		return err
	}
	_, err := c.conn.Write(c.buf)
	c.buf = c.buf[:0]
	return err
}

// Receive reads one reply.
func (c *Conn) Receive() (Reply, error) {
	if err := c.conn.SetReadDeadline(c.deadline()); err != nil {
		return Reply{}, err
	}
	return c.read(0)
}

// Do sends one command and reads its reply.
func (c *Conn) Do(args ...string) (Reply, error) {
	c.Append(args...)
	if err := c.Flush(); err != nil {
		return Reply{}, err
	}
	return c.Receive()
}

func (c *Conn) deadline() time.Time {
	if c.timeout <= 0 {
		return time.Time{}
	}
	return time.Now().Add(c.timeout)
}

// The largest values that a Redis under test sends: INFO and LATENCY texts are far smaller.
const (
	maxBulk  = 16 << 20
	maxItems = 1 << 20
	maxDepth = 8
)

func (c *Conn) read(depth int) (Reply, error) {
	text, err := c.readLine()
	if err != nil {
		return Reply{}, err
	}
	if text == "" || depth > maxDepth {
		return Reply{}, ErrProtocol
	}
	body := text[1:]
	switch text[0] {
	case '+':
		return Reply{Kind: Status, Str: body}, nil
	case '-':
		return Reply{Kind: Error, Str: body}, nil
	case ':':
		return Reply{Kind: Integer, Str: body}, nil
	case '$':
		return c.readBulk(body)
	case '*':
		return c.readArray(body, depth)
	default:
		return Reply{}, ErrProtocol
	}
}

func (c *Conn) readBulk(size string) (Reply, error) {
	n, err := strconv.Atoi(size)
	if err != nil || n < -1 || n > maxBulk {
		return Reply{}, ErrProtocol
	}
	if n == -1 {
		return Reply{Kind: Null}, nil
	}
	data := make([]byte, n+2)
	if _, err := io.ReadFull(c.r, data); err != nil {
		return Reply{}, err
	}
	if data[n] != '\r' || data[n+1] != '\n' {
		return Reply{}, ErrProtocol
	}
	return Reply{Kind: Bulk, Str: string(data[:n])}, nil
}

func (c *Conn) readArray(size string, depth int) (Reply, error) {
	n, err := strconv.Atoi(size)
	if err != nil || n < -1 || n > maxItems {
		return Reply{}, ErrProtocol
	}
	if n == -1 {
		return Reply{Kind: Null}, nil
	}
	reply := Reply{Kind: Array}
	for range n {
		item, err := c.read(depth + 1)
		if err != nil {
			return Reply{}, err
		}
		reply.Items = append(reply.Items, item)
	}
	return reply, nil
}

func (c *Conn) readLine() (string, error) {
	data, err := c.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", ErrProtocol
	}
	if err != nil {
		return "", err
	}
	if len(data) < 2 || data[len(data)-2] != '\r' {
		return "", ErrProtocol
	}
	return string(data[:len(data)-2]), nil
}
