package app

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/triwatch/triwatch/k8sbind/watch"
	"github.com/triwatch/triwatch/sentinel"
)

// naming is by what names clients are told of instances: by the IP addresses behind their
// host names, as Sentinel does, or by the names where those are announced. On Kubernetes
// it is the other way round: instances are known by the addresses of their pods, which
// have names. All methods may be called concurrently.
type naming struct {
	// hostnames is sentinel announce-hostnames.
	hostnames atomic.Bool
	// some is set when there is anything to be replaced at all.
	some atomic.Bool

	mu sync.RWMutex
	// ips are the addresses that host names, in lower case, stood for when they were dialed last.
	ips map[string]string
	// pods are the host names of pods by master and address; those of pods that are gone are kept for a
	// while, for what is said of them.
	pods map[string]map[string]string
}

// podsKept is how many names are kept of one master's pods, those of pods that are gone included.
const podsKept = 256

func newNaming(hostnames bool) *naming {
	n := &naming{ips: map[string]string{}, pods: map[string]map[string]string{}}
	n.hostnames.Store(hostnames)
	return n
}

// dial is a redisio.Options.Dialer that learns what names stand for.
func (n *naming) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if host, _, err := net.SplitHostPort(addr); err == nil {
		if _, err := netip.ParseAddr(host); err != nil {
			n.learn(host, nc.RemoteAddr())
		}
	}
	return nc, nil
}

func (n *naming) learn(name string, at net.Addr) {
	tcp, ok := at.(*net.TCPAddr)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ips[strings.ToLower(name)] = tcp.AddrPort().Addr().Unmap().String()
	n.some.Store(true)
}

// name takes up the host names of a master's pods.
func (n *naming) name(m watch.Master, domain string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !m.AnnounceHostname || m.Governing == "" {
		delete(n.pods, m.Name)
		return
	}
	names := n.pods[m.Name]
	if names == nil || len(names) > podsKept {
		names = map[string]string{}
		n.pods[m.Name] = names
	}
	for _, i := range m.Inventory.Instances {
		if i.Addr.Host == "" {
			continue
		}
		host := i.Name + "." + m.Governing + "." + m.Namespace + ".svc"
		if domain != "" {
			host += "." + domain
		}
		names[i.Addr.Host] = host
		n.some.Store(true)
	}
}

// host is what clients are told in the place of an instance's host.
func (n *naming) host(master, host string) string {
	if !n.some.Load() {
		return host
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if ip, ok := n.ips[strings.ToLower(host)]; ok && !n.hostnames.Load() {
		return ip
	}
	if name, ok := n.pods[master][host]; ok {
		return name
	}
	return host
}

func (n *naming) addr(master string, a sentinel.Addr) sentinel.Addr {
	a.Host = n.host(master, a.Host)
	return a
}

// event is an event as clients and scripts are told it.
func (n *naming) event(e sentinel.Event) sentinel.Event {
	if !n.some.Load() {
		return e
	}
	e.From, e.To = n.addr(e.Master, e.From), n.addr(e.Master, e.To)
	e.Payload = n.payload(e)
	return e
}

// payload replaces the hosts in an event's text, which are where Sentinel has them:
// "master NAME HOST PORT ...", "slave HOST:PORT HOST PORT @ NAME HOST PORT ...", and
// "NAME HOST PORT HOST PORT" of a switch.
func (n *naming) payload(e sentinel.Event) string {
	text, tail, more := strings.Cut(e.Payload, " # ")
	words := strings.Split(text, " ")
	at := func(hosts ...int) {
		for _, i := range hosts {
			if i < len(words) {
				words[i] = n.host(e.Master, words[i])
			}
		}
	}
	switch {
	case e.Name == sentinel.EventSwitchMaster:
		at(1, 3)
	case words[0] == "master":
		at(2)
	case words[0] == "slave" && len(words) >= 7:
		at(2, 6)
		words[1] = words[2] + ":" + words[3]
		if strings.Contains(words[2], ":") {
			words[1] = "[" + words[2] + "]:" + words[3]
		}
	}
	text = strings.Join(words, " ")
	if more {
		text += " # " + tail
	}
	return text
}
