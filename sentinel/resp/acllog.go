package resp

import (
	"sync"
	"time"
)

const (
	aclLogMax   = 128         // refusals that are kept
	aclLogGroup = time.Minute // equal refusals within it are counted together
)

// aclEntry is one refusal, or several equal ones.
type aclEntry struct {
	count            int64
	reason           string // auth, command, channel
	object, username string
	client           string
	at               time.Time // of the first
}

// aclLog keeps the latest refusals, the newest first.
type aclLog struct {
	mu      sync.Mutex
	entries []aclEntry
}

func (l *aclLog) add(e aclEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.count = 1
	for i, old := range l.entries {
		if old.reason == e.reason && old.object == e.object && old.username == e.username && e.at.Sub(old.at) <= aclLogGroup {
			e.count, e.at = old.count+1, old.at
			l.entries = append(l.entries[:i], l.entries[i+1:]...)
			break
		}
	}
	l.entries = append([]aclEntry{e}, l.entries[:min(len(l.entries), aclLogMax-1)]...)
}

func (l *aclLog) latest(n int) []aclEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]aclEntry(nil), l.entries[:min(max(n, 0), len(l.entries))]...)
}

func (l *aclLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = nil
}

// refusedACL notes a refusal. The words of an unauthenticated client are bounded.
func (c *conn) refusedACL(reason, object, username string) {
	now := time.Now()
	const most = 256
	cut := func(s string) string { return s[:min(len(s), most)] }
	c.srv.acllog.add(aclEntry{reason: reason, object: cut(object), username: cut(username), client: c.describe(now), at: now})
}
