package main

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/triwatch/triwatch/test/writer/wire"
)

// probe asks a Service, over a new connection each time, which pod answers: the pod's
// end of the connection has the pod's own address, because a ClusterIP is only a rule on
// the way.
type probe struct {
	addr, password string
	done           chan struct{}
	cancel         context.CancelFunc
	answers        chan answer
}

// answer is the first one by another pod.
type answer struct {
	ip   string
	at   time.Time
	last time.Time // the last answer by the pod before, or the start
}

const (
	probeEvery   = time.Millisecond
	probeTimeout = 20 * time.Millisecond
)

var errNoAnswer = errors.New("no other pod answered through the Service")

// startProbe asks until a pod other than the one at ip answers; one that is a master, if that is
// asked for. stop must be called.
func startProbe(ctx context.Context, addr, password, ip string, master bool) *probe {
	ctx, cancel := context.WithTimeout(ctx, patience)
	p := &probe{addr: addr, password: password, done: make(chan struct{}), cancel: cancel, answers: make(chan answer, 1)}
	go func() {
		defer close(p.done)
		p.run(ctx, ip, master)
	}()
	return p
}

func (p *probe) run(ctx context.Context, ip string, master bool) {
	last := time.Now()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		who, role, err := p.ask(ctx)
		at := time.Now()
		switch {
		case err != nil:
		case who == ip:
			last = at
		case who != "" && (!master || role == "master"):
			p.answers <- answer{who, at, last}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ask is one try: who answers, and what its role is.
func (p *probe) ask(ctx context.Context) (ip, role string, err error) {
	conn, err := wire.Dial(ctx, p.addr, wire.Options{Password: p.password, Timeout: probeTimeout})
	if err != nil {
		return "", "", err
	}
	defer conn.Abort() //nolint:errcheck // it is not used again
	conn.Append("CLIENT", "INFO")
	conn.Append("ROLE")
	if err := conn.Flush(); err != nil {
		return "", "", err
	}
	info, err := conn.Receive()
	if err != nil {
		return "", "", err
	}
	said, err := conn.Receive()
	if err != nil {
		return "", "", err
	}
	ip, _, err = net.SplitHostPort(field(info.Str, " ", "laddr", "="))
	if len(said.Items) > 0 {
		role = said.Items[0].Str
	}
	return ip, role, err
}

// wait returns the answer by another pod.
func (p *probe) wait() (answer, error) {
	<-p.done
	select {
	case a := <-p.answers:
		return a, nil
	default:
		return answer{}, errNoAnswer
	}
}

func (p *probe) stop() {
	p.cancel()
	<-p.done
}
