package sentinel_test

import (
	"strings"
	"testing"

	"github.com/triwatch/triwatch/sentinel"
)

func TestHowAnInstanceBootsIsToldOnlyWhereItIsCertain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lines string
		want  sentinel.Boot
	}{
		"it never restarted":                       {"run 1s", sentinel.BootUnknown},
		"back as an empty master after a failover": {"kill r1; run 3s; restart r1 empty; run 3s", sentinel.BootMaster},
		"back as a master with data, at once":      {"restart r1 data; run 3s", sentinel.BootMaster},
		"back as a replica of nobody":              {"kill r1; run 3s; restart r1 empty fenced; run 3s", sentinel.BootReplica},
		"back as a replica of nobody, at once":     {"restart r1 data fenced; run 3s", sentinel.BootReplica},
		"the last time counts":                     {"kill r1; run 3s; restart r1 empty; run 3s; restart r1 empty fenced; run 3s", sentinel.BootReplica},
		"a fence of ours is on its way to it":      {"freeze r1; run 4s; restart r1 empty fenced; run 3s", sentinel.BootUnknown},
		"the leader that saw it is gone":           {"restart r1 data; run 3s; lead w2; run 3s", sentinel.BootUnknown},
		"it came back while nobody led":            {"nolead; restart r1 data; run 1s; lead w2; run 3s", sentinel.BootUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t)
			for line := range strings.SplitSeq("redis r1 keys=1000;redis r2 of r1;redis r3 of r1;start;load r1 100000;run 2s;"+c.lines, ";") {
				s.line(strings.TrimSpace(line))
			}
			r1 := s.w.set.get("r1").addr
			for _, i := range s.w.leader.r.State(masterName).View().Instances {
				if i.Addr == r1 && i.Boots != c.want {
					t.Errorf("boots as %s, want %s; %s", i.Boots, c.want, s.w.status())
				}
			}
		})
	}
}

func TestAnInstanceThatComesBackAsAnEmptyMasterIsAnEventThatSaysWhatToChange(t *testing.T) {
	t.Parallel()
	for how, want := range map[string]bool{"empty": true, "data": false, "empty fenced": false} {
		s := newScript(t)
		said := false
		s.w.show = func(_ *watcher, a sentinel.Action) {
			if e, ok := a.(sentinel.Emit); ok && e.Event.Name == sentinel.EventReboot {
				said = said || strings.Contains(e.Event.Reason, "--replicaof 127.0.0.1 0")
			}
		}
		for _, line := range []string{"redis r1 keys=1000", "redis r2 of r1", "start", "run 2s", "restart r1 " + how, "run 2s"} {
			s.line(line)
		}
		if said != want {
			t.Errorf("restart %s: said=%v", how, said)
		}
	}
}
