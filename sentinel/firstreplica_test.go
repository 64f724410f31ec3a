package sentinel_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// A Redis without a backlog takes a new replication id, which goes back to nothing, when
// its first replica comes. A master that dies soon after must not leave copies behind that
// nobody knows.
func TestMasterDiesSoonAfterItsFirstReplicaCame(t *testing.T) {
	for _, after := range []time.Duration{20 * ms, 100 * ms, 300 * ms, 700 * ms, 1200 * ms} {
		for _, returns := range []bool{false, true} {
			t.Run(fmt.Sprint(after, " returns ", returns), func(t *testing.T) {
				w := newWorld(t)
				for _, name := range []string{"r1", "r2", "r3"} {
					r := w.set.add(name)
					r.replicaOf(sentinel.FenceAddr)
					r.keys, r.offset, r.fresh = 0, 0, true
				}
				w.enlist(3, false)
				w.start(3)
				r1, r2 := w.set.all[0], w.set.all[1]
				w.until("the first replica is in sync", 2*time.Second, func() bool { return r2.link })
				r1.keys, r1.rate = 1000, 100_000
				w.run(after)
				r1.dead = true
				r1.drop()
				w.lose(r1)
				if returns {
					w.run(ms)
					r1.restart(false, true)
					w.lose(r1)
				}
				w.run(3 * time.Second)
				if !r1.dead && r1.role == sentinel.RoleMaster || r2.keys == 0 {
					t.Errorf("r2 has %d keys: %s", r2.keys, w.status())
				}
				if m := w.committed().Master; m.Epoch < 2 {
					t.Errorf("nobody took over: %s", w.status())
				}
			})
		}
	}
}
