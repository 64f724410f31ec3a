package redisio

import (
	"bytes"
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/triwatch/triwatch/sentinel"
)

// HelloChannel is where Redis Sentinels greet each other, every two seconds, through
// each instance that they watch. A user that may not listen to it costs nothing but
// this: Sentinels beside us are not noticed.
const HelloChannel = "__sentinel__:hello"

// greetTimeout bounds one greeting, its connection included.
const greetTimeout = time.Second

// Greet publishes a text on HelloChannel of one instance, beside everything else and over a
// connection of its own. It returns at once. A greeting that is still under way, to an instance
// that hangs, is the last one until it has ended.
func (p *Pool) Greet(name string, id sentinel.InstanceID, addr sentinel.Addr, text string) {
	key := writerKey{name, id, addr}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.greeting[key] {
		return
	}
	p.greeting[key] = true
	creds := p.credentialsLocked(name)
	p.wg.Go(func() {
		err := p.greet(addr, creds, text)
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.greeting, key)
		if err != nil {
			p.opt.Logger.Debug("greeting not published", zap.String("master", name), zap.Stringer("address", addr), zap.Error(err))
		}
	})
}

func (p *Pool) greet(addr sentinel.Addr, c Credentials, text string) error {
	nc, err := p.dial(p.ctx, addr, greetTimeout)
	if err != nil {
		return err
	}
	l := newLink(nc, addr, c, "")
	defer l.close()
	stop := context.AfterFunc(p.ctx, l.wire.retire)
	defer stop()
	l.wire.within(greetTimeout)
	return l.conn.Do(context.Background(), "PUBLISH", HelloChannel, text).Err()
}

// helloMax bounds a line that is waited for to its end; longer ones are no greeting.
const helloMax = 512

// greetings finds Sentinels' greetings in what arrives on a listening connection. It
// keeps no more than one line.
type greetings struct {
	line  []byte
	skip  bool // the line is too long
	heard func(sentinel.Foreign)
}

// Write takes what arrived.
func (g *greetings) Write(b []byte) {
	for len(b) > 0 {
		part, rest, whole := bytes.Cut(b, []byte("\n"))
		b = rest
		if !g.skip && len(g.line)+len(part) <= helloMax {
			g.line = append(g.line, part...)
		} else {
			g.skip = true
		}
		if !whole {
			return
		}
		if !g.skip {
			if f, ok := parseGreeting(strings.TrimSuffix(string(g.line), "\r")); ok {
				g.heard(f)
			}
		}
		g.line, g.skip = g.line[:0], false
	}
}

// parseGreeting reads ip,port,run id,epoch,master name,ip,port,epoch: the text that
// Sentinel publishes, see https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/.
func parseGreeting(text string) (sentinel.Foreign, bool) {
	f := strings.Split(text, ",")
	if len(f) != 8 || len(f[2]) != 40 || strings.Trim(f[2], "0123456789abcdef") != "" {
		return sentinel.Foreign{}, false
	}
	port, err := strconv.Atoi(f[1])
	if err != nil || port < 1 || port > 65535 || net.ParseIP(f[0]) == nil && strings.ContainsAny(f[0], " \t") {
		return sentinel.Foreign{}, false
	}
	return sentinel.Foreign{ID: sentinel.WatcherID(f[2]), Addr: sentinel.Addr{Host: f[0], Port: port}, Name: f[4]}, true
}
