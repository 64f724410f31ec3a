package app

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triwatch/triwatch/k8sbind/watch"
	"github.com/triwatch/triwatch/sentinel"
)

func TestHostNamesAreToldAsTheirAddresses(t *testing.T) {
	n := newNaming(false)
	require.Equal(t, "redis-1", n.host("orders", "redis-1"), "before it was reached")
	n.learn("redis-1", &net.TCPAddr{IP: net.ParseIP("10.0.0.1"), Port: 6379})
	n.learn("orders", &net.TCPAddr{IP: net.ParseIP("fd00::5"), Port: 6379})
	require.Equal(t, "10.0.0.1", n.host("orders", "Redis-1"))
	require.Equal(t, "10.0.0.9", n.host("orders", "10.0.0.9"))

	for payload, want := range map[string]string{
		"master orders redis-1 6379":                                      "master orders 10.0.0.1 6379",
		"master orders redis-1 6379 #quorum 2/2":                          "master orders 10.0.0.1 6379 #quorum 2/2",
		"master orders redis-1 6379 # redis-1 is silent":                  "master orders 10.0.0.1 6379 # redis-1 is silent",
		"slave redis-1:6379 redis-1 6379 @ orders orders 6379":            "slave 10.0.0.1:6379 10.0.0.1 6379 @ orders fd00::5 6379",
		"slave orders:6379 orders 6379 @ redis-1 redis-1 6379 # as it is": "slave [fd00::5]:6379 fd00::5 6379 @ redis-1 10.0.0.1 6379 # as it is",
		"1": "1",
	} {
		require.Equal(t, want, n.event(sentinel.Event{Name: sentinel.EventSdown, Master: "orders", Payload: payload}).Payload)
	}
	e := n.event(sentinel.Event{Name: sentinel.EventSwitchMaster, Master: "orders", Payload: "orders redis-1 6379 10.0.0.2 6379",
		From: sentinel.Addr{Host: "redis-1", Port: 6379}, To: sentinel.Addr{Host: "10.0.0.2", Port: 6379}})
	require.Equal(t, "orders 10.0.0.1 6379 10.0.0.2 6379", e.Payload)
	require.Equal(t, "10.0.0.1", e.From.Host)

	n.hostnames.Store(true)
	require.Equal(t, "redis-1", n.host("orders", "redis-1"), "names are announced")
}

func TestPodsAreToldByName(t *testing.T) {
	n := newNaming(false)
	at := func(pod, ip string) watch.Master {
		m := watch.Master{Name: "orders", Namespace: "shop", AnnounceHostname: true, Governing: "redis"}
		m.Inventory.Instances = []sentinel.Instance{{ID: "u1", Name: pod, Addr: sentinel.Addr{Host: ip, Port: 6379}}, {ID: "u2", Name: "redis-9"}}
		return m
	}
	n.name(at("redis-0", "10.1.0.4"), "cluster.local")
	require.Equal(t, "redis-0.redis.shop.svc.cluster.local", n.host("orders", "10.1.0.4"))
	require.Equal(t, "10.1.0.4", n.host("carts", "10.1.0.4"), "another master's")
	n.name(at("redis-0", "10.1.0.5"), "")
	require.Equal(t, "redis-0.redis.shop.svc", n.host("orders", "10.1.0.5"))
	require.Equal(t, "orders redis-0.redis.shop.svc.cluster.local 6379 redis-0.redis.shop.svc 6379",
		n.event(sentinel.Event{Name: sentinel.EventSwitchMaster, Master: "orders", Payload: "orders 10.1.0.4 6379 10.1.0.5 6379"}).Payload, "the old pod is gone")
	n.name(at("redis-1", "10.1.0.4"), "")
	require.Equal(t, "redis-1.redis.shop.svc", n.host("orders", "10.1.0.4"), "the address has another pod now")
	off := at("redis-0", "10.1.0.5")
	off.AnnounceHostname = false
	n.name(off, "")
	require.Equal(t, "10.1.0.5", n.host("orders", "10.1.0.5"))
}
