package sim

import (
	"fmt"

	"github.com/triwatch/triwatch/sentinel"
)

func (wt *watcher) traceInput(ev sentinel.InputEvent) {
	switch ev := ev.(type) {
	case nil:
	case sentinel.Probe:
		info := ""
		if i := ev.Info; i != nil {
			info = fmt.Sprintf(" %s of %s run=%.8s replid=%.8s/%.8s off=%d keys=%d up=%v sync=%v loading=%v", i.Role, i.Master, i.RunID, i.ReplID, i.ReplID2, i.Offset, i.Keys, i.LinkUp, i.Syncing, i.Loading)
		}
		wt.w.tracef("%s <- probe %s %s lost=%v asked=%v%s", wt, ev.Instance, ev.Reply, ev.Lost, ev.Asked-wt.offset, info)
	case sentinel.PeerReport:
		text := ""
		for _, i := range ev.Report.Instances {
			text += fmt.Sprintf(" %s:%s/%s", i.ID, i.Health, i.Witness)
		}
		wt.w.tracef("%s <- report of %s seq=%d fresh=%v%s", wt, ev.From[39:], ev.Report.Seq&0xffffffff, ev.Report.Fresh, text)
	case sentinel.PeerAsk:
		wt.w.tracef("%s <- ask %d fresh=%v suspect=%v", wt, ev.Ask.Seq&0xffffffff, ev.Ask.Fresh, ev.Ask.Suspect)
	case sentinel.Wanted:
		wt.w.tracef("%s <- its file", wt)
	case sentinel.Restored:
		wt.w.tracef("%s <- snapshot of %d entries", wt, wt.applied)
	case sentinel.Applied:
		wt.w.tracef("%s <- applied %d %s", wt, ev.Index, ev.Command.Type)
	case sentinel.Done:
		wt.w.tracef("%s <- done #%d %s %s", wt, ev.ID, ev.Result, ev.Detail)
	default:
		wt.w.tracef("%s <- %T %+v", wt, ev, ev)
	}
}

func (wt *watcher) traceAction(a sentinel.Action) {
	switch a := a.(type) {
	case sentinel.Propose:
		wt.w.tracef("%s -> propose %s epoch=%s phase=%s %s", wt, a.Command.Type, a.Command.Epoch, a.Command.Phase, a.Command.Reason)
	case sentinel.Do:
		wt.w.tracef("%s -> do #%d %s %s to=%s off=%d epoch=%s", wt, a.ID, a.Op, a.Instance, a.To, a.Offset, a.Epoch)
	case sentinel.Emit:
		wt.w.tracef("%s -> event %s %s: %s", wt, a.Event.Name, a.Event.Instance, a.Event.Reason)
	case sentinel.SendReport:
		wt.w.tracef("%s -> report fresh=%v", wt, a.Report.Fresh)
	case sentinel.SendAsk, sentinel.Watch:
	default:
		wt.w.tracef("%s -> %T %+v", wt, a, a)
	}
}
