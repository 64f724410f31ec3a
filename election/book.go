package election

import (
	"maps"
	"strings"
	"sync"

	"github.com/hashicorp/raft"
)

// addressBook knows where each ID was last seen. What a watcher says of itself
// in a handshake counts more than the Raft configuration, which learns of a
// move only after the leader has been reached.
type addressBook struct {
	mu         sync.Mutex
	learned    map[ID]string
	configured map[ID]string
}

func newAddressBook() *addressBook {
	return &addressBook{learned: make(map[ID]string), configured: make(map[ID]string)}
}

// learn notes an address that a watcher named itself; true if it is news.
func (b *addressBook) learn(id ID, addr string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.learned[id] == addr {
		return false
	}
	b.learned[id] = addr
	return true
}

// forget drops what was learned if another watcher answered there.
func (b *addressBook) forget(id ID, addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.learned[id] == addr {
		delete(b.learned, id)
	}
}

// configure takes over the addresses of the latest Raft configuration.
func (b *addressBook) configure(servers []raft.Server) {
	m := make(map[ID]string, len(servers))
	for _, s := range servers {
		_, addr := splitServerAddress(s.Address)
		m[ID(s.ID)] = addr
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !maps.Equal(b.configured, m) {
		b.configured = m
	}
}

// lookup returns the best known address, "" if there is none.
func (b *addressBook) lookup(id ID) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.learned[id]; a != "" {
		return a
	}
	return b.configured[id]
}

// ServerAddr implements raft.ServerAddressProvider. It never fails: on an error
// Raft would dial the address of the configuration, which may be somebody
// else's by now. Without a known address the result can not be dialled.
func (b *addressBook) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	return joinServerAddress(ID(id), b.lookup(ID(id))), nil
}

// joinServerAddress makes what Raft calls an address: the ID in front lets the
// dialer name its target, keeps connections of two IDs apart in the pool, and
// lets a newcomer be added while a dead ID still has the same host and port
// (Raft refuses a configuration with an address in it twice).
func joinServerAddress(id ID, addr string) raft.ServerAddress {
	return raft.ServerAddress(string(id) + "@" + addr)
}

func splitServerAddress(a raft.ServerAddress) (ID, string) {
	id, addr, ok := strings.Cut(string(a), "@")
	if !ok {
		return "", string(a)
	}
	return ID(id), addr
}
