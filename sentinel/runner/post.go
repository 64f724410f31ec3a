package runner

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"go.uber.org/zap"
)

// frame is one message between watchers: all that one pass had to say.
type frame struct {
	Hello   *Hello            `json:"h,omitempty"`
	Asks    []sentinel.Ask    `json:"q,omitempty"`
	Reports []sentinel.Report `json:"r,omitempty"`
	Pushes  []pushed          `json:"p,omitempty"`
	Calls   []call            `json:"c,omitempty"`
	Returns []result          `json:"a,omitempty"`
}

// Hello is what a watcher tells the others about itself.
type Hello struct {
	// Sentinel is where it serves the Sentinel protocol.
	Sentinel sentinel.Addr `json:"sentinel"`
	// Level is the highest level of commands that it can apply; 0, from a build that
	// does not say, is 1.
	Level int `json:"level,omitempty"`
	// Version is what is running, for people.
	Version string `json:"version,omitempty"`
}

func (h Hello) level() int { return max(h.Level, 1) }

// helloPeriod is the time between two hellos.
const helloPeriod = 2 * time.Second

// Heard is the last hello of another watcher.
type Heard struct {
	Hello
	At time.Time
}

type pushed struct {
	Master string              `json:"m"`
	At     sentinel.Assignment `json:"at"`
}

// post collects what a pass has to say, so that watching a hundred masters costs a
// few frames and not hundreds. It belongs to the loop.
type post struct {
	r     *Runner
	all   frame // to all other watchers
	lead  frame // to the leader
	peers map[sentinel.WatcherID]*frame
	// views are the calls for views that wait for their return.
	views map[uint64]func([]sentinel.View)
}

func newPost(r *Runner) *post {
	return &post{r: r, peers: map[sentinel.WatcherID]*frame{}, views: map[uint64]func([]sentinel.View){}}
}

func (p *post) ask(a sentinel.Ask) { p.all.Asks = append(p.all.Asks, a) }

func (p *post) report(rep sentinel.Report) { p.lead.Reports = append(p.lead.Reports, rep) }

// push goes out at once: clients wait for it.
func (p *post) push(a sentinel.Push) {
	p.all.Pushes = append(p.all.Pushes, pushed{a.Master, a.Assignment})
	p.flush()
}

func (p *post) to(id sentinel.WatcherID) *frame {
	f := p.peers[id]
	if f == nil {
		f = &frame{}
		p.peers[id] = f
	}
	return f
}

func (f *frame) empty() bool {
	return f.Hello == nil && len(f.Asks)+len(f.Reports)+len(f.Pushes)+len(f.Calls)+len(f.Returns) == 0
}

// flush sends what was collected.
func (p *post) flush() {
	if !p.all.empty() {
		if b := p.encode(p.all); b != nil {
			p.r.opt.Cluster.Broadcast(b)
		}
		p.all = frame{}
	}
	if !p.lead.empty() {
		if leader := p.r.opt.Cluster.Leader(); leader != "" {
			f := p.to(leader)
			f.Reports = append(f.Reports, p.lead.Reports...)
		}
		p.lead = frame{}
	}
	for id, f := range p.peers {
		if f.empty() {
			continue
		}
		if b := p.encode(*f); b != nil {
			if err := p.r.opt.Cluster.Send(id, b); err != nil {
				p.r.opt.Logger.Debug("message not sent", zap.String("watcher", string(id)), zap.Error(err))
			}
		}
		*f = frame{}
	}
}

func (p *post) encode(f frame) []byte {
	b, err := json.Marshal(f)
	if err != nil {
		p.r.opt.Logger.Error("message cannot be encoded", zap.Error(err))
		return nil
	}
	return b
}

// Message hands in a frame of another watcher. It returns at once.
func (r *Runner) Message(from sentinel.WatcherID, payload []byte) {
	var f frame
	if err := json.Unmarshal(payload, &f); err != nil {
		r.opt.Logger.Warn("message of another watcher cannot be read", zap.String("watcher", string(from)), zap.Error(err))
		return
	}
	r.mail.put(func() {
		if f.Hello != nil {
			heard := maps.Clone(*r.heard.Load())
			if _, known := heard[from]; !known {
				r.helloAt = 0 // it has not heard ours either, as it seems
			}
			heard[from] = Heard{*f.Hello, r.opt.Wall()}
			r.heard.Store(&heard)
			r.step(sentinel.Known{From: from, Level: f.Hello.level()})
		}
		for _, p := range f.Pushes {
			r.step(sentinel.Pushed{Master: p.Master, Assignment: p.At})
		}
		// Only the latest ask about a master is worth an answer, unless it wants fresh probes.
		for i, a := range f.Asks {
			later := slices.ContainsFunc(f.Asks[i+1:], func(b sentinel.Ask) bool { return b.Master == a.Master })
			if a.Fresh || !later {
				r.step(sentinel.PeerAsk{From: from, Ask: a})
			}
		}
		for _, rep := range f.Reports {
			r.step(sentinel.PeerReport{From: from, Report: rep})
		}
		for _, c := range f.Calls {
			r.serveCall(from, c)
		}
		for _, res := range f.Returns {
			r.returned(res)
		}
	})
}
