//go:build linux

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/test/writer/wire"
)

const sampleEvery = 100 * time.Millisecond

// observe samples one Redis until ctx ends: role, number of keys, and which of the last
// acknowledged keys it has.
func (w *world) observe(ctx context.Context, h *host) {
	last, lifeSeen := "", 0
	var have copied
	every(ctx, func() error {
		conn, err := wire.Dial(ctx, h.addr(), wire.Options{Timeout: ioTimeout})
		if err != nil {
			w.sampled(h, sample{when: time.Now(), err: err})
			sleep(ctx, sampleEvery)
			return err
		}
		defer conn.Close() //nolint:errcheck // it is given up
		for ctx.Err() == nil {
			life, foreign, up := h.status()
			s, err := w.look(conn, h, life, foreign)
			// The next one may answer before its life is counted.
			if after, strange, still := h.status(); after != life || strange != foreign || !up || !still {
				return fmt.Errorf("%s has another life", h.Name)
			}
			if err != nil {
				w.sampled(h, sample{when: time.Now(), err: err})
				return err
			}
			w.sampled(h, s)
			if life != lifeSeen && !s.busy {
				if lifeSeen = life; !foreign {
					w.found(h, s.keys)
				}
			}
			if text := s.role + " of " + s.follows; text != last {
				w.timeline.add("sample", "%s is %s", h.Name, s)
				last = text
			}
			if why := have.see(life, foreign, s); why != "" {
				w.once("wiped "+h.Name, "%s: %s", h.Name, why)
			}
			sleep(ctx, sampleEvery)
		}
		return nil
	})
}

// found remembers with how many keys the present life of a Redis was first seen.
func (w *world) found(h *host, keys int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.born[h.Name] = keys
}

// once reports a violation of one kind a single time.
func (w *world) once(kind, format string, args ...any) {
	w.mu.Lock()
	had := w.reported[kind]
	w.reported[kind] = true
	w.mu.Unlock()
	if !had {
		w.history.violate(format, args...)
	}
}

func (w *world) sampled(h *host, s sample) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.samples[h.Name] = s
}

func (w *world) lastSample(h *host) sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.samples[h.Name]
}

func (w *world) look(conn *wire.Conn, h *host, life int, foreign bool) (sample, error) {
	var keys []string
	if !foreign {
		keys = w.history.latest(h.Name, 50)
	}
	conn.Append("INFO")
	conn.Append("DBSIZE")
	known := append([]string{foreignKey}, marks()...)
	conn.Append(append(append([]string{"MGET"}, known...), keys...)...)
	if err := conn.Flush(); err != nil {
		return sample{}, err
	}
	var replies [3]wire.Reply
	for i := range replies {
		var err error
		if replies[i], err = conn.Receive(); err != nil {
			return sample{}, err
		}
	}
	s := parseInfo(replies[0].Str)
	if n, err := strconv.Atoi(replies[1].Str); err == nil {
		s.keys = n
	} else {
		s.busy = true // it says LOADING
	}
	if !s.busy && replies[2].Kind == wire.Array {
		s.stranger = replies[2].Items[0].Kind == wire.Bulk
		for _, item := range replies[2].Items[1:len(known)] {
			if item.Kind == wire.Bulk {
				s.marks++
			}
		}
		for i, item := range replies[2].Items[len(known):] {
			if item.Kind == wire.Bulk {
				w.history.saw(keys[i], h.Name, Sight{life, s.when})
			}
		}
	}
	return s, nil
}

func parseInfo(text string) sample {
	s := sample{when: time.Now()}
	f := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			f[k] = v
		}
	}
	s.role, s.link, s.runID, s.replid, s.offset = f["role"], f["master_link_status"], f["run_id"], f["master_replid"], f["master_repl_offset"]
	s.follows = f["master_host"]
	s.busy = f["loading"] != "0" || f["master_sync_in_progress"] == "1"
	return s
}

// listen asks one watcher again and again what it tells.
func (w *world) listen(ctx context.Context, h *host) {
	every(ctx, func() error {
		conn, err := wire.Dial(ctx, h.addr(), wire.Options{Timeout: ioTimeout})
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // it is given up
		for ctx.Err() == nil {
			reply, err := conn.Do("SENTINEL", "MASTER", masterName)
			if err == nil {
				err = reply.Err()
			}
			if err != nil {
				return err
			}
			w.heard(h, reply.Strings())
			sleep(ctx, sampleEvery)
		}
		return nil
	})
}

func (w *world) heard(h *host, pairs []string) {
	f := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		f[pairs[i]] = pairs[i+1]
	}
	epoch, err := strconv.ParseUint(f["config-epoch"], 10, 64)
	if err != nil || f["ip"] == "" {
		return
	}
	name := f["ip"]
	if at := w.redisAt(net.JoinHostPort(f["ip"], f["port"])); at != nil {
		name = at.Name
	}
	w.history.told(Told{time.Now(), h.Name, epoch, name})
}

// ask sends one HTTP request to a watcher; out is filled whatever the status.
func (w *world) ask(ctx context.Context, h *host, method, path string, out any) (int, error) {
	return w.askWith(ctx, h, method, path, nil, out)
}

// askWith is ask with a body, in JSON.
func (w *world) askWith(ctx context.Context, h *host, method, path string, body io.Reader, out any) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+net.JoinHostPort(h.IP, httpPort)+path, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask %s for %s: %w", h.Name, path, err)
	}
	defer res.Body.Close() //nolint:errcheck // only read from
	return res.StatusCode, json.NewDecoder(res.Body).Decode(out)
}

// leader is the watcher that says that it leads, nil if none does.
func (w *world) leader(ctx context.Context) *host {
	for _, h := range w.watchers {
		if _, _, up := h.status(); !up {
			continue
		}
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		var p httpapi.Peers
		_, err := w.ask(short, h, http.MethodGet, "/v1/peers", &p)
		cancel()
		for _, peer := range p.Peers {
			if err == nil && peer.Self && peer.Leader {
				return h
			}
		}
	}
	return nil
}

// learnMoves reads the watchers' histories: all must tell the same of an epoch. The
// leader's is complete.
func (w *world) learnMoves(ctx context.Context) error {
	leader := w.leader(ctx)
	if leader == nil {
		return fmt.Errorf("read the history: nobody leads")
	}
	for _, h := range w.watchers {
		var a httpapi.History
		if _, err := w.ask(ctx, h, http.MethodGet, "/v1/masters/"+masterName+"/history", &a); err != nil {
			return err
		}
		for _, r := range a.Records {
			p := plan{Kind: r.Kind, Watcher: h.Name}
			if r.From != nil {
				p.From = w.nameOf(r.From.Address)
			}
			if r.To != nil {
				p.To = w.nameOf(r.To.Address)
			}
			switch r.Kind {
			case "held", "would", "repaired", "restarted": // they move nothing
			default:
				w.history.planned(r.EpochNumber, p)
			}
		}
		if h == leader {
			w.takeMoves(a)
		}
	}
	return nil
}

func (w *world) takeMoves(a httpapi.History) {
	hist := w.history
	hist.mu.Lock()
	defer hist.mu.Unlock()
	w.plans = 0
	for _, r := range a.Records {
		switch r.Kind {
		case "failover", "handover", "aborted":
			w.plans++
		}
		if _, known := hist.moves[r.EpochNumber]; known || r.To == nil || r.Kind == "aborted" || r.Kind == "held" {
			continue
		}
		m := Move{Epoch: r.EpochNumber, Kind: r.Kind, To: w.nameOf(r.To.Address), Told: hist.first[r.EpochNumber].When, Fenced: r.Fenced}
		if m.Told.IsZero() {
			m.Told = time.Now()
		}
		if r.From != nil {
			m.From = w.nameOf(r.From.Address)
			// A process that began in the middle of the plan is not the one that was fenced.
			if from := w.redisAt(r.From.Address); from != nil && from.lifeAt(m.Told) == from.lifeAt(m.Told.Add(-untold)) {
				m.FromLife = from.lifeAt(m.Told)
			}
		}
		if to := w.redisAt(r.To.Address); to != nil {
			m.Life = to.lifeAt(m.Told)
		}
		hist.moves[r.EpochNumber] = m
		w.timeline.add("move", "epoch %d %s %s -> %s fenced=%v: %s; %s", m.Epoch, m.Kind, m.From, m.To, r.Fenced, r.Why, r.Result)
	}
}

func (w *world) nameOf(addr string) string {
	if h := w.redisAt(addr); h != nil {
		return h.Name
	}
	return addr
}
