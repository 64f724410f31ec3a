//go:build linux

package chaos

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// delayLine holds back everything that arrives at one member. The kernel hands packet
// numbers to us (NFQUEUE) and waits for our word; it needs no qdisc, which many small
// kernels don't have. See linux/netfilter/nfnetlink_queue.h for the messages.
type delayLine struct {
	fd     int
	delay  time.Duration
	jitter bool // each packet is late by its own time, so they change places
	rule   []string
	first  string        // nothing is held back before a packet that has it, in any case of letters; "" for all
	seen   chan struct{} // closed: such a packet has come
	lose   atomic.Bool   // what is held back goes nowhere
	held   chan packet
	letGo  chan struct{} // closed: nothing is held back any more
	gone   chan struct{} // closed: what was held back then is on its way
	wg     sync.WaitGroup
}

type packet struct {
	id  uint32
	due time.Time
}

const (
	nlNetfilter   = 12
	nfqPacket     = 3 << 8
	nfqVerdict    = 3<<8 | 1
	nfqConfig     = 3<<8 | 2
	attrPacketHdr = 1
	attrVerdict   = 2
	attrCommand   = 1
	attrParams    = 2
	attrMaxLen    = 3
	attrMask      = 4
	attrFlags     = 5
	queueLength   = 4096
	flagGSO       = 4
	flagFailOpen  = 1
	verdictDrop   = 0
	verdictAccept = 1
)

// delay holds back what arrives at a member. One at a time: a second one fails.
func (l *lab) delay(member string, by time.Duration, jitter bool) (undo func() error, err error) {
	return l.queue(member, &delayLine{delay: by, jitter: jitter})
}

// heldBack is what is on its way to a member, and stays so.
type heldBack struct {
	l      *lab
	member string
	q      *delayLine
}

// hold holds back what arrives at a member from another one, from the first packet on that
// has some text in small letters, until letGo or lose.
func (l *lab) hold(member, from, text string) (*heldBack, error) {
	q := &delayLine{delay: time.Hour, first: text, rule: []string{"-s", l.byName[from].IP}}
	_, err := l.queue(member, q)
	return &heldBack{l, member, q}, err
}

// seen is closed when the first such packet has come.
func (h *heldBack) seen() <-chan struct{} { return h.q.seen }

// letGo lets all go in the order in which it came.
func (h *heldBack) letGo() error { return h.l.undelay(h.member) }

// lose loses what was held back.
func (h *heldBack) lose() error {
	h.q.lose.Store(true)
	return h.l.undelay(h.member)
}

func (l *lab) queue(member string, q *delayLine) (undo func() error, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queues[member] != nil {
		return nil, fmt.Errorf("delay %s: it is delayed already", member)
	}
	q.seen, q.held, q.letGo, q.gone = make(chan struct{}), make(chan packet, queueLength), make(chan struct{}), make(chan struct{})
	if q.fd, err = netlinkIn(member); err != nil {
		return nil, fmt.Errorf("delay %s: %w", member, err)
	}
	if err = q.configure(); err == nil {
		err = run("", l.in(member, q.iptables("-A")...)...)
	}
	if err != nil {
		syscall.Close(q.fd) //nolint:errcheck // the first error counts
		return nil, fmt.Errorf("delay %s: %w", member, err)
	}
	q.wg.Go(q.receive)
	q.wg.Go(q.release)
	l.queues[member] = q
	return func() error { return l.undelay(member) }, nil
}

func (q *delayLine) iptables(op string) []string {
	return slices.Concat([]string{"iptables", op, "INPUT", "-i", "eth0"}, q.rule, []string{"-j", "NFQUEUE", "--queue-num", "0", "--queue-bypass"})
}

func (l *lab) undelay(member string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queues[member]
	delete(l.queues, member)
	close(q.letGo)
	<-q.gone
	err := run("", l.in(member, q.iptables("-D")...)...)
	// Shutting the socket down does not wake a netlink reader; a deadline does.
	q.stop()
	return err
}

// netlinkIn opens a netfilter socket in a member's namespace. The thread that went there
// is not used again: it ends with its goroutine.
func netlinkIn(member string) (fd int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		var ns *os.File
		if ns, err = os.Open("/run/netns/" + member); err != nil {
			return
		}
		defer ns.Close() //nolint:errcheck // only held
		if _, _, e := syscall.RawSyscall(sysSetns(), ns.Fd(), syscall.CLONE_NEWNET, 0); e != 0 {
			err = os.NewSyscallError("setns", e)
			return
		}
		fd, err = syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, nlNetfilter)
	}()
	<-done
	return fd, err
}

func (q *delayLine) configure() error {
	if err := syscall.SetsockoptTimeval(q.fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Usec: 50000}); err != nil {
		return err
	}
	if err := syscall.SetsockoptInt(q.fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8<<20); err != nil {
		return err
	}
	if err := syscall.Bind(q.fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return err
	}
	be32 := func(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
	copied := append(be32(0), 1) // nothing of the packet
	if q.first != "" {
		copied = append(be32(1<<12), 2)
	}
	return errors.Join(
		q.send(nfqConfig, attr(attrCommand, []byte{1, 0, 0, 0})),                                                   // bind
		q.send(nfqConfig, attr(attrParams, copied)),                                                                //
		q.send(nfqConfig, attr(attrMaxLen, be32(queueLength))),                                                     //
		q.send(nfqConfig, attr(attrMask, be32(flagGSO|flagFailOpen)), attr(attrFlags, be32(flagGSO|flagFailOpen))), // large segments as they are
	)
}

func attr(kind uint16, data []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(data)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func (q *delayLine) send(kind uint16, attrs ...[]byte) error {
	body := []byte{0, 0, 0, 0} // any family, version 0, queue 0
	for _, a := range attrs {
		body = append(body, a...)
	}
	m := binary.NativeEndian.AppendUint32(nil, uint32(16+len(body)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = binary.NativeEndian.AppendUint16(m, syscall.NLM_F_REQUEST)
	m = append(m, make([]byte, 8)...)
	return syscall.Sendto(q.fd, append(m, body...), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK})
}

// receive ends when the socket is shut for us by stop.
func (q *delayLine) receive() {
	defer close(q.held)
	buf := make([]byte, 1<<16)
	for {
		n, _, err := syscall.Recvfrom(q.fd, buf, 0)
		switch {
		case errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.ENOBUFS):
			continue
		case err != nil:
			return
		}
		msgs, err := syscall.ParseNetlinkMessage(buf[:(n+3)&^3]) // the kernel does not fill up the last one
		if err != nil {
			continue
		}
		now := time.Now()
		for _, m := range msgs {
			due := now.Add(q.delay)
			switch {
			case q.jitter:
				due = now.Add(rand.N(q.delay)) //nolint:gosec // a fault, not a secret
			case q.first == "":
			case bytes.Contains(bytes.ToLower(m.Data), []byte(q.first)):
				q.first = ""
				close(q.seen)
			default:
				due = now
			}
			if m.Header.Type == nfqPacket && len(m.Data) >= 12 {
				// The packet's number is in the first attribute, after nfgenmsg and the attribute's head.
				q.held <- packet{binary.BigEndian.Uint32(m.Data[8:12]), due}
			}
		}
	}
}

// release lets packets go when they are due, until there are no more.
func (q *delayLine) release() {
	var waiting []packet // the first one due is the last
	letGo, gone, open := q.letGo, q.gone, true
	for open || len(waiting) > 0 {
		var due <-chan time.Time
		switch n := len(waiting); {
		case n > 0 && letGo == nil:
			due = time.After(0)
		case n > 0:
			due = time.After(time.Until(waiting[n-1].due))
		case letGo == nil && len(q.held) == 0 && gone != nil:
			close(gone)
			gone = nil
		}
		held := q.held
		if !open {
			held = nil
		}
		select {
		case p, ok := <-held:
			if open = ok; ok {
				at, _ := slices.BinarySearchFunc(waiting, p, func(a, b packet) int { return b.due.Compare(a.due) })
				waiting = slices.Insert(waiting, at, p)
			}
		case <-letGo:
			letGo = nil
		case <-due:
			p := waiting[len(waiting)-1]
			waiting = waiting[:len(waiting)-1]
			verdict := uint32(verdictAccept)
			if q.lose.Load() && time.Until(p.due) > 0 {
				verdict = verdictDrop
			}
			v := binary.BigEndian.AppendUint32(nil, verdict)
			q.send(nfqVerdict, attr(attrVerdict, binary.BigEndian.AppendUint32(v, p.id))) //nolint:errcheck // a lost packet is a fault, too
		}
	}
}

// stop joins both goroutines. Closing the descriptor while it is read from could hit
// another one with the same number; so an empty file takes its place first.
func (q *delayLine) stop() {
	null, err := os.Open(os.DevNull)
	if err == nil {
		err = syscall.Dup3(int(null.Fd()), q.fd, syscall.O_CLOEXEC)
		null.Close() //nolint:errcheck // only read from
	}
	if err != nil {
		panic("take a netlink socket away: " + err.Error()) // nothing can go on after that
	}
	q.wg.Wait()
	syscall.Close(q.fd) //nolint:errcheck // /dev/null
}

// parsePermille reads a share such as 10%.
func parsePermille(s string) (int, error) {
	if len(s) < 2 || s[len(s)-1] != '%' {
		return 0, fmt.Errorf("a share is N%%, not %q", s)
	}
	f, err := strconv.ParseFloat(s[:len(s)-1], 64)
	if err == nil && (f <= 0 || f >= 100) {
		err = fmt.Errorf("a share is more than 0%% and less than 100%%, not %q", s)
	}
	return int(f * 10), err
}

// sysSetns is the number of setns(2), which package syscall doesn't have everywhere.
func sysSetns() uintptr {
	if runtime.GOARCH == "amd64" {
		return 308
	}
	return 268
}
