package redisio

import (
	"bytes"
	"net"
	"strconv"
	"strings"

	"github.com/triwatch/triwatch/sentinel"
)

// HelloChannel is where Redis Sentinels greet each other, every two seconds, through
// each instance that they watch. A user that may not listen to it costs nothing but
// this: Sentinels beside us are not noticed.
const HelloChannel = "__sentinel__:hello"

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
