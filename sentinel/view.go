package sentinel

import (
	"fmt"
	"strconv"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// View is one master as a watcher sees it, for people and machines to read. It
// shares nothing with the state.
type View struct {
	Name string `json:"name"`
	// State is ok, degraded, suspect, held, down, failover, handover, unadopted, observed,
	// paused or released.
	State   string     `json:"state"`
	Epoch   Epoch      `json:"epoch"`
	Master  Assignment `json:"master"`
	Since   time.Time  `json:"since,omitzero"`
	How     string     `json:"how,omitempty"` // failover, handover, adopted
	Note    string     `json:"note,omitempty"`
	Acting  bool       `json:"acting"`
	Quorum  int        `json:"quorum"`
	Agree   int        `json:"watchersAgree"`
	Voters  int        `json:"watchers"`
	Leading bool       `json:"leading"`
	Config  Config     `json:"config"`
	// Options hold secrets and are therefore left out where a view is shown.
	Options Options `json:"-"`
	Plan    *Plan   `json:"plan,omitempty"`
	// Foreign are the addresses of other Sentinels that watch it.
	Foreign []string `json:"foreign,omitempty"`
	// Released is set while a person has taken the master back.
	Released bool `json:"released,omitempty"`
	// Fence is off, on, or relaxed with the reason.
	Fence string `json:"fence"`
	// Unfenced are former masters that could not be fenced and have not been since.
	Unfenced []Unfenced `json:"unfenced,omitempty"`
	// Instances holds the master first, then the replicas by ID.
	Instances []InstanceView `json:"instances"`
}

// InstanceView is one instance of a View.
type InstanceView struct {
	ID      InstanceID `json:"id"`
	Name    string     `json:"name"`
	Addr    Addr       `json:"addr"`
	Master  bool       `json:"master"`
	Role    Role       `json:"role"`
	Health  Health     `json:"health"`
	Reply   Reply      `json:"reply"`
	Detail  string     `json:"detail,omitempty"`
	Link    string     `json:"link"` // up, down, sync, fenced, -
	Lag     int64      `json:"lag"`  // bytes behind the master's last known offset, -1 unknown
	Offset  int64      `json:"offset"`
	Keys    int64      `json:"keys"` // -1 if not known
	Prio    int        `json:"priority"`
	RunID   string     `json:"runId,omitempty"`
	Follows Addr       `json:"follows,omitzero"`
	SeenBy  int        `json:"seenBy"`
	Silent  Time       `json:"silentNs"`
	InfoAge Time       `json:"infoAgeNs"`
	Down    bool       `json:"down"`
	// Deleting and Gone are about the pod.
	Deleting bool `json:"deleting,omitempty"`
	Gone     bool `json:"gone,omitempty"`
	// Unannounced is replica-announced no.
	Unannounced bool `json:"unannounced,omitempty"`
	// Boots is how it starts, as far as that was seen or its pod says it.
	Boots Boot `json:"boots,omitempty"`
	// Choice says what would become of it if the master died now; "" for the master.
	Choice string `json:"choice,omitempty"`
	// Lacking are the sentences about what it does not let triwatch do.
	Lacking []string `json:"lacking,omitempty"`
}

// View describes the master at the time of the last Step.
func (s *State) View() View {
	c := &s.com
	v := View{Name: c.Name, Epoch: s.served.Epoch, Master: s.served, Quorum: c.Config.Quorum, Voters: len(s.voters), Leading: s.lead.on,
		Config: c.Config, Options: c.Options, Acting: !s.isIdle(), Released: c.Released, Foreign: s.foreigners(), Fence: s.fenceView(), Unfenced: c.unfenced()}
	if c.Plan != nil {
		p := *c.Plan
		v.Plan = &p
	}
	for i := len(c.History) - 1; i >= 0; i-- {
		if r := c.History[i]; r.Epoch == c.Master.Epoch && !r.remark() && r.Kind != "aborted" {
			v.Since, v.How = r.When, r.Kind
			break
		}
	}
	fates := s.fates()
	for _, m := range c.Members {
		iv := s.instanceView(m)
		iv.Choice = fates[m.ID]
		if iv.Master {
			v.Instances = append([]InstanceView{iv}, v.Instances...)
			v.Agree = iv.SeenBy
			continue
		}
		v.Instances = append(v.Instances, iv)
	}
	v.State, v.Note = s.condition()
	return v
}

// fates tells of every replica what Choose would do with it now.
func (s *State) fates() map[InstanceID]string {
	out := map[InstanceID]string{}
	choice := chooseBeside(s.candidates(0), s.com.Knows, "", s.masterHasData())
	if choice.Best != nil {
		out[choice.Best.ID] = "would be chosen (" + choice.Reason + ")"
	}
	for _, r := range choice.LeftOut {
		if len(r.Why) > 8 && r.Why[:8] == "allowed," {
			out[r.Instance] = r.Why
			continue
		}
		out[r.Instance] = "not chosen: " + r.Why
	}
	return out
}

func (s *State) instanceView(m Member) InstanceView {
	iv := InstanceView{ID: m.ID, Name: m.Name, Addr: m.Addr, Master: m.ID == s.served.Instance, Link: "-", Lag: -1, SeenBy: s.seenBy(m.ID), Boots: s.boots(m.ID)}
	if iv.Name == "" {
		iv.Name = m.Addr.String()
	}
	if i := s.instance(m.ID); i != nil {
		iv.Deleting = i.Deleting
	}
	iv.Gone = s.absent(m.ID)
	o := s.obs[m.ID]
	if o == nil {
		return iv
	}
	iv.Health, iv.Reply, iv.Detail, iv.Silent = o.health, o.reply, o.detail, o.silent(s.now)
	iv.Down = o.health == HealthDown || o.health == HealthCrashed
	iv.Lacking = o.lacking()
	if o.info == nil {
		return iv
	}
	i := o.info
	iv.Keys, iv.Unannounced = i.Keys, !i.Announced
	iv.Role, iv.Offset, iv.Prio, iv.RunID, iv.Follows, iv.InfoAge = i.Role, i.Offset, i.Priority, i.RunID, i.Master, s.now-o.infoAt
	switch {
	case i.Role == RoleMaster:
	case i.Fenced():
		iv.Link = "fenced"
	case i.Syncing:
		iv.Link = "sync"
	case i.LinkUp:
		iv.Link = "up"
	default:
		iv.Link = "down"
	}
	if mo := s.master(); mo != nil && mo.info != nil && !iv.Master && mo.info.Role == RoleMaster {
		iv.Lag = max(0, mo.info.Offset-i.Offset)
	}
	return iv
}

// seenBy counts the watchers that hold an instance up; a watcher that does not
// lead knows of itself only.
func (s *State) seenBy(id InstanceID) int {
	n := 0
	for _, w := range s.voters {
		r, ok := s.reportOf(w, 0)
		if !ok {
			continue
		}
		for _, i := range r.Instances {
			if i.ID == id && i.Health == HealthUp {
				n++
			}
		}
	}
	return n
}

// condition is the master's state in one word, and a sentence if it is not ok.
func (s *State) condition() (state, note string) {
	c := &s.com
	o := s.master()
	switch {
	case c.Released:
		return "released", "given back: nothing is written until triwatch resume " + c.Name
	case c.Plan != nil:
		return c.Plan.Kind.String(), fmt.Sprintf("epoch %s: %s to %s, %s", c.Plan.Epoch, c.Plan.Kind, c.Plan.New.Addr, c.Plan.Phase)
	case !c.Adopted:
		return "unadopted", "no master found yet" + s.expectedAt() + s.awaited()
	case s.told.held:
		return "held", "the watchers hear nothing, but a replica advances"
	case s.told.vetoed != "":
		return "held", s.told.vetoed
	case o == nil || o.health == HealthUnknown:
		return "unknown", "not heard yet"
	case o.health == HealthDown || o.health == HealthCrashed:
		note := "master " + s.called(o) + " down: " + o.reply.String()
		if s.told.noGood {
			note += "; no replica may be promoted"
		}
		if s.told.waiting != "" {
			note += "; " + s.told.waiting
		}
		return "down", note
	case o.health == HealthSuspect:
		return "suspect", "master " + s.called(o) + ": no answer for " + o.silent(s.now).Round(time.Millisecond).String()
	case !o.reply.Usable() || (o.info != nil && o.info.Loading):
		return "degraded", "master " + s.called(o) + " answers: " + o.reply.String() + " " + o.detail
	}
	if why := s.told.refused[c.Master.Instance]; why != "" {
		if who := s.contested(); who != "" {
			why += "; " + who
		}
		return "degraded", "master " + s.called(o) + ": " + why
	}
	if why := s.contested(); why != "" && !s.isIdle() {
		return "degraded", why
	}
	for _, m := range c.Members { // first what only a person can set right
		if r := s.obs[m.ID]; r != nil && m.ID != c.Master.Instance && r.health == HealthUp && s.told.refused[m.ID] != "" {
			return "degraded", s.called(r) + ": " + s.told.refused[m.ID]
		}
	}
	for _, m := range c.Members {
		r := s.obs[m.ID]
		if m.ID == c.Master.Instance || r == nil {
			continue
		}
		if r.health == HealthDown || r.health == HealthCrashed {
			return "degraded", s.called(r) + " down for " + r.silent(s.now).Round(time.Second).String() + " (" + r.reply.String() + ")"
		}
		if r.info != nil && r.info.Role == RoleMaster {
			return "degraded", s.called(r) + " says that it is a master too"
		}
		if r.info != nil && r.info.Role == RoleReplica && !r.info.LinkUp {
			return "degraded", s.called(r) + " is not in sync"
		}
	}
	missing, grave := s.hindrances()
	if grave {
		return "degraded", missing
	}
	if s.paused() {
		return "paused", s.pausedText() + ": nothing is done unasked"
	}
	if c.Config.Observe {
		return "observed", "mode observe: nothing is written"
	}
	return "ok", missing
}

// awaited says what keeps a first master from being adopted.
func (s *State) awaited() string {
	if s.told.unadopted == "" {
		return ""
	}
	return ": " + s.told.unadopted
}
