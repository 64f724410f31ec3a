package app

import (
	"fmt"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// helloPeriod is the time between two greetings, as in Sentinel (SENTINEL_PUBLISH_PERIOD).
const helloPeriod = 2 * time.Second

// greetAll publishes on __sentinel__:hello of every instance, as Sentinels do, for tools
// that find Sentinels there. Ours need no greetings.
func (a *App) greetAll() {
	tick := time.NewTicker(helloPeriod)
	defer tick.Stop()
	for {
		select {
		case <-a.ctx.Done():
			return
		case <-tick.C:
		}
		if !a.node.State().HasQuorum {
			continue // what it would tell may be old
		}
		views, err := a.run.Views(a.ctx)
		if err != nil {
			return
		}
		for _, v := range views {
			v.Master.Addr = a.naming.addr(v.Name, v.Master.Addr)
			text := greeting(a.opt.announce, a.ID(), v)
			for _, i := range greeted(v) {
				a.pool.Greet(v.Name, i.ID, i.Addr, text)
			}
		}
	}
}

// greeting is a Sentinel's: its address, id and epoch, and the master with its own.
func greeting(own sentinel.Addr, id sentinel.WatcherID, v sentinel.View) string {
	return fmt.Sprintf("%s,%d,%s,%d,%s,%s,%d,%d", own.Host, own.Port, id, uint64(v.Epoch), v.Name, v.Master.Addr.Host, v.Master.Addr.Port, uint64(v.Epoch))
}

// greeted are the instances through which a master's greeting goes. None while a plan is
// open: PUBLISH waits where writes are paused, and moves the offsets that are compared.
// None where nothing is to be touched.
func greeted(v sentinel.View) []sentinel.InstanceView {
	if v.Plan != nil || v.Config.Observe || v.Released {
		return nil
	}
	var out []sentinel.InstanceView
	for _, i := range v.Instances {
		if i.Health == sentinel.HealthUp && i.Reply.Usable() && !i.Gone {
			out = append(out, i)
		}
	}
	return out
}
