package httpapi

import "time"

// Standing heads every answer: who gives it, and how far it can be relied on.
type Standing struct {
	// Stale is set when the answer is one watcher's own knowledge and may be out of
	// date; StaleReason says why.
	Stale       bool   `json:"stale"`
	StaleReason string `json:"staleReason,omitempty"`
	HasQuorum   bool   `json:"hasQuorum"`
	// Outside is set when the watcher does not belong to the cluster any more: another
	// one has to be asked.
	Outside bool `json:"outside,omitempty"`
	// NeedsLevel is the level of commands that the answering watcher lacks, so that it
	// does not act.
	NeedsLevel int `json:"needsLevel,omitempty"`
	// Outdated has a sentence for each voter that runs an older build than the cluster
	// needs and does not act.
	Outdated []string `json:"outdated,omitempty"`
	// Watcher is the ID of the watcher that answers, Leader the leader for people
	// to read, "" if not known.
	Watcher string `json:"watcher"`
	Leader  string `json:"leader,omitempty"`
	// Watchers counts the voters, Reachable those in touch with this one, itself included.
	Watchers  int `json:"watchers"`
	Reachable int `json:"watchersReachable"`
}

// Masters answers GET /v1/masters.
type Masters struct {
	Standing
	Masters []Master `json:"masters"`
}

// OneMaster answers GET /v1/masters/{name}.
type OneMaster struct {
	Standing
	Master Master `json:"master"`
}

// Master is one watched master.
type Master struct {
	Name string `json:"name"`
	// State is ok, degraded, suspect, held, down, failover, handover, unadopted,
	// observed or unknown; Note is a sentence where it is not ok.
	State       string `json:"state"`
	Note        string `json:"note,omitempty"`
	Epoch       string `json:"epoch"`
	EpochNumber uint64 `json:"epochNumber"`
	// Current is the committed master.
	Current Ref `json:"current"`
	// Since and How tell when and by what it became master.
	Since time.Time `json:"since,omitzero"`
	How   string    `json:"how,omitempty"`
	// Acting is false while triwatch decides but writes nothing.
	Acting        bool     `json:"acting"`
	Quorum        int      `json:"quorum"`
	Watchers      int      `json:"watchers"`
	WatchersAgree int      `json:"watchersAgree"`
	Settings      Settings `json:"settings"`
	// Fence is the opt-in fence: off, on, or relaxed with the reason.
	Fence string `json:"fence,omitempty"`
	// Unfenced are former masters that could not be fenced and have not been since.
	Unfenced []Unfenced `json:"unfenced,omitempty"`
	Plan     *Plan      `json:"plan,omitempty"`
	// Services are those on Kubernetes that should follow the master.
	Services  []Service  `json:"services,omitempty"`
	Instances []Instance `json:"instances"` // the master first
}

// Unfenced is a former master that may still take writes.
type Unfenced struct {
	Ref
	// Epoch is that of the failover which replaced it.
	Epoch       string `json:"epoch"`
	EpochNumber uint64 `json:"epochNumber"`
}

// Service is a Kubernetes Service that should follow a master, as it is.
type Service struct {
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
	Epoch       string `json:"epoch"`
	EpochNumber uint64 `json:"epochNumber"`
	// Follows names the pod that it selects, "" for none by name.
	Follows string `json:"follows,omitempty"`
	// Pending says what is not yet as it should be, "" when all is.
	Pending string `json:"pending,omitempty"`
}

// Ref names an instance.
type Ref struct {
	ID      string `json:"id,omitempty"`
	Name    string `json:"name,omitempty"`
	Address string `json:"address,omitempty"`
}

// Settings is how a master is watched. Times are in milliseconds, sizes in bytes.
type Settings struct {
	Mode              string `json:"mode"` // act, observe
	DownAfterMS       int64  `json:"downAfterMs"`
	FailoverTimeoutMS int64  `json:"failoverTimeoutMs"`
	ParallelSyncs     int    `json:"parallelSyncs"`
	OnCrash           string `json:"onCrash"` // failover, wait
	MaxLossBytes      int64  `json:"maxLossBytes"`
	WitnessMaxMS      int64  `json:"witnessMaxMs"`
	CatchUpMS         int64  `json:"catchUpMs"`
	PauseWrites       bool   `json:"pauseWrites"`
	UnfencedFailover  string `json:"unfencedFailover"` // allow, hold
}

// Instance is one Redis of a master. What is not known is null.
type Instance struct {
	Ref
	Role   string `json:"role"`   // what it says of itself: master, replica, unknown
	Master bool   `json:"master"` // what is committed
	Health string `json:"health"` // up, suspect, down, crashed, unknown
	Down   bool   `json:"down"`
	Reply  string `json:"reply"`
	Detail string `json:"detail,omitempty"`
	Link   string `json:"link"` // up, down, sync, fenced, -
	// LagBytes counts from the master's last known offset.
	LagBytes *int64 `json:"lagBytes"`
	Offset   *int64 `json:"offset"`
	Keys     *int64 `json:"keys"`
	Priority int    `json:"priority"`
	RunID    string `json:"runId,omitempty"`
	Follows  string `json:"follows,omitempty"`
	SeenBy   int    `json:"seenBy"`
	SilentMS int64  `json:"silentMs"`
	// InfoAgeMS is the age of role, link, lag and offset.
	InfoAgeMS int64 `json:"infoAgeMs"`
	// Choice says what would become of it if the master died now.
	Choice        string `json:"choice,omitempty"`
	WouldBeChosen bool   `json:"wouldBeChosen"`
	// Lacking says what the instance does not let triwatch do.
	Lacking []string `json:"lacking,omitempty"`
}

// Plan is the failover or handover that is under way.
type Plan struct {
	Kind        string     `json:"kind"`
	Phase       string     `json:"phase"`
	Epoch       string     `json:"epoch"`
	EpochNumber uint64     `json:"epochNumber"`
	From        Ref        `json:"from"`
	To          Ref        `json:"to"`
	Why         string     `json:"why"`
	Begun       time.Time  `json:"begun,omitzero"`
	LeftOut     []Rejected `json:"leftOut"`
	Notes       []Note     `json:"notes"`
}

// Rejected is an instance that was not chosen, and why.
type Rejected struct {
	Ref
	Why string `json:"why"`
}

// Note is one line of a timeline. MS counts milliseconds from the evidence.
type Note struct {
	MS   float64 `json:"ms"`
	What string  `json:"what"`
	Text string  `json:"text"`
}

// History answers GET /v1/masters/{name}/history, the newest record first.
type History struct {
	Standing
	Name    string   `json:"name"`
	Records []Record `json:"records"`
}

// Record is one entry of a master's history.
type Record struct {
	When time.Time `json:"when"`
	// Epoch is "" for a record that used none.
	Epoch       string `json:"epoch,omitempty"`
	EpochNumber uint64 `json:"epochNumber,omitempty"`
	Kind        string `json:"kind"` // failover, handover, aborted, held, adopted
	From        *Ref   `json:"from,omitempty"`
	To          *Ref   `json:"to,omitempty"`
	Why         string `json:"why"`
	Result      string `json:"result,omitempty"`
	// LostBytes is the estimate, null if there was nothing to estimate from.
	LostBytes *int64 `json:"lostBytes"`
	// Fenced tells whether the old master was proved unable to acknowledge writes
	// before the new one was promoted.
	Fenced   bool       `json:"fenced"`
	Leader   string     `json:"leader,omitempty"`
	Term     uint64     `json:"term,omitempty"`
	TookMS   float64    `json:"tookMs"`
	WaitedMS float64    `json:"waitedMs"` // how long clients' writes waited
	LeftOut  []Rejected `json:"leftOut"`
	Notes    []Note     `json:"notes"`
}

// Wish is the body of POST /v1/masters/{name}/handover, failover, release, pause and
// resume. Each takes what makes sense for it.
type Wish struct {
	// To names the replica that is wanted by name, address or ID; "" is the best one.
	To string `json:"to,omitempty"`
	// Force is passed on to the watcher.
	Force bool `json:"force,omitempty"`
	// ForMS bounds a pause, in milliseconds; zero does not.
	ForMS int64 `json:"forMs,omitempty"`
}

// Granted answers a wish that was carried out.
type Granted struct {
	Name        string `json:"name"`
	Result      string `json:"result"` // ok
	Detail      string `json:"detail,omitempty"`
	Epoch       string `json:"epoch"`
	EpochNumber uint64 `json:"epochNumber"`
}

// Peers answers GET /v1/peers.
type Peers struct {
	Standing
	Term uint64 `json:"term"`
	// Level is the committed level of commands.
	Level   int    `json:"level"`
	Waiting string `json:"waiting,omitempty"`
	Peers   []Peer `json:"peers"`
}

// Peer is one watcher.
type Peer struct {
	ID        string `json:"id"`
	Address   string `json:"address"`
	Name      string `json:"name,omitempty"`
	Voter     bool   `json:"voter"`
	Self      bool   `json:"self"`
	Leader    bool   `json:"leader"`
	Reachable bool   `json:"reachable"`
	// LastContactMS is null if it was never heard from.
	LastContactMS *int64 `json:"lastContactMs"`
	// Level is the highest level of commands that it knows, missing if it has not said.
	Level   int    `json:"level,omitempty"`
	Version string `json:"version,omitempty"`
}

// Removed answers DELETE /v1/peers/{id}.
type Removed struct {
	Removed string `json:"removed"`
}

// Recovery is the body of POST /v1/recover, and its answer.
type Recovery struct {
	// Drop are the IDs of the members that are gone for good.
	Drop []string `json:"drop"`
}

// Failure is every answer that is not a success.
type Failure struct {
	// Error is a sentence for people.
	Error string `json:"error"`
	// Code is the word for programs, one of the Code constants or a word of Sentinel's.
	Code string `json:"code"`
}

// The codes of Failure. INPROG and NOGOODSLAVE come from the core, named as
// Sentinel names them.
const (
	CodeRefused    = "REFUSED"     // 409: the watcher says no, and why
	CodeInProgress = "INPROG"      // 409: another plan of this master is open
	CodeNoReplica  = "NOGOODSLAVE" // 409: no replica may be promoted
	CodeNotLeader  = "NOTLEADER"   // 409 or 503: the leader has to do it
	CodeNoQuorum   = "NOQUORUM"    // 503: nothing can be decided
	CodeNoMaster   = "NOMASTER"    // 404
	CodeNoPeer     = "NOPEER"      // 404
	CodeNotFound   = "NOTFOUND"    // 404: no such path
	CodeBadRequest = "BADREQUEST"  // 400, 405, 413 or 415
	CodeForbidden  = "FORBIDDEN"   // 403: not from there, or not from a web page
	CodeNoToken    = "UNAUTHORIZED"
	CodeFailed     = "FAILED"      // 500: certainly not done
	CodeUnknown    = "UNKNOWN"     // 504: it may be done or not
	CodeBusy       = "UNAVAILABLE" // 503: the watcher does not answer in time
)
