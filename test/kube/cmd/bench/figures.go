package main

// The names of the scenarios and sides.
const (
	flip     = "flip"
	deleted  = "delete"
	killed   = "kill"
	cut      = "cut"
	cutEarly = "cut-early"
	watchers = "watchers"

	triwatchSide = "triwatch"
	withoutSide  = "without"
)

// scenarios are all, in the order in which they are run.
func scenarios() []string { return []string{flip, deleted, killed, cut, cutEarly, watchers} }

// The names of the values.
const (
	vAnswer      = "answer_ms"
	vResolution  = "resolution_ms"
	vAccepted    = "promoted_to_accepted_ms"
	vGap         = "gap_ms"
	vSentinelGap = "sentinel_gap_ms"
	vLost        = "lost"
	vKeysLost    = "keys_lost"
	vAgain       = "again_s"
	vReplaced    = "replaced_s"
)

// unit says how a value is printed.
type unit int

// The units.
const (
	unitUnknown unit = iota
	millis
	seconds
	count
)

// String is what stands behind the number.
func (u unit) String() string {
	switch u {
	case millis:
		return "ms"
	case seconds:
		return "s"
	case count, unitUnknown:
		return ""
	default:
		return "?"
	}
}

// figure is one line of the table.
type figure struct {
	Scenario string
	Value    string // the name in sample.Values
	Title    string
	Unit     unit
	Target   target
	Wanted   string // the target in words
}

// figures are all lines, in the order of the table.
func figures() []figure {
	return []figure{
		// Nothing moved: no answer, the run fails. A flip that waits for kube-proxy's second gets about 1 060 ms.
		{flip, vAnswer, "flip accepted to first answer through the ClusterIP", millis, atMost(100), "<= 100 ms"},
		{flip, vAccepted, "flip: promoted to accepted by the API (watchers' clock)", millis, target{}, ""},
		{flip, vResolution, "flip: last other answer to that answer (resolution)", millis, target{}, ""},

		// Nobody hands over: the gap lasts until the pod is back, about 2 s, and the run fails because no other master is named.
		{deleted, vGap, "kubectl delete pod: longest time without a write, Service", millis, atMost(300), "<= 300 ms"},
		{deleted, vSentinelGap, "kubectl delete pod: the same through Sentinel", millis, target{}, ""},
		{deleted, vLost, "kubectl delete pod: acknowledged writes lost, worst run", count, neverOver(0), "0"},
		{deleted, vKeysLost, "kubectl delete pod: keys lost of 1 000 on all, worst run", count, neverOver(0), "0"},
		{deleted, vAnswer, "kubectl delete pod: flip accepted to the next write", millis, target{}, ""},

		// Nothing: the empty master empties its replicas, 1 000 keys lost.
		{killed, vGap, "container killed: longest time without a write, Service", millis, atMost(500), "<= 500 ms"},
		{killed, vSentinelGap, "container killed: the same through Sentinel", millis, target{}, ""},
		{killed, vKeysLost, "container killed: keys lost of 1 000 on all, worst run", count, neverOver(0), "0"},
		// No replica may have had the last ones: nothing is promised.
		{killed, vLost, "container killed: acknowledged writes lost", count, target{}, ""},

		{cut, vGap, "network cut: longest time without a write, Service", millis, atMost(1600), "<= 1 600 ms"},
		{cut, vSentinelGap, "network cut: the same through Sentinel", millis, target{}, ""},
		{cut, vKeysLost, "network cut: keys lost of 1 000 on all, worst run", count, neverOver(0), "0"},
		{cut, vLost, "network cut: acknowledged writes lost", count, target{}, ""},
		{cutEarly, vGap, "network cut a second after the load began: the same, Service", millis, atMost(1600), "<= 1 600 ms"},
		{cutEarly, vKeysLost, "network cut a second after the load began: keys lost, worst run", count, neverOver(0), "0"},

		{watchers, vAgain, "all watchers replaced: new pods run to watching again", seconds, atMost(15), "<= 15 s"},
		{watchers, vReplaced, "all watchers replaced: deleted by force to watching again", seconds, target{}, ""},
		{watchers, vGap, "all watchers replaced: longest time without a write, Service", millis, target{}, ""},
		{watchers, vLost, "all watchers replaced: acknowledged writes lost, worst run", count, neverOver(0), "0"},
	}
}
