package sentinel_test

import (
	"fmt"
	"strings"

	"github.com/triwatch/triwatch/sentinel"
)

var rightWords = map[string]sentinel.Right{"move": sentinel.RightMove, "kill": sentinel.RightKill, "pause": sentinel.RightPause,
	"unpause": sentinel.RightUnpause, "rewrite": sentinel.RightRewrite}

// setRights says what an instance allows and tells: "all", "unsure", "-move", "-kill,gone-pause".
func (r *fakeRedis) setRights(text string) error {
	out := &sentinel.Rights{User: "triwatch", ReadOnly: sentinel.SettingOn}
	if r.writable {
		out.ReadOnly = sentinel.SettingOff
	}
	for word := range strings.SplitSeq(text, ",") {
		name, gone := strings.CutPrefix(word, "gone-")
		right, ok := rightWords[strings.TrimPrefix(name, "-")]
		switch {
		case word == "unsure":
			out.Unsure = true
		case ok:
			out.Missing = append(out.Missing, sentinel.Missing{Right: right, Gone: gone})
		case word != "all":
			return fmt.Errorf("no right %q", word)
		}
	}
	r.rights = out
	return nil
}

// tellWritable makes replica-read-only part of what it tells when it is asked.
func (r *fakeRedis) tellWritable() {
	out := sentinel.Rights{User: "triwatch"}
	if r.rights != nil {
		out = *r.rights
	}
	if out.ReadOnly = sentinel.SettingOn; r.writable {
		out.ReadOnly = sentinel.SettingOff
	}
	r.rights = &out
}

// denied is what the user's rules say to a write, "" for nothing.
func (r *fakeRedis) denied(op sentinel.Op) string {
	switch op {
	case sentinel.OpPromote, sentinel.OpReplicate, sentinel.OpFence, sentinel.OpUnfence:
		return r.rights.Lacks(sentinel.RightMove)
	case sentinel.OpKillClients:
		return r.rights.Lacks(sentinel.RightKill)
	case sentinel.OpPauseWrites:
		return r.rights.Lacks(sentinel.RightPause)
	case sentinel.OpUnpause:
		return r.rights.Lacks(sentinel.RightUnpause)
	case sentinel.OpUnknown, sentinel.OpAwait, sentinel.OpSetPing:
	}
	return ""
}
